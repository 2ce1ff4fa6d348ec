"""Activation functions; ``np.tanh`` is one as it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.ops.special import ndtr

Array = Any


def relu(x: Array) -> Array:
    """Return ``max(x, 0)``; its derivative at 0 is 0.

    >>> relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    return np.where(x > 0, x, 0.0)


def leaky_relu(x: Array, slope: float = 0.01) -> Array:
    """Return ``x`` where it is positive, else ``slope x`` (Maas, Hannun and Ng 2013).

    >>> leaky_relu(np.array([-1.0, 2.0]))
    array([-0.01,  2.  ])
    """
    return np.where(x > 0, x, slope * x)


def sigmoid(x: Array) -> Array:
    """Return ``1 / (1 + exp(-x))``, as ``(1 + tanh(x / 2)) / 2``, which never overflows.

    >>> float(sigmoid(0.0))
    0.5
    """
    return 0.5 * (np.tanh(0.5 * x) + 1.0)


def softplus(x: Array) -> Array:
    """Return ``log(1 + exp(x))`` without overflow.

    >>> float(softplus(1000.0))
    1000.0
    """
    return np.logaddexp(x, 0.0)


def gelu(x: Array) -> Array:
    """Return ``x P(N(0, 1) <= x)`` (Hendrycks and Gimpel 2016).

    >>> round(float(gelu(1.0)), 6)
    0.841345
    """
    return x * ndtr(x)


def log_softmax(x: Array, axis: int = -1) -> Array:
    """Return ``x - log(sum(exp(x)))`` along an axis, shifted so that nothing overflows.

    >>> log_softmax(np.array([1000.0, 1000.0])).round(6)
    array([-0.693147, -0.693147])
    """
    shifted = x - np.max(x, axis=axis, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


def softmax(x: Array, axis: int = -1) -> Array:
    """Return ``exp(x) / sum(exp(x))`` along an axis.

    >>> softmax(np.array([0.0, 0.0]))
    array([0.5, 0.5])
    """
    return np.exp(log_softmax(x, axis))
