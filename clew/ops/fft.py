"""Discrete Fourier transforms: three linear primitives, and NumPy's functions of them.

``fft`` is the unnormalised transform ``y_k = sum over j of x_j exp(-2 pi i j k / n)`` over one
or several axes, or its mirror image with ``+i``. Its matrix is symmetric, so it is its own
transpose. ``rfft`` keeps the half of the frequencies that determines a real signal; ``irfft``
makes the real signal of that half. Lengths and norms are handled around them, by cutting,
padding and scaling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from clew.core.errors import DtypeError, InputError, ShapeError
from clew.core.kinds import linear
from clew.core.types import Type, type_of
from clew.ops.elementwise import conjugate, convert, multiply
from clew.ops.index import basic_slice
from clew.ops.shape import pad_zeros

Array = Any
Axes = tuple[int, ...]

# --- the primitives ----------------------------------------------------------------------


def _transform_eval(xp: Any, x: Any, *, axes: Axes, sign: int) -> Any:
    if sign < 0:
        return xp.fft.fftn(x, axes=axes).astype(x.dtype)
    return xp.fft.ifftn(x, axes=axes, norm="forward").astype(x.dtype)


transform = linear(
    "fft",
    eval=_transform_eval,
    type=lambda x, *, axes, sign: x,
    transpose=lambda t, x, *, axes, sign: (transform(t, axes=axes, sign=sign),),
    batch=lambda size, x, batched, *, axes, sign: transform(
        x[0], axes=tuple(axis + 1 for axis in axes), sign=sign
    ),
)


def _with_length(shape: tuple[int, ...], axis: int, length: int) -> tuple[int, ...]:
    return (*shape[:axis], length, *shape[axis + 1 :])


def _uses(length: int, axis: int, ndim: int, dtype: np.dtype) -> np.ndarray:
    """How often a real signal of a length has each frequency of its half spectrum: 1 or 2."""
    times = np.full(length // 2 + 1, 2, dtype)
    times[0] = 1
    if length % 2 == 0:
        times[-1] = 1
    return times.reshape((-1, *(1,) * (ndim - axis - 1)))


def _rfft_transpose(t: Array, x: Type, *, axis: int) -> tuple[Array]:
    """``Re(sum over k of t_k exp(-2 pi i j k / n))``, by the transform the other way."""
    length = x.shape[axis]
    weight = length / _uses(length, axis, x.ndim, x.dtype)
    return (half_inverse(multiply(conjugate(t), weight), axis=axis, length=length),)


def _irfft_transpose(t: Array, x: Type, *, axis: int, length: int) -> tuple[Array]:
    weight = _uses(length, axis, x.ndim, type_of(t).dtype) / length
    return (multiply(conjugate(half(t, axis=axis)), weight),)


half = linear(
    "rfft",
    eval=lambda xp, x, *, axis: xp.fft.rfft(x, axis=axis),
    type=lambda x, *, axis: Type(
        _with_length(x.shape, axis, x.shape[axis] // 2 + 1), np.result_type(x.dtype, np.complex64)
    ),
    transpose=_rfft_transpose,
    batch=lambda size, x, batched, *, axis: half(x[0], axis=axis + 1),
)
half_inverse = linear(
    "irfft",
    eval=lambda xp, x, *, axis, length: xp.fft.irfft(x, length, axis),
    type=lambda x, *, axis, length: Type(
        _with_length(x.shape, axis, length), np.finfo(x.dtype).dtype
    ),
    transpose=_irfft_transpose,
    batch=lambda size, x, batched, *, axis, length: half_inverse(
        x[0], axis=axis + 1, length=length
    ),
)

# --- lengths, norms, axes ----------------------------------------------------------------


def _complex(x: Array) -> Array:
    kind = type_of(x)
    if kind.dtype.kind == "c":
        return x
    return convert(x, dtype=np.result_type(_real(x, "fft").dtype, np.complex64))


def _real(x: Array, name: str) -> Array:
    kind = type_of(x)
    if kind.dtype.kind == "c":
        raise DtypeError(
            f"{name}: the signal is {kind.dtype.name}, and a real one is asked for",
            "use fft, or pass the real part of the signal",
        )
    if kind.dtype.kind == "f" and kind.dtype != np.float16:
        return x
    return convert(x, dtype=np.dtype(np.float32 if kind.dtype == np.float16 else np.float64))


def _resized(x: Array, length: int | None, axis: int, name: str) -> Array:
    have = type_of(x).shape[axis]
    length = have if length is None else length
    if length < 1:
        raise InputError(
            f"{name}: a transform of {length} samples (shape {type_of(x).shape}, axis {axis})",
            "give at least one sample",
        )
    if length < have:
        return basic_slice(x, index=(*(slice(None),) * axis, slice(0, length, 1)))
    if length > have:
        widths = [(0, 0)] * type_of(x).ndim
        widths[axis] = (0, length - have)
        return pad_zeros(x, tuple(widths))
    return x


def _scaled(y: Array, length: int, norm: str | None, sign: int) -> Array:
    """Divide by n, by its root or not, as the norm and the direction say."""
    if norm not in (None, "backward", "ortho", "forward"):
        raise InputError(f"fft: norm={norm!r}", "use 'backward', 'ortho' or 'forward'")
    if norm == "ortho":
        return multiply(y, 1.0 / math.sqrt(length))
    if (norm == "forward") == (sign < 0):
        return multiply(y, 1.0 / length)
    return y


def _axis(x: Array, axis: int, name: str) -> int:
    kind = type_of(x)
    if not -kind.ndim <= axis < kind.ndim:
        raise ShapeError(
            f"{name}: shape {kind.shape} has no axis {axis}", "name an axis that the array has"
        )
    return axis % kind.ndim


def _many(
    a: Array, s: Sequence[int] | None, axes: Sequence[int] | None, name: str
) -> tuple[list[int | None], list[int]]:
    ndim = type_of(a).ndim
    if axes is None:
        axes = range(ndim) if s is None else range(ndim - len(s), ndim)
    places = [_axis(a, axis, name) for axis in axes]
    have = [type_of(a).shape[axis] for axis in places]
    if s is not None and len(s) != len(places):
        raise InputError(
            f"{name}: {len(s)} lengths and {len(places)} axes", "give one length for each axis"
        )
    lengths: list[int | None] = [
        mine if given == -1 else given
        for given, mine in zip(have if s is None else s, have, strict=True)
    ]
    if name == "irfftn" and s is None:
        lengths[-1] = None
    return lengths, places


def _over(
    a: Array,
    lengths: Sequence[int | None],
    axes: Sequence[int],
    norm: str | None,
    sign: int,
    name: str,
) -> Array:
    """Cut or pad, then transform all axes at once; an axis named twice is transformed twice."""
    x = _complex(a)
    if len(set(axes)) < len(axes):
        for length, axis in zip(reversed(lengths), reversed(axes), strict=True):
            x = _over(x, (length,), (axis,), norm, sign, name)
        return x
    for length, axis in zip(lengths, axes, strict=True):
        x = _resized(x, length, axis, name)
    if not axes:
        return x
    count = math.prod(type_of(x).shape[axis] for axis in axes)
    return _scaled(transform(x, axes=tuple(axes), sign=sign), count, norm, sign)


# --- one axis ----------------------------------------------------------------------------


def fft(a: Array, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """Return the discrete Fourier transform along an axis, as ``numpy.fft.fft``.

    Parameters
    ----------
    n : int, optional
        The number of samples; the signal is cut or padded with zeros to it.
    norm : "backward", "ortho" or "forward"
        Which direction is divided by n: the inverse, both by its root, or this one.

    Raises
    ------
    InputError
        If there is no sample, or the norm is unknown.
    ShapeError
        If there is no such axis.

    >>> fft(np.array([1.0, 0.0, 0.0])).real
    array([1., 1., 1.])
    """
    return _over(a, (n,), (_axis(a, axis, "fft"),), norm, -1, "fft")


def ifft(a: Array, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """Return the inverse transform along an axis, as ``numpy.fft.ifft``; see :func:`fft`.

    >>> ifft(np.array([3.0, 0.0, 0.0])).real
    array([1., 1., 1.])
    """
    return _over(a, (n,), (_axis(a, axis, "ifft"),), norm, 1, "ifft")


def rfft(a: Array, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """Return the transform of a real signal, frequencies from 0 up, as ``numpy.fft.rfft``.

    Parameters and errors are those of :func:`fft`; a complex signal is a DtypeError.

    >>> rfft(np.array([1.0, 0.0, 0.0, 0.0])).real
    array([1., 1., 1.])
    """
    axis = _axis(a, axis, "rfft")
    x = _resized(_real(a, "rfft"), n, axis, "rfft")
    return _scaled(half(x, axis=axis), type_of(x).shape[axis], norm, -1)


def irfft(a: Array, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """Return the real signal of a half spectrum, as ``numpy.fft.irfft``; see :func:`fft`.

    ``n`` is the number of samples of the signal, twice the frequencies less two if not given.

    >>> irfft(np.array([1.0, 1.0, 1.0]))
    array([1., 0., 0., 0.])
    """
    axis = _axis(a, axis, "irfft")
    x = _complex(a)
    length = 2 * (type_of(x).shape[axis] - 1) if n is None else n
    if length < 1:
        raise InputError(
            f"irfft: a signal of {length} samples", "give n, or at least two frequencies"
        )
    x = _resized(x, length // 2 + 1, axis, "irfft")
    y = half_inverse(x, axis=axis, length=length)
    # The primitive has divided by the length.
    return y if norm in (None, "backward") else multiply(_scaled(y, length, norm, 1), length)


# --- several axes ------------------------------------------------------------------------


def fftn(
    a: Array,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str | None = None,
) -> Array:
    """Return the transform over several axes, as ``numpy.fft.fftn``; see :func:`fft`.

    Parameters
    ----------
    s : sequence of int, optional
        The number of samples along each axis; -1 leaves an axis as it is.
    axes : sequence of int, optional
        All axes, or the last ones that ``s`` has lengths for, if not given.

    >>> fftn(np.ones((2, 2))).real
    array([[4., 0.],
           [0., 0.]])
    """
    return _over(a, *_many(a, s, axes, "fftn"), norm, -1, "fftn")


def ifftn(
    a: Array,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str | None = None,
) -> Array:
    """Return the inverse transform over several axes, as ``numpy.fft.ifftn``; see :func:`fftn`.

    >>> ifftn(np.ones((2, 2))).real
    array([[1., 0.],
           [0., 0.]])
    """
    return _over(a, *_many(a, s, axes, "ifftn"), norm, 1, "ifftn")


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
    lengths, places = _many(a, s, axes, "rfftn")
    y = rfft(a, lengths[-1], places[-1], norm)
    return _over(y, lengths[:-1], places[:-1], norm, -1, "rfftn")


def irfftn(
    a: Array,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str | None = None,
) -> Array:
    """Return the real array of a half spectrum, as ``numpy.fft.irfftn``; see :func:`fftn`.

    >>> irfftn(rfftn(np.ones((2, 4)))).shape
    (2, 4)
    """
    lengths, places = _many(a, s, axes, "irfftn")
    y = _over(a, lengths[:-1], places[:-1], norm, 1, "irfftn")
    return irfft(y, lengths[-1], places[-1], norm)
