"""Krylov methods on many lanes at once: they need products with the matrix only.

Each lane stops by itself; all lanes share the calls of the operator.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clew.implicit.operators import Apply, Rows

_RESTART = 60
_ROUNDING = 16.0


@dataclass
class Outcome:
    """What an iteration reached: per lane the residual relative to the right-hand side."""

    x: Rows
    residual: np.ndarray
    converged: np.ndarray
    negative: np.ndarray
    iterations: int


def _dot(left: Rows, right: Rows) -> np.ndarray:
    return np.einsum("ij,ij->i", left, right)


def _norm(rows: Rows) -> np.ndarray:
    # Scaled, so that squares neither overflow nor vanish.
    top = np.max(np.abs(rows), axis=-1, initial=0.0)
    safe = np.where(top > 0, top, 1.0)
    return safe * np.sqrt(_dot(rows / safe[:, None], rows / safe[:, None]))


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom != 0)


def conjugate_gradients(
    apply: Apply, b: Rows, precondition: Apply | None, tolerance: float, steps: int
) -> Outcome:
    """Solve ``A x = b`` for symmetric positive definite A, by conjugate gradients.

    A lane where ``p^T A p <= 0`` is met stops where it is and is marked ``negative``.
    Hestenes & Stiefel (1952); preconditioned as in Saad (2003), algorithm 9.1.

    >>> matrix = np.array([[2.0, 1.0], [1.0, 3.0]])
    >>> found = conjugate_gradients(lambda v: v @ matrix, np.array([[3.0, 4.0]]), None, 1e-14, 9)
    >>> found.x
    array([[1., 1.]])
    """
    x = np.zeros_like(b)
    r = b.copy()
    scale = _norm(b)
    reach = np.zeros(len(b))
    eps = np.finfo(b.dtype).eps
    z = r if precondition is None else precondition(r)
    p = z.copy()
    rho = _dot(r, z)
    negative = np.zeros(len(b), bool)
    done = scale == 0
    iterations = 0
    while iterations < steps and not done.all():
        iterations += 1
        q = apply(p)
        curvature = _dot(p, q)
        negative |= ~done & ~(curvature > 0)
        done = done | negative
        alpha = np.where(done, 0.0, _ratio(rho, np.where(done, 1.0, curvature)))[:, None]
        x = x + alpha * p
        r = r - alpha * q
        reach = np.maximum(reach, _ratio(_norm(q), _norm(p)))
        done = done | (_norm(r) <= tolerance * scale + _ROUNDING * eps * reach * _norm(x))
        z = r if precondition is None else precondition(r)
        before, rho = rho, _dot(r, z)
        p = z + _ratio(rho, before)[:, None] * p
    return Outcome(x, _ratio(_norm(r), scale), done & ~negative, negative, iterations)


def gmres(
    apply: Apply, b: Rows, precondition: Apply | None, tolerance: float, steps: int
) -> Outcome:
    """Solve ``A x = b`` by restarted GMRES, preconditioned on the right.

    Saad & Schultz (1986); the residual monitored is the true one.

    >>> matrix = np.array([[0.0, 1.0], [-1.0, 1.0]])
    >>> found = gmres(lambda v: v @ matrix.T, np.array([[2.0, 1.0]]), None, 1e-14, 9)
    >>> bool(found.converged.all()), found.x.round(12)
    (True, array([[1., 2.]]))
    """
    x = np.zeros_like(b)
    r = b.copy()
    scale = _norm(b)
    eps = np.finfo(b.dtype).eps
    reach = np.zeros(len(b))
    done = scale == 0
    stuck = np.zeros(len(b), bool)
    restart = min(_RESTART, b.shape[-1], steps)
    iterations = 0
    while iterations < steps and not (done | stuck).all():
        goal = np.where(done | stuck, np.inf, tolerance * scale)
        move, used, seen = _arnoldi_cycle(apply, r, precondition, goal, restart)
        iterations += used
        reach = np.maximum(reach, seen)
        update = np.where((done | stuck)[:, None], 0.0, move)
        before = _norm(r)
        x = x + update
        r = b - apply(x)
        done = done | (_norm(r) <= tolerance * scale + _ROUNDING * eps * reach * _norm(x))
        # A whole cycle without progress: more of them change nothing.
        stuck |= ~done & ~(_norm(r) < 0.99 * before)
    residual = _ratio(_norm(r), scale)
    return Outcome(x, residual, done, np.zeros(len(b), bool), iterations)


def _arnoldi_cycle(
    apply: Apply, r: Rows, precondition: Apply | None, goal: np.ndarray, restart: int
) -> tuple[Rows, int, np.ndarray]:
    """Return the correction from one Krylov space, its dimension, and the size of A seen."""
    lanes, n = r.shape
    basis = np.zeros((restart + 1, lanes, n), r.dtype)
    flexible = basis if precondition is None else np.zeros((restart, lanes, n), r.dtype)
    triangle = np.zeros((lanes, restart + 1, restart), r.dtype)
    cosines = np.zeros((restart, lanes), r.dtype)
    sines = np.zeros((restart, lanes), r.dtype)
    right = np.zeros((lanes, restart + 1), r.dtype)
    right[:, 0] = _norm(r)
    basis[0] = r * _ratio(np.ones(lanes), right[:, 0])[:, None]
    reach = np.zeros(lanes)
    used = 0
    for k in range(restart):
        if precondition is not None:
            flexible[k] = precondition(basis[k])
        w = apply(flexible[k])
        reach = np.maximum(reach, _ratio(_norm(w), _norm(flexible[k])))
        triangle[:, : k + 1, k], w = _orthogonalised(basis[: k + 1], w)
        height = _norm(w)
        # What is left after cancelling is rounding: the space is exhausted.
        height[height <= _ROUNDING * np.finfo(r.dtype).eps * reach] = 0.0
        triangle[:, k + 1, k] = height
        basis[k + 1] = w * _ratio(np.ones(lanes), height)[:, None]
        _rotate(triangle, cosines, sines, right, k)
        used = k + 1
        if (np.abs(right[:, k + 1]) <= goal).all():
            break
    y = _back_substituted(triangle[:, :used, :used], right[:, :used])
    return np.einsum("ik,kij->ij", y, flexible[:used]), used, reach


def _orthogonalised(basis: np.ndarray, w: Rows) -> tuple[np.ndarray, Rows]:
    """Take the part along the basis out of ``w``, twice, which is enough (Kahan, Parlett)."""
    total = np.zeros((w.shape[0], len(basis)), w.dtype)
    for _ in range(2):
        part = np.einsum("kij,ij->ik", basis, w)
        w = w - np.einsum("ik,kij->ij", part, basis)
        total += part
    return total, w


def _rotate(
    triangle: np.ndarray, cosines: np.ndarray, sines: np.ndarray, right: np.ndarray, k: int
) -> None:
    """Apply the old Givens rotations to column k, and make one that clears its last entry."""
    column = triangle[:, :, k]
    for i in range(k):
        upper = cosines[i] * column[:, i] + sines[i] * column[:, i + 1]
        column[:, i + 1] = cosines[i] * column[:, i + 1] - sines[i] * column[:, i]
        column[:, i] = upper
    length = np.hypot(column[:, k], column[:, k + 1])
    cosines[k] = np.where(length == 0, 1.0, _ratio(column[:, k], length))
    sines[k] = _ratio(column[:, k + 1], length)
    column[:, k] = length
    column[:, k + 1] = 0.0
    right[:, k + 1] = -sines[k] * right[:, k]
    right[:, k] = cosines[k] * right[:, k]


def _back_substituted(triangle: np.ndarray, right: np.ndarray) -> np.ndarray:
    y = np.zeros_like(right)
    for i in range(right.shape[1] - 1, -1, -1):
        rest = right[:, i] - np.einsum("ij,ij->i", triangle[:, i, i + 1 :], y[:, i + 1 :])
        y[:, i] = _ratio(rest, triangle[:, i, i])
    return y
