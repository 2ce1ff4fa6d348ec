"""Normalisation by statistics of the batch, by learned ones, or by those of each example."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from clew.core.errors import InputError
from clew.core.types import type_of
from clew.nn.dense import check_width
from clew.nn.module import Array, Module, module, static


@module
class Standardise(Module):
    """Normalisation with all four of its numbers as parameters: ``gamma (x - mu) / sigma + beta``.

    Parameters
    ----------
    gamma, beta, mu, sigma : array (features,)
        One number for each feature.

    >>> layer = Standardise(np.full(2, 3.0), np.ones(2), np.array([1.0, 2.0]), np.full(2, 0.5))
    >>> layer(np.array([[1.0, 2.0], [1.5, 2.0]]))
    array([[1., 1.],
           [4., 1.]])
    """

    gamma: Array
    beta: Array
    mu: Array
    sigma: Array

    @classmethod
    def create(cls, features: int, name: str = "") -> Standardise:
        """Return the layer that changes nothing.

        >>> Standardise.create(2)(np.array([3.0, 4.0]))
        array([3., 4.])
        """
        zero, one = np.zeros(features), np.ones(features)
        return cls(one, zero, zero.copy(), one.copy(), name=name)

    def forward(self, x: Any) -> Any:
        """Return ``gamma (x - mu) / sigma + beta`` for ``x`` of shape (..., features)."""
        check_width(self.label, x, type_of(self.mu).size)
        return self.gamma * (x - self.mu) / self.sigma + self.beta


@module
class BatchNorm(Module):
    """Batch normalisation: ``gamma (x - mean) / sqrt(variance + epsilon) + beta``.

    Mean and variance are those of the batch (all axes but the last), and gradients flow through
    them. For use, :meth:`calibrated` gives the layer with the population's statistics in
    their place. Ioffe and Szegedy (2015), algorithms 1 and 2.

    Parameters
    ----------
    gamma, beta : array (features,)
    epsilon : float
        Added to the variance.

    Raises
    ------
    InputError
        For a batch of a single example, which has no variance.

    >>> layer = BatchNorm.create(1)
    >>> layer(np.array([[1.0], [3.0]])).round(4).ravel()
    array([-1.,  1.])
    """

    gamma: Array
    beta: Array
    epsilon: float = static(default=1e-5)

    @classmethod
    def create(cls, features: int, epsilon: float = 1e-5, name: str = "") -> BatchNorm:
        """Return the layer with gamma 1 and beta 0.

        >>> BatchNorm.create(3)
        BatchNorm(gamma=f64[3], beta=f64[3], epsilon=1e-05)
        """
        return cls(np.ones(features), np.zeros(features), epsilon=epsilon, name=name)

    def moments(self, x: Any) -> tuple[Any, Any]:
        """Return mean and (biased) variance over all axes but the last."""
        shape = type_of(x).shape
        check_width(self.label, x, type_of(self.gamma).size)
        if type_of(x).size <= shape[-1]:
            raise InputError(
                f"{self.label}: a batch of shape {shape} has one example, so no variance",
                "give two or more examples, or use the calibrated layer",
            )
        axes = tuple(range(len(shape) - 1))
        mean = np.mean(x, axis=axes)
        return mean, np.mean((x - mean) ** 2, axis=axes)

    def forward(self, x: Any) -> Any:
        """Return the normalised batch, of the shape of ``x`` (..., features)."""
        mean, variance = self.moments(x)
        return self.gamma * (x - mean) / np.sqrt(variance + self.epsilon) + self.beta

    def calibrated(self, x: np.ndarray) -> Standardise:
        """Return the layer for use: the statistics of ``x`` in place of each batch's own.

        The variance is the unbiased one, ``m / (m - 1)`` times the batch's.

        >>> data = np.array([[1.0], [3.0]])
        >>> BatchNorm.create(1).calibrated(data)(data).round(4).ravel()
        array([-0.7071,  0.7071])
        """
        mean, variance = self.moments(x)
        count = type_of(x).size // type_of(x).shape[-1]
        sigma = np.sqrt(variance * (count / (count - 1)) + self.epsilon)
        return Standardise(self.gamma, self.beta, mean, sigma, name=self.name)


@module
class LayerNorm(Module):
    """Normalisation of each example over its features (Ba, Kiros and Hinton 2016).

    ``gamma (x - mean(x)) / sqrt(variance(x) + epsilon) + beta``, statistics over the last axis.

    Parameters
    ----------
    gamma, beta : array (features,)
    epsilon : float

    >>> LayerNorm.create(2)(np.array([1.0, 3.0])).round(4)
    array([-1.,  1.])
    """

    gamma: Array
    beta: Array
    epsilon: float = static(default=1e-5)

    @classmethod
    def create(cls, features: int, epsilon: float = 1e-5, name: str = "") -> LayerNorm:
        """Return the layer with gamma 1 and beta 0.

        >>> LayerNorm.create(3).gamma
        array([1., 1., 1.])
        """
        return cls(np.ones(features), np.zeros(features), epsilon=epsilon, name=name)

    def forward(self, x: Any) -> Any:
        """Return the normalised examples, of the shape of ``x`` (..., features)."""
        check_width(self.label, x, type_of(self.gamma).size)
        centred = x - np.mean(x, axis=-1, keepdims=True)
        variance = np.mean(centred * centred, axis=-1, keepdims=True)
        return self.gamma * centred / np.sqrt(variance + self.epsilon) + self.beta


def calibrate(network: Any, x: np.ndarray) -> Any:
    """Return a stack of layers for use: every batch norm calibrated on what reaches it from ``x``.

    Parameters
    ----------
    network : Sequential
    x : array (examples, features)
        Training data.

    >>> from clew.nn import Sequential
    >>> network = calibrate(Sequential((BatchNorm.create(1), np.tanh)), np.array([[1.0], [3.0]]))
    >>> network(np.array([[2.0]]))
    array([[0.]])
    """
    layers = []
    for layer in network.layers:
        if isinstance(layer, BatchNorm):
            layer = layer.calibrated(x)
        layers.append(layer)
        x = layer(x)
    return dataclasses.replace(network, layers=tuple(layers))
