"""A pinhole camera and the sRGB curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.core.errors import InputError

Array = Any


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with square pixels.

    Parameters
    ----------
    origin, target : three numbers
        Where it stands and what it looks at, in scene units.
    field_of_view : float
        Horizontal angle of view, degrees.
    width, height : int
        Pixels.
    up : three numbers
        The direction that is upright in the picture.

    Raises
    ------
    InputError
        If origin and target coincide, or the camera looks along ``up``.

    >>> camera = Camera((0, -1, 0), (0, 0, 0), field_of_view=90.0, width=3, height=3)
    >>> camera.directions()[1, 1]
    array([0., 1., 0.])
    """

    origin: Any
    target: Any
    field_of_view: float
    width: int
    height: int
    up: Any = (0.0, 0.0, 1.0)

    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the unit vectors forward, right and upward in the picture."""
        forward = np.subtract(self.target, self.origin, dtype=np.float64)
        right = np.cross(forward, self.up)
        if not np.linalg.norm(right) > 0.0:
            raise InputError(
                f"Camera: origin {self.origin}, target {self.target} and up {self.up} "
                "do not give a direction of view",
                "look at another point, not straight along up",
            )
        forward = forward / np.linalg.norm(forward)
        right = right / np.linalg.norm(right)
        return forward, right, np.cross(right, forward)

    def directions(self, shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
        """Return the unit direction through each pixel's middle, shape (height, width, 3).

        ``shift`` moves the point in the pixel, right and down, in pixels.
        """
        forward, right, upward = self.axes()
        half = np.tan(np.radians(self.field_of_view) / 2.0)
        column = (np.arange(self.width) + 0.5 + shift[0]) / self.width * 2.0 - 1.0
        row = (np.arange(self.height) + 0.5 + shift[1]) / self.height * 2.0 - 1.0
        x, y = np.meshgrid(half * column, -half * self.height / self.width * row)
        rays = forward + x[..., None] * right + y[..., None] * upward
        return rays / np.linalg.norm(rays, axis=-1, keepdims=True)


def srgb_encode(linear: Array) -> Array:
    """Return the sRGB value of linear light, both in 0..1.

    ``12.92 L`` up to 0.0031308, above it ``1.055 L^(1/2.4) - 0.055`` (IEC 61966-2-1).

    >>> float(np.round(srgb_encode(np.array(0.2140)), 3))
    0.5
    """
    small = linear <= 0.0031308
    curve = 1.055 * np.where(small, 1.0, linear) ** (1.0 / 2.4) - 0.055
    return np.where(small, 12.92 * linear, curve)


def srgb_decode(encoded: Array) -> Array:
    """Return the linear light of an sRGB value, both in 0..1 (IEC 61966-2-1).

    >>> float(np.round(srgb_decode(np.array(0.5)), 3))
    0.214
    """
    small = encoded <= 0.04045
    curve = ((np.where(small, 1.0, encoded) + 0.055) / 1.055) ** 2.4
    return np.where(small, encoded / 12.92, curve)
