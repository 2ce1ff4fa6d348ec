"""Intersections against points put on the surfaces; form factors against sums over directions."""

import numpy as np
import pytest

import clew
from clew.render import intersect_plane, intersect_sphere, polygon_form_factor

CENTER = np.array([0.3, -0.2, 1.0])


def hemisphere(normal, count=400):
    """Directions about a normal, spread so that each carries the same cosine-weighted share."""
    u, v = (np.mgrid[:count, :count] + 0.5) / count
    radius, angle = np.sqrt(u), 2 * np.pi * v
    helper = np.array([1.0, 0, 0]) if abs(normal[0]) < 0.9 else np.array([0, 1.0, 0])
    first = np.cross(normal, helper)
    first /= np.linalg.norm(first)
    parts = radius * np.cos(angle), radius * np.sin(angle), np.sqrt(1 - u)
    return np.stack(parts, -1) @ np.stack([first, np.cross(normal, first), normal])


def test_sphere_hits_lie_on_the_near_side():
    rng = np.random.default_rng(0)
    origin = np.array([0.0, -6.0, 3.0])
    outward = rng.normal(size=(500, 3))
    outward /= np.linalg.norm(outward, axis=-1, keepdims=True)
    points = CENTER + 0.7 * outward
    away = np.linalg.norm(points - origin, axis=-1)
    found = intersect_sphere(origin, (points - origin) / away[:, None], CENTER, 0.7)
    near = np.sum(outward * (origin - points), axis=-1) > 0
    np.testing.assert_allclose(found[near], away[near], rtol=1e-9)
    assert np.all(found[~near] < away[~near])


@pytest.mark.parametrize(
    ("origin", "direction", "distance"),
    [
        ((0, 0, 0), (0, 0, 1.0), 2.0),
        ((0, 0, 3), (0, 0, 1.0), 1.0),  # from inside: the far side
        ((0, 0, 5), (0, 0, 1.0), np.inf),  # behind
        ((2, 0, 0), (0, 0, 1.0), np.inf),  # beside
        ((1, 0, 0), (0, 0, 1.0), np.inf),  # only touches
    ],
)
def test_sphere_cases(origin, direction, distance):
    center = np.array([0, 0, 3.0])
    found = intersect_sphere(np.array(origin, float), np.array(direction), center, 1.0)
    assert found == distance


def test_plane_cases():
    down, flat, up = np.array([0, 0.6, -0.8]), np.array([1.0, 0, 0]), np.array([0, 0.6, 0.8])
    found = intersect_plane(np.array([0, 0, 4.0]), np.stack([down, flat, up]), height=2.0)
    assert found.tolist() == [2.5, np.inf, np.inf]


def test_a_missed_sphere_sends_back_no_nan():
    rays = np.array([[0, 0, 1.0], [1.0, 0, 0], [0, 1.0, 0]])

    def hit_distance(center):
        distance = intersect_sphere(np.zeros(3), rays, center, 1.0)
        return np.sum(np.where(np.isfinite(distance), distance, 0.0))

    # touching, missing and hitting rays: only the hit moves, one for one with the depth
    np.testing.assert_allclose(clew.grad(hit_distance)(np.array([0.0, 0, 3.0])), [0, 0, 1.0])
    np.testing.assert_allclose(clew.grad(hit_distance)(np.array([1.0, 0, 3.0])), 0.0)


def test_distances_can_be_differentiated():
    rays = np.array([[0, 0, 1.0], [0.6, 0, 0.8]])
    for radius in (1.0, 2.0):
        clew.testing.check_derivatives(
            lambda c, r: intersect_sphere(np.zeros(3), rays[:1], c, r),
            np.array([0.1, 0.2, 4.0]),
            radius,
            step=1e-3,
        )
    clew.testing.check_derivatives(
        lambda o: intersect_plane(o, -rays), np.array([0.0, 0.0, 3.0]), step=1e-3
    )


@pytest.mark.parametrize("normal", [(0, 0, -1.0), (0.6, 0, -0.8), (0.8, 0.36, 0.48), (0, 1.0, 0)])
def test_polygon_fills_what_a_sum_over_directions_says(normal):
    corners = np.array([[-2, -1, 0], [3, -1, 0], [3, 2, 0], [-2, 2, 0.0]])
    point = np.array([0.2, 0.1, 1.0])
    rays = hemisphere(np.array(normal))
    landing = point + intersect_plane(point, rays)[..., None] * np.where(
        rays[..., 2:] < 0, rays, np.nan
    )
    x, y = landing[..., 0], landing[..., 1]
    inside = (x > -2) & (x < 3) & (y > -1) & (y < 2)
    found = polygon_form_factor(point, np.array(normal), corners)
    assert found == pytest.approx(inside.mean(), rel=5e-3)


def test_an_endless_table_leaves_the_sky_half_the_cosine():
    angles = np.linspace(0.05, np.pi - 0.05, 30)
    normals = np.stack([np.sin(angles), np.zeros(30), np.cos(angles)], axis=-1)
    square = 1e7 * np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0.0]])
    sky = 1.0 - polygon_form_factor(np.array([0, 0, 1.0]) + normals, normals, square)
    np.testing.assert_allclose(sky, (1 + np.cos(angles)) / 2, rtol=1e-5)
