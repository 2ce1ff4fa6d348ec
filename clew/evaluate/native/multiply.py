"""Products of matrices and convolutions in native code, by the kernels of ``products``."""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.graph import Equation
from clew.evaluate.native.products.contraction import Axis, Contraction
from clew.evaluate.native.products.convolution import Convolution
from clew.evaluate.native.products.driver import Emitted
from clew.evaluate.native.products.library import product
from clew.evaluate.native.regions import Region
from clew.evaluate.native.storage import Memory


def write_contract(program: Any, frame: Any, equation: Equation) -> bool:
    """Write a product of two arrays that sums over shared axes."""
    var = equation.outputs[0]
    dtype = var.type.dtype
    if dtype not in (np.float32, np.float64):
        return False
    left, right = (frame.in_memory(frame.storage(atom)) for atom in equation.inputs)
    if left.dtype != dtype or right.dtype != dtype:
        return False
    if not var.type.size or not left.shape or not right.shape:
        return False
    target = frame.allocated(var)
    contraction = _contraction(equation, left, right, target)
    call_emitted(frame, equation, product(program.module, contraction), (target, left, right))
    return True


def _contraction(equation: Equation, left: Memory, right: Memory, target: Memory) -> Contraction:
    names = [equation.params[key] for key in ("left", "right", "out")]
    strides = [
        dict(zip(own, memory.strides, strict=True))
        for own, memory in zip(names, (left, right, target), strict=True)
    ]
    size = dict(zip(names[0], left.shape, strict=True)) | dict(
        zip(names[1], right.shape, strict=True)
    )
    of_left, of_right, of_out = map(set, names)
    groups: dict[str, list[Axis]] = {"batch": [], "rows": [], "inner": [], "columns": []}
    for name in dict.fromkeys((*names[2], *names[0], *names[1])):
        of_x, of_y, of_z = (own.get(name, 0) for own in strides)
        axis = Axis(size[name], of_x, of_y, of_z)
        if name not in of_out:
            groups["inner"].append(axis)
        elif name in of_left and name in of_right:
            groups["batch"].append(axis)
        else:
            groups["rows" if name in of_left else "columns"].append(axis)
    return Contraction(
        target.dtype,
        tuple(groups["batch"]),
        tuple(groups["rows"]),
        tuple(groups["inner"]),
        tuple(groups["columns"]),
    ).simplified()


def call_emitted(
    frame: Any, equation: Equation, emitted: Emitted, memories: tuple[Memory, Memory, Memory]
) -> None:
    """Call a product, its chunks on as many threads as there are; define its result.

    Kernels that follow run in the same chunks, as long as they read only what each has computed.
    """
    program, e = frame.program, frame.e
    result, left, right = memories
    pointers = [
        e.address(memory.pointer, memory.dtype, memory.offset) for memory in (result, left, right)
    ]
    scratch = "null"
    size = max(stage.scratch for stage in emitted.stages)
    if size or emitted.between:
        between = program.worker_scratch(size, emitted.between)
        scratch = e.address(between, np.dtype(np.int8), emitted.between)
        if emitted.first is not None:
            program.parallel_product(emitted.first, [between, *pointers[1:]], scratch, [])
            pointers[2] = between
    if emitted.chunks == 1:
        given = ", ".join(f"ptr {pointer}" for pointer in (*pointers, scratch))
        e.line(f"call void {emitted.symbol}({given}, i64 0)")
        frame.define(equation.outputs[0], frame.settled(result))
        return
    frame.define(equation.outputs[0], result)
    riders = []
    if emitted.pieces is not None and result.contiguous:
        riders = frame.riders(Region.of_product(result, (left, right), emitted.pieces))
    program.parallel_product(emitted, pointers, scratch, riders)


def write_conv(program: Any, frame: Any, equation: Equation) -> bool:
    """Write a convolution."""
    signal_atom, kernel_atom = equation.inputs
    var = equation.outputs[0]
    dtype = var.type.dtype
    kinds = (signal_atom.type, kernel_atom.type, var.type)
    if dtype not in (np.float32, np.float64) or any(kind.dtype != dtype for kind in kinds):
        return False
    if not all(kind.size for kind in kinds):
        return False
    signal, kernel = (frame.in_memory(frame.storage(atom)) for atom in equation.inputs)
    target = frame.allocated(var)
    params = equation.params
    groups = params["groups"]
    convolution = Convolution(
        dtype,
        signal.shape[0],
        groups,
        kernel.shape[1],
        kernel.shape[0] // groups,
        signal.shape[2:],
        kernel.shape[2:],
        var.type.shape[2:],
        params["stride"],
        params["dilation"],
        params["spread"],
        tuple(before for before, _ in params["padding"]),
        signal.strides,
        kernel.strides,
        target.strides,
    )
    call_emitted(frame, equation, product(program.module, convolution), (target, signal, kernel))
    return True
