"""Where rays meet spheres and planes, and how much of a hemisphere a polygon fills."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def intersect_sphere(origin: Array, direction: Array, center: Array, radius: Any) -> Array:
    """Return the distance along unit rays to the first point on a sphere; inf if missed.

    Solves ``|o + t d - c| = r`` for the smaller positive t; a ray that only touches has missed.

    >>> float(intersect_sphere(np.zeros(3), np.array([0.0, 0.0, 1.0]), np.array([0, 0, 3.0]), 1.0))
    2.0
    """
    apart = origin - center
    along = np.sum(direction * apart, axis=-1)
    discriminant = along**2 - (np.sum(apart * apart, axis=-1) - radius**2)
    hit = discriminant > 0.0
    root = np.sqrt(np.where(hit, discriminant, 1.0))
    near = np.where(-along - root > 0.0, -along - root, -along + root)
    return np.where(hit & (near > 0.0), near, np.inf)


def intersect_plane(origin: Array, direction: Array, height: float = 0.0) -> Array:
    """Return the distance along rays to the plane z = height; inf if they do not meet it.

    >>> float(intersect_plane(np.array([0, 0, 2.0]), np.array([0.0, 0.0, -1.0])))
    2.0
    """
    fall = direction[..., 2]
    level = fall == 0.0
    distance = (height - origin[..., 2]) / np.where(level, 1.0, fall)
    return np.where(level | (distance <= 0.0), np.inf, distance)


def polygon_form_factor(points: Array, normals: Array, corners: Array) -> Array:
    """Return the cosine-weighted share of the hemisphere that a convex polygon fills.

    Lambert's formula: ``F = 1/(2 pi) |sum_i theta_i n . g_i|`` over the edges, ``theta_i``
    the angle an edge is seen under and ``g_i`` the unit normal of the plane through it and
    the point. The polygon is first clipped to the side the surface faces.

    Parameters
    ----------
    points, normals : array, shape (..., 3)
        Where the surface is and which way it faces (unit vectors).
    corners : array, shape (k, 3)
        The polygon, in order.

    Source: Baum, Rushmeier and Winget (1989), "Improving radiosity solutions".

    >>> square = 1e6 * np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0.0]])
    >>> up, side = np.array([0, 0, -1.0]), np.array([1.0, 0, 0])
    >>> above = np.array([0, 0, 1.0])
    >>> [round(float(polygon_form_factor(above, n, square)), 3) for n in (up, side)]
    [1.0, 0.5]
    """
    start = corners - points[..., None, :]
    stop = np.roll(start, -1, axis=-2)
    before = np.sum(start * normals[..., None, :], axis=-1)
    after = np.roll(before, -1, axis=-1)
    change = np.where(before == after, 1.0, before - after)
    crossing = start + (before / change)[..., None] * (stop - start)
    facing = (before >= 0.0) | (after >= 0.0)
    edges = _arc(
        np.where((before >= 0.0)[..., None], start, crossing),
        np.where((after >= 0.0)[..., None], stop, crossing),
    )
    total = np.sum(np.where(facing[..., None], edges, 0.0), axis=-2)
    # Clipping adds an edge from where the outline leaves the visible side to where it returns.
    leaves, returns = (before >= 0.0) & (after < 0.0), (before < 0.0) & (after >= 0.0)
    exit_ = np.sum(np.where(leaves[..., None], crossing, 0.0), axis=-2)
    entry = np.sum(np.where(returns[..., None], crossing, 0.0), axis=-2)
    clipped = np.any(leaves, axis=-1) & np.any(returns, axis=-1)
    total = total + np.where(clipped[..., None], _arc(exit_, entry), 0.0)
    return np.abs(np.sum(total * normals, axis=-1)) / (2.0 * np.pi)


def _arc(start: Array, stop: Array) -> Array:
    """The angle between two directions, times the unit normal of their plane."""
    normal = np.cross(start, stop)
    size = np.linalg.norm(normal, axis=-1)
    angle = np.arctan2(size, np.sum(start * stop, axis=-1))
    return (angle / np.where(size > 0.0, size, 1.0))[..., None] * normal
