"""Bundle adjustment, as ADBench defines it: the sparse Jacobian of 10,000 observations, f64.

Each observation has two residuals, which depend on 11 numbers of its camera, 3 of its point and its
weight, and a third on the weight alone. Two ways with Clew: one dense Jacobian per observation,
batched, which is also what the peers do; and ``jit(jacobian(mode="sparse"))`` of the whole, which
finds the pattern by itself, checks in every call that the observations are still the same, and
gives SciPy's matrices.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import clew
from benchmarks.measure import Aim, Side, Work
from benchmarks.peers import jax_side, load_jax
from benchmarks.sparse import bundle, reprojection


def example(observations: int) -> tuple[Any, ...]:
    """Return cameras, points, weights, which camera saw which point, and where."""
    return bundle(max(2, observations // 100), max(3, observations // 4), observations, seed=0)


def single(camera: Any, point: Any, weight: Any, seen: Any) -> tuple[Any, Any]:
    """Return the residuals of one observation."""
    index = np.zeros(1, int)
    errors, weight_error = reprojection(
        camera[None], point[None], weight[None], index, index, seen[None]
    )
    return errors[0], weight_error[0]


def batched(problem: tuple[Any, ...]) -> Side:
    """Return Clew's batch of dense Jacobians."""
    blocks = clew.vmap(clew.jacobian(single, argnums=(0, 1, 2)))

    def all_blocks(cameras: Any, points: Any, weights: Any, camera: Any, point: Any, seen: Any):
        errors, weight_error = blocks(cameras[camera], points[point], weights, seen)
        return *errors, weight_error[2]

    function = clew.jit(all_blocks)
    return Side(lambda: function(*problem))


def sparse(problem: tuple[Any, ...]) -> Side:
    """Return Clew's sparse Jacobian; its pattern is found in the first call and kept."""
    function = clew.jit(clew.jacobian(reprojection, argnums=(0, 1, 2), mode="sparse"))
    count = len(problem[2])
    own = np.arange(count)
    rows = (2 * own[:, None] + np.arange(2))[:, :, None]

    def picked(block: Any, item: np.ndarray, width: int) -> np.ndarray:
        """Return the entries (observations, 2, width) that belong to each observation's item."""
        columns = (width * item[:, None] + np.arange(width))[:, None]
        places = [each.ravel() for each in np.broadcast_arrays(rows, columns)]
        return block[*places].reshape(count, 2, width)

    def outputs(result: Any) -> Any:
        (cameras, points, weights), weight_error = result
        entries = sum(block.nnz for block in (cameras, points, weights, weight_error[2]))
        assert entries == count * (2 * (10 + 3 + 1) + 1)  # x depends on one of two principal axes
        return (
            picked(cameras, problem[3], 11),
            picked(points, problem[4], 3),
            picked(weights, own, 1)[:, :, 0],
            weight_error[2].diagonal(),
        )

    return Side(lambda: function(*problem), outputs)


# --- peers -----------------------------------------------------------------------------------


def with_jax(problem: tuple[Any, ...], mode: str) -> Side:
    """Return JAX's: ``vmap`` of the Jacobian of one observation, by rows or by columns."""
    jax = load_jax()
    jnp = jax.numpy

    def residuals(camera: Any, point: Any, weight: Any, seen: Any) -> tuple[Any, Any]:
        rotation, centre = camera[:3], camera[3:6]
        square = rotation @ rotation
        turned = square > 0.0
        angle = jnp.sqrt(jnp.where(turned, square, 1.0))
        axis, away = rotation / angle, point - centre
        along = (axis @ away) * (1.0 - jnp.cos(angle))
        full = away * jnp.cos(angle) + jnp.cross(axis, away) * jnp.sin(angle) + axis * along
        local = jnp.where(turned, full, away + jnp.cross(rotation, away))
        flat = local[:2] / local[2]
        square = flat @ flat
        bent = flat * (1.0 + camera[9] * square + camera[10] * square * square)
        return weight * (bent * camera[6] + camera[7:9] - seen), 1.0 - weight * weight

    blocks = jax.vmap(getattr(jax, mode)(residuals, argnums=(0, 1, 2)))

    def all_blocks(cameras: Any, points: Any, weights: Any, camera: Any, point: Any, seen: Any):
        errors, weight_error = blocks(cameras[camera], points[point], weights, seen)
        return *errors, weight_error[2]

    return jax_side(all_blocks, *problem)


def work(observations: int = 10_000, way: str = "batched") -> Work:
    """Return the work for this many observations."""
    problem = example(observations)
    make = batched if way == "batched" else sparse
    how = "vmap(jacobian)" if way == "batched" else 'jacobian(mode="sparse")'
    return Work(
        "bundle" if way == "batched" else "bundle-sparse",
        f"bundle adjustment, {observations} observations, {how}, f64",
        lambda: make(problem),
        {
            "JAX": lambda: with_jax(problem, "jacrev"),
            "JAX jacfwd": lambda: with_jax(problem, "jacfwd"),
        },
        (Aim(3.0, ("JAX", "JAX jacfwd")),),
    )


WORKS = {"bundle": work, "bundle-sparse": partial(work, way="sparse")}
