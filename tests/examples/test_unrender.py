"""The main job, held to the hidden causes, and to photographs of other causes made here."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import clew
from clew import render

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "unrender"


def load():
    spec = importlib.util.spec_from_file_location("matte_ball", FOLDER / "matte_ball.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


example = load()


@pytest.fixture(scope="module")
def solution():
    return clew.solve(example.problem)


@pytest.fixture(scope="module")
def ball_sky() -> np.ndarray:
    """The sky that each ball pixel sees past the table, as a sum over directions."""
    count = 4000
    number = np.arange(count) + 0.5
    z, turn = 1 - 2 * number / count, np.pi * (1 + np.sqrt(5)) * number
    flat = np.sqrt(1 - z**2)
    rays = np.stack([flat * np.cos(turn), flat * np.sin(turn), z], -1)
    origin, center = np.array(example.CAMERA.origin), example.CENTER
    views = example.CAMERA.directions()
    near = views @ (center - origin)
    gap = near**2 - np.sum((center - origin) ** 2) + 1.0
    sky = np.zeros(gap.shape)
    for i, j in zip(*np.nonzero(gap > 0), strict=True):
        point = origin + (near[i, j] - np.sqrt(gap[i, j])) * views[i, j]
        cosine = np.maximum(rays @ (point - center), 0)
        fall = np.where(z < 0, -point[2] / np.minimum(z, -1e-12), np.inf)
        reach = np.maximum(
            np.abs(point[0] + fall * rays[:, 0]), np.abs(point[1] + fall * rays[:, 1])
        )
        sky[i, j] = np.sum(cosine * (reach > example.HALF_SIZE)) / np.sum(cosine)
    return sky


def plain_photo(causes: dict, ball_sky: np.ndarray, split: int = 4) -> np.ndarray:
    """Trace rays without the example's shading: plain shadows, pixels split, sums over the sky."""
    grey, light = example.TABLE_ALBEDO, np.array(causes["light"])
    origin, center = np.array(example.CAMERA.origin), example.CENTER
    total = np.zeros((256, 256, 3))
    for i in range(split):
        for j in range(split):
            shift = ((i + 0.5) / split - 0.5, (j + 0.5) / split - 0.5)
            rays = example.CAMERA.directions(shift)
            near = rays @ (center - origin)
            gap = near**2 - np.sum((center - origin) ** 2) + 1.0
            ball = gap > 0
            far = np.where(rays[..., 2] < 0, -origin[2] / np.minimum(rays[..., 2], -1e-9), np.inf)
            reach = np.where(ball, near - np.sqrt(np.maximum(gap, 0)), np.minimum(far, 1e6))
            points = origin + reach[..., None] * rays
            normals = np.where(ball[..., None], points - center, [0, 0, 1.0])
            path = light - points
            square = np.sum(path**2, -1)
            direct = np.maximum(np.sum(path * normals, -1), 0) / square**1.5
            place = np.clip(np.sum((center - points) * path, -1) / square, 0, 1)
            passes = np.linalg.norm(points + place[..., None] * path - center, axis=-1)
            lit = ball | (passes > 1.0)
            apart = np.linalg.norm(points - center, axis=-1)
            sky = np.where(ball, ball_sky, 1 - apart**-3)
            light_in = causes["intensity"] * lit * direct / np.pi + causes["ambient"] * sky
            color = np.where(ball[..., None], causes["albedo"], grey)
            table = np.all(np.abs(points[..., :2]) < 20.0, axis=-1) & (rays[..., 2] < 0)
            total += np.where((ball | table)[..., None], color * light_in[..., None], 0.0)
    return render.srgb_encode(total / split**2)


def save(path: Path, photo: np.ndarray) -> Path:
    from matplotlib.image import imsave

    imsave(path, np.round(255 * np.clip(photo, 0, 1)).astype(np.uint8))
    return path


def test_the_photograph_gives_back_its_causes(solution, capsys):
    assert solution.converged
    assert example.check(solution) == []
    table = capsys.readouterr().out
    assert table.count("%") == 5
    found, truth = solution.params, example.known_truth()
    np.testing.assert_allclose(found["albedo"], truth["albedo"], rtol=0.003)
    place = found["light"]["position"] - truth["light"]["position"]
    assert np.linalg.norm(place) < 0.006


def test_the_error_bars_cover_the_truth(solution):
    error = example._by_name(solution.uncertainty().standard_error)
    found, truth = example._by_name(solution.params), example._by_name(example.known_truth())
    assert len(found) == 8
    for name, value in found.items():
        assert 0 < error[name] < 0.01 * abs(truth[name]), name
        assert abs(value - truth[name]) < 3 * error[name], name


def test_the_start_is_neutral():
    start, truth = example._by_name(example.START), example._by_name(example.known_truth())
    assert example.START["light"]["position"][:2].tolist() == [0.0, 0.0]
    assert len(set(example.START["albedo"])) == 1
    assert all(abs(start[name] / truth[name] - 1) > 0.15 for name in truth)


def test_what_is_taken_as_known_is_what_the_description_says():
    scene = json.loads((FOLDER / "matte_ball.json").read_text())
    camera, ball = scene["camera"], scene["balls"][0]
    assert example.CAMERA.origin == tuple(camera["origin"])
    assert example.CAMERA.target == tuple(camera["target"])
    assert example.CAMERA.field_of_view == camera["fov_deg"]
    assert example.CENTER.tolist() == ball["center"]
    assert ball["radius"] == example.RADIUS
    assert scene["table"]["albedo"] == [example.TABLE_ALBEDO] * 3
    assert scene["table"]["half_size"] == example.HALF_SIZE


@pytest.mark.parametrize(
    "causes",
    [
        {"albedo": (0.1, 0.3, 0.7), "light": (-3.0, -2.0, 5.0), "intensity": 40, "ambient": 0.15},
        {"albedo": (0.5, 0.45, 0.2), "light": (1.5, -4.0, 3.5), "intensity": 30, "ambient": 0.05},
    ],
)
def test_other_causes_are_found_as_well(causes, ball_sky, tmp_path):
    path = save(tmp_path / "photo.png", plain_photo(causes, ball_sky))
    found = clew.solve(example.make_problem(path)).params
    np.testing.assert_allclose(found["albedo"], causes["albedo"], rtol=0.005)
    np.testing.assert_allclose(found["light"]["position"], causes["light"], atol=0.01)
    assert found["light"]["intensity"] == pytest.approx(causes["intensity"], rel=0.005)
    assert found["ambient"] == pytest.approx(causes["ambient"], rel=0.005)


@pytest.mark.parametrize("overhead", [(0.0, -6.0, 3.0), (-3.0, -3.0, 4.0)])
def test_other_starts_end_at_the_same_place(overhead, solution):
    start = {**example.START, "light": {"position": np.array(overhead), "intensity": 60.0}}
    given = example.problem
    problem = clew.Problem(given.model, start, target=given.target, weights=given.weights)
    other = example._by_name(clew.solve(problem).params)
    for name, value in example._by_name(solution.params).items():
        assert other[name] == pytest.approx(value, rel=1e-5), name


def test_an_answer_off_by_more_than_the_tolerance_is_a_miss(solution, monkeypatch):
    truth = example.known_truth()
    wrong = {
        "albedo": truth["albedo"] * [1.0, 1.02, 1.0],
        "light": {
            "position": truth["light"]["position"] + [0, 0.04, 0],
            "intensity": truth["light"]["intensity"] * 0.98,
        },
        "ambient": truth["ambient"],
    }
    monkeypatch.setattr(example, "known_truth", lambda: wrong)
    assert example.check(solution) == ["albedo green", "intensity", "light position"]


def test_the_script_reports_and_says_whether_it_hit(solution, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(clew, "solve", lambda problem: solution)
    report = tmp_path / "new" / "report.html"
    monkeypatch.setattr(sys, "argv", ["matte_ball.py", "--report", str(report)])
    assert example.main() == 0
    printed = capsys.readouterr().out
    assert "all within tolerance" in printed
    for term in example.TERMS:
        assert term in printed
    assert report.with_name("paths.html").is_file()
    page = report.read_text()
    for title in ("photograph", "rendered from what was found", "difference x 10", "Convergence"):
        assert title in page
    monkeypatch.setattr(example, "check", lambda solution: ["ambient"])
    assert example.main() == 1
    assert "MISSED: ambient" in capsys.readouterr().out


def test_terms_are_those_of_the_model_with_others_held(capsys):
    # what a term contributes is the gradient with the unknown held constant in all other terms
    flow, off = example.look(example.START, "at the start")
    assert off <= 1e-12
    scene, problem = example.Scene(), example.problem
    light = example.START["light"]["position"]
    pull = flow.gradient("shadow")

    def shadow(position):
        return np.sum(pull * scene.seen(position))

    uses = {use.node: use for use in flow.by_use("light.position")}
    assert set(uses) == {"light on ball", "light on table", "shadow"}
    expected = clew.grad(shadow)(light)
    np.testing.assert_allclose(uses["shadow"].contribution, expected, rtol=1e-10)
    assert problem.objective()(example.START) > 0.0
    assert example.look_at_edge(flow, example.START)


def test_terms_that_do_not_sum_to_the_gradient_are_a_miss(solution, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(clew, "solve", lambda problem: solution)
    monkeypatch.setattr(sys, "argv", ["matte_ball.py", "--report", str(tmp_path / "report.html")])
    monkeypatch.setattr(example, "look_at_edge", lambda flow, params: False)
    assert example.main() == 1
    assert "MISSED: the gradient's terms" in capsys.readouterr().out


def test_pixels_on_an_edge_are_left_out():
    weights = example.problem.weights
    assert 300 < np.sum(weights["ball"] == 0) < 600
    on_ball = example.Scene().on_ball
    assert weights["ball"].shape == (on_ball.sum(), 1)


def test_photos_that_are_not(tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not an image")
    with pytest.raises(clew.InputError, match=r"broken.png is not an image that can be read"):
        example.make_problem(broken)
    with pytest.raises(clew.InputError, match="no such file"):
        example.make_problem(tmp_path / "missing.png")
    half = (FOLDER / "matte_ball.png").read_bytes()[:20000]
    broken.write_bytes(half)
    with pytest.raises(clew.InputError, match=r"not an image that can be read|has shape"):
        example.make_problem(broken)
    small = save(tmp_path / "small.png", np.zeros((64, 64, 3)))
    with pytest.raises(clew.InputError, match=r"shape \(64, 64, .\), the camera takes \(256, 256"):
        example.make_problem(small)
