"""Traced forms of ``numpy.fft``."""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.types import type_of
from clew.numpy.support import Array, axes_of, operand, traced_form
from clew.ops import fft as f

for _name in ("fft", "ifft", "rfft", "irfft", "fftn", "ifftn", "rfftn", "irfftn"):
    _function = getattr(f, _name)
    traced_form(getattr(np.fft, _name))(
        lambda a, *args, _f=_function, **kwargs: _f(operand(a), *args, **kwargs)
    )
for _name in ("fft2", "ifft2", "rfft2", "irfft2"):
    _function = getattr(f, _name[:-1] + "n")
    traced_form(getattr(np.fft, _name))(
        lambda a, s=None, axes=(-2, -1), norm=None, _f=_function: _f(operand(a), s, axes, norm)
    )


@traced_form(np.fft.hfft)
def hfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """Transform of a signal with Hermitian symmetry: real."""
    swapped = {None: "forward", "backward": "forward", "forward": "backward", "ortho": "ortho"}
    return f.irfft(np.conj(operand(a)), n, axis, swapped[norm])


@traced_form(np.fft.ihfft)
def ihfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """Inverse of ``hfft``."""
    swapped = {None: "forward", "backward": "forward", "forward": "backward", "ortho": "ortho"}
    return np.conj(f.rfft(operand(a), n, axis, swapped[norm]))


@traced_form(np.fft.fftshift)
def fftshift(x: Any, axes: Any = None) -> Array:
    """Move the zero frequency to the middle."""
    x = operand(x)
    places = axes_of(axes, type_of(x).ndim)
    return np.roll(x, [type_of(x).shape[i] // 2 for i in places], places)


@traced_form(np.fft.ifftshift)
def ifftshift(x: Any, axes: Any = None) -> Array:
    """Inverse of ``fftshift``."""
    x = operand(x)
    places = axes_of(axes, type_of(x).ndim)
    return np.roll(x, [-(type_of(x).shape[i] // 2) for i in places], places)
