"""Joining, writing into, and scattering into arrays in native code, and running sums."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from clew.core.graph import Equation
from clew.evaluate.native.emitter import BOOL, INT64, Emitter
from clew.evaluate.native.passing import Passing
from clew.evaluate.native.spaces import OutOfRange, combined, identity, wrapped
from clew.evaluate.native.storage import Registers, Splat, Storage, sliced

_RUNNING = {"cumsum": "sum", "cumprod": "prod", "cummax": "max", "cummin": "min"}


def converted(program: Any, frame: Any, storage: Storage, dtype: np.dtype) -> Storage:
    """Return a value in another dtype."""
    if storage.dtype == dtype:
        return storage
    if isinstance(storage, Registers):
        values = tuple(program.e.convert(value, dtype) for value in storage.values)
        return Registers(dtype, storage.shape, values)
    if isinstance(storage, Splat):
        return Splat(dtype, storage.shape, program.e.convert(storage.value, dtype))
    found = frame.scratch(dtype, storage.shape)
    e = Emitter(program.module, program.module.fresh("convert"))
    writer = Passing(e)
    with contextlib.ExitStack() as loops:
        index = [loops.enter_context(e.loop(0, n)) for n in storage.shape]
        writer.store(found, index, e.convert(writer.load(storage, index), dtype))
    e.ret()
    symbol = program.module.add(e)
    program.e.line(f"call void {symbol}({', '.join(writer.arguments)})")
    return found


def write_concatenate(program: Any, frame: Any, equation: Equation) -> bool:
    """Write each part into its place."""
    var = equation.outputs[0]
    axis = equation.params["axis"]
    target = frame.allocated(var)
    start = 0
    for atom in equation.inputs:
        stop = start + atom.type.shape[axis]
        place = sliced(target, (*(slice(None),) * axis, slice(start, stop)))
        if not frame.holds(atom, place):
            frame.copy(converted(program, frame, frame.storage(atom), target.dtype), place)
        start = stop
    frame.define(var, frame.settled(target))
    return True


def write_update(program: Any, frame: Any, equation: Equation) -> bool:
    """Copy the array, unless nobody else reads it any more, and write into it."""
    new, var = equation.inputs[1], equation.outputs[0]
    target = frame.inherited(equation)
    place = sliced(target, equation.params["index"])
    frame.copy(converted(program, frame, frame.storage(new), target.dtype), place)
    frame.define(var, frame.settled(target))
    return True


def write_scatter(program: Any, frame: Any, equation: Equation) -> bool:
    """Add to, or write, elements at indices, one after the other in the order of the indices."""
    _, new, *indices = equation.inputs
    var = equation.outputs[0]
    dtype = var.type.dtype
    adds = equation.primitive.name == "scatter_add"
    if adds and dtype.kind == "b":
        return False
    axes = equation.params["axes"]
    target = frame.inherited(equation)
    values = frame.in_memory_or_splat(frame.storage(new))
    numbers = [frame.in_memory_or_splat(frame.storage(atom)) for atom in indices]
    rank = indices[0].type.ndim
    module = program.module
    e = Emitter(module, module.fresh("scatter"))
    writer = Passing(e)
    flags = _Flags(program, writer)
    with contextlib.ExitStack() as loops:
        index = [loops.enter_context(e.loop(0, n)) for n in new.type.shape]
        places = {}
        for axis, each in zip(axes, numbers, strict=True):
            length = var.type.shape[axis]
            places[axis], outside = wrapped(e, writer.load(each, index[:rank]), length)
            complaint = OutOfRange(equation, axis, length)
            with e.when(outside):
                e.store(flags.parameter(complaint), e.constant(BOOL, True))
        rest = iter(index[rank:])
        place = [places[axis] if axis in places else next(rest) for axis in range(var.type.ndim)]
        value = e.convert(writer.load(values, index), dtype)
        if adds:
            value = e.add(writer.load(target, place), value)
        writer.store(target, place, value)
    e.ret()
    symbol = module.add(e)
    program.e.line(f"call void {symbol}({', '.join(writer.arguments)})")
    flags.raise_if_set()
    frame.define(var, frame.settled(target))
    return True


def write_running(program: Any, frame: Any, equation: Equation) -> bool:
    """Write a running sum, product or extreme along an axis."""
    var = equation.outputs[0]
    operation = _RUNNING[equation.primitive.name]
    dtype = var.type.dtype
    if dtype.kind not in "fiu" and operation in ("max", "min"):
        return False
    if dtype.kind == "b":
        return False
    source = frame.in_memory_or_splat(frame.storage(equation.inputs[0]))
    target = frame.allocated(var)
    axis = equation.params["axis"]
    module = program.module
    e = Emitter(module, module.fresh("running"))
    writer = Passing(e)
    start = e.constant(dtype, identity(operation, dtype))
    slot = e.slot(dtype)
    with contextlib.ExitStack() as loops:
        shape = var.type.shape
        index: list[Any] = [None] * len(shape)
        for other in (*(a for a in range(len(shape)) if a != axis), axis):
            if other == axis:
                e.set(slot, start)
            index[other] = loops.enter_context(e.loop(0, shape[other]))
        value = combined(e, operation, e.get(slot), writer.load(source, index))
        e.set(slot, value)
        writer.store(target, index, value)
    e.ret()
    symbol = module.add(e)
    program.e.line(f"call void {symbol}({', '.join(writer.arguments)})")
    frame.define(var, frame.settled(target))
    return True


def write_position(program: Any, frame: Any, equation: Equation) -> bool:
    """Write the position of the first largest or smallest element; the first NaN wins."""
    (atom,), var = equation.inputs, equation.outputs[0]
    dtype, axis = atom.type.dtype, equation.params["axis"]
    if dtype.kind not in "fiu" or not atom.type.shape[axis]:
        return False
    source = frame.in_memory_or_splat(frame.storage(atom))
    target = frame.allocated(var)
    module = program.module
    e = Emitter(module, module.fresh("position"))
    writer = Passing(e)
    best, place = e.slot(dtype), e.slot(INT64)
    better = e.gt if equation.primitive.name == "argmax" else e.lt
    zero = e.constant(INT64, 0)
    shape = atom.type.shape
    with contextlib.ExitStack() as loops:
        outer = [loops.enter_context(e.loop(0, n)) for n in var.type.shape]
        e.set(best, writer.load(source, [*outer[:axis], zero, *outer[axis:]]))
        e.set(place, zero)
        with e.loop(1, shape[axis]) as number:
            value = writer.load(source, [*outer[:axis], number, *outer[axis:]])
            held = e.get(best)
            wins = better(value, held)
            if dtype.kind == "f":
                wins = e.or_(wins, e.isnan(value))
                wins = e.and_(wins, e.not_(e.isnan(held)))
            e.set(best, e.select(wins, value, held))
            e.set(place, e.select(wins, number, e.get(place)))
        writer.store(target, outer, e.get(place))
    e.ret()
    symbol = module.add(e)
    program.e.line(f"call void {symbol}({', '.join(writer.arguments)})")
    frame.define(var, frame.settled(target))
    return True


class _Flags:
    """Bytes of the caller's that a function sets when something is wrong."""

    def __init__(self, program: Any, writer: Passing) -> None:
        self._program = program
        self._writer = writer
        self._places: dict[OutOfRange, str] = {}

    def parameter(self, complaint: OutOfRange) -> str:
        """Return the function's parameter for the flag of a complaint."""
        place = self._places.get(complaint)
        if place is None:
            place = self._program.flag()
            self._places[complaint] = place
        return self._writer.parameter("ptr", place)

    def raise_if_set(self) -> None:
        """Raise after the call, if a flag was set."""
        for complaint, place in self._places.items():
            self._program.raise_if(self._program.e.load(place, BOOL), complaint)
