"""What a method sees of a problem: numbers from a flat vector, and nothing of the model.

An :class:`Objective` has a size, bounds, a loss with its gradient, and, when the problem is one
of least squares, its residual linearised at a point.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from clew.solve.linear_models import LinearModel

Array = np.ndarray
INSIDE = 1e-3  # how far a start on a bound is moved inside, relative to the range


class ConstraintFunction(Protocol):
    """A function of the flat vector that must stay between two ends."""

    lower: Array
    upper: Array

    def value(self, x: Array) -> Array:
        """Return its values, of shape (k,)."""
        ...

    def jacobian(self, x: Array) -> Array:
        """Return their Jacobian, of shape (k, n)."""
        ...

    def hessian_product(self, x: Array, multipliers: Array, direction: Array) -> Array:
        """Return the Hessian of ``multipliers . value`` times a direction."""
        ...


class Objective:
    """A function of a flat float64 vector between bounds.

    Parameters
    ----------
    lower, upper : array of shape (size,)
        The bounds; infinite where there is none.
    """

    has_residual = False
    batch: int | None = None
    constraints: Sequence[ConstraintFunction] = ()

    def __init__(self, lower: Array, upper: Array) -> None:
        self.lower = lower
        self.upper = upper

    @property
    def size(self) -> int:
        """The number of unknowns."""
        return self.lower.size

    @property
    def bounded(self) -> bool:
        """Whether any unknown has a bound."""
        return bool(np.isfinite(self.lower).any() or np.isfinite(self.upper).any())

    def project(self, x: Array) -> Array:
        """Return the nearest point between the bounds."""
        return np.clip(x, self.lower, self.upper)

    def projected_gradient(self, x: Array, gradient: Array) -> Array:
        """Return ``x - P(x - g)``: zero exactly where no allowed step lowers the loss."""
        if not self.bounded:
            return gradient
        return x - self.project(x - gradient)

    def value(self, x: Array) -> float:
        """Return the loss."""
        return self.value_and_gradient(x)[0]

    def value_and_gradient(self, x: Array, step: int = 0) -> tuple[float, Array]:
        """Return the loss and its gradient; with minibatches, of the batch of this step."""
        raise NotImplementedError

    def linearise(self, x: Array) -> tuple[float, LinearModel]:
        """Return the loss and the residual's linear model (least squares only)."""
        raise NotImplementedError

    def hessian_product(self, x: Array, direction: Array) -> Array:
        """Return the Hessian times a direction."""
        raise NotImplementedError


class Reparameterised(Objective):
    """An objective without bounds: each bounded unknown is a smooth function of a free one.

    Between two bounds ``x = middle + half sin z``; beyond one ``x = low - 1 + sqrt(z^2 + 1)``
    (James and Roos, MINUIT, Computer Physics Communications 10, 1975). The bounds themselves are
    reached, at a fold where the slope is 0; near them it falls only as the root of the distance.
    """

    def __init__(self, inner: Objective) -> None:
        free = np.full(inner.size, np.inf)
        super().__init__(-free, free)
        self.inner = inner
        self.has_residual = inner.has_residual
        self.batch = inner.batch
        low, high = np.isfinite(inner.lower), np.isfinite(inner.upper)
        self._both = low & high
        self._one = low ^ high
        self._sign = np.where(low, 1.0, -1.0)
        self._end = np.where(low, inner.lower, np.where(high, inner.upper, 0.0))
        upper, lower = (np.where(self._both, end, 0.0) for end in (inner.upper, inner.lower))
        self._half = np.where(self._both, (upper - lower) / 2, 1.0)
        self._middle = (upper + lower) / 2

    def outer(self, x: Array) -> Array:
        """Return the free unknowns for a point; one on a bound is moved a thousandth inside."""
        inside = 1 - INSIDE
        ratio = np.where(self._both, (x - self._middle) / self._half, 0.0)
        between = np.arcsin(np.clip(ratio, -inside, inside))
        least = INSIDE * np.maximum(1.0, np.abs(self._end))
        gap = np.where(self._one, np.maximum(self._sign * (x - self._end), least), 0.0)
        beyond = np.sqrt(gap * (gap + 2))
        return np.where(self._both, between, np.where(self._one, beyond, x))

    def point(self, z: Array) -> Array:
        """Return the bounded point for free unknowns."""
        gap = z**2 / (1 + np.sqrt(z**2 + 1))  # sqrt(z^2 + 1) - 1 without cancellation
        x = np.where(self._one, self._end + self._sign * gap, z)
        x = np.where(self._both, self._middle + self._half * np.sin(z), x)
        return self.inner.project(x)  # a last bit may stick out

    def slopes(self, z: Array) -> tuple[Array, Array]:
        """Return the first and second derivative of the point by the free unknowns."""
        root = np.sqrt(z**2 + 1)
        first = np.where(self._one, self._sign * z / root, 1.0)
        second = np.where(self._one, self._sign / root**3, 0.0)
        first = np.where(self._both, self._half * np.cos(z), first)
        return first, np.where(self._both, -self._half * np.sin(z), second)

    def value(self, x: Array) -> float:
        return self.inner.value(self.point(x))

    def value_and_gradient(self, x: Array, step: int = 0) -> tuple[float, Array]:
        loss, gradient = self.inner.value_and_gradient(self.point(x), step)
        return loss, gradient * self.slopes(x)[0]

    def linearise(self, x: Array) -> tuple[float, LinearModel]:
        loss, model = self.inner.linearise(self.point(x))
        return loss, model.with_columns_scaled(self.slopes(x)[0])

    def hessian_product(self, x: Array, direction: Array) -> Array:
        first, second = self.slopes(x)
        point = self.point(x)
        _, gradient = self.inner.value_and_gradient(point)
        inside = self.inner.hessian_product(point, first * direction)
        return first * inside + second * gradient * direction
