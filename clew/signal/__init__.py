"""Forward models of signal processing."""

from clew.signal.fir import amplitude_response, band_grid, frequency_response, taps_of

__all__ = ["amplitude_response", "band_grid", "frequency_response", "taps_of"]
