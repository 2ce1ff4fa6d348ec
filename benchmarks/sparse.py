"""Sparse Jacobians and Hessians: passes and seconds at full size."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import clew
from clew.calculus import compressed


def heat_residual(u: Any) -> Any:
    """Residual of ``(k(u) u')' + u^3 = 0`` with ``k = 1 + u^2``, zero at both ends of (0, 1).

    Finite volumes: the flux at each face, with k at the mean of its two sides.
    """
    h = 1.0 / (u.shape[0] + 1)
    end = np.zeros(1)
    full = np.concatenate([end, u, end])
    mean = 0.5 * (full[1:] + full[:-1])
    flux = (1.0 + mean**2) * (full[1:] - full[:-1]) / h
    return (flux[1:] - flux[:-1]) / h + u**3


def beam_residual(u: Any) -> Any:
    """Residual of ``u'''' + u u' = 1`` by central differences, zero beyond both ends."""
    end = np.zeros(2)
    full = np.concatenate([end, u, end])
    fourth = full[4:] - 4.0 * full[3:-1] + 6.0 * full[2:-2] - 4.0 * full[1:-3] + full[:-4]
    return fourth + u * (full[3:-1] - full[1:-3]) - 1.0


def plate_energy(u: Any) -> Any:
    """Area of a surface of heights u on a grid, to first neighbours."""
    down = u[1:, :-1] - u[:-1, :-1]
    right = u[:-1, 1:] - u[:-1, :-1]
    return np.sum(np.sqrt(1.0 + down**2 + right**2))


# --- bundle adjustment -----------------------------------------------------------------------


def _cross(a: Any, b: Any) -> Any:
    return np.stack(
        [
            a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1],
            a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2],
            a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0],
        ],
        axis=1,
    )


def _rotated(rotation: Any, point: Any) -> Any:
    """Rodrigues' formula; a rotation of zero is its first-order form."""
    square = np.sum(rotation * rotation, axis=1)[:, None]
    turned = square > 0.0
    angle = np.sqrt(np.where(turned, square, 1.0))
    axis = rotation / angle
    along = np.sum(axis * point, axis=1)[:, None] * (1.0 - np.cos(angle))
    full = point * np.cos(angle) + _cross(axis, point) * np.sin(angle) + axis * along
    return np.where(turned, full, point + _cross(rotation, point))


def reprojection(
    cameras: Any, points: Any, weights: Any, camera: Any, point: Any, seen: Any
) -> tuple[Any, Any]:
    """Weighted reprojection errors and weight residuals, as ADBench defines them.

    (Srajer, Kukelova and Fitzgibbon, "A benchmark of selected algorithmic differentiation
    tools", 2018.) A camera has 11 parameters: rotation (3), centre (3), focal length, principal
    point (2), radial distortion (2).

    Parameters
    ----------
    cameras : array, (cameras, 11)
    points : array, (points, 3)
    weights : array, (observations,)
    camera, point : int array, (observations,)
        Which camera saw which point.
    seen : array, (observations, 2)
        Where, in pixels.

    Returns
    -------
    errors : array, (observations, 2)
    weight_errors : array, (observations,)
        ``1 - w^2``.
    """
    own = cameras[camera]
    local = _rotated(own[:, :3], points[point] - own[:, 3:6])
    flat = local[:, :2] / local[:, 2:]
    square = np.sum(flat * flat, axis=1)[:, None]
    distorted = flat * (1.0 + own[:, 9:10] * square + own[:, 10:11] * square * square)
    projected = distorted * own[:, 6:7] + own[:, 7:9]
    return weights[:, None] * (projected - seen), 1.0 - weights * weights


def bundle(cameras: int, points: int, observations: int, seed: int) -> tuple[Any, ...]:
    """A random problem: cameras near the origin, points around (0, 0, 8)."""
    rng = np.random.default_rng(seed)
    parameters = 0.1 * rng.normal(size=(cameras, 11))
    parameters[:, 6] += 5.0
    return (
        parameters,
        rng.normal(size=(points, 3)) + np.array([0.0, 0.0, 8.0]),
        rng.uniform(0.5, 1.0, observations),
        rng.integers(0, cameras, observations),
        rng.integers(0, points, observations),
        rng.normal(size=(observations, 2)),
    )


# --- measuring ---------------------------------------------------------------------------------


def _timed(function: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def case(
    what: str, f: Any, differentiate: Any, args: tuple[Any, ...], limit: float
) -> dict[str, Any]:
    """Measure a first compiled call, later ones, and the function; count an eager call's passes.

    The eager call leaves its plan behind, so the first call traces and compiles only.
    """
    passes: list[int] = []
    run = compressed.over_directions

    def counted(stages: Any, carried: Any, total: int, directions: Any) -> Any:
        passes.append(total)
        return run(stages, carried, total, directions)

    compressed.over_directions = counted
    try:
        differentiate(*args)
    finally:
        compressed.over_directions = run
    compiled = clew.jit(differentiate)
    found, first = _timed(lambda: compiled(*args))
    _, seconds = min((_timed(lambda: compiled(*args)) for _ in range(5)), key=_second)
    _, value = min((_timed(lambda: f(*args)) for _ in range(3)), key=_second)
    return {
        "what": what,
        "passes": sum(passes),
        "entries": _entries(found),
        "first": first,
        "seconds": seconds,
        "function": value,
        "limit": limit,
        "repeats": 3,
    }


def _second(pair: tuple[Any, float]) -> float:
    return pair[1]


def _entries(found: Any) -> int:
    if isinstance(found, tuple):
        return sum(_entries(each) for each in found)
    return getattr(found, "nnz", 0)


def measure(size: int = 100_000) -> list[dict[str, Any]]:
    """Return a row for each case, ``size`` variables or observations."""
    u = np.sin(np.linspace(0.0, 3.0, size))
    side = int(size**0.5)
    plate = np.sin(np.arange(side * side)).reshape(side, side)
    problem = bundle(size // 100, size // 4, size, seed=0)
    return [
        case(
            f"tridiagonal residual, {size:,}",
            heat_residual,
            clew.jacobian(heat_residual, mode="sparse"),
            (u,),
            2.0,
        ),
        case(
            f"pentadiagonal residual, {size:,}",
            beam_residual,
            clew.jacobian(beam_residual, mode="sparse"),
            (u,),
            2.0,
        ),
        case(
            f"Hessian of an area, {side} x {side}",
            plate_energy,
            clew.hessian(plate_energy, mode="sparse"),
            (plate,),
            5.0,
        ),
        case(
            f"bundle adjustment, {size:,} observations",
            reprojection,
            clew.jacobian(reprojection, argnums=(0, 1, 2), mode="sparse"),
            problem,
            5.0,
        ),
    ]


def main() -> None:
    """Print a table for sizes that grow, to show that the passes do not."""
    print(f"{'what':42}{'passes':>7}{'entries':>11}{'first':>9}{'again':>9}{'f alone':>9}")
    for size in (1_000, 10_000, 100_000):
        for row in measure(size):
            print(
                f"{row['what']:42}{row['passes']:7}{row['entries']:11,}{row['first']:7.3f} s"
                f"{row['seconds']:7.3f} s{row['function']:7.3f} s"
            )


if __name__ == "__main__":
    main()
