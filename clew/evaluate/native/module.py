"""The parts of a module of LLVM's textual IR: constants, values, tables, functions, metadata.

Source: LLVM Language Reference Manual, version 22.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

if TYPE_CHECKING:
    from clew.evaluate.native.compiling import Unit
    from clew.evaluate.native.emitter import Emitter
    from clew.evaluate.native.linking import Linker

_PART = 300
"""Lines of functions that are compiled together, while others are written."""
_NAMED = re.compile(r"@([\w.$-]+)")
_LOOP = re.compile(r", !llvm\.loop !\d+")

QUICK = 1
"""The level of functions in which LLVM has no vectors to find."""
PLAIN = 0
"""The level of functions whose every instruction runs once."""

FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
INT32 = np.dtype(np.int32)
INT64 = np.dtype(np.int64)
UINT64 = np.dtype(np.uint64)
BOOL = np.dtype(np.bool_)


@final
class Value:
    """An SSA value (or constant) with its NumPy dtype; a complex one has two names."""

    __slots__ = ("dtype", "imag", "known", "name")

    def __init__(
        self, dtype: np.dtype, name: str, imag: str | None = None, known: Any = None
    ) -> None:
        self.dtype = dtype
        self.name = name
        self.imag = imag
        self.known = known

    def __repr__(self) -> str:
        return f"Value({self.dtype} {self.name})"


def part_dtype(dtype: np.dtype) -> np.dtype:
    """Return the dtype of a complex dtype's parts; any other dtype itself.

    >>> part_dtype(np.dtype(np.complex64)), part_dtype(np.dtype(np.int8))
    (dtype('float32'), dtype('int8'))
    """
    return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


def llvm_type(dtype: np.dtype) -> str:
    """Return LLVM's name for the register type of a real dtype.

    >>> llvm_type(np.dtype(np.float32)), llvm_type(np.dtype(bool)), llvm_type(np.dtype(np.uint8))
    ('float', 'i1', 'i8')
    """
    if dtype.kind == "f":
        return {2: "half", 4: "float", 8: "double"}[dtype.itemsize]
    if dtype.kind == "b":
        return "i1"
    return f"i{8 * dtype.itemsize}"


def memory_type(dtype: np.dtype) -> str:
    """Return LLVM's name for the type in memory: a truth value is a byte there."""
    return "i8" if dtype.kind == "b" else llvm_type(dtype)


def literal(dtype: np.dtype, value: Any) -> str:
    """Return a constant of a real dtype as LLVM writes it.

    >>> literal(np.dtype(np.float64), 1.0), literal(np.dtype(bool), True)
    ('0x3FF0000000000000', 'true')
    """
    if dtype.kind == "b":
        return "true" if value else "false"
    if dtype.kind in "iu":
        return str(int(value))
    if dtype.itemsize == 2:
        return f"0xH{np.float16(value).view(np.uint16):04X}"
    number = float(np.float32(value)) if dtype.itemsize == 4 else float(value)
    return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"


@final
class Module:
    """Functions, declarations and metadata of a program.

    A linker is given, while the rest is written, what can be compiled already: the units that are
    required, and functions as soon as there are enough of a level for a part.
    """

    def __init__(self, linker: Linker | None = None) -> None:
        self._linker = linker
        self._whole = True
        self._functions: dict[str, str] = {}
        self._levels: dict[str, int | None] = {}
        self._waiting: dict[int | None, tuple[list[str], int]] = {}
        self._variants: dict[str, Sequence[str]] = {}
        self._by_text: dict[str, str] = {}
        self._globals: dict[str, str] = {}
        self._declared: dict[str, str] = {}
        self._metadata: list[str] = []
        self._nodes: dict[str, str] = {}
        self._count = 0
        self.required: dict[str, Unit] = {}
        """What its functions call that is compiled apart, by the name of its first entry point."""

    def fresh(self, prefix: str) -> str:
        """Return a name that nothing else in the module has."""
        self._count += 1
        return f"{prefix}.{self._count}"

    def declare(self, name: str, signature: str) -> None:
        """Declare an outside function: ``declare("sqrt", "double @sqrt(double)")``."""
        self._declared[name] = f"declare {signature}"

    def table(self, name: str, dtype: np.dtype, values: Sequence[Any]) -> str:
        """Add a constant array, once for each name; return its symbol."""
        kind = memory_type(dtype)
        items = ", ".join(f"{kind} {literal(dtype, v)}" for v in values)
        return self.constant(name, f"[{len(values)} x {kind}] [{items}], align 64")

    def constant(self, name: str, text: str) -> str:
        """Add a constant as LLVM writes it, once for each name; return its symbol."""
        self._globals[name] = f"@{name} = private unnamed_addr constant {text}"
        return f"@{name}"

    def metadata(self, text: str, shared: bool = False) -> str:
        """Add a metadata node, whose text may name itself as ``SELF``; return its name.

        A shared one is added once for the same text.
        """
        name = self._nodes.get(text) if shared else None
        if name is None:
            name = f"!{len(self._metadata)}"
            self._metadata.append(f"{name} = {text.replace('SELF', name)}")
            self._nodes[text] = name
        return name

    def add(self, function: Emitter, level: int | None = None) -> str:
        """Add a finished function; one with the same text is shared. Return its symbol.

        It is compiled at a level of its own (see :class:`Unit`), or at that of the module.
        """
        return self.add_text(function.name, function.text(), level)

    def add_text(self, name: str, text: str, level: int | None = None) -> str:
        """Add a function written by hand, in which its own name is ``@NAME``."""
        known = self._by_text.get(text)
        if known is None:
            known = name
            self._by_text[text] = name
            self._define(name, text.replace("@NAME", f"@{name}"), level)
        return f"@{known}"

    def _define(self, name: str, text: str, level: int | None) -> None:
        self._functions[name] = text
        self._levels[name] = level
        lines = text.count("\n")
        names, before = self._waiting.get(level, ([], 0))
        names.append(name)
        self._waiting[level] = names, before + lines
        if self._linker is not None and before + lines >= _PART:
            self._linker.part(self._cut(level), level)

    def declares(self, name: str) -> bool:
        """Say whether an outside function of this name was declared."""
        return name in self._declared

    def has(self, name: str) -> bool:
        """Say whether a function of this name was added."""
        return name in self._functions

    def renamed(self, prefix: str) -> Module:
        """Return a module of the same functions, whose names begin with a prefix.

        Without metadata: it tells LLVM what not to do in loops that are left alone anyway.
        """
        found = Module()
        found._declared = dict(self._declared)

        def name_of(match: re.Match[str]) -> str:
            return f"@{prefix}.{match[1]}" if match[1] in self._functions else match[0]

        for name, text in self._functions.items():
            text = _LOOP.sub("", _NAMED.sub(name_of, text))
            found._functions[f"{prefix}.{name}"] = text
        return found

    def level(self, name: str) -> int | None:
        """Return the level of a function, or 0 if it is not of this module."""
        return self._levels.get(name, PLAIN)

    def take(self, other: Module, level: int) -> None:
        """Add the functions of another module, which no other has by these names."""
        self._declared.update(other._declared)
        for name, text in other._functions.items():
            self._define(name, text, level)

    def require(self, unit: Unit) -> None:
        """Note that functions of this module call those of a unit compiled apart."""
        self.required[unit.entry_points[0]] = unit
        if self._linker is not None:
            self._linker.require(unit)

    def keep(self, name: str, variants: Sequence[str]) -> None:
        """Keep the variants of a function, which nothing calls before loops are vectorised."""
        self._variants[name] = variants

    def text(self) -> str:
        """Return the whole module as LLVM reads it."""
        return self._text(self._functions)

    def rest(self) -> list[tuple[str, int | None]]:
        """Return what was not cut off, in texts with the level of their functions.

        Where there is a cut does not depend on the machine, since what is compiled together may be
        inlined and then rounded otherwise.
        """
        if self._whole and len(self._waiting) == 1:
            (level,) = self._waiting
            return [(self.text(), level)]
        return [(self._cut(level), level) for level in list(self._waiting)]

    def _cut(self, level: int | None) -> str:
        """Return a text of the functions of a level that wait for one."""
        self._whole = False
        names, _ = self._waiting.pop(level)
        return self._text({name: _shared(self._functions[name]) for name in names})

    def _text(self, functions: Mapping[str, str]) -> str:
        """Return a module of some functions, with what they name."""
        text = "\n".join(functions.values())
        named = set(_NAMED.findall(text))
        kept = [each for name in self._variants if name in named for each in self._variants[name]]
        named.update(kept)
        for name, line in reversed(self._globals.items()):  # constants name earlier ones
            if name in named:
                named.update(_NAMED.findall(line))
        parts = [line for name, line in self._globals.items() if name in named]
        outside = named.difference(self._functions)
        parts += [line for name, line in self._declared.items() if name in outside]
        others = named.intersection(self._functions).difference(functions)
        parts += [_declaration(self._functions[name]) for name in sorted(others)]
        if kept:
            items = f"[{len(kept)} x ptr] [{', '.join(f'ptr @{each}' for each in kept)}]"
            parts.append(f'@llvm.compiler.used = appending global {items}, section "llvm.metadata"')
        return "\n".join([*parts, text, *self._metadata]) + "\n"


def _shared(text: str) -> str:
    """Return a function's text such that functions of other parts may call it."""
    return text.replace("define internal ", "define hidden ", 1)


def _declaration(text: str) -> str:
    """Return the declaration of a function of another part.

    >>> _declaration("define internal void @f.1(ptr noalias %p, i64 %n) nounwind {\\n...")
    'declare void @f.1(ptr, i64)'
    """
    head, _, given = text[: text.index(") ")].partition("(")
    kinds = [each.split()[0] for each in given.split(",") if each]
    return f"declare {' '.join(head.split()[-2:])}({', '.join(kinds)})"


@final
class Slot:
    """A place for one mutable value."""

    __slots__ = ("dtype", "imag", "name")

    def __init__(self, dtype: np.dtype, name: str, imag: str | None) -> None:
        self.dtype = dtype
        self.name = name
        self.imag = imag


@final
class Aside:
    """A part of a function written before what comes before it."""

    __slots__ = ("first", "last", "lines")

    def __init__(self, first: str) -> None:
        self.first = self.last = first
        self.lines: list[str] = []


@final
@dataclass(frozen=True, slots=True)
class Mark:
    """How far a function is written: lines, lines at the entry, names, the block."""

    lines: int
    entry: int
    names: int
    label: str


@final
@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a function, and the number of names and the block with which it ends."""

    lines: tuple[str, ...]
    entry: tuple[str, ...]
    names: int
    label: str
