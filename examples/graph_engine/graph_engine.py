"""The graph engine: any computation is a graph, and a value used twice hears both its uses.

1. The lighthouse (Griewank and Walther, Evaluating Derivatives, section 2.1): the beam of a
   lighthouse at distance nu from a quay of slope gamma, turning at omega, meets the quay at
   ``y = nu tan(omega t) / (gamma - tan(omega t))`` along it and gamma y across. ``tan`` is used
   twice, and so is the quotient. Its derivative is worked out by hand below.
2. A matrix used in three places at once, ``sum((A A^T) A * W)``, against a complex step.
3. The sum over uses: ``clew.flow`` tells the gradient along each use apart. Each is that of a
   function of three different matrices; together they are the whole gradient.
4. Paths: eight lead from the lighthouse's result back to the angle, since the tangent is used
   twice, and the quotient is four factors of two squares.

    python examples/graph_engine/graph_engine.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import clew

TOLERANCE = 1e-12
LIGHTHOUSE = {"nu": 2.0, "gamma": 1.3, "omega": 0.7, "t": 0.9}
WEIGHT = np.cos(np.arange(12.0)).reshape(4, 3)


def lighthouse(p: dict) -> Any:
    """Return where the beam meets the quay: its distance from the origin, squared."""
    slope = np.tan(p["omega"] * p["t"])
    along = p["nu"] * slope / (p["gamma"] - slope)
    across = p["gamma"] * along
    return along * along + across * across


def lighthouse_by_hand(p: dict) -> dict:
    """Return the gradient of :func:`lighthouse`, derived with pen and paper."""
    slope = np.tan(p["omega"] * p["t"])
    gap = p["gamma"] - slope
    along = p["nu"] * slope / gap
    stretch = 1.0 + p["gamma"] ** 2
    by_along = 2.0 * along * stretch
    by_slope = by_along * p["nu"] * p["gamma"] / gap**2
    by_angle = by_slope * (1.0 + slope**2)
    return {
        "nu": by_along * slope / gap,
        "gamma": 2.0 * p["gamma"] * along**2 - by_along * p["nu"] * slope / gap**2,
        "omega": by_angle * p["t"],
        "t": by_angle * p["omega"],
    }


def cubic(first: Any, second: Any, third: Any) -> Any:
    """Return ``sum((first second^T) third * W)``; all three will be the same matrix."""
    return np.sum(((first @ second.T) @ third) * WEIGHT)


def complex_step(f: Callable[[Any], Any], x: np.ndarray) -> np.ndarray:
    """Return the gradient by ``Im f(x + i h) / h``, exact to rounding (Squire and Trapp 1998)."""
    gradient = np.empty(x.shape)
    step = 1e-200
    for place in np.ndindex(x.shape):
        moved = x.astype(complex)
        moved[place] += 1j * step
        gradient[place] = f(moved).imag / step
    return gradient


def error(found: Any, expected: Any) -> float:
    """Return the largest difference, relative to the largest value expected."""
    found, expected = np.asarray(found), np.asarray(expected)
    return float(np.max(np.abs(found - expected)) / np.max(np.abs(expected)))


def check_lighthouse() -> dict[str, float]:
    """Print the lighthouse's graph and gradient; return the errors."""
    print("the lighthouse as a graph:\n")
    print(clew.trace(lighthouse)(LIGHTHOUSE))
    found = clew.grad(lighthouse)(LIGHTHOUSE)
    expected = lighthouse_by_hand(LIGHTHOUSE)
    print(f"\n{'':8}{'Clew':>22}{'by hand':>22}")
    for name in LIGHTHOUSE:
        print(f"{name:8}{float(found[name]):22.15f}{float(expected[name]):22.15f}")
    count = clew.flow(lighthouse)(LIGHTHOUSE).count("t")
    print(f"\npaths from the result back to t: {count}")
    names = list(LIGHTHOUSE)
    return {
        "lighthouse against the derivative by hand": error(
            [found[name] for name in names], [expected[name] for name in names]
        ),
        "paths to the angle against eight": abs(count - 8.0),
    }


def check_matrix() -> dict[str, float]:
    """Return the errors of the gradient of a matrix used three times."""
    matrix = np.random.default_rng(0).normal(size=(4, 3))
    print("\na matrix used in three places:\n")
    print(clew.trace(lambda a: cubic(a, a, a))(matrix))
    whole = clew.grad(lambda a: cubic(a, a, a))(matrix)
    uses = clew.flow(lambda a: cubic(a, a, a))(matrix).by_use()
    print("\nnorm of the gradient along each use:")
    for use in uses:
        print(f"  {use.node:12}{use.norm:8.4f}")
    print(f"  {'their sum':12}{np.linalg.norm(whole):8.4f}")
    curvature = clew.hessian(lambda a: cubic(a, a, a))(matrix)
    alone = clew.grad(cubic, argnums=(1, 0, 2))(matrix, matrix.copy(), matrix.copy())
    return {
        "matrix against a complex step": error(
            whole, complex_step(lambda a: cubic(a, a, a), matrix)
        ),
        "gradient against the sum over its uses": error(
            whole, sum(use.contribution for use in uses)
        ),
        "each use against a matrix of its own": max(
            error(use.contribution, other) for use, other in zip(uses, alone, strict=True)
        ),
        # Euler's theorem for a function of degree three: H a = 2 g.
        "Hessian against Euler's theorem": error(
            np.tensordot(curvature, matrix, 2), 2.0 * np.asarray(whole)
        ),
    }


def main() -> int:
    """Print graphs, gradients and checks."""
    errors = {**check_lighthouse(), **check_matrix()}
    print()
    for name, value in errors.items():
        print(f"{name:45}{value:9.1e}  {'ok' if value <= TOLERANCE else 'MISSED'}")
    return 0 if all(value <= TOLERANCE for value in errors.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
