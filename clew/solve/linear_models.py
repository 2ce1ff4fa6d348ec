"""A residual linearised at a point: ``r(x + p) ~ r + J p``, and its damped step between bounds.

The dense model keeps only the triangle of a QR factorisation of ``[J r]``: 200,000 residuals of 9
parameters become a 10 x 10 triangle, and the condition number is not squared as it is in ``J' J``.
The operator model keeps products with ``J`` and ``J'`` and solves by conjugate gradients.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Array = np.ndarray


class LinearModel:
    """The model ``0.5 |r + J p|^2`` of a least-squares loss around a point.

    Attributes
    ----------
    gradient : array of shape (n,)
        ``J' r``.
    residual_norm : float
        ``|r|``.
    column_norms : array of shape (n,)
        The lengths of the columns of J (an estimate for all alike in the operator model).
    """

    gradient: Array
    residual_norm: float
    column_norms: Array

    def product_norm(self, step: Array) -> float:
        """Return ``|J p|``."""
        raise NotImplementedError

    def step(self, damping: float, scale: Array, low: Array, high: Array) -> Array:
        """Minimise ``0.5 |r + J p|^2 + 0.5 damping |scale p|^2`` over ``low <= p <= high``."""
        raise NotImplementedError

    def with_columns_scaled(self, factors: Array) -> LinearModel:
        """Return the model for ``x = x(z)`` with ``dx/dz = factors``."""
        raise NotImplementedError

    def reduction(self, step: Array) -> float:
        """Return by how much the model says that a step lowers the loss."""
        return -float(self.gradient @ step) - 0.5 * self.product_norm(step) ** 2

    def cosine(self, free: Array) -> float:
        """Return the largest cosine between the residual and a free column of J.

        It is zero at a solution and does not depend on the units of anything.
        """
        lengths = self.column_norms * self.residual_norm
        seen = free & (lengths > 0)
        if not seen.any():
            return 0.0
        return float(np.max(np.abs(self.gradient[seen]) / lengths[seen]))


class DenseModel(LinearModel):
    """The model of a Jacobian given as an array.

    >>> model = DenseModel.of(np.array([[1.0], [1.0]]), np.array([-1.0, -3.0]))
    >>> free = np.full(1, np.inf)
    >>> model.step(0.0, np.ones(1), -free, free)
    array([2.])
    """

    def __init__(self, triangle: Array, side: Array) -> None:
        self.triangle = triangle
        self.side = side
        self.gradient = triangle.T @ side
        self.residual_norm = float(np.linalg.norm(side))
        self.column_norms = np.linalg.norm(triangle, axis=0)

    @classmethod
    def of(cls, jacobian: Array, residual: Array) -> DenseModel:
        """Reduce a Jacobian of shape (m, n) and a residual of shape (m,) to their triangle."""
        stacked = np.asarray(np.linalg.qr(np.column_stack([jacobian, residual]), mode="r"))
        return cls(stacked[:, :-1], stacked[:, -1])

    def product_norm(self, step: Array) -> float:
        return float(np.linalg.norm(self.triangle @ step))

    def with_columns_scaled(self, factors: Array) -> DenseModel:
        return DenseModel(self.triangle * factors, self.side)

    def step(self, damping: float, scale: Array, low: Array, high: Array) -> Array:
        rows = self.triangle / scale
        target = -self.side
        if damping > 0:
            rows = np.vstack([rows, np.sqrt(damping) * np.eye(scale.size)])
            target = np.concatenate([target, np.zeros(scale.size)])
        return bounded_least_squares(rows, target, low * scale, high * scale) / scale


def bounded_least_squares(rows: Array, target: Array, low: Array, high: Array) -> Array:
    """Minimise ``|A q - b|`` over ``low <= q <= high``, where ``low <= 0 <= high``.

    An active-set method: it moves towards the minimum over the unknowns off their bounds, stops
    at the first bound it meets, and releases the bound that pulls inwards the most
    (Stark and Parker, Bounded-variable least squares, Computational Statistics 10, 1995).
    """
    best = np.linalg.lstsq(rows, target, rcond=None)[0]
    if np.all(best >= low) and np.all(best <= high):
        return best
    q = np.zeros(low.size)
    pull = rows.T @ target
    held = ((low == 0) & (pull < 0)) | ((high == 0) & (pull > 0))
    for _ in range(10 * low.size + 20):
        free = ~held
        wanted = q.copy()
        if free.any():
            rest = target - rows[:, held] @ q[held]
            wanted[free] = np.linalg.lstsq(rows[:, free], rest, rcond=None)[0]
        hit, fraction = _first_bound(q, wanted, low, high, free)
        q = q + fraction * (wanted - q)
        if hit >= 0:
            q[hit] = low[hit] if wanted[hit] < low[hit] else high[hit]
            held[hit] = True
            continue
        q = np.clip(q, low, high)
        pull = rows.T @ (target - rows @ q)
        inward = np.where(held, np.where(q == low, pull, 0) + np.where(q == high, -pull, 0), 0)
        noise = 1e-13 * np.linalg.norm(rows, axis=0) * np.linalg.norm(target)
        inward[inward <= noise] = 0
        if not inward.any():
            break
        held[np.argmax(inward)] = False
    return q


def _first_bound(
    q: Array, wanted: Array, low: Array, high: Array, free: Array
) -> tuple[int, float]:
    """Return the first unknown to meet a bound on the way (or -1), and how far that is."""
    move = wanted - q
    room = np.where(move < 0, low - q, high - q)
    over = free & ((wanted < low) | (wanted > high))
    if not over.any():
        return -1, 1.0
    fractions = np.full(q.size, np.inf)
    fractions[over] = room[over] / move[over]
    hit = int(np.argmin(fractions))
    return hit, float(max(fractions[hit], 0.0))


class OperatorModel(LinearModel):
    """The model of a Jacobian too large to form, given by its products.

    Parameters
    ----------
    forward, backward : callable
        ``v -> J v`` and ``w -> J' w``.
    residual : array of shape (m,)
    """

    def __init__(
        self,
        forward: Callable[[Array], Array],
        backward: Callable[[Array], Array],
        residual: Array,
    ) -> None:
        self.forward = forward
        self.backward = backward
        self.residual = residual
        self.gradient = backward(residual)
        self.residual_norm = float(np.linalg.norm(residual))
        length = float(np.linalg.norm(self.gradient))
        stretch = float(np.linalg.norm(forward(self.gradient))) / length if length > 0 else 0.0
        self.column_norms = np.full(self.gradient.size, stretch)

    def product_norm(self, step: Array) -> float:
        return float(np.linalg.norm(self.forward(step)))

    def with_columns_scaled(self, factors: Array) -> OperatorModel:
        return OperatorModel(
            lambda v: self.forward(factors * v),
            lambda w: factors * self.backward(w),
            self.residual,
        )

    def step(self, damping: float, scale: Array, low: Array, high: Array) -> Array:
        """As in the base class, inexactly: rounds of conjugate gradients off the bounds."""
        p = np.zeros(scale.size)
        slope = self.gradient
        held = ((low == 0) & (slope > 0)) | ((high == 0) & (slope < 0))
        for _ in range(10):
            p = p + self._conjugate(-slope, ~held, damping * scale**2)
            outside = (p < low) | (p > high)
            p = np.clip(p, low, high)
            if not outside.any():
                break
            held |= outside
            slope = self.backward(self.residual + self.forward(p)) + damping * scale**2 * p
        return p

    def _conjugate(self, right: Array, free: Array, ridge: Array) -> Array:
        right = np.where(free, right, 0.0)
        p = np.zeros(right.size)
        rest = right
        direction = rest
        squared = float(rest @ rest)
        goal = 1e-6 * squared  # a thousandth of the first residual: the steps are inexact
        for _ in range(max(20, min(right.size, 200))):
            if squared <= goal or squared == 0:
                break
            image = self.backward(self.forward(direction)) + ridge * direction
            image = np.where(free, image, 0.0)
            curvature = float(direction @ image)
            if curvature <= 0:
                break
            length = squared / curvature
            p = p + length * direction
            rest = rest - length * image
            before, squared = squared, float(rest @ rest)
            direction = rest + (squared / before) * direction
        return p
