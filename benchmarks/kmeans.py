"""The cost of k-means: gradient and diagonal of the Hessian in the centres, f64.

The Hessian is diagonal wherever every point has one nearest centre, so its product with a vector
of ones is the diagonal: forward over reverse (Schenck, Ronning, Henriksen and Oancea, "AD for an
array language with nested parallelism", 2022).
"""

from __future__ import annotations

from typing import Any

import numpy as np

import clew
from benchmarks.measure import Aim, Side, Work
from benchmarks.peers import jax_side, load_jax, load_torch


def example(k: int, n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Return centres and points."""
    generator = np.random.default_rng(0)
    return generator.normal(size=(k, d)), generator.normal(size=(n, d))


def cost(centres: Any, points: Any) -> Any:
    """Return the sum over points of the squared distance to the nearest centre."""
    squares = np.sum(points * points, axis=1)[:, None] + np.sum(centres * centres, axis=1)
    return np.sum(np.min(squares - 2.0 * (points @ centres.T), axis=1))


def curvature(centres: Any, points: Any) -> tuple[Any, Any]:
    """Return the gradient in the centres, and the Hessian's diagonal."""
    slope = clew.grad(lambda centres: cost(centres, points))
    return clew.jvp(slope, (centres,), (np.ones_like(centres),))


def ours(centres: np.ndarray, points: np.ndarray) -> Side:
    """Return Clew's side."""
    function = clew.jit(curvature)
    return Side(lambda: function(centres, points))


# --- peers -----------------------------------------------------------------------------------


def with_jax(centres: np.ndarray, points: np.ndarray) -> Side:
    """Return JAX's, compiled."""
    jax = load_jax()
    jnp = jax.numpy

    def cost(centres: Any, points: Any) -> Any:
        squares = jnp.sum(points * points, axis=1)[:, None] + jnp.sum(centres * centres, axis=1)
        return jnp.sum(jnp.min(squares - 2.0 * (points @ centres.T), axis=1))

    def curvature(centres: Any, points: Any) -> Any:
        slope = jax.grad(lambda centres: cost(centres, points))
        return jax.jvp(slope, (centres,), (jnp.ones_like(centres),))

    return jax_side(curvature, centres, points)


def with_torch(centres: np.ndarray, points: np.ndarray) -> Side:
    """Return PyTorch's, eager: reverse over reverse."""
    torch = load_torch()
    held, where = torch.tensor(centres, requires_grad=True), torch.tensor(points)

    def run() -> Any:
        squares = (where * where).sum(1)[:, None] + (held * held).sum(1)
        value = (squares - 2.0 * (where @ held.T)).amin(1).sum()
        (slope,) = torch.autograd.grad(value, held, create_graph=True)
        (diagonal,) = torch.autograd.grad(slope.sum(), held)
        return slope, diagonal

    return Side(run)


def work(k: int = 100, n: int = 10_000, d: int = 16) -> Work:
    """Return the work for k centres and n points of d dimensions."""
    centres, points = example(k, n, d)
    return Work(
        "kmeans",
        f"k-means k={k}, n={n}, d={d}, f64, gradient and Hessian diagonal",
        lambda: ours(centres, points),
        {"JAX": lambda: with_jax(centres, points), "PyTorch": lambda: with_torch(centres, points)},
        (Aim(2.0, ("JAX", "PyTorch")),),
        differentiated=lambda: (cost, (centres, points)),
    )


WORKS = {"kmeans": work}
