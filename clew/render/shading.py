"""Light on matte surfaces: inverse squares, shadows, open sky."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import erf

Array = Any
BOX_PIXEL = 1.0 / np.sqrt(12.0)
"""Standard deviation, in pixels, of an even response over one pixel."""


def irradiance(points: Array, normals: Array, light: Array, intensity: Array) -> Array:
    """Return the light that a point source sends onto a surface.

    ``E = I max(0, n . w) / d^2`` with w the unit direction to the light and d its distance.

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
    cosine = np.sum(path * normals, axis=-1) / np.sqrt(square)
    return intensity * np.maximum(cosine, 0.0) / square


def sky_beside_sphere(points: Array, center: Array, radius: Any) -> Array:
    """Return the share of an even sky that reaches points of a level plane under a sphere.

    A sphere of radius r at distance d, seen at an angle a from the zenith and wholly above
    the horizon, covers ``cos(a) (r/d)^2`` of the cosine-weighted hemisphere (Howell, "A
    Catalog of Radiation Heat Transfer Configuration Factors", B-43). For a sphere that rests
    on the plane the same holds up to its touching the horizon.

    >>> center = np.array([0.0, 0.0, 1.0])
    >>> float(sky_beside_sphere(np.array([1e6, 0.0, 0.0]), center, 1.0))
    1.0
    """
    apart = center - points
    square = np.sum(apart * apart, axis=-1)
    return 1.0 - apart[..., 2] / np.sqrt(square) * radius**2 / square


def sphere_visibility(
    points: Array,
    light: Array,
    center: Array,
    radius: Any,
    steps: tuple[Array, Array],
    blur: Array = BOX_PIXEL,
) -> Array:
    """Return the share of each pixel from which a point light is seen past a sphere.

    The edge of the shadow passes over the pixels as a straight line; its distance, in
    pixels, is compared with the pixel's response, taken as a normal distribution. The share is
    smooth in the light's position, so that the shadow's outline pulls on it: a plain test
    of visibility would have gradient zero almost everywhere.

    Parameters
    ----------
    points : array, shape (..., 3)
        Surface points at the pixels' middles.
    light, center : array, shape (3,)
    radius : float
    steps : two arrays, shape (..., 3)
        How the point moves from one pixel to the next, right and down.
    blur : float
        Standard deviation of a pixel's response, in pixels.

    >>> step = (np.array([0.01, 0, 0]), np.array([0, 0.01, 0]))
    >>> light, center = np.array([0, 0, 5.0]), np.array([0, 0, 2.0])
    >>> float(sphere_visibility(np.zeros(3), light, center, 1.0, step))
    0.0
    """
    path = light - points
    apart = points - center
    square = np.sum(path * path, axis=-1)
    place = -np.sum(path * apart, axis=-1) / square
    nearest = apart + place[..., None] * path
    distance = np.sqrt(np.sum(nearest * nearest, axis=-1) + 1e-12)
    # Moving the point moves the ray at the sphere by what is left of the way to the light.
    lever = (1.0 - place) / distance
    right = lever * np.sum(nearest * steps[0], axis=-1)
    down = lever * np.sum(nearest * steps[1], axis=-1)
    pixels = (distance - radius) / np.sqrt(right**2 + down**2 + 1e-12)
    seen = 0.5 * (1.0 + erf(pixels / (blur * np.sqrt(2.0))))
    return np.where((place > 0.0) & (place < 1.0), seen, 1.0)
