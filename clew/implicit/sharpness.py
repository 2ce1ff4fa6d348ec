"""Whether a root is sharp enough to have a derivative.

At a multiple root the Jacobian is singular; but at the point that a solver returns, which is
off by a little, it is not, and a solve with it gives a large number instead of an error. So:
look along the direction d that the inverse of the Jacobian magnifies, and ask whether the
linear model describes the function on any scale t at all::

    |J^-1 (F(x + t d) - F(x) - t J d)|  <=  1/4 |t d|

Near a simple root it does, below the scale where the function curves and above the scale of
rounding. At a multiple root these two meet. Scales of the error of x itself (Newton's step
there) do not count. Nothing here depends on the units of x or F.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from clew.core.errors import ClewError
from clew.core.graph import Graph
from clew.core.program import program
from clew.implicit.operators import Rows, largest, rows_of
from clew.trace import GuardFailed

_BENDING = 0.25
_BEYOND = 16.0
_RATIO = 32.0
_SCALES = (0, 1, -1, 2, -2, 3, -3, 4, -4, -5)


class Inverse:
    """Matrices, one per lane, balanced by powers of 2 so that rows and columns have size 1.

    >>> inverse = Inverse(np.array([[[1e20, 0.0], [0.0, 1e-20]]]))
    >>> inverse(np.array([[1e20, 1e-20]]))
    array([[1., 1.]])
    """

    def __init__(self, matrices: np.ndarray) -> None:
        self.left = _power_of_two(np.max(np.abs(matrices), axis=2))
        scaled = matrices * self.left[:, :, None]
        self.right = _power_of_two(np.max(np.abs(scaled), axis=1))
        self.balanced = scaled * self.right[:, None, :]

    def flipped(self) -> Inverse:
        """Return the inverse of the transpose."""
        other = object.__new__(Inverse)
        other.left, other.right = self.right, self.left
        other.balanced = np.swapaxes(self.balanced, 1, 2)
        return other

    def __call__(self, rows: Rows) -> Rows:
        """Solve for one right-hand side per lane, or for several columns of lanes."""
        lanes, n, _ = self.balanced.shape
        columns = np.moveaxis(rows.reshape((-1, lanes, n)), 0, -1)
        x = np.linalg.solve(self.balanced, self.left[:, :, None] * columns)
        x = self.right[:, :, None] * x
        return np.ascontiguousarray(np.moveaxis(x, -1, 0)).reshape(rows.shape)


def _power_of_two(size: np.ndarray) -> np.ndarray:
    safe = np.where(size > 0, size, 1.0)
    return np.ldexp(np.ones_like(safe), -np.frexp(safe)[1]).astype(size.dtype)


def is_sharp(equations: Graph, held: Sequence[Any], inverse: Inverse) -> np.ndarray:
    """Say, per lane, whether the linear model holds on some scale.

    ``equations`` maps ``(x, *rest)`` to the residual, and ``held`` are those values.

    >>> import clew
    >>> double = clew.trace(lambda x: (x - 1.0) ** 2)(np.ones(1))
    >>> x = np.array([1.0 + 1e-11])
    >>> is_sharp(double, [x], Inverse(2 * (x - 1.0)[None, None]))
    array([False])
    """
    x, *rest = held
    kind = equations.inputs[0].type

    def residual(rows: Rows) -> Rows:
        point = rows.astype(kind.dtype, copy=False).reshape(kind.shape)
        try:
            return rows_of(program(equations)(np, point, *rest)[0])
        except (ClewError, GuardFailed, np.linalg.LinAlgError):
            # Too far out for what the function itself solves or assumes: another scale may do.
            return np.full_like(rows, np.nan)

    rows = rows_of(x)
    r = residual(rows)
    eps = np.finfo(kind.dtype).eps
    # Any direction will do: the inverse turns it to the one it magnifies most.
    probe = np.random.default_rng(0).uniform(-1.0, 1.0, rows.shape)
    direction = inverse(probe / inverse.left)
    size = largest(direction / inverse.right)
    direction = direction / np.where(size > 0, size, 1.0)[:, None]
    image = probe / inverse.left / np.where(size > 0, size, 1.0)[:, None]
    error = largest(inverse(r) / inverse.right)
    reach = largest(rows / inverse.right)
    least = np.maximum(_BEYOND * error, 4 * eps * reach)
    middle = np.maximum(least, np.sqrt(eps) * np.where(reach > 0, reach, 1.0))
    sharp = ~np.isfinite(error)
    judged = sharp.copy()
    for power in _SCALES:
        t = np.maximum(middle * _RATIO**power, least)[:, None]
        excess = largest(inverse(residual(rows + t * direction) - r - t * image) / inverse.right)
        judged |= np.isfinite(excess)
        sharp |= excess <= _BENDING * t[:, 0]
        if sharp.all():
            break
    return sharp | ~judged
