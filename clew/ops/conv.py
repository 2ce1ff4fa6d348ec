"""Convolution over any number of spatial axes: one bilinear primitive, and its spellings.

``conv`` is the correlation that neural networks call convolution,

    y[b, o, t] = sum over c, k of x[b, c, stride t + dilation k] w[o, c, k],

on signals (batch, channels, *space) and kernels (channels out, channels in, *space). With
``spread`` (zeros between the samples of the signal), padding that may be negative, and groups,
the transpose in either operand is a ``conv`` again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from clew.core.errors import DtypeError, InputError, ShapeError
from clew.core.kinds import bilinear
from clew.core.types import Type, type_of
from clew.ops.elementwise import conjugate, convert
from clew.ops.index import basic_slice
from clew.ops.shape import reshape, transpose

Array = Any
Ints = tuple[int, ...]
Padding = tuple[tuple[int, int], ...]

# --- the primitive -----------------------------------------------------------------------

_SMALL = 64
"""Fewer places than this are worth one matrix product over all examples together."""

_BYTES_AT_ONCE = 1 << 22
"""Patches are laid out for as many examples at once as fit in here."""


def _span(length: int, step: int) -> int:
    """The length of a signal or kernel with zeros put between its samples."""
    return (length - 1) * step + 1 if length else 0


def _places(x: Ints, w: Ints, stride: Ints, padding: Padding, spread: Ints, dilation: Ints) -> Ints:
    """How often the kernel fits, along each axis of space."""
    return tuple(
        (_span(n, gap) + before + after - _span(k, apart)) // step + 1
        for n, k, step, (before, after), gap, apart in zip(
            x, w, stride, padding, spread, dilation, strict=True
        )
    )


def _spread_and_padded(xp: Any, x: Any, padding: Padding, spread: Ints) -> Any:
    """Put zeros between and around; a negative padding cuts."""
    for axis, gap in enumerate(spread, start=2):
        if gap > 1 and x.shape[axis]:
            shape = (*x.shape[: axis + 1], gap - 1, *x.shape[axis + 1 :])
            wide = xp.concatenate(
                [xp.expand_dims(x, axis + 1), xp.zeros(shape, x.dtype)], axis=axis + 1
            )
            merged = (*x.shape[:axis], -1, *x.shape[axis + 1 :])
            x = xp.reshape(wide, merged)[
                (*(slice(None),) * axis, slice(0, _span(x.shape[axis], gap)))
            ]
    cut = tuple(
        slice(max(0, -before), n - max(0, -after))
        for (before, after), n in zip(padding, x.shape[2:], strict=True)
    )
    x = x[(slice(None), slice(None), *cut)]
    if any(side > 0 for sides in padding for side in sides):
        widths = [(max(0, before), max(0, after)) for before, after in padding]
        x = xp.pad(x, [(0, 0), (0, 0), *widths])
    return x


def _patches(xp: Any, x: Any, w: Ints, out: Ints, stride: Ints, dilation: Ints) -> Any:
    """Return what the kernel meets: (batch, channels, *kernel, *places)."""
    rank = len(w)
    if xp is np:
        covered = tuple(_span(k, apart) for k, apart in zip(w, dilation, strict=True))
        windows = np.lib.stride_tricks.sliding_window_view(x, covered, tuple(range(2, 2 + rank)))
        steps = [slice(None, None, step) for step in (*stride, *dilation)]
        windows = windows[(slice(None), slice(None), *steps)]
    else:
        index = []
        for axis in range(rank):
            place = np.arange(out[axis])[:, None] * stride[axis]
            met = place + np.arange(w[axis]) * dilation[axis]
            shape = [1] * (2 * rank)
            shape[axis], shape[rank + axis] = met.shape
            index.append(met.reshape(shape))
        windows = x[(slice(None), slice(None), *index)]
    kernel, places = range(2 + rank, 2 + 2 * rank), range(2, 2 + rank)
    return xp.transpose(windows, (0, 1, *kernel, *places))


def _conv_eval(
    xp: Any,
    x: Any,
    w: Any,
    *,
    stride: Ints,
    padding: Padding,
    spread: Ints,
    dilation: Ints,
    groups: int,
) -> Any:
    """Lay the patches out as the columns of a matrix, so that BLAS does the work."""
    out = _places(x.shape[2:], w.shape[2:], stride, padding, spread, dilation)
    x = _spread_and_padded(xp, x, padding, spread)
    patches = _patches(xp, x, w.shape[2:], out, stride, dilation)
    batch, rank = x.shape[0], w.ndim - 2
    made, inner = w.shape[0] // groups, int(np.prod(w.shape[1:]))
    kernels = xp.reshape(w, (groups, made, inner))
    count = int(np.prod(out))
    if not batch:
        return xp.zeros((0, w.shape[0], *out), w.dtype)
    if count < _SMALL and batch > 1:
        order = (1, *range(2, 2 + rank), 0, *range(2 + rank, 2 + 2 * rank))
        columns = xp.reshape(xp.transpose(patches, order), (groups, inner, batch * count))
        y = xp.reshape(xp.matmul(kernels, columns), (groups * made, batch, *out))
        return xp.moveaxis(y, 1, 0)

    def product(part: Any) -> Any:
        places = part.shape[2 + rank :]
        columns = xp.reshape(part, (-1, groups, inner, int(np.prod(places))))
        return xp.reshape(xp.matmul(kernels, columns), (-1, groups * made, *places))

    one = groups * inner * count * w.dtype.itemsize
    rows = max(1, _BYTES_AT_ONCE * out[0] // one) if one > _BYTES_AT_ONCE else out[0]
    step = max(1, _BYTES_AT_ONCE // one)
    before = (slice(None),) * (2 + rank)
    done = [
        _joined(
            xp,
            [
                product(patches[i : i + step][(*before, slice(j, j + rows))])
                for j in range(0, out[0], rows)
            ],
            axis=2,
        )
        for i in range(0, batch, step)
    ]
    return _joined(xp, done, axis=0)


def _joined(xp: Any, parts: list[Any], axis: int) -> Any:
    return parts[0] if len(parts) == 1 else xp.concatenate(parts, axis=axis)


def _conv_type(
    x: Type,
    w: Type,
    *,
    stride: Ints,
    padding: Padding,
    spread: Ints,
    dilation: Ints,
    groups: int,
) -> Type:
    out = _places(x.shape[2:], w.shape[2:], stride, padding, spread, dilation)
    return Type((x.shape[0], w.shape[0], *(max(0, n) for n in out)), x.dtype)


def _for_signal(
    t: Array,
    x: Type,
    w: Array,
    *,
    stride: Ints,
    padding: Padding,
    spread: Ints,
    dilation: Ints,
    groups: int,
) -> Array:
    """The transpose in the signal: the kernel reversed, its channels exchanged.

    Stride and spread change places.
    """
    kind = type_of(w)
    made, taken, *space = kind.shape
    reverse = slice(None, None, -1)
    w = basic_slice(w, index=(slice(None), slice(None), *(reverse for _ in space)))
    w = reshape(w, shape=(groups, made // groups, taken, *space))
    w = transpose(w, axes=(0, 2, 1, *range(3, 3 + len(space))))
    w = reshape(w, shape=(groups * taken, made // groups, *space))
    places = type_of(t).shape[2:]
    sides = []
    for i, (before, _) in enumerate(padding):
        first = _span(space[i], dilation[i]) - 1 - before
        total = _span(x.shape[2 + i], spread[i]) + _span(space[i], dilation[i]) - 1
        sides.append((first, total - _span(places[i], stride[i]) - first))
    return conv(
        t,
        w,
        stride=spread,
        padding=tuple(sides),
        spread=stride,
        dilation=dilation,
        groups=groups,
    )


def _for_kernel(
    t: Array,
    x: Array,
    w: Type,
    *,
    stride: Ints,
    padding: Padding,
    spread: Ints,
    dilation: Ints,
    groups: int,
) -> Array:
    """The transpose in the kernel: the cotangent is the kernel, examples are the channels.

    Stride and dilation change places.
    """
    batch, _, *space = type_of(x).shape
    _, taken, *lengths = w.shape
    rest = tuple(range(3, 3 + len(space)))
    x = reshape(x, shape=(batch, groups, taken, *space))
    x = transpose(x, axes=(2, 1, 0, *rest))
    x = reshape(x, shape=(taken, groups * batch, *space))
    places = type_of(t).shape[2:]
    t = transpose(t, axes=(1, 0, *range(2, 2 + len(space))))
    sides = []
    for i, (before, _) in enumerate(padding):
        needed = _span(places[i], stride[i]) + _span(lengths[i], dilation[i]) - 1
        sides.append((before, needed - _span(space[i], spread[i]) - before))
    result = conv(
        x,
        t,
        stride=dilation,
        padding=tuple(sides),
        spread=spread,
        dilation=stride,
        groups=groups,
    )
    return transpose(result, axes=(1, 0, *range(2, 2 + len(space))))


def _conv_batch(size: int, operands: Any, batched: Any, *, groups: int, **params: Any) -> Array:
    """A batch of signals goes into the examples; a batch of kernels into the groups."""
    x, w = operands
    if not batched[1]:
        shape = type_of(x).shape
        x = reshape(x, shape=(size * shape[1], *shape[2:]))
        y = conv(x, w, groups=groups, **params)
        return reshape(y, shape=(size, shape[1], *type_of(y).shape[1:]))
    if not batched[0]:
        return _many_kernels(size, x, w, groups, params)
    _, batch, channels, *space = type_of(x).shape
    _, made, taken, *lengths = type_of(w).shape
    x = transpose(x, axes=(1, 0, *range(2, 3 + len(space))))
    x = reshape(x, shape=(batch, size * channels, *space))
    w = reshape(w, shape=(size * made, taken, *lengths))
    y = conv(x, w, groups=size * groups, **params)
    y = reshape(y, shape=(batch, size, made, *type_of(y).shape[2:]))
    return transpose(y, axes=(1, 0, *range(2, 3 + len(space))))


def _many_kernels(size: int, x: Array, w: Array, groups: int, params: dict[str, Any]) -> Array:
    """Meet one signal with many kernels: they are channels of one result."""
    _, made, taken, *lengths = type_of(w).shape
    each, rest = made // groups, tuple(range(3, 4 + len(lengths)))
    w = reshape(w, shape=(size, groups, each, taken, *lengths))
    w = reshape(transpose(w, axes=(1, 0, 2, *rest)), shape=(size * made, taken, *lengths))
    y = conv(x, w, groups=groups, **params)
    batch, _, *places = type_of(y).shape
    y = reshape(y, shape=(batch, groups, size, each, *places))
    y = transpose(y, axes=(2, 0, 1, *rest))
    return reshape(y, shape=(size, batch, made, *places))


conv = bilinear(
    "conv",
    eval=_conv_eval,
    type=_conv_type,
    transposes=(_for_signal, lambda t, x, w, **params: _for_kernel(t, x, w, **params)),
    batch=_conv_batch,
)

# --- spellings ---------------------------------------------------------------------------


def _each(name: str, value: Any, rank: int) -> Ints:
    values = (value,) * rank if isinstance(value, (int, np.integer)) else tuple(value)
    if len(values) != rank or any(int(each) < 1 for each in values):
        raise InputError(
            f"convolution: {name}={value!r} for {rank} axes of space",
            "give a positive integer, or one for each axis",
        )
    return tuple(int(each) for each in values)


def _sides(padding: Any, x: Ints, w: Ints, stride: Ints, dilation: Ints) -> Padding:
    if padding == "valid":
        return ((0, 0),) * len(x)
    if padding == "same":
        result = []
        for n, k, step, apart in zip(x, w, stride, dilation, strict=True):
            total = max(0, (-(-n // step) - 1) * step + _span(k, apart) - n)
            result.append((total // 2, total - total // 2))
        return tuple(result)
    if isinstance(padding, (int, np.integer)):
        padding = (padding,) * len(x)
    if isinstance(padding, str) or len(padding) != len(x):
        raise InputError(
            f"convolution: padding={padding!r} for {len(x)} axes of space",
            "give 'valid', 'same', an integer, or an integer or (before, after) for each axis",
        )
    pairs = [(each, each) if np.ndim(each) == 0 else each for each in padding]
    return tuple((int(before), int(after)) for before, after in pairs)


def _checked(x: Array, w: Array, groups: int, made_of: str) -> tuple[Array, Array]:
    a, b = type_of(x), type_of(w)
    asked = f"{made_of}: signal {a.shape}, kernel {b.shape}, groups={groups}"
    if a.ndim < 3 or a.ndim != b.ndim:
        raise ShapeError(
            asked, "give (batch, channels, *space) and (channels out, channels in, *space)"
        )
    taken, made = (b.shape[1] * groups, b.shape[0])
    if made_of == "conv_transposed":
        taken, made = made, taken
    if groups < 1 or a.shape[1] != taken or b.shape[0] % groups:
        raise ShapeError(
            asked,
            "the channels of signal and kernel must agree: each group of the signal's channels "
            "meets its own kernels",
        )
    dtype = np.result_type(a.dtype, b.dtype)
    if dtype.kind == "b":
        raise DtypeError(asked + ", of truth values", "convert to numbers first")
    x, w = (each if type_of(each).dtype == dtype else convert(each, dtype=dtype) for each in (x, w))
    return x, w


def convolution(
    x: Array,
    w: Array,
    *,
    stride: int | Sequence[int] = 1,
    padding: Any = "valid",
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Array:
    """Return the convolution of neural networks (a correlation: the kernel is not reversed).

    ``y[b, o, t] = sum over c, k of x[b, c, stride t + dilation k] w[o, c, k]``

    Parameters
    ----------
    x : array, (batch, channels in, *space)
    w : array, (channels out, channels in / groups, *space)
    stride, dilation : int, or one for each axis of space
        Steps between places, and between the samples that a kernel meets.
    padding : "valid", "same", int, or int or (before, after) for each axis
        Zeros around the signal; "same" gives ceil(length / stride) places.
    groups : int
        Channels are cut into this many groups that do not meet.

    Returns
    -------
    array, (batch, channels out, *space)

    Raises
    ------
    ShapeError
        If axes or channels do not agree, or the kernel is longer than the padded signal.
    InputError
        If stride, dilation or padding cannot be used.

    >>> convolution(np.ones((1, 1, 4)), np.ones((1, 1, 3)))
    array([[[3., 3.]]])
    >>> convolution(np.ones((1, 1, 4)), np.ones((1, 1, 3)), padding="same", stride=2)
    array([[[3., 2.]]])
    """
    x, w = _checked(x, w, groups, "convolution")
    space, lengths = type_of(x).shape[2:], type_of(w).shape[2:]
    steps = _each("stride", stride, len(space))
    apart = _each("dilation", dilation, len(space))
    sides = _sides(padding, space, lengths, steps, apart)
    ones = (1,) * len(space)
    if min(_places(space, lengths, steps, sides, ones, apart), default=1) < 1:
        raise ShapeError(
            f"convolution: kernel {lengths} with dilation {apart} is longer than the signal "
            f"{space} with padding {sides}",
            "pad the signal, or use a shorter kernel",
        )
    return conv(x, w, stride=steps, padding=sides, spread=ones, dilation=apart, groups=groups)


def conv_transposed(
    x: Array,
    w: Array,
    *,
    stride: int | Sequence[int] = 1,
    padding: Any = "valid",
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Array:
    """Return the transpose of :func:`convolution` in its signal: it raises the resolution.

    Each sample of ``x`` adds a kernel to the result, ``stride`` apart. Arguments are those of
    the convolution it is the transpose of, with ``w`` of shape (channels of x, channels out /
    groups, *space); ``padding`` is cut off the result, whose length is
    ``(length - 1) stride + (kernel - 1) dilation + 1 - before - after``.

    >>> conv_transposed(np.ones((1, 1, 2)), np.ones((1, 1, 2)), stride=2)
    array([[[1., 1., 1., 1.]]])
    """
    x, w = _checked(x, w, groups, "conv_transposed")
    kind = type_of(x)
    space, lengths = kind.shape[2:], type_of(w).shape[2:]
    steps = _each("stride", stride, len(space))
    apart = _each("dilation", dilation, len(space))
    full = tuple(
        _span(n, step) + _span(k, gap) - 1
        for n, step, k, gap in zip(space, steps, lengths, apart, strict=True)
    )
    sides = _sides(padding, full, lengths, (1,) * len(space), apart)
    result = tuple(n - before - after for n, (before, after) in zip(full, sides, strict=True))
    if min(result, default=1) < 1:
        raise ShapeError(
            f"conv_transposed: padding {sides} cuts off all of the result {full}", "pad less"
        )
    made = Type((kind.shape[0], type_of(w).shape[1] * groups, *result), kind.dtype)
    return _for_signal(
        x,
        made,
        w,
        stride=steps,
        padding=sides,
        spread=(1,) * len(space),
        dilation=apart,
        groups=groups,
    )


def convolve(a: Array, v: Array, mode: str = "full") -> Array:
    """Return the convolution of two vectors, as ``numpy.convolve``.

    ``c[t] = sum over k of a[t - k] v[k]``

    Parameters
    ----------
    mode : "full", "same" or "valid"
        All places where they meet, as many as the longer has, or where the shorter is inside.

    >>> convolve(np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0]))
    array([0., 1., 2., 3.])
    """
    if type_of(a).size < type_of(v).size:
        a, v = v, a
    return _slide(a, _reversed(v), mode, "convolve")


def correlate(a: Array, v: Array, mode: str = "valid") -> Array:
    """Return the correlation of two vectors, as ``numpy.correlate``.

    ``c[t] = sum over k of a[t + k] conj(v[k])``; modes are those of :func:`convolve`.

    >>> correlate(np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0]))
    array([2., 3.])
    """
    if type_of(v).dtype.kind == "c":
        v = conjugate(v)
    if type_of(a).size < type_of(v).size:
        return _reversed(_slide(v, a, mode, "correlate"))
    return _slide(a, v, mode, "correlate")


def _reversed(x: Array) -> Array:
    return basic_slice(x, index=(slice(None, None, -1),))


def _slide(x: Array, w: Array, mode: str, name: str) -> Array:
    """Slide the shorter vector along the longer one."""
    n, k = type_of(x).shape, type_of(w).shape
    if len(n) != 1 or len(k) != 1 or not k[0]:
        raise ShapeError(f"{name}: shapes {n} and {k}", "give two vectors of at least one element")
    sides = {"full": (k[0] - 1, k[0] - 1), "same": (k[0] // 2, (k[0] - 1) // 2), "valid": (0, 0)}
    if mode not in sides:
        raise InputError(f"{name}: mode={mode!r}", "use 'full', 'same' or 'valid'")
    truth = type_of(x).dtype.kind == type_of(w).dtype.kind == "b"
    x, w = (reshape(each, shape=(1, 1, type_of(each).size)) for each in (x, w))
    if truth:  # is there a place where both hold?
        x, w = (convert(each, dtype=np.dtype(np.int64)) for each in (x, w))
    y = convolution(x, w, padding=(sides[mode],))
    y = reshape(y, shape=(type_of(y).size,))
    return convert(y, dtype=np.dtype(np.bool_)) if truth else y
