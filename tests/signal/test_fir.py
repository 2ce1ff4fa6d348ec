"""FIR responses against SciPy and the FFT, and quadrature against exact integrals."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

import clew
from clew import signal
from clew.core.errors import InputError, ShapeError
from clew.testing import check_derivatives

GENERATOR = np.random.default_rng(0)
FREQUENCY = np.linspace(0.0, 0.5, 33)


@pytest.mark.parametrize("count", [1, 2, 7, 8, 64])
def test_response_against_the_fft(count):
    taps = GENERATOR.normal(size=count)
    expected = np.fft.rfft(np.pad(taps, (0, 64 - count)))
    found = signal.frequency_response(taps, FREQUENCY)
    np.testing.assert_allclose(found, expected, atol=1e-13 * np.abs(expected).max())
    reference = scipy.signal.freqz(taps, worN=FREQUENCY, fs=1.0)[1]
    np.testing.assert_allclose(found, reference, atol=1e-13 * np.abs(expected).max())


@pytest.mark.parametrize("antisymmetric", [False, True])
@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_the_four_types(count, antisymmetric):
    half = GENERATOR.normal(size=signal.half_count(count))
    taps = signal.linear_phase_taps(half, count, antisymmetric)
    assert taps.shape == (count,)
    np.testing.assert_array_equal(taps, (-taps if antisymmetric else taps)[::-1])
    np.testing.assert_array_equal(taps[: count // 2], half[: count // 2])
    real = signal.amplitude(half, count, FREQUENCY, antisymmetric)
    turn = np.exp(-1j * np.pi * FREQUENCY * (count - 1)) * (1j if antisymmetric else 1.0)
    expected = signal.frequency_response(taps, FREQUENCY)
    np.testing.assert_allclose(real * turn, expected, atol=1e-13)


def test_derivatives():
    half = GENERATOR.normal(size=4)
    assert check_derivatives(lambda h: signal.amplitude(h, 7, FREQUENCY), half).forward < 1e-9

    def power(half):
        taps = signal.linear_phase_taps(half, 7)
        return np.sum(np.abs(signal.frequency_response(taps, FREQUENCY)) ** 2)

    assert check_derivatives(power, half, order=2).forward < 1e-7


def test_parseval_gradient():
    # the mean power over a full turn is the sum of squares, whose gradient is known
    taps = GENERATOR.normal(size=9)
    turn = np.arange(16) / 16 - 0.5

    def power(taps):
        return np.mean(np.abs(signal.frequency_response(taps, turn)) ** 2)

    np.testing.assert_allclose(clew.grad(power)(taps), 2 * taps, rtol=1e-12)


@pytest.mark.parametrize("points", [3, 10])
def test_quadrature_is_exact_for_polynomials(points):
    bands = [(0.0, 0.1), (0.2, 0.27), (0.3, 0.5)]
    frequency, weight = signal.band_quadrature(bands, points)
    degree = 2 * points - 1
    expected = sum(
        (high ** (degree + 1) - low ** (degree + 1)) / (degree + 1) for low, high in bands
    )
    assert float(np.sum(weight * frequency**degree)) == pytest.approx(expected, rel=1e-12)


def test_decibels():
    np.testing.assert_allclose(signal.decibels(np.array([1.0, -10.0, 0.0])), [0.0, 20.0, -300.0])


def test_bad_input():
    with pytest.raises(ShapeError, match=r"half has shape \(3,\), but 7 taps have 4 free ones"):
        signal.linear_phase_taps(np.ones(3), 7)
    with pytest.raises(ShapeError, match="amplitude: half"):
        signal.amplitude(np.ones(5), 8, FREQUENCY)
    with pytest.raises(InputError, match="not in cycles per sample"):
        signal.frequency_response(np.ones(3), np.array([0.0, 440.0]))
    with pytest.raises(InputError, match="low < high"):
        signal.band_quadrature([(0.2, 0.1)], 4)
    with pytest.raises(InputError, match="a filter of 0 taps"):
        signal.half_count(0)
