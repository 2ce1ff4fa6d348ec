"""The log-likelihood of a Gaussian mixture, as ADBench defines it; its gradient, f64.

Srajer, Kukelova and Fitzgibbon, "A benchmark of selected algorithmic differentiation tools for
computer vision and machine learning" (2018), with the Wishart prior. Of each component's
inverse square root of a covariance, the parameters are the logarithm of the diagonal and the
entries below it, column by column.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from scipy.special import gammaln

import clew
from benchmarks.measure import Aim, Side, Work
from benchmarks.peers import jax_side, load_jax, load_torch, torch_side

WISHART_GAMMA = 1.0
WISHART_M = 0


def example(d: int, k: int, n: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return parameters of k components, and n points of d dimensions."""
    generator = np.random.default_rng(0)
    params = {
        "alphas": generator.normal(size=k),
        "means": generator.uniform(size=(k, d)),
        "factors": 0.3 * generator.normal(size=(k, d + d * (d - 1) // 2)),
    }
    return params, generator.normal(size=(n, d))


def constant(d: int, k: int, n: int) -> float:
    """Return what depends on no parameter."""
    degrees = d + WISHART_M + 1
    wishart = degrees * d * np.log(WISHART_GAMMA / np.sqrt(2.0)) - log_gamma(0.5 * degrees, d)
    return float(-0.5 * n * d * np.log(2.0 * np.pi) - k * wishart)


def log_gamma(a: float, d: int) -> float:
    """Return the logarithm of the multivariate gamma function (DLMF 35.3.4)."""
    return 0.25 * d * (d - 1) * np.log(np.pi) + np.sum(gammaln(a - 0.5 * np.arange(d)))


def below(d: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the entries below the diagonal, column by column."""
    columns, rows = np.triu_indices(d, 1)
    return rows, columns


def log_sum_exp(x: Any, axis: int) -> Any:
    """Return ``log(sum(exp(x)))`` along an axis."""
    top = np.max(x, axis=axis, keepdims=True)
    return np.squeeze(top, axis) + np.log(np.sum(np.exp(x - top), axis=axis))


def log_likelihood(params: Any, points: Any) -> Any:
    """Return the log-likelihood of the points, and the prior's."""
    alphas, means, factors = params["alphas"], params["means"], params["factors"]
    (n, d), k = points.shape, len(alphas)
    log_diagonal, lower = factors[:, :d], factors[:, d:]
    diagonal = np.exp(log_diagonal)
    matrices = clew.numpy.zeros((k, d, d))
    matrices[:, *below(d)] = lower
    centred = points - means[:, None]
    turned = diagonal[:, None] * centred + centred @ np.swapaxes(matrices, 1, 2)
    logs = np.sum(log_diagonal, axis=1)
    inner = alphas[:, None] + logs[:, None] - 0.5 * np.sum(turned * turned, axis=2)
    data = np.sum(log_sum_exp(inner, 0)) - n * log_sum_exp(alphas, 0)
    squares = np.sum(diagonal * diagonal) + np.sum(lower * lower)
    prior = 0.5 * WISHART_GAMMA**2 * squares - WISHART_M * np.sum(logs)
    return data + prior + constant(d, k, n)


def ours(params: Any, points: np.ndarray) -> Side:
    """Return Clew's side."""
    function = clew.jit(clew.value_and_grad(log_likelihood))
    return Side(lambda: function(params, points))


# --- peers -----------------------------------------------------------------------------------


def with_jax(params: Any, points: np.ndarray) -> Side:
    """Return JAX's, compiled."""
    jax = load_jax()
    jnp = jax.numpy

    def log_likelihood(params: Any, points: Any) -> Any:
        alphas, means, factors = params["alphas"], params["means"], params["factors"]
        (n, d), k = points.shape, len(alphas)
        log_diagonal, lower = factors[:, :d], factors[:, d:]
        rows, columns = below(d)
        matrices = jnp.zeros((k, d, d)).at[:, rows, columns].set(lower)
        centred = points - means[:, None]
        turned = jnp.exp(log_diagonal)[:, None] * centred
        turned = turned + centred @ jnp.swapaxes(matrices, 1, 2)
        logs = jnp.sum(log_diagonal, axis=1)
        inner = alphas[:, None] + logs[:, None] - 0.5 * jnp.sum(turned**2, axis=2)
        data = jnp.sum(jax.nn.logsumexp(inner, 0)) - n * jax.nn.logsumexp(alphas)
        squares = jnp.sum(jnp.exp(log_diagonal) ** 2) + jnp.sum(lower**2)
        prior = 0.5 * WISHART_GAMMA**2 * squares - WISHART_M * jnp.sum(logs)
        return data + prior + constant(d, k, n)

    return jax_side(jax.value_and_grad(log_likelihood), params, points)


def with_torch(params: Any, points: np.ndarray) -> Side:
    """Return PyTorch's, eager."""
    torch = load_torch()
    (n, d), k = points.shape, len(params["alphas"])
    rows, columns = map(torch.tensor, below(d))
    fixed = constant(d, k, n)

    def log_likelihood(params: Any, points: Any) -> Any:
        alphas, means, factors = params["alphas"], params["means"], params["factors"]
        log_diagonal, lower = factors[:, :d], factors[:, d:]
        matrices = torch.zeros((k, d, d), dtype=points.dtype)
        matrices[:, rows, columns] = lower
        centred = points - means[:, None]
        turned = log_diagonal.exp()[:, None] * centred + centred @ matrices.mT
        logs = log_diagonal.sum(1)
        inner = alphas[:, None] + logs[:, None] - 0.5 * (turned**2).sum(2)
        data = inner.logsumexp(0).sum() - n * alphas.logsumexp(0)
        squares = (log_diagonal.exp() ** 2).sum() + (lower**2).sum()
        return data + 0.5 * WISHART_GAMMA**2 * squares - WISHART_M * logs.sum() + fixed

    return torch_side(log_likelihood, params, points)


def work(d: int = 64, k: int = 25, n: int = 1000) -> Work:
    """Return the work for k components, and n points of d dimensions."""
    params, points = example(d, k, n)
    return Work(
        f"gmm{d}",
        f"GMM d={d}, k={k}, n={n}, f64",
        lambda: ours(params, points),
        {"JAX": lambda: with_jax(params, points), "PyTorch": lambda: with_torch(params, points)},
        (Aim(2.0, ("JAX", "PyTorch")),),
        tolerance=1e-9,
        differentiated=lambda: (log_likelihood, (params, points)),
    )


WORKS = {"gmm64": work, "gmm10": partial(work, 10, 5, 10_000)}
