"""Values in memory between two functions of a program, that were and will be in registers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.evaluate.native.emitter import Value
from clew.evaluate.native.storage import Memory, Registers, Splat
from clew.evaluate.native.tapes import TAPE_SIZE, TapeStore, loaded, write_tape


@dataclass(frozen=True)
class Parked:
    """A few numbers, or the header, start and length of a tape, in memory.

    ``own`` says that the memory is theirs, to be released with them.
    """

    memory: Memory
    own: bool
    tape: TapeStore | None = None

    def found(self, frame: Any) -> Registers | TapeStore:
        """Return the value, loaded where it is read first."""
        if self.tape is None:
            return frame.in_registers(self.memory)
        return loaded(frame.e, self.memory.pointer, self.tape.element, self.tape.form)


def lasts(program: Any, storage: Any) -> bool:
    """Say whether another function can find a value, once it is parked."""
    if isinstance(storage, Memory):
        return program.lasts(storage.pointer)
    return not isinstance(storage, Splat) or not _computed(storage.value)


def parked(frame: Any, storage: Any) -> Parked | None:
    """Write a value to memory; None if it needs no place."""
    program = frame.program
    if isinstance(storage, TapeStore):
        memory = program.buffer(frame.e, np.dtype(np.uint8), (TAPE_SIZE,))
        write_tape(frame.e, memory.pointer, storage)
        return Parked(memory, True, storage)
    if not isinstance(storage, Registers) or not any(map(_computed, storage.values)):
        return None
    if storage.home is not None and program.lasts(storage.home.pointer):
        return Parked(storage.home, False)
    memory = program.buffer(frame.e, storage.dtype, storage.shape)
    frame.copy(storage, memory)
    return Parked(memory, True)


def _computed(value: Value) -> bool:
    return value.name.startswith("%") or (value.imag or "").startswith("%")
