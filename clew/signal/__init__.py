"""Signal processing as forward models. No optimiser is imported here."""

from clew.signal.fir import (
    amplitude,
    amplitude_matrix,
    band_quadrature,
    decibels,
    frequency_response,
    half_count,
    linear_phase_taps,
)

__all__ = [
    "amplitude",
    "amplitude_matrix",
    "band_quadrature",
    "decibels",
    "frequency_response",
    "half_count",
    "linear_phase_taps",
]
