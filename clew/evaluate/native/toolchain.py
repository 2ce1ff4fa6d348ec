"""Text of an LLVM module -> machine code in this process.

Code is made for the host's processor by llvmlite, kept on disk (``cache.py``) and loaded by LLVM's
MCJIT. Every failure is a :class:`ToolchainError`, so that a caller can warn and evaluate otherwise.

A symbol that the code refers to and nobody defines would make LLVM end the process. So the symbols
of every object are read first (``symbols`` below), and those that are missing are an error.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import re
import struct
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from clew.core.errors import ClewError
from clew.core.source import Where

if TYPE_CHECKING:
    from llvmlite.binding import ModuleRef, TargetMachine

# LLVM's straight-line vectoriser takes 0.3 s for a block of 1,000 operations and seldom gains then.
_LONGEST_BLOCK = 500

# One compilation at a time, and none while the process forks: a child could never release a lock
# of LLVM that another thread held.
lock = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release
    )


class ToolchainError(ClewError, RuntimeError):
    """Machine code that could not be made or loaded on this machine.

    >>> try:
    ...     object_code("define void @f() { ret i32 0 }")
    ... except ToolchainError as error:
    ...     print(error.asked.splitlines()[0])
    native: LLVM refused the module: LLVM IR parsing error
    """


@final
@dataclass(frozen=True, slots=True)
class Target:
    """What code is made for, as LLVM names it; part of the keys of the cache."""

    triple: str
    cpu: str
    features: str
    llvm: str


@final
class Library:
    """Loaded machine code, which lives as long as this object."""

    __slots__ = ("__weakref__", "_addresses", "_free", "cached", "size")

    def __init__(self, engine: Any, addresses: dict[str, int], size: int = 0) -> None:
        self._addresses = addresses
        self.size = size
        self.cached = False
        self._free = weakref.finalize(self, _close, engine)
        # At the exit of the interpreter other threads may still run the code.
        self._free.atexit = False

    def address(self, name: str) -> int:
        """Return the address of an entry point."""
        return self._addresses[name]

    def keep(self) -> None:
        """Never free the code: threads may run it until the process ends."""
        alive = self._free.detach()
        if alive is not None:
            _, _, (engine,), _ = alive
            engine.detach()


def target() -> Target:
    """Describe this machine; :class:`ToolchainError` if no code can be made for it."""
    # Also an import that is under way when the process forks never ends in the child.
    with lock:
        return _target()


@functools.lru_cache(maxsize=1)
def _target() -> Target:
    try:
        import llvmlite
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        llvm.initialize_native_asmparser()
        llvm.check_jit_execution()
        version = ".".join(str(part) for part in llvm.llvm_version_info)
        features = llvm.get_host_cpu_features().flatten()
        # Several processors are described as preferring 256 bits, for work less dense than ours.
        if "+avx512f" in features.split(","):
            features += ",-prefer-256-bit"
        if sys.platform == "linux" and llvm.address_of_symbol("fmod") is None:
            llvm.load_library_permanently("libm.so.6")
        return Target(
            llvm.get_process_triple(),
            llvm.get_host_cpu_name(),
            features,
            f"{version} {llvmlite.__version__}",
        )
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise ToolchainError(
            f"native: LLVM cannot be used on this machine: {error}",
            "reinstall llvmlite (pip install --force-reinstall llvmlite), or go on without: "
            "results are the same, only slower",
            Where(),
        ) from error


def assembly(text: str, level: int = 3) -> str:
    """Return the assembly that LLVM makes of a module, to read."""
    target()
    with lock, _machine(level) as machine, _optimised(text, machine, level) as module:
        return machine.emit_assembly(module)


def object_code(text: str, level: int = 3) -> bytes:
    """Return the relocatable object that LLVM makes of a module.

    Levels: 3: loops and straight-line code are made vectors; 2: loops only, not interleaved, in
    half the time; 1: no vectors, registers allocated well; 0: as quickly as possible.
    """
    from llvmlite.binding import ffi

    with (
        _machine(level) as machine,
        _optimised(text, machine, level) as module,
        ffi.OutputString() as problem,
    ):
        buffer = _unlocked("LLVMPY_TargetMachineEmitToMemory")(machine, module, 1, problem)
        if not buffer:
            raise RuntimeError(str(problem))
        try:
            size = ffi.lib.LLVMPY_GetBufferSize(buffer)
            return ctypes.string_at(ffi.lib.LLVMPY_GetBufferStart(buffer), size)
        finally:
            ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)


def _unlocked(name: str) -> Any:
    """Return a function of LLVM without the one lock that llvmlite puts around all of them."""
    from llvmlite.binding import ffi

    function = getattr(ffi.lib, name)
    return getattr(function, "_cfn", function)


@contextlib.contextmanager
def _optimised(text: str, machine: TargetMachine, level: int) -> Iterator[ModuleRef]:
    """A module ready for code generation.

    It is closed here, and before its context: the garbage collector, which may find both in the
    traceback of an error, keeps no order, and LLVM does not survive the other one.
    """
    import llvmlite.binding as llvm

    # A context of its own: the types and constants of a module are freed with it.
    with llvm.create_context() as context:
        try:
            with llvm.parse_assembly(text, context) as module:
                module.triple = machine.triple
                module.data_layout = str(machine.target_data)
                module.verify()
                _run_passes(machine, module, level, _longest_block(text) <= _LONGEST_BLOCK)
                yield module
        except RuntimeError as error:
            raise ToolchainError(
                f"native: LLVM refused the module: {error}",
                "this is a fault of Clew: please report it with the function that was compiled",
                Where(),
            ) from error


@contextlib.contextmanager
def _machine(level: int) -> Iterator[TargetMachine]:
    """What describes the host to LLVM; one thread has it at a time, since it holds state."""
    import llvmlite.binding as llvm

    waiting = _machines.setdefault(level, [])
    try:
        machine = waiting.pop()
    except IndexError:
        made_for = _target()  # the lock may be another thread's
        machine = llvm.Target.from_triple(made_for.triple).create_target_machine(
            made_for.cpu, made_for.features, opt=level, jit=True
        )
    try:
        yield machine
    finally:
        waiting.append(machine)


_machines: dict[int, list[TargetMachine]] = {}


def _run_passes(machine: TargetMachine, module: ModuleRef, level: int, short: bool) -> None:
    import llvmlite.binding as llvm

    options = llvm.create_pipeline_tuning_options(speed_level=level)
    options.loop_vectorization = True
    options.loop_interleaving = level == 3
    options.slp_vectorization = level == 3 and short
    builder = llvm.create_pass_builder(machine, options)
    if level >= 2:
        passes = builder.getModulePassManager()
    else:
        passes = llvm.create_new_module_pass_manager()
        passes.add_always_inliner_pass()
        passes.add_sroa_pass()
        if level == 1:
            passes.add_instruction_combine_pass()
            passes.add_simplify_cfg_pass()
    try:
        _unlocked("LLVMPY_RunNewModulePassManager")(passes, module, builder)
    finally:
        _dispose(passes)


def _dispose(passes: Any) -> None:
    """Free a pass manager.

    In llvmlite 0.46 to 0.50 it inherits an empty ``_dispose`` before its own, so ``close`` leaks
    55 KB.
    """
    from llvmlite.binding.ffi import ObjectRef
    from llvmlite.binding.newpassmanagers import NewPassManager

    if type(passes)._dispose is ObjectRef._dispose:
        NewPassManager._dispose(passes)
        passes.detach()
    else:
        passes.close()


def _longest_block(text: str) -> int:
    return max(block.count("\n") for block in re.split(r"\n\w+:", text))


def loaded(objects: Sequence[bytes], entry_points: Sequence[str]) -> Library:
    """Load objects as one; the outside functions that they call must be known by now."""
    import llvmlite.binding as llvm

    defined: set[str] = set()
    wanted: set[str] = set()
    for each in objects:
        own, others = symbols(each)
        defined |= own
        wanted |= others
    with lock:
        _refuse("does not define", [name for name in entry_points if name not in defined])
        missing = [name for name in wanted - defined if llvm.address_of_symbol(name) is None]
        _refuse("calls functions that are not on this machine:", missing)
        # The engine wants a machine and a module of its own; neither compiles anything.
        machine = llvm.Target.from_triple(target().triple).create_target_machine(opt=0, jit=True)
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        for each in objects:
            engine.add_object_file(llvm.ObjectFileRef.from_data(each))
        # Looking up an address readies the objects; finalize_object would compile the empty module.
        addresses = {name: engine.get_function_address(name) for name in entry_points}
    return Library(engine, addresses, sum(map(len, objects)))


_closing: list[Any] = []


def _close(engine: Any) -> None:
    """Free code, now or when the lock is free.

    A thread that compiles for another one may collect garbage: it must not wait for that one.
    """
    _closing.append(engine)
    close_waiting()


def close_waiting() -> None:
    """Free the code that was dropped while somebody compiled."""
    while _closing and lock.acquire(blocking=False):
        try:
            with contextlib.suppress(IndexError):  # another thread has closed the last one
                _closing.pop().close()
        finally:
            lock.release()


def _refuse(what: str, names: list[str]) -> None:
    if names:
        raise ToolchainError(
            f"native: the compiled code {what} {', '.join(sorted(names))}",
            "this is a fault of Clew: please report it with the function that was compiled",
            Where(),
        )


def symbols(code: bytes) -> tuple[set[str], set[str]]:
    """Return the names that an object defines for others, and those that it needs.

    Sources: System V ABI, chapter 4 (ELF64); Apple, Mach-O File Format Reference.
    """
    if code[:5] == b"\x7fELF\x02":
        return _elf_symbols(code)
    if code[:4] == b"\xcf\xfa\xed\xfe":
        return _macho_symbols(code)
    raise ToolchainError(
        "native: LLVM made an object that is neither ELF nor Mach-O of 64 bits",
        "use a 64-bit Python on Linux, macOS or Windows",
        Where(),
    )


def _elf_symbols(code: bytes) -> tuple[set[str], set[str]]:
    (start,) = struct.unpack_from("<Q", code, 0x28)
    size, count = struct.unpack_from("<HH", code, 0x3A)
    header = struct.Struct("<IIQQQQIIQQ")
    sections = [header.unpack_from(code, start + size * i) for i in range(count)]
    defined: set[str] = set()
    wanted: set[str] = set()
    for _, kind, _, _, offset, length, link, *_ in sections:
        if kind != 2:  # SHT_SYMTAB
            continue
        names = sections[link][4]
        for at in range(offset, offset + length, 24):
            name, info, _, section, _, _ = struct.unpack_from("<IBBHQQ", code, at)
            if name and section == 0:
                wanted.add(_string(code, names + name))
            elif name and info >> 4:  # not STB_LOCAL
                defined.add(_string(code, names + name))
    # Stands for the table of addresses itself.
    wanted.discard("_GLOBAL_OFFSET_TABLE_")
    return defined, wanted


def _macho_symbols(code: bytes) -> tuple[set[str], set[str]]:
    (count,) = struct.unpack_from("<I", code, 16)
    defined: set[str] = set()
    wanted: set[str] = set()
    at = 32
    for _ in range(count):
        command, size = struct.unpack_from("<II", code, at)
        if command == 2:  # LC_SYMTAB
            first, length, names, _ = struct.unpack_from("<IIII", code, at + 8)
            for entry in range(first, first + 16 * length, 16):
                name, kind, _, _, _ = struct.unpack_from("<IBBHQ", code, entry)
                if kind & 0xE0 or not kind & 0x01:  # of the debugger, or not N_EXT
                    continue
                # C names have an underscore in front.
                plain = _string(code, names + name)[1:]
                (defined if kind & 0x0E else wanted).add(plain)
        at += size
    return defined, wanted


def _string(code: bytes, at: int) -> str:
    return code[at : code.index(b"\0", at)].decode()
