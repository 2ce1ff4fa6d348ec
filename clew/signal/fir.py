"""Finite impulse responses: from taps to frequency response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from clew.core.errors import InputError

Array = Any


def frequency_response(taps: Array, frequencies: Array) -> Array:
    """Return ``H(f) = sum_k h_k exp(-i pi f k)``, frequency 1 being half the sampling rate.

    Parameters
    ----------
    taps : array, shape (n,)
    frequencies : array, shape (m,), in 0..1

    >>> abs(frequency_response(np.array([0.5, 0.5]), np.array([0.0, 1.0]))).round(6)
    array([1., 0.])
    """
    delays = np.arange(np.shape(taps)[0])
    return np.exp(-1j * np.pi * frequencies[:, None] * delays) @ (taps + 0j)


def amplitude_response(half: Array, frequencies: Array) -> Array:
    """Return the amplitude of a symmetric filter of odd length (type I).

    ``A(f) = a_0 + 2 sum_k a_k cos(pi f k)`` for the taps ``a_n, ..., a_1, a_0, a_1, ..., a_n``.
    Source: Oppenheim and Schafer, "Discrete-Time Signal Processing", section 5.7.

    >>> amplitude_response(np.array([0.5, 0.25]), np.array([0.0, 1.0])).round(6)
    array([1., 0.])
    """
    order = np.arange(np.shape(half)[0])
    cosines = np.cos(np.pi * frequencies[:, None] * order) * np.where(order == 0, 1.0, 2.0)
    return cosines @ half


def taps_of(half: Array) -> Array:
    """Return all taps of a symmetric filter from its middle one outwards.

    >>> taps_of(np.array([3.0, 2.0, 1.0]))
    array([1., 2., 3., 2., 1.])
    """
    return np.concatenate([half[:0:-1], half])


def band_grid(
    bands: Sequence[tuple[float, float]], count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return Gauss-Legendre frequencies and weights for integrals over bands.

    Also the number of the band that each frequency is in.

    Raises
    ------
    InputError
        If a band is empty or leaves 0..1.

    >>> frequencies, weights, band = band_grid([(0.0, 0.5)], 8)
    >>> float(np.round(np.sum(weights * frequencies), 6))
    0.125
    """
    nodes, weights = np.polynomial.legendre.leggauss(count)
    parts = []
    for number, (low, high) in enumerate(bands):
        if not 0.0 <= low < high <= 1.0:
            raise InputError(
                f"band {number} goes from {low} to {high}", "give 0 <= low < high <= 1"
            )
        half = (high - low) / 2.0
        parts.append((low + half * (nodes + 1.0), half * weights, np.full(count, number)))
    frequencies, scaled, band = (np.concatenate(column) for column in zip(*parts, strict=True))
    return frequencies, scaled, band
