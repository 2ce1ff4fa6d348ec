"""Light on matte surfaces: inverse squares, shadows, open sky."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any
TINY = 1e-12
"""Relative; keeps roots and quotients differentiable where they would be 0 / 0."""


def irradiance(points: Array, normals: Array, light: Array, intensity: Array) -> Array:
    """Return the light that a point source sends onto a surface.

    ``E = I max(0, n . w) / d^2`` with w the unit direction to the light and d its distance;
    0 at the light itself. A matte surface of albedo a then has radiance ``a E / pi``.

    Parameters
    ----------
    points, normals : array, shape (..., 3)
    light : array, shape (3,)
    intensity : float
        Radiant intensity, power per solid angle.

    >>> up = np.array([0.0, 0.0, 1.0])
    >>> float(irradiance(np.zeros(3), up, np.array([0.0, 0.0, 2.0]), 8.0))
    2.0
    """
    path = light - points
    square = np.sum(path * path, axis=-1)
    square = np.where(square > 0.0, square, 1.0)
    cosine = np.sum(path * normals, axis=-1) / np.sqrt(square)
    return intensity * np.maximum(cosine, 0.0) / square


def sky_beside_sphere(points: Array, center: Array, radius: Any) -> Array:
    """Return the share of an even sky that reaches points of a level plane under a sphere.

    A sphere of radius r at distance d fills a cone of half-angle ``asin(r/d)``. By Nusselt's
    construction a cone wholly above the horizon, its axis at an angle a from the zenith, covers
    ``cos(a) (r/d)^2`` of the cosine-weighted hemisphere. A sphere that rests on the plane
    touches the horizon and is still covered.

    >>> center = np.array([0.0, 0.0, 1.0])
    >>> float(sky_beside_sphere(np.array([1e6, 0.0, 0.0]), center, 1.0))
    1.0
    """
    apart = center - points
    square = np.sum(apart * apart, axis=-1)
    return 1.0 - apart[..., 2] / np.sqrt(square) * radius**2 / square


def half_plane_coverage(distance: Array, right: Array, down: Array) -> Array:
    """Return the share of a square pixel on the positive side of a straight edge.

    A signed distance s changes by ``right`` and ``down`` from one pixel to the next, so over the
    pixel it is s plus two even distributions, of widths ``a = |right|`` and ``b = |down|``. The
    share where it is positive is the second difference of a ramp squared::

        [(s + (a+b)/2)+^2 - (s + (a-b)/2)+^2 - (s - (a-b)/2)+^2 + (s - (a+b)/2)+^2] / (2 a b)

    Exact for a straight edge and an even (box) pixel response. An edge within a thousandth of a
    pixel's row or column is turned by that much, so that no division is by zero.

    Parameters
    ----------
    distance, right, down : array, shape (...)
        Signed distance at the pixel's middle, and its steps; any one unit of length.

    >>> [float(half_plane_coverage(np.array(s), 1.0, 1.0)) for s in (-1.0, -0.5, 0.0, 1.0)]
    [0.0, 0.125, 0.5, 1.0]
    """
    size = np.abs(right) + np.abs(down) + TINY
    a = np.maximum(np.abs(right) / size, 1e-3)
    b = np.maximum(np.abs(down) / size, 1e-3)
    # Past a pixel's reach the share is 0 or 1; held there, large squares do not cancel.
    reach = 0.5 * (a + b)
    s = np.minimum(np.maximum(distance / size, -reach), reach)
    tilt = 0.5 * (a - b)
    ramps = (s + reach) ** 2 - np.maximum(s + tilt, 0.0) ** 2 - np.maximum(s - tilt, 0.0) ** 2
    return ramps / (2.0 * a * b)


def sphere_visibility(
    points: Array, light: Array, center: Array, radius: Any, steps: tuple[Array, Array]
) -> Array:
    """Return the share of each pixel from which a point light is seen past a sphere.

    The edge of the shadow is taken as straight inside a pixel, and the share is the part of
    the pixel beyond it (:func:`half_plane_coverage`). It is continuous in the light's
    position, with a slope wherever the edge crosses the pixel, so that the shadow's outline
    pulls on it: a plain test of visibility would have gradient zero almost everywhere.

    Parameters
    ----------
    points : array, shape (..., 3)
        Surface points at the pixels' middles.
    light, center : array, shape (3,)
    radius : float
    steps : two arrays, shape (..., 3)
        How the point moves from one pixel to the next, right and down.

    >>> step = (np.array([0.01, 0, 0]), np.array([0, 0.01, 0]))
    >>> light, center = np.array([0, 0, 5.0]), np.array([0, 0, 2.0])
    >>> float(sphere_visibility(np.zeros(3), light, center, 1.0, step))
    0.0
    """
    path = light - points
    apart = points - center
    square = np.sum(path * path, axis=-1)
    square = np.where(square > 0.0, square, 1.0)
    place = -np.sum(path * apart, axis=-1) / square
    nearest = apart + place[..., None] * path
    distance = np.sqrt(np.sum(nearest * nearest, axis=-1) + TINY * radius**2)
    # Moving the point moves the ray at the sphere by what is left of the way to the light.
    lever = (1.0 - place) / distance
    right = lever * np.sum(nearest * steps[0], axis=-1)
    down = lever * np.sum(nearest * steps[1], axis=-1)
    seen = half_plane_coverage(distance - radius, right, down)
    return np.where((place > 0.0) & (place < 1.0), seen, 1.0)
