"""Light against sums over directions and over points inside pixels."""

import numpy as np
import pytest

import clew
from clew.render import half_plane_coverage, irradiance, sky_beside_sphere, sphere_visibility
from tests.render.test_geometry import hemisphere

UP = np.array([0, 0, 1.0])
CENTER = np.array([0, 0, 1.0])
LIGHT = np.array([2.5, -3.0, 4.5])


def blocked(points, light, center, radius):
    """A plain test: does the segment to the light pass through the sphere?"""
    path = light - points
    place = np.clip(np.sum((center - points) * path, -1) / np.sum(path * path, -1), 0, 1)
    return np.linalg.norm(points + place[..., None] * path - center, axis=-1) < radius


def pixels(count=41, size=0.02):
    """A patch of table pixels across the edge of the ball's shadow."""
    x, y = np.meshgrid(np.arange(count), np.arange(count))
    first, second = size * np.array([0.9, 0.3, 0]), size * np.array([-0.4, 1.1, 0])
    # the outermost point of the shadow, seen from the ball, in the patch's middle
    corner = np.array([-2.318, 2.782, 0]) - 0.5 * (count - 1) * (first + second)
    points = corner + x[..., None] * first + y[..., None] * second
    return points, (first, second)


def test_a_light_straight_above_and_one_behind():
    points = np.array([[0, 0, 0.0], [3.0, 0, 0]])
    found = irradiance(points, UP, np.array([0, 0, 4.0]), 32.0)
    np.testing.assert_allclose(found, [2.0, 32 * (4 / 5) / 25], rtol=1e-14)
    assert irradiance(np.zeros(3), -UP, np.array([0, 0, 4.0]), 32.0) == 0.0


def test_all_the_light_of_a_point_source_reaches_a_closed_box():
    side = (np.arange(200) + 0.5) / 100 - 1
    x, y = np.meshgrid(side, side)
    faces = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            normal = -sign * np.eye(3)[axis]
            points = np.insert(np.stack([x, y], -1), axis, sign, axis=-1)
            light = np.array([0.1, -0.2, 0.3])
            faces.append(irradiance(points, normal, light, 1.0).sum() / 100**2)
    assert sum(faces) == pytest.approx(4 * np.pi, rel=1e-4)


def test_irradiance_derivatives_and_a_light_on_the_surface():
    points = np.array([[0, 0, 0.0], [1.0, 2.0, 0]])
    clew.testing.check_derivatives(
        lambda light, power: irradiance(points, UP, light, power), LIGHT, 3.0, order=2, step=1e-2
    )
    gradient = clew.grad(lambda light: np.sum(irradiance(points, UP, light, 1.0)))(np.zeros(3))
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("radius", [1.0, 0.6])
@pytest.mark.parametrize("place", [(0.3, 0.2, 0), (1.5, 0, 0), (-2.0, 3.0, 0)])
def test_sky_beside_a_sphere_is_a_sum_over_directions(place, radius):
    point = np.array(place, float)
    rays = hemisphere(UP, 800)
    along = rays @ (CENTER - point)
    miss = np.sum((CENTER - point) ** 2) - along**2 > radius**2
    found = sky_beside_sphere(point, CENTER, radius)
    assert 1 - found == pytest.approx((~miss).mean(), rel=2e-3)


@pytest.mark.parametrize("angle", [0.0, 0.01, 0.3, np.pi / 4, 1.2, np.pi / 2, 2.5, 4.0])
def test_coverage_is_a_count_of_points_in_the_pixel(angle):
    inner = (np.arange(1000) + 0.5) / 1000 - 0.5
    x, y = np.meshgrid(inner, inner)
    right, down = 0.03 * np.cos(angle), 0.03 * np.sin(angle)
    for s in 0.03 * np.array([-0.8, -0.5, -0.21, 0.0, 0.1, 0.44, 0.6, 0.9]):
        count = np.mean(s + right * x + down * y > 0)
        assert half_plane_coverage(s, right, down) == pytest.approx(count, abs=1.5e-3)


def test_coverage_far_from_the_edge_and_without_slope():
    far = half_plane_coverage(np.array([-1e9, 1e9]), 1e-3, 1.0)
    np.testing.assert_allclose(far, [0, 1], atol=1e-9)
    flat = half_plane_coverage(np.array([-1.0, 1.0]), 0.0, 0.0)
    np.testing.assert_allclose(flat, [0, 1], atol=1e-9)


def test_coverage_rises_evenly_for_an_upright_edge():
    gradient = clew.grad(lambda s: half_plane_coverage(s, 1.0, 0.0))(0.2)
    assert gradient == pytest.approx(1.0, rel=2e-3)


def test_the_shadow_is_a_supersampled_plain_shadow():
    points, steps = pixels()
    found = sphere_visibility(points, LIGHT, CENTER, 1.0, steps)
    shares = (np.arange(16) + 0.5) / 16 - 0.5
    offsets = [a * steps[0] + b * steps[1] for a in shares for b in shares]
    counted = np.mean([~blocked(points + o, LIGHT, CENTER, 1.0) for o in offsets], axis=0)
    mixed = (counted > 0) & (counted < 1)
    assert mixed.sum() > 20
    assert (counted == 0).sum() > 50
    assert (counted == 1).sum() > 50
    np.testing.assert_allclose(found, counted, atol=0.02)
    assert abs(np.mean(found - counted)) < 2e-4 * counted.mean()


def test_the_outline_of_the_shadow_pulls_on_the_light():
    points, steps = pixels()

    def lit(light):
        return np.sum(sphere_visibility(points, light, CENTER, 1.0, steps))

    gradient = clew.grad(lit)(LIGHT)
    assert np.linalg.norm(gradient) > 10.0
    # the plain shadow moves in jumps: a wide difference over pixels split into 16 x 16
    fine, _ = pixels(count=41 * 16, size=0.02 / 16)
    for axis in range(3):
        move = 0.02 * np.eye(3)[axis]
        ends = [np.sum(~blocked(fine, LIGHT + s * move, CENTER, 1.0)) for s in (1, -1)]
        difference = (ends[0] - ends[1]) / 256 / 0.04
        assert abs(gradient[axis] - difference) < 0.01 * np.linalg.norm(gradient)


def test_visibility_derivatives():
    points, steps = pixels()
    counted = sphere_visibility(points, LIGHT, CENTER, 1.0, steps)
    edge = points[(counted > 0.2) & (counted < 0.8)]
    assert len(edge) > 10
    clew.testing.check_derivatives(
        lambda light: sphere_visibility(edge, light, CENTER, 1.0, steps), LIGHT, step=1e-5
    )


@pytest.mark.parametrize(
    "point", [(0, 0, 0.0), (-4.0, 4.8, -5.6 + 1.0), (2.5, -3.0, 4.5), (0, 0, 1.0)]
)
def test_no_nan_through_the_center_or_at_the_light(point):
    """The light's ray through the ball's very middle, and a point at the light itself."""
    light = LIGHT if point[2] else np.array([0, 0, 5.0])
    steps = (np.array([0.01, 0, 0]), np.array([0, 0.01, 0]))
    value, gradient = clew.value_and_grad(
        lambda where: sphere_visibility(np.array(point), where, CENTER, 1.0, steps)
    )(light)
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))


def test_a_ball_behind_the_light_or_behind_the_point_casts_no_shadow():
    steps = (np.array([0.01, 0, 0]), np.array([0, 0.01, 0]))
    center = np.array([0, 0, 3.0])
    seen = [
        sphere_visibility(np.array([0, 0, z]), np.array([0, 0, lamp]), center, 0.5, steps)
        for z, lamp in ((0.0, 2.0), (5.0, 9.0), (0.0, 9.0))
    ]
    assert seen == [1.0, 1.0, 0.0]
