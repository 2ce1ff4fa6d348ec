"""Where values live while a program runs: in registers, in memory, or one number for all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clew.evaluate.native.affine import strides_of
from clew.evaluate.native.emitter import Value

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Registers:
    """A few elements, each an SSA value, in row-major order; ``home`` holds them in memory."""

    dtype: np.dtype
    shape: Shape
    values: tuple[Value, ...]
    home: Memory | None = None


@dataclass(frozen=True, eq=False)
class Splat:
    """One value for all elements."""

    dtype: np.dtype
    shape: Shape
    value: Value


@dataclass(frozen=True, eq=False)
class Memory:
    """A strided array: element i is at ``pointer + offset + i . strides``, in elements.

    ``buffer`` says which allocation it is in, if it is one of the program's own.
    """

    dtype: np.dtype
    shape: Shape
    pointer: str
    strides: tuple[int, ...]
    offset: int = 0
    buffer: Any = None

    @property
    def contiguous(self) -> bool:
        """Whether elements follow each other in row-major order."""
        pairs = zip(self.shape, self.strides, strides_of(self.shape), strict=True)
        return all(n == 1 or own == due for n, own, due in pairs)

    def view(self, shape: Sequence[int], strides: Sequence[int], offset: int = 0) -> Memory:
        """Return other elements of the same allocation."""
        return replace(
            self, shape=tuple(shape), strides=tuple(strides), offset=self.offset + offset
        )


Storage = Registers | Splat | Memory


def contiguous(dtype: np.dtype, shape: Shape, pointer: str, buffer: Any = None) -> Memory:
    """Return a row-major array at a pointer."""
    return Memory(dtype, shape, pointer, strides_of(shape), 0, buffer)


# --- views: how each changes a stored value ----------------------------------------------------


def reshaped(source: Storage, shape: Shape) -> Storage | None:
    """Return the same elements in another shape; None if they would have to be moved."""
    if isinstance(source, Registers):
        return Registers(source.dtype, shape, source.values)
    if isinstance(source, Splat):
        return Splat(source.dtype, shape, source.value)
    strides = _reshaped_strides(source.shape, source.strides, shape)
    return None if strides is None else source.view(shape, strides)


def _reshaped_strides(old: Shape, strides: Sequence[int], new: Shape) -> list[int] | None:
    """Merge axes that follow each other in memory, then divide them anew."""
    if math.prod(old) == 0:
        return [0] * len(new)
    merged: list[tuple[int, int]] = []
    for length, stride in zip(old, strides, strict=True):
        if length == 1:
            continue
        if merged and merged[-1][1] == stride * length:
            merged[-1] = (merged[-1][0] * length, stride)
        else:
            merged.append((length, stride))
    found = [0] * len(new)
    axis = len(new) - 1
    for length, stride in reversed(merged):
        left = length
        while left > 1:
            while axis >= 0 and new[axis] == 1:
                axis -= 1
            if left % new[axis]:
                return None
            found[axis] = stride
            stride *= new[axis]
            left //= new[axis]
            axis -= 1
    return found


def transposed(source: Storage, axes: Sequence[int]) -> Storage:
    """Return the axes in another order."""
    shape = tuple(source.shape[axis] for axis in axes)
    if isinstance(source, Memory):
        return source.view(shape, [source.strides[axis] for axis in axes])
    if isinstance(source, Splat):
        return Splat(source.dtype, shape, source.value)
    return _picked(source, np.transpose(_numbers(source), axes))


def broadcast(source: Storage, shape: Shape) -> Storage:
    """Repeat along new axes and axes of length 1."""
    if isinstance(source, Splat) or (len(source.shape) == 0 and isinstance(source, Registers)):
        value = source.value if isinstance(source, Splat) else source.values[0]
        return Splat(source.dtype, shape, value)
    if isinstance(source, Registers):
        return _picked(source, np.broadcast_to(_numbers(source), shape))
    extra = len(shape) - len(source.shape)
    strides = [0] * extra + [
        0 if own == 1 and length != 1 else stride
        for own, length, stride in zip(source.shape, shape[extra:], source.strides, strict=True)
    ]
    return source.view(shape, strides)


def sliced(source: Storage, index: Sequence[Any]) -> Storage:
    """Take a basic index: slices and whole numbers."""
    if isinstance(source, Registers):
        return _picked(source, _numbers(source)[tuple(index)])
    shape, strides, offset = [], [], 0
    own = source.strides if isinstance(source, Memory) else (0,) * len(source.shape)
    for axis, (length, stride) in enumerate(zip(source.shape, own, strict=True)):
        part = index[axis] if axis < len(index) else slice(None)
        if isinstance(part, slice):
            steps = range(*part.indices(length))
            shape.append(len(steps))
            strides.append(stride * steps.step)
            offset += stride * steps.start if len(steps) else 0
        else:
            offset += stride * (int(part) % length)
    if isinstance(source, Memory):
        return source.view(shape, strides, offset)
    return Splat(source.dtype, tuple(shape), source.value)


def _numbers(source: Registers) -> np.ndarray:
    return np.arange(len(source.values)).reshape(source.shape)


def _picked(source: Registers, numbers: np.ndarray) -> Registers:
    values = tuple(source.values[i] for i in numbers.ravel())
    return Registers(source.dtype, numbers.shape, values)


def viewed(name: str, source: Storage, params: dict[str, Any], shape: Shape) -> Storage | None:
    """Return what a view primitive makes of a stored operand; None if elements must move."""
    if name == "reshape":
        return reshaped(source, shape)
    if name == "transpose":
        return transposed(source, params["axes"])
    if name == "broadcast_to":
        return broadcast(source, shape)
    if name == "basic_slice":
        return sliced(source, params["index"])
    return source
