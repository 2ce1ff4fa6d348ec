"""Finite impulse response filters: frequency response, and the four kinds of linear phase.

Frequencies are in cycles per sample: 0 is constant, 0.5 the fastest that samples can hold.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.errors import InputError, ShapeError
from clew.core.types import type_of

Array = Any


def frequency_response(taps: Array, frequency: np.ndarray) -> Array:
    """Return the complex response ``H(f) = sum_n taps[n] exp(-2 pi i f n)``.

    Parameters
    ----------
    taps : array (taps,)
    frequency : array (frequencies,)
        Cycles per sample.

    Returns
    -------
    complex array (frequencies,)

    >>> frequency_response(np.array([0.5, 0.5]), np.array([0.0, 0.5])).round(12)
    array([1.+0.j, 0.-0.j])
    """
    _check_frequency(frequency)
    count = type_of(taps).shape[0]
    return np.exp(-2j * np.pi * np.outer(frequency, np.arange(count))) @ taps


def half_count(count: int) -> int:
    """Return how many taps of a linear-phase filter of ``count`` taps are free: half, rounded up.

    >>> half_count(7), half_count(8)
    (4, 4)
    """
    if count < 1:
        raise InputError(f"half_count: a filter of {count} taps", "give 1 or more taps")
    return (count + 1) // 2


def linear_phase_taps(half: Array, count: int, antisymmetric: bool = False) -> Array:
    """Return all taps of a linear-phase filter from its first half.

    Type I (odd count) and II (even) are symmetric, ``h[n] = h[N - 1 - n]``; types III and IV are
    antisymmetric. Oppenheim and Schafer, Discrete-Time Signal Processing, section 5.7.3.

    Parameters
    ----------
    half : array (half_count(count),)
        The taps up to the middle; the middle one of type III is taken as 0.
    count : int

    Raises
    ------
    ShapeError
        If ``half`` is not that long.

    >>> linear_phase_taps(np.array([1.0, 2.0]), 3)
    array([1., 2., 1.])
    >>> linear_phase_taps(np.array([1.0, 2.0]), 4, antisymmetric=True)
    array([ 1.,  2., -2., -1.])
    """
    _check_half("linear_phase_taps", half, count)
    odd = count % 2
    mirrored = half[::-1][odd:]
    if not antisymmetric:
        return np.concatenate([half, mirrored])
    middle = [np.zeros(1)] if odd else []
    return np.concatenate([half[: count // 2], *middle, -mirrored])


def amplitude_matrix(count: int, frequency: np.ndarray, antisymmetric: bool = False) -> np.ndarray:
    """Return the matrix that takes the first half of the taps to the amplitude.

    The response of a linear-phase filter is ``A(f) exp(-2 pi i f (N - 1) / 2)``, times i if it is
    antisymmetric, with A real: ``A(f) = sum_n 2 half[n] cos(2 pi f ((N - 1) / 2 - n))`` (sine if
    antisymmetric; the middle tap counts once).

    Parameters
    ----------
    count : int
    frequency : array (frequencies,)

    Returns
    -------
    array (frequencies, half_count(count))

    >>> amplitude_matrix(3, np.array([0.0, 0.25, 0.5])) @ np.array([0.25, 0.5])
    array([1. , 0.5, 0. ])
    """
    _check_frequency(frequency)
    offset = 0.5 * (count - 1) - np.arange(half_count(count))
    angle = 2.0 * np.pi * np.outer(frequency, offset)
    if antisymmetric:
        return 2.0 * np.sin(angle)
    return np.where(offset == 0.0, 1.0, 2.0) * np.cos(angle)


def amplitude(half: Array, count: int, frequency: Array, antisymmetric: bool = False) -> Array:
    """Return the real amplitude of a linear-phase filter, given the first half of its taps.

    See :func:`amplitude_matrix`.

    >>> amplitude(np.array([0.25, 0.5]), 3, np.array([0.0, 0.25, 0.5]))
    array([1. , 0.5, 0. ])
    """
    _check_half("amplitude", half, count)
    return amplitude_matrix(count, frequency, antisymmetric) @ half


def band_quadrature(bands: Any, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return Gauss-Legendre nodes and weights over frequency bands, band after band.

    ``sum(weight * g(frequency))`` is the integral of g over the bands: exact for
    polynomials of degree ``2 points - 1``, and to rounding for a filter's squared error when
    each band has some more points than the filter has taps.

    Parameters
    ----------
    bands : sequence of (low, high)
        Cycles per sample.
    points : int
        For each band.

    Returns
    -------
    frequency, weight : arrays (bands * points,)

    >>> frequency, weight = band_quadrature([(0.0, 0.1), (0.3, 0.5)], 4)
    >>> round(float(np.sum(weight * frequency**2)), 12) == round((0.1**3 + 0.5**3 - 0.3**3) / 3, 12)
    True
    """
    edges = np.asarray(bands, dtype=np.float64)
    if edges.ndim != 2 or edges.shape[1] != 2 or not np.all(edges[:, 0] < edges[:, 1]):
        raise InputError(
            f"band_quadrature: bands={bands} are not pairs (low, high) with low < high",
            "give for instance [(0.0, 0.1), (0.15, 0.5)]",
        )
    _check_frequency(edges)
    node, weight = np.polynomial.legendre.leggauss(points)
    middle, reach = edges.mean(axis=1), 0.5 * (edges[:, 1] - edges[:, 0])
    frequency = middle[:, None] + reach[:, None] * node
    return frequency.reshape(-1), (reach[:, None] * weight).reshape(-1)


def decibels(response: Array, floor: float = 1e-15) -> Array:
    """Return ``20 log10 |response|``, no lower than that of ``floor``.

    >>> float(decibels(0.1))
    -20.0
    """
    size = np.abs(response)
    return 20.0 * np.log10(np.where(size > floor, size, floor))


def _check_half(name: str, half: Array, count: int) -> None:
    shape = type_of(half).shape
    if shape != (half_count(count),):
        raise ShapeError(
            f"{name}: half has shape {shape}, but {count} taps have {half_count(count)} free ones",
            "give the taps up to the middle one",
        )


def _check_frequency(frequency: Array) -> None:
    values = np.asarray(frequency)
    if values.size and not (values.min() >= -0.5 and values.max() <= 0.5):
        raise InputError(
            f"frequencies from {values.min():g} to {values.max():g} are not in cycles per sample",
            "divide frequencies in hertz by the sampling rate: -0.5 to 0.5",
        )
