"""Discrete Fourier transforms: one primitive over several axes, and NumPy's functions of it.

``fft`` is the unnormalised forward (sign -1) or backward (sign +1) transform of a complex
array. It is linear and symmetric, so it is its own transpose; ``rfft`` and ``irfft`` are
the parts of it that real signals need.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from clew.core.errors import InputError
from clew.core.kinds import linear
from clew.core.types import Type, type_of
from clew.ops.elementwise import conjugate, convert, multiply, real
from clew.ops.index import basic_slice
from clew.ops.shape import concatenate, pad_zeros

Array = Any
Axes = tuple[int, ...]


def _transform_eval(xp: Any, x: Any, *, axes: Axes, sign: int) -> Any:
    norm = "backward" if sign < 0 else "forward"
    function = xp.fft.fftn if sign < 0 else xp.fft.ifftn
    return function(x, axes=axes, norm=norm).astype(x.dtype)


transform = linear(
    "fft",
    eval=_transform_eval,
    type=lambda x, *, axes, sign: x,
    transpose=lambda t, x, *, axes, sign: (transform(t, axes=axes, sign=sign),),
    batch=lambda size, x, batched, *, axes, sign: transform(
        x[0], axes=tuple(axis + 1 for axis in axes), sign=sign
    ),
)


def _complex(x: Array) -> Array:
    kind = type_of(x)
    if kind.dtype.kind == "c":
        return x
    single = kind.dtype in (np.dtype(np.float32), np.dtype(np.float16))
    return convert(x, dtype=np.dtype(np.complex64 if single else np.complex128))


def _real(x: Array) -> Array:
    kind = type_of(x)
    if kind.dtype.kind == "c":
        raise InputError(
            "rfft: the signal is complex", "use fft, or pass the real part of the signal"
        )
    return x


def _resized(x: Array, length: int, axis: int) -> Array:
    have = type_of(x).shape[axis]
    if length < have:
        return basic_slice(x, index=(*(slice(None),) * axis, slice(0, length, 1)))
    if length > have:
        widths = [(0, 0)] * type_of(x).ndim
        widths[axis] = (0, length - have)
        return pad_zeros(x, tuple(widths))
    return x


def _scale(length: int, norm: str | None, sign: int) -> float:
    norms = (None, "backward", "ortho", "forward")
    if norm not in norms:
        raise InputError(f"fft: norm={norm!r}", "use 'backward', 'ortho' or 'forward'")
    if norm == "ortho":
        return 1.0 / math.sqrt(length)
    divided = (norm == "forward") == (sign < 0)
    return 1.0 / length if divided else 1.0


def _normalised(x: Array, axes: Axes, norm: str | None, sign: int) -> Array:
    length = math.prod(type_of(x).shape[axis] for axis in axes)
    if length < 1:
        raise InputError("fft: an axis has no elements", "give at least one sample")
    y = transform(x, axes=axes, sign=sign)
    scale = _scale(length, norm, sign)
    return y if scale == 1.0 else multiply(y, scale)


def _axis(x: Array, axis: int) -> int:
    return axis % type_of(x).ndim


def fft(a: Array, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """Return the discrete Fourier transform along an axis, as ``numpy.fft.fft``.

    >>> fft(np.array([1.0, 0.0, 0.0])).real
    array([1., 1., 1.])
    """
    return _one(a, n, axis, norm, -1)


def ifft(a: Array, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """Return the inverse transform along an axis, as ``numpy.fft.ifft``.

    >>> ifft(np.array([3.0, 0.0, 0.0])).real
    array([1., 1., 1.])
    """
    return _one(a, n, axis, norm, 1)


def _one(a: Array, n: int | None, axis: int, norm: str | None, sign: int) -> Array:
    axis = _axis(a, axis)
    x = _complex(a)
    x = x if n is None else _resized(x, n, axis)
    return _normalised(x, (axis,), norm, sign)


def rfft(a: Array, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """Return the transform of a real signal, frequencies from 0 up, as ``numpy.fft.rfft``.

    >>> rfft(np.array([1.0, 0.0, 0.0, 0.0])).real
    array([1., 1., 1.])
    """
    y = fft(_real(a), n, axis, norm)
    axis = _axis(a, axis)
    return _resized(y, type_of(y).shape[axis] // 2 + 1, axis)


def irfft(a: Array, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """Return the real signal of a half spectrum, as ``numpy.fft.irfft``.

    >>> irfft(np.array([1.0, 1.0, 1.0]))
    array([1., 0., 0., 0.])
    """
    axis = _axis(a, axis)
    length = 2 * (type_of(a).shape[axis] - 1) if n is None else n
    return real(_normalised(_whole_spectrum(_complex(a), length, axis), (axis,), norm, 1))


def _whole_spectrum(x: Array, length: int, axis: int) -> Array:
    """Complete a half spectrum by the conjugates of its mirror images."""
    x = _resized(x, length // 2 + 1, axis)
    before = (slice(None),) * axis
    last = (length - 1) // 2
    mirror = basic_slice(x, index=(*before, slice(1, last + 1, 1)))
    mirror = conjugate(basic_slice(mirror, index=(*before, slice(None, None, -1))))
    first = basic_slice(x, index=(*before, slice(0, 1, 1)))
    # The imaginary parts of the mean and of the highest frequency are not read.
    pieces = [convert(real(first), dtype=type_of(x).dtype)]
    pieces.append(basic_slice(x, index=(*before, slice(1, last + 1, 1))))
    if length % 2 == 0:
        top = basic_slice(x, index=(*before, slice(length // 2, length // 2 + 1, 1)))
        pieces.append(convert(real(top), dtype=type_of(x).dtype))
    return concatenate(*pieces, mirror, axis=axis)


def _many(
    a: Array, s: Sequence[int] | None, axes: Sequence[int] | None
) -> tuple[list[int | None], list[int]]:
    ndim = type_of(a).ndim
    if axes is None:
        axes = range(ndim) if s is None else range(ndim - len(s), ndim)
    places = [axis % ndim for axis in axes]
    lengths: list[int | None] = list(s) if s is not None else [None] * len(places)
    return lengths, places


def _over(
    one: Any, a: Array, s: Sequence[int] | None, axes: Sequence[int] | None, norm: str | None
) -> Array:
    lengths, places = _many(a, s, axes)
    for length, axis in zip(reversed(lengths), reversed(places), strict=True):
        a = one(a, length, axis, norm)
    return a


def fftn(
    a: Array,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str | None = None,
) -> Array:
    """Return the transform over several axes, as ``numpy.fft.fftn``.

    >>> fftn(np.ones((2, 2))).real
    array([[4., 0.],
           [0., 0.]])
    """
    return _over(fft, a, s, axes, norm)


def ifftn(
    a: Array,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str | None = None,
) -> Array:
    """Return the inverse transform over several axes, as ``numpy.fft.ifftn``.

    >>> ifftn(np.ones((2, 2))).real
    array([[1., 0.],
           [0., 0.]])
    """
    return _over(ifft, a, s, axes, norm)


def rfftn(
    a: Array,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str | None = None,
) -> Array:
    """Return the transform of a real array, half of the last axis, as ``numpy.fft.rfftn``.

    >>> rfftn(np.ones((2, 2))).shape
    (2, 2)
    """
    lengths, places = _many(a, s, axes)
    y = rfft(a, lengths[-1], places[-1], norm)
    for length, axis in zip(reversed(lengths[:-1]), reversed(places[:-1]), strict=True):
        y = fft(y, length, axis, norm)
    return y


def irfftn(
    a: Array,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str | None = None,
) -> Array:
    """Return the real array of a half spectrum, as ``numpy.fft.irfftn``.

    >>> irfftn(rfftn(np.ones((2, 4)))).shape
    (2, 4)
    """
    lengths, places = _many(a, s, axes)
    for length, axis in zip(lengths[:-1], places[:-1], strict=True):
        a = ifft(a, length, axis, norm)
    return irfft(a, lengths[-1], places[-1], norm)
