"""Steps that run together in the chunks of a region: all are written at the turn of the first.

A region begins with a product, or with kernels that lead to one. Steps that come next join it as
long as that is possible (``regions.py``); each worker then takes a chunk through all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clew.core.graph import Equation, Var
from clew.evaluate.native.emitter import Aside
from clew.evaluate.native.host import host
from clew.evaluate.native.kernel import Call, Kernel
from clew.evaluate.native.moving import write_concatenate
from clew.evaluate.native.multiply import Part, contraction_ahead, contraction_of, part_of
from clew.evaluate.native.products.contraction import Contraction
from clew.evaluate.native.products.cutting import evenly, joining
from clew.evaluate.native.products.plan import work
from clew.evaluate.native.regions import Region
from clew.evaluate.native.schedule import Step

MOST = 12
"""Steps that may follow in one region."""
_LEADING = 3
"""Steps before a product that may lead its region."""
_LEAST = 1 << 12
"""Bytes of a chunk's piece of an array from which on workers have their own."""
_SMALL = 1 << 21
"""Multiply-adds of a product that joins only to save its own start."""

Member = Call | Part


@dataclass(frozen=True)
class Ready:
    """A step written before its turn.

    Parameters
    ----------
    between : Aside
        What has to be done first, at its turn.
    rides : bool
        Whether it runs in the chunks of a region.
    written : bool
        Whether that is all; else the step is to be written in its turn.
    kernel, call
        Of a kernel.
    """

    between: Aside
    rides: bool
    written: bool = True
    kernel: Kernel | None = None
    call: Call | None = None


class Joint:
    """Finds and writes the regions of a frame."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self._ready: dict[Step, Ready] = {}

    def __bool__(self) -> bool:
        """Whether steps have been written whose turn is still to come."""
        return bool(self._ready)

    def taken(self, step: Step) -> Ready | None:
        """Return what was written of a step before its turn."""
        return self._ready.pop(step, None)

    # --- how a region begins -------------------------------------------------------------

    def lead(self, step: Step) -> tuple[Kernel, Call, bool]:
        """Write a kernel, and with it the steps that can run in its chunks, if one is a product.

        Return whether there are any: then all have been called.
        """
        chunks = self._chunks_of_product(step)
        region = None if chunks is None else Region(chunks)
        kernel, call = self._frame.kernel_and_call(step, region)
        if region is None or call.bounds is None:
            return kernel, call, False
        self._define(step)
        self.run(call, region, [each.outputs[0] for each in step.equations])
        return kernel, call, True

    def run(self, first: Member, region: Region, outputs: Sequence[Var]) -> None:
        """Call a step with these outputs, and those that come next and can join its region."""
        frame = self._frame
        ended = set(frame.dying)
        riders = self._riders(region, set(outputs), ended)
        frame.program.parallel([first, *riders], self._own(region, ended))

    def _own(self, region: Region, ended: set[Var]) -> dict[str, int]:
        """Return the arrays that nobody needs after the region: workers have their own pieces."""
        found = {}
        for var in ended:
            memory = self._frame.own_memory(var)
            run = None if memory is None else region.run_of(memory)
            if memory is not None and run is not None:
                size = run * memory.dtype.itemsize
                if size >= _LEAST:
                    found[memory.pointer] = size
        return found

    def _chunks_of_product(self, step: Step) -> int | None:
        """Return the chunks of a product that reads what a kernel, or one after it, computes."""
        written = {equation.outputs[0] for equation in step.equations}
        for later, _ in self._frame.following[:_LEADING]:
            equation = later.equations[0]
            if later.kind == "opaque" and equation.primitive.name == "contract":
                if not written.intersection(self._frame.reads(equation)):
                    return None
                one = self._ahead(equation, written)
                cut = None if one is None else evenly(one, host())
                return None if cut is None else cut.chunks
            if not (later.kind in ("kernel", "registers") or _joins(equation)):
                return None
            written |= {each.outputs[0] for each in later.equations}
        return None

    def _ahead(self, equation: Equation, written: set[Var]) -> Contraction | None:
        """Return a product that reads what is still to be written."""
        frame = self._frame
        known = []
        for atom in equation.inputs:
            if type(atom) is Var and frame.root(atom) not in written:
                with frame.e.aside() as part:
                    frame.in_memory(frame.storage(atom))
                if part.lines:
                    frame.e.put(part)
                known.append(atom)
        return contraction_ahead(frame, equation, known)

    # --- how it goes on ------------------------------------------------------------------

    def _riders(self, region: Region, made: set[Var], ended: set[Var]) -> list[Member]:
        """Write the steps that come next and can join a region that has ``made`` some values.

        Add those that are not needed any more to ``ended``.
        """
        found: list[Member] = []
        frame = self._frame
        before = frame.dying
        for step, dying in frame.following:
            if step.kind == "registers":
                if made.intersection(frame.reads(step.equations[0])):
                    break
                frame.write_in_registers(step.equations[0])
                self._ready[step] = Ready(Aside(""), False)
                continue
            frame.dying = set(dying)
            ready, member = self._joined(step, region)
            if ready is None:
                break
            self._ready[step] = ready
            if not ready.rides:
                break
            if member is not None:
                found.append(member)
            made |= {equation.outputs[0] for equation in step.equations}
            ended |= frame.dying
        frame.dying = before
        return found

    def _joined(self, step: Step, region: Region) -> tuple[Ready | None, Member | None]:
        equation = step.equations[0]
        if step.kind == "kernel":
            return self._kernel(step, region)
        if step.kind == "opaque" and equation.primitive.name == "contract":
            return self._product(equation, region)
        if step.kind == "opaque" and _joins(equation):
            return self._whole(equation), None
        return None, None

    def _kernel(self, step: Step, region: Region) -> tuple[Ready, Member | None]:
        with self._frame.e.aside() as part:
            kernel, call = self._frame.kernel_and_call(step, region)
        rides = call.bounds is not None and not part.lines
        if rides:
            self._define(step)
        return Ready(part, rides, True, kernel, call), call

    def _define(self, step: Step) -> None:
        for equation in step.equations:
            self._frame.define_allocated(equation.outputs[0])

    def _product(self, equation: Equation, region: Region) -> tuple[Ready, Member | None]:
        frame = self._frame
        with frame.e.aside() as part:
            found = contraction_of(frame, equation)
        if part.lines or found is None:
            return Ready(part, False, False), None
        one, memories = found
        apart = not any(memory.pointer in region.made for memory in memories[1:])
        if apart and work(one) > _SMALL:
            return Ready(part, False, False), None
        cut = joining(one, region.chunks, host())
        if cut is None or not region.takes(cut, *memories):
            return Ready(part, False, False), None
        frame.define(equation.outputs[0], memories[0])
        return Ready(part, True), part_of(frame.program.module, cut, memories)

    def _whole(self, equation: Equation) -> Ready:
        """Join a concatenation, if its parts have been computed in their places."""
        frame = self._frame
        with frame.e.aside() as part:
            write_concatenate(frame.program, frame, equation)
        return Ready(part, not part.lines)


def _joins(equation: Equation) -> bool:
    return equation.primitive.name == "concatenate"
