"""Products of matrices and convolutions in native code, by the kernels of ``products``."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.core.graph import Atom, Equation
from clew.evaluate.native.emitter import Module
from clew.evaluate.native.host import host
from clew.evaluate.native.products.contraction import Axis, Contraction, Cut
from clew.evaluate.native.products.convolution import Convolution
from clew.evaluate.native.products.cutting import evenly
from clew.evaluate.native.products.driver import Emitted
from clew.evaluate.native.products.library import product
from clew.evaluate.native.regions import Region
from clew.evaluate.native.storage import Memory, contiguous


@dataclass(frozen=True)
class Part:
    """A product that runs in the chunks of a region.

    Parameters
    ----------
    emitted : Emitted
    pointers : tuple of str
        Of result, left and right.
    starts, steps : tuple of int
        Where each of them begins, and its elements from chunk to chunk. The function is asked for
        its chunk 0 if there are steps, else for the chunk.
    chunks : int
    dtype : numpy.dtype
    shared : int
        Bytes before the workers' scratch memory that are for all.
    """

    emitted: Emitted
    pointers: tuple[str, ...]
    starts: tuple[int, ...]
    steps: tuple[int, ...] | None
    chunks: int
    dtype: np.dtype
    shared: int = 0

    @property
    def arguments(self) -> list[tuple[str, str]]:
        """LLVM type and the caller's name of each argument."""
        return [("ptr", name) for name in self.pointers]


def write_contract(program: Any, frame: Any, equation: Equation) -> bool:
    """Write a product of two arrays that sums over shared axes."""
    found = contraction_of(frame, equation)
    if found is None:
        return False
    one, memories = found
    cut = evenly(one, host()) if frame.goes_on(equation.outputs[0]) else None
    if cut is None:
        call_emitted(frame, equation, product(program.module, one), memories)
        return True
    frame.define(equation.outputs[0], memories[0])
    region = Region(cut.chunks)
    region.takes(cut, *memories)
    part = part_of(program.module, cut, memories)
    frame.joint.run(part, region, equation.outputs)
    return True


def contraction_of(
    frame: Any, equation: Equation
) -> tuple[Contraction, tuple[Memory, Memory, Memory]] | None:
    """Return a product, and the memory of result, left and right; None if it has no kernels."""
    var = equation.outputs[0]
    if not _has_kernels(equation):
        return None
    left, right = (frame.in_memory(frame.storage(atom)) for atom in equation.inputs)
    target = frame.allocated(var)
    return contraction_between(equation, left, right, target), (target, left, right)


def contraction_ahead(
    frame: Any, equation: Equation, known: Collection[Atom]
) -> Contraction | None:
    """Return a product whose turn is still to come; only the ``known`` operands are in memory.

    The others are taken to have no gaps.
    """
    if not _has_kernels(equation):
        return None
    memories = []
    for atom in (*equation.inputs, equation.outputs[0]):
        memory = contiguous(atom.type.dtype, atom.type.shape, "")
        if atom in known:
            memory = frame.in_memory(frame.storage(atom))
        memories.append(memory)
    left, right, target = memories
    return contraction_between(equation, left, right, target)


def _has_kernels(equation: Equation) -> bool:
    result = equation.outputs[0].type
    return result.dtype in (np.float32, np.float64) and all(
        atom.type.dtype == result.dtype and atom.type.shape and result.size
        for atom in equation.inputs
    )


def part_of(module: Module, cut: Cut, memories: tuple[Memory, Memory, Memory]) -> Part:
    """Return a product, cut evenly, for the chunks of a region."""
    return Part(
        product(module, cut.part, 1),
        tuple(memory.pointer for memory in memories),
        tuple(memory.offset for memory in memories),
        (cut.result, cut.left, cut.right),
        cut.chunks,
        cut.part.dtype,
    )


def contraction_between(
    equation: Equation, left: Memory, right: Memory, target: Memory
) -> Contraction:
    """Return a product of arrays that lie in memory in any order."""
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

    def part(stage: Emitted) -> Part:
        own = (stage, tuple(pointers), (0, 0, 0), None, stage.chunks, result.dtype)
        return Part(*own, shared=emitted.between)

    if emitted.first is not None:
        between = program.worker_scratch(emitted.first.scratch, emitted.between)
        target, pointers[0] = pointers[0], between
        program.parallel([part(emitted.first)])
        pointers[0], pointers[2] = target, between
    if emitted.chunks == 1:
        scratch = program.worker_scratch(emitted.scratch, emitted.between)
        own = e.address(scratch, np.dtype(np.int8), emitted.between) if emitted.scratch else "null"
        given = ", ".join(f"ptr {pointer}" for pointer in (*pointers, own))
        e.line(f"call void {emitted.symbol}({given}, i64 0)")
        frame.define(equation.outputs[0], frame.settled(result))
        return
    frame.define(equation.outputs[0], result)
    if emitted.pieces is not None and result.contiguous:
        region = Region.of_product(result, (left, right), emitted.pieces)
        frame.joint.run(part(emitted), region, equation.outputs)
    else:
        program.parallel([part(emitted)])


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
