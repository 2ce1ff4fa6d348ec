"""Un-render a photograph: from 256 x 256 pixels to albedo, light position, intensity, ambient.

The photograph is an 8-bit sRGB PNG made by an independent path tracer (Mitsuba 3; direct light
only). Known are the camera, the ball's place and size, and the table's albedo (a grey card).
Found are the ball's colour, where the light is, how strong it is, and how bright the sky is.
The truth stands beside the photograph in ``matte_ball.json`` and is only read to check.

    python examples/unrender/matte_ball.py [--report report.html]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

import clew
from clew import render

HERE = Path(__file__).resolve().parent
TABLE_ALBEDO = 0.4
TABLE_HALF_SIZE = 20.0
CENTER = np.array([0.0, 0.0, 1.0])
RADIUS = 1.0
CAMERA = render.Camera(
    origin=(0.0, -6.0, 3.0), target=(0.0, 0.0, 0.7), field_of_view=40.0, width=256, height=256
)
START = {
    "albedo": np.array([0.5, 0.5, 0.5]),
    "light": {"position": np.array([0.0, -2.0, 6.0]), "intensity": 30.0},
    "ambient": 0.1,
    # How far a pixel's response reaches is the camera's, but not known exactly: fitted along.
    "blur": render.shading.BOX_PIXEL,
}


def read_photo(path: Path) -> np.ndarray:
    """Return the photograph as sRGB values in 0..1, shape (256, 256, 3)."""
    from matplotlib.image import imread

    try:
        photo = imread(path)
    except Exception as error:
        raise clew.InputError(
            f"{path} is not an image that can be read ({type(error).__name__})",
            "give an 8-bit PNG",
        ) from None
    if photo.shape[:2] != (CAMERA.height, CAMERA.width) or photo.ndim != 3:
        raise clew.InputError(
            f"{path} has shape {photo.shape}, the camera takes "
            f"({CAMERA.height}, {CAMERA.width}, 3)",
            "give the colour photograph that this camera took",
        )
    return photo[..., :3].astype(np.float64)


class Scene:
    """What the camera sees, pixel by pixel: all that does not depend on the unknowns."""

    def __init__(self) -> None:
        origin = np.array(CAMERA.origin)
        self.on_ball, points = self._points(origin, CAMERA.directions())
        self.on_table = ~self.on_ball & np.all(np.abs(points[..., :2]) < TABLE_HALF_SIZE, axis=-1)
        self.on_table &= points[..., 2] < 1e-9
        right = self._points(origin, CAMERA.directions((1.0, 0.0)))[1] - points
        down = self._points(origin, CAMERA.directions((0.0, 1.0)))[1] - points
        self.ball = points[self.on_ball]
        self.normals = (self.ball - CENTER) / RADIUS
        self.table = points[self.on_table]
        self.steps = (right[self.on_table], down[self.on_table])
        side = TABLE_HALF_SIZE * np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0.0]])
        # The ball sees the sky above it and past the table's edges.
        self.ball_sky = 1.0 - render.polygon_form_factor(self.ball, self.normals, side)
        self.table_sky = render.sky_beside_sphere(self.table, CENTER, RADIUS)
        # A pixel whose neighbours see something else mixes two surfaces: left out.
        self.ball_inside = _inside(self.on_ball)[self.on_ball]
        self.table_inside = _inside(self.on_table)[self.on_table]

    @staticmethod
    def _points(origin: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        to_ball = render.intersect_sphere(origin, rays, CENTER, RADIUS)
        to_table = render.intersect_plane(origin, rays)
        on_ball = to_ball < to_table
        distance = np.where(on_ball, to_ball, np.where(np.isfinite(to_table), to_table, 1e9))
        return on_ball, origin + distance[..., None] * rays

    def model(self, params: dict) -> dict:
        """Return the sRGB values of ball pixels, shape (n, 3), and of table pixels (grey)."""
        light, ambient = params["light"], params["ambient"]
        position, intensity = light["position"], light["intensity"]
        direct = render.irradiance(self.ball, self.normals, position, intensity)
        ball = (direct / np.pi + ambient * self.ball_sky)[:, None] * params["albedo"]
        up = np.array([0.0, 0.0, 1.0])
        direct = render.irradiance(self.table, up, position, intensity)
        seen = render.sphere_visibility(
            self.table, position, CENTER, RADIUS, self.steps, params["blur"]
        )
        table = TABLE_ALBEDO * (seen * direct / np.pi + ambient * self.table_sky)
        return {"ball": render.srgb_encode(ball), "table": render.srgb_encode(table)}

    def picture(self, values: dict) -> np.ndarray:
        """Return ball and table values as an image; black where neither is."""
        image = np.zeros((CAMERA.height, CAMERA.width, 3))
        image[self.on_ball] = values["ball"]
        image[self.on_table] = np.asarray(values["table"])[:, None]
        return np.clip(image, 0.0, 1.0)


def _inside(mask: np.ndarray) -> np.ndarray:
    """Return where a mask holds at a pixel and its eight neighbours."""
    padded = np.pad(mask, 1)
    shape = mask.shape
    result = mask.copy()
    for down in range(3):
        for right in range(3):
            result &= padded[down : down + shape[0], right : right + shape[1]]
    return result


def known_truth() -> dict:
    """Return the hidden causes, from the description of the scene."""
    scene = json.loads((HERE / "matte_ball.json").read_text())
    light = scene["lights"][0]
    return {
        "albedo": np.array(scene["balls"][0]["albedo"]),
        "light": {"position": np.array(light["position"]), "intensity": light["intensity"][0]},
        "ambient": scene["ambient"][0],
    }


def make_problem(path: Path = HERE / "matte_ball.png") -> clew.Problem:
    """Return the problem for a photograph."""
    photo = read_photo(path)
    scene = Scene()

    def show(params: dict) -> dict:
        rendered = scene.picture(scene.model(params))
        return {
            "photograph": photo,
            "rendered from what was found": rendered,
            "difference x 10": np.clip(0.5 + 10.0 * (rendered - photo), 0.0, 1.0),
        }

    return clew.Problem(
        scene.model,
        START,
        # The card is grey: its three channels are one measurement.
        target={
            "ball": photo[scene.on_ball],
            "table": photo[scene.on_table].mean(axis=-1),
        },
        weights={
            "ball": scene.ball_inside[:, None].astype(float),
            "table": scene.table_inside.astype(float),
        },
        bounds={
            "albedo": (0.0, 1.0),
            "light.intensity": (0.0, None),
            "ambient": (0.0, None),
            "blur": (0.05, 2.0),
        },
        show=show,
        name="un-render: a matte ball on a grey table",
        truth=known_truth(),
    )


problem = make_problem()


def check(solution: clew.Solution) -> list[str]:
    """Compare with the truth; return what misses its tolerance."""
    found, truth = solution.params, known_truth()
    error = solution.uncertainty().standard_error
    rows = [
        (f"albedo {name}", found["albedo"][i], error["albedo"][i], truth["albedo"][i], 0.015)
        for i, name in enumerate(("red", "green", "blue"))
    ]
    position, true_position = found["light"]["position"], truth["light"]["position"]
    rows += [
        (f"light {axis}", position[i], error["light"]["position"][i], true_position[i], None)
        for i, axis in enumerate("xyz")
    ]
    light = found["light"]
    rows += [
        (
            "intensity",
            light["intensity"],
            error["light"]["intensity"],
            truth["light"]["intensity"],
            0.015,
        ),
        ("ambient", found["ambient"], error["ambient"], truth["ambient"], 0.015),
    ]
    print(f"{'':14}{'found':>10}{'+/-':>9}{'truth':>9}{'error':>10}{'sigmas':>8}")
    missed = []
    for name, value, deviation, true, limit in rows:
        relative = value / true - 1.0
        shown = f"{value - true:+10.4f}" if limit is None else f"{100 * relative:+9.2f}%"
        sigmas = (value - true) / deviation
        print(f"{name:14}{value:10.4f}{deviation:9.4f}{true:9.4f}{shown}{sigmas:8.1f}")
        if limit is not None and abs(relative) > limit:
            missed.append(name)
    distance = float(np.linalg.norm(position - true_position))
    print(f"light position is off by {distance:.4f} units")
    if distance > 0.03:
        missed.append("light position")
    return missed


def main() -> int:
    """Solve, compare with the truth, write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", type=Path, default=Path("out/report.html"))
    arguments = parser.parse_args()
    solution = clew.solve(problem)
    print(solution.status)
    missed = check(solution)
    arguments.report.parent.mkdir(parents=True, exist_ok=True)
    solution.report(arguments.report)
    print(f"report: {arguments.report}")
    if missed:
        print(f"MISSED: {', '.join(missed)}")
        return 1
    print("all within tolerance")
    return 0


if __name__ == "__main__":
    sys.exit(main())
