"""Views of stored values address the elements that NumPy's do."""

from __future__ import annotations

import numpy as np
import pytest

from clew.evaluate.native.emitter import Value
from clew.evaluate.native.storage import (
    Memory,
    Registers,
    Splat,
    broadcast,
    contiguous,
    reshaped,
    sliced,
    transposed,
    viewed,
)

F8 = np.dtype(np.float64)
SHAPES = [(12,), (3, 4), (2, 3, 2), (1, 12), (4, 1, 3)]
INDICES = [(slice(None, None, -1),), (slice(1, None, 2),), (0,), (-1,), (slice(2, 2),),
           (slice(None), slice(None, None, -1))]  # fmt: skip


def addressed(memory):
    """Return the offset of every element of a strided array."""
    grid = np.full(memory.shape, memory.offset)
    for axis, (length, stride) in enumerate(zip(memory.shape, memory.strides, strict=True)):
        steps = np.arange(length) * stride
        grid += steps.reshape([-1 if i == axis else 1 for i in range(len(memory.shape))])
    return grid


def stored(shape):
    """Return an array in memory, and in registers, and the numbers of the elements."""
    numbers = np.arange(int(np.prod(shape))).reshape(shape)
    values = tuple(Value(F8, f"%x{n}") for n in numbers.ravel())
    return contiguous(F8, shape, "%p"), Registers(F8, shape, values), numbers


def hold(memory, registers, expected):
    assert isinstance(memory, Memory)
    assert memory.shape == expected.shape
    np.testing.assert_array_equal(addressed(memory), expected)
    assert registers.shape == expected.shape
    assert [v.name for v in registers.values] == [f"%x{n}" for n in expected.ravel()]


@pytest.mark.parametrize("shape", SHAPES)
def test_views(shape):
    memory, registers, numbers = stored(shape)
    axes = tuple(range(len(shape)))[::-1]
    hold(transposed(memory, axes), transposed(registers, axes), numbers.T)
    for other in SHAPES:
        hold(reshaped(memory, other), reshaped(registers, other), numbers.reshape(other))
    wide = (2, *shape)
    hold(broadcast(memory, wide), broadcast(registers, wide), np.broadcast_to(numbers, wide))
    for index in INDICES:
        if len(index) <= len(shape):
            expected = np.asarray(numbers[index])
            hold(sliced(memory, index), sliced(registers, index), expected)


def test_views_of_views():
    memory, registers, numbers = stored((4, 6))
    places = [(slice(1, None),), (slice(None, None, 2), slice(None, None, -1))]
    for place in [*places, (slice(None), slice(1, 3))]:
        part, few, taken = sliced(memory, place), sliced(registers, place), numbers[place]
        hold(part, few, taken)
        hold(transposed(part, (1, 0)), transposed(few, (1, 0)), taken.T)


@pytest.mark.parametrize("other", SHAPES)
def test_a_reshape_moves_elements_only_if_it_must(other):
    memory, _, numbers = stored((3, 4))
    turned = numbers.T
    found = reshaped(transposed(memory, (1, 0)), other)
    if found is not None:
        np.testing.assert_array_equal(addressed(found), turned.reshape(other))
    assert (found is None) == (other not in [(4, 1, 3)])


def test_a_reshape_merges_axes_that_follow_each_other():
    memory, _, numbers = stored((4, 2, 3))
    part = sliced(memory, (slice(None, None, 2),))
    merged = reshaped(part, (2, 6))
    assert merged is not None
    np.testing.assert_array_equal(addressed(merged), numbers[::2].reshape(2, 6))
    assert reshaped(part, (12,)) is None
    assert reshaped(part, (2, 1, 6, 1)) is not None


def test_what_is_contiguous():
    memory, _, _ = stored((3, 4))
    assert memory.contiguous
    assert sliced(memory, (slice(1, 3),)).contiguous
    assert sliced(memory, (slice(1, 2),)).contiguous
    assert not sliced(memory, (slice(None), slice(0, 2))).contiguous
    assert not transposed(memory, (1, 0)).contiguous
    assert not broadcast(memory, (2, 3, 4)).contiguous


def test_one_value_for_all_elements_stays_one():
    splat = Splat(F8, (3, 4), Value(F8, "%x"))
    assert reshaped(splat, (12,)).shape == (12,)
    assert transposed(splat, (1, 0)).shape == (4, 3)
    assert broadcast(splat, (2, 3, 4)).shape == (2, 3, 4)
    assert sliced(splat, (0, slice(1, 3))).shape == (2,)
    scalar = Registers(F8, (), (Value(F8, "%y"),))
    assert isinstance(broadcast(scalar, (5,)), Splat)


def test_views_by_name():
    memory, _, numbers = stored((3, 4))
    cases = [
        ("reshape", {}, numbers.reshape(2, 6)),
        ("transpose", {"axes": (1, 0)}, numbers.T),
        ("broadcast_to", {}, np.broadcast_to(numbers, (2, 3, 4))),
        ("basic_slice", {"index": (slice(1, 2),)}, numbers[1:2]),
    ]
    for name, params, expected in cases:
        found = viewed(name, memory, params, expected.shape)
        assert isinstance(found, Memory)
        np.testing.assert_array_equal(addressed(found), expected)
