"""Text of an LLVM module -> machine code in this process.

Code is made for the host's processor by llvmlite, kept on disk (``cache.py``) and loaded by LLVM's
MCJIT. Every failure is a :class:`ToolchainError`, so that a caller can warn and evaluate otherwise.

A symbol that the code refers to and nobody defines would make LLVM end the process. So the symbols
of every object are read first (``symbols`` below), and those that are missing are an error.
"""

from __future__ import annotations

import contextlib
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
from clew.evaluate.native import cache

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
    ...     compiled("define void @f() { ret i32 0 }", ["f"])
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


def compiled(text: str, entry_points: Sequence[str], level: int = 3) -> Library:
    """Return the machine code of a module, from the cache if it was compiled before.

    Parameters
    ----------
    text : str
        LLVM IR. Outside functions are found among those of ``llvmlite.binding.add_symbol`` and
        those of the C library.
    entry_points : sequence of str
        Functions whose addresses will be asked for. They must not have internal linkage.
    level : int
        3: loops and straight-line code are made vectors; 2: loops only, not interleaved, in half
        the time; 1: no vectors, registers allocated well; 0: as quickly as possible.

    >>> import ctypes
    >>> square = "define double @square(double %x) { %y = fmul double %x, %x  ret double %y }"
    >>> library = compiled(square, ["square"])
    >>> ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(library.address("square"))(3.0)
    9.0
    """
    made_for = target()
    name = cache.key(text, *(getattr(made_for, part) for part in Target.__slots__), str(level))
    code = cache.load(name)
    found = code is not None
    if code is None:
        code = object_code(text, level)
        cache.store(name, code)
    library = _loaded(code, entry_points)
    library.cached = found
    return library


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


def object_code(text: str, level: int = 3) -> bytes:
    """Return the relocatable object that LLVM makes of a module."""
    with lock, _optimised(text, level) as module:
        return _machine(level).emit_object(module)


def assembly(text: str, level: int = 3) -> str:
    """Return the assembly that LLVM makes of a module, to read."""
    with lock, _optimised(text, level) as module:
        return _machine(level).emit_assembly(module)


@contextlib.contextmanager
def _optimised(text: str, level: int) -> Iterator[ModuleRef]:
    """A module ready for code generation.

    It is closed here, and before its context: the garbage collector, which may find both in the
    traceback of an error, keeps no order, and LLVM does not survive the other one.
    """
    import llvmlite.binding as llvm

    machine = _machine(level)
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


@functools.lru_cache(maxsize=4)
def _machine(level: int) -> TargetMachine:
    import llvmlite.binding as llvm

    made_for = target()
    return llvm.Target.from_triple(made_for.triple).create_target_machine(
        made_for.cpu, made_for.features, opt=level, jit=True
    )


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
        passes.run(module, builder)
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


def _loaded(code: bytes, entry_points: Sequence[str]) -> Library:
    import llvmlite.binding as llvm

    defined, wanted = symbols(code)
    with lock:
        _refuse("does not define", [name for name in entry_points if name not in defined])
        missing = [name for name in wanted if llvm.address_of_symbol(name) is None]
        _refuse("calls functions that are not on this machine:", missing)
        # The engine wants a machine and a module of its own; neither compiles anything.
        machine = llvm.Target.from_triple(target().triple).create_target_machine(opt=0, jit=True)
        empty = llvm.parse_assembly("")
        engine = llvm.create_mcjit_compiler(empty, machine)
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        # Looking up an address readies the object; finalize_object would compile the empty module.
        addresses = {name: engine.get_function_address(name) for name in entry_points}
    return Library(engine, addresses, len(code))


def _close(engine: Any) -> None:
    with lock:
        engine.close()


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
