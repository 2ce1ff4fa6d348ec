"""Starting values: random arrays whose scale keeps signals alive through depth.

A weight maps its next-to-last axis (``inputs`` long) to its last (``outputs`` long). Every
initialiser is ``initialise(generator, shape)`` and gives float64.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from clew.core.errors import ShapeError

Initialiser = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def glorot_uniform(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw from U(-a, a), ``a = sqrt(6 / (inputs + outputs))``: for tanh and sigmoid.

    Glorot and Bengio (2010), equation 16.

    >>> weight = glorot_uniform(np.random.default_rng(0), (100, 50))
    >>> bool(abs(weight.var() * 150 / 2 - 1) < 0.05)
    True
    """
    inputs, outputs = _fans("glorot_uniform", shape)
    limit = np.sqrt(6.0 / (inputs + outputs))
    return generator.uniform(-limit, limit, shape)


def glorot_normal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw from N(0, 2 / (inputs + outputs)): the same variance, normal.

    Glorot and Bengio (2010), equation 12.

    >>> glorot_normal(np.random.default_rng(0), (4, 3)).shape
    (4, 3)
    """
    inputs, outputs = _fans("glorot_normal", shape)
    return generator.normal(0.0, np.sqrt(2.0 / (inputs + outputs)), shape)


def he_normal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw from N(0, 2 / inputs): for rectifiers.

    He, Zhang, Ren and Sun (2015), equation 10.

    >>> weight = he_normal(np.random.default_rng(0), (200, 50))
    >>> bool(abs(weight.var() * 200 / 2 - 1) < 0.05)
    True
    """
    inputs, _ = _fans("he_normal", shape)
    return generator.normal(0.0, np.sqrt(2.0 / inputs), shape)


def he_uniform(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw from U(-a, a), ``a = sqrt(6 / inputs)``: the variance of :func:`he_normal`.

    >>> he_uniform(np.random.default_rng(0), (4, 3)).shape
    (4, 3)
    """
    inputs, _ = _fans("he_uniform", shape)
    limit = np.sqrt(6.0 / inputs)
    return generator.uniform(-limit, limit, shape)


def orthogonal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw a matrix with orthonormal rows or columns, uniformly (Haar): for recurrences.

    Saxe, McClelland and Ganguli (2014). The signs of R's diagonal make the QR factor of a normal
    matrix uniform (Mezzadri 2007).

    >>> q = orthogonal(np.random.default_rng(0), (5, 3))
    >>> bool(np.allclose(q.T @ q, np.eye(3)))
    True
    """
    inputs, outputs = _fans("orthogonal", shape)
    tall = (*shape[:-2], max(inputs, outputs), min(inputs, outputs))
    q, r = np.linalg.qr(generator.normal(size=tall))
    q = q * np.sign(np.diagonal(r, axis1=-2, axis2=-1))[..., None, :]
    return q if inputs >= outputs else np.swapaxes(q, -1, -2)


def _fans(name: str, shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) < 2 or min(shape[-2:]) < 1:
        raise ShapeError(
            f"{name}: shape {shape} is not that of a weight",
            "give (inputs, outputs), each 1 or more; biases start at zero",
        )
    return shape[-2], shape[-1]
