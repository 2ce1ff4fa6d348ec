"""``clew.numpy.fft``: NumPy's; traced values reach the forms in ``clew.numpy.transforms``."""

from typing import Any

import numpy as np
from numpy.fft import __all__  # noqa: F401

globals().update({name: getattr(np.fft, name) for name in np.fft.__all__})


def fftfreq(n: int, d: float = 1.0, *, dtype: Any = None, device: Any = None) -> np.ndarray:
    """Return the frequencies of a transform's bins, in cycles per unit of ``d``.

    >>> fftfreq(4)
    array([ 0.  ,  0.25, -0.5 , -0.25])
    """
    return np.fft.fftfreq(n, d, device=device).astype(dtype or np.float64)


def rfftfreq(n: int, d: float = 1.0, *, dtype: Any = None, device: Any = None) -> np.ndarray:
    """Return the frequencies of a real signal's transform, in cycles per unit of ``d``.

    >>> rfftfreq(4)
    array([0.  , 0.25, 0.5 ])
    """
    return np.fft.rfftfreq(n, d, device=device).astype(dtype or np.float64)
