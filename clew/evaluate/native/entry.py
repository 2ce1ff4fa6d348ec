"""Functions by which Python calls compiled programs without a detour through ``ctypes``.

:func:`entry` makes a built-in function that takes arguments apart, runs a program and puts its
results together, all in native code (``entry_text.py``). It reads Python's and NumPy's objects
where they lie in memory. Whether they lie as it thinks is tried out first on a few objects; where
they do not (another interpreter, one without its lock, a future NumPy), there are no entries.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import sys
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.core import pytree
from clew.core.types import Type
from clew.evaluate.native.compiling import compiled
from clew.evaluate.native.entry_text import ARENAS, NUMPY, PYTHON, WORDS, entry_text
from clew.evaluate.native.toolchain import Library, ToolchainError, lock


class Miss:
    """The type of :data:`MISS`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISS"


MISS = Miss()
"""What an entry returns for arguments that it was not made for."""

MOST_LEAVES = 2048
"""More leaves would need a large stack."""

_FASTCALL = 0x80
_NUMBERS: dict[Any, tuple[type, int]] = {
    np.dtype(np.float64): (float, 0),
    np.dtype(np.int64): (int, 1),
    np.dtype(np.bool_): (bool, 2),
    np.dtype(np.complex128): (complex, 3),
}
_COMPARED = (str, bytes, int, float, bool, complex)
_NEW = object.__new__
_LARGE_ARENA = 2**28
_HEADER = 20
_RUNS = 11
_LEAF = 10
_OUTPUT = 5


@dataclass(frozen=True, slots=True)
class Operand:
    """A leaf of the arguments: its type, and where the program reads it.

    Attributes
    ----------
    type : Type
    place : int
        Its number among the program's inputs; -1 if the program does not read it.
    first : int
        The first leaf of the same argument. Two arrays of one argument are not the same.
    output : int
        The output that may have its memory at a later call, or -1.
    """

    type: Type
    place: int
    first: int
    output: int = -1


@dataclass(frozen=True, slots=True)
class Constant:
    """A part of a result that is always the same object."""

    value: Any


@dataclass(frozen=True, eq=False)
class Routine:
    """A compiled program as an entry sees it.

    Attributes
    ----------
    address, callback : int
        The program, and what it calls to have Python evaluate an equation.
    inputs, outputs : sequence of Type
    fixed : sequence of int
        The addresses of large constants.
    arenas : Arenas
    long : bool
        Whether other threads may use the interpreter meanwhile.
    fail : callable
        Raises the error for which the program ended early.
    kept : tuple
        Objects that have to live as long as the program may be called.
    """

    address: int
    callback: int
    inputs: Sequence[Type]
    outputs: Sequence[Type]
    fixed: Sequence[int]
    arenas: Arenas
    long: bool
    fail: Callable[[], Any]
    kept: tuple[Any, ...]


class Arenas:
    """Memory between the calls of a program: a few arenas that wait, freed with this object."""

    def __init__(self, size: int) -> None:
        keep = 1 if size > _LARGE_ARENA else ARENAS
        self.table = np.array([size, keep, *[0] * ARENAS], np.int64)
        if size:
            weakref.finalize(self, _freed, self.table).atexit = False


class Entry:
    """A built-in function, and how often it ran a program.

    Attributes
    ----------
    call : callable
        Of positional arguments. Returns ``MISS`` if they do not fit, having done nothing.
    """

    __slots__ = ("_table", "call")

    def __init__(self, call: Callable[..., Any], table: np.ndarray) -> None:
        self.call = call
        self._table = table

    @property
    def runs(self) -> int:
        """How often the program ran to its end."""
        return int(self._table[_RUNS])


def entry(
    routine: Routine, leaves: Sequence[Operand], arguments: Sequence[Any], result: Any
) -> Entry | None:
    """Return a function that calls a program; None where there can be none.

    ``arguments`` and ``result`` are trees of plain containers (``pytree.Structure.outline``) with,
    at their ends, the numbers of leaves and of outputs (each output once), in the result also
    constants.
    """
    machinery = _machinery()
    if machinery is None or len(leaves) > MOST_LEAVES:
        return None
    reading, building = _Layout(reading=True), _Layout(reading=False)
    try:
        for each in arguments:
            reading.add(each)
        building.add(result)
    except _NotPlain:
        return None
    table, owner = _table(routine, leaves, reading, building, len(arguments))
    kept = (
        *(each.type.dtype for each in leaves),
        *(kind.dtype for kind in routine.outputs),
        *reading.objects,
        *building.objects,
    )
    call = machinery.function((table, owner, routine, kept))
    return Entry(call, table)


class _NotPlain(Exception):
    """A part of an argument that only Python can compare."""


class _Layout:
    """The words for trees, and the objects that they name."""

    def __init__(self, reading: bool) -> None:
        self.words: list[int] = []
        self.objects: list[Any] = []
        self._reading = reading
        self._met: set[int] = set()

    def add(self, tree: Any) -> None:
        """Add a tree."""
        kind = type(tree)
        fields = pytree.fields_of(kind)
        if kind is int:
            self.words += [WORDS["LEAF"], tree, tree in self._met]
            self._met.add(tree)
        elif kind is dict:
            self._container("DICT", kind, len(tree))
            for key, item in tree.items():
                self.words.append(self._named(key))
                self.add(item)
        elif kind is tuple or kind is list:
            self._container(kind.__name__.upper(), kind, len(tree))
            for item in tree:
                self.add(item)
        elif fields is not None:
            self._record(tree, *fields)
        else:
            self._only(tree.value if kind is Constant else tree)

    def _record(self, tree: Any, children: Sequence[str], static: Sequence[str]) -> None:
        self._container("RECORD", type(tree), len(children) + len(static))
        for name in children:
            self.words.append(self._named(name))
            self.add(getattr(tree, name))
        for name in static:
            self.words.append(self._named(name))
            if self._reading:
                self._equal(getattr(tree, name))
            else:
                self._only(getattr(tree, name))

    def _equal(self, value: Any) -> None:
        """Add a part of an argument that is always equal, by a comparison that runs no Python."""
        kind = type(value)
        if kind is tuple:
            self._container("TUPLE", kind, len(value))
            for item in value:
                self._equal(item)
        elif kind in _COMPARED or kind.__eq__ is object.__eq__:
            self.words += [WORDS["EQUAL"], self._named(value)]
        else:
            raise _NotPlain

    def _only(self, value: Any) -> None:
        self.words += [WORDS["ONLY"], self._named(value)]

    def _container(self, word: str, kind: type, count: int) -> None:
        self.words += [WORDS[word], self._named(kind), count]

    def _named(self, value: Any) -> int:
        self.objects.append(value)
        return id(value)


class _Owner:
    """Stands for a table: when it dies, so do the arrays that were given away."""

    __slots__ = ("__weakref__",)


def _table(
    routine: Routine, leaves: Sequence[Operand], reading: _Layout, building: _Layout, given: int
) -> tuple[np.ndarray, _Owner]:
    """Write what ``clew_call`` reads, in one array; see ``entry_text.py`` for its records."""
    outputs = routine.outputs
    sizes = [_HEADER, _LEAF * len(leaves), _OUTPUT * len(outputs), len(routine.fixed)]
    sizes += [len(reading.words), len(building.words)]
    lengths = [*(each.type.shape for each in leaves), *(kind.shape for kind in outputs)]
    sizes += map(len, lengths)
    table = np.zeros(sum(sizes), np.int64)
    starts = np.cumsum([0, *sizes])[:-1].tolist()
    address = [table.ctypes.data + 8 * start for start in starts]
    words: list[int] = [routine.address, routine.callback, len(leaves), address[1]]
    words += [len(outputs), address[2], len(routine.fixed), address[3], len(routine.inputs)]
    words += [routine.arenas.table.ctypes.data, routine.long, 0, given, address[4], address[5]]
    apart = [each.first if each.type.shape else -1 for each in leaves]
    met = Counter(apart)
    apart = [first if met[first] > 1 else -1 for first in apart]
    words += [id(MISS), id(routine.fail), id(np.ndarray), _size_of_table(apart) - 1, id(_NEW)]
    away = {each.output: number for number, each in enumerate(leaves) if each.output >= 0}
    for each, first, place in zip(leaves, apart, address[6:], strict=False):
        dtype = each.type.dtype
        number, kind = _NUMBERS.get(dtype, (None, 0))
        words += [id(dtype), dtype.num, len(each.type.shape), place, id(dtype.type)]
        words += [id(number) if number else 0, kind, each.place, first, each.output]
    for number, kind in enumerate(outputs):
        place = address[6 + len(leaves) + number]
        donor = address[1] + 8 * _LEAF * away[number] if number in away else 0
        words += [id(kind.dtype), len(kind.shape), place, 0, donor]
    words += [*routine.fixed, *reading.words, *building.words]
    words += [length for shape in lengths for length in shape]
    table[:] = words
    owner = _Owner()
    if away:
        spare = [starts[2] + _OUTPUT * number + 3 for number in away]
        weakref.finalize(owner, _dropped, table, spare).atexit = False
    return table, owner


def _size_of_table(firsts: Sequence[int]) -> int:
    """Return a power of two, twice as large as there are leaves to tell apart."""
    return 1 << (2 * sum(first >= 0 for first in firsts)).bit_length()


def _dropped(table: np.ndarray, places: Sequence[int]) -> None:
    for place in places:
        address, table[place] = int(table[place]), 0
        if address:
            ctypes.pythonapi.Py_DecRef(ctypes.c_void_p(address))


def _freed(arenas: np.ndarray) -> None:
    """Free what waits.

    A thread that compiles for another one may collect garbage: it must not wait for that one's
    lock. Only the machinery makes what waits; where there is none yet, there is nothing to free.
    """
    machinery = _installed() if _installed.cache_info().currsize else None
    if machinery is not None:
        machinery.release(arenas.ctypes.data)


# --- what all entries have in common -------------------------------------------------------------


class _Method(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


class _Machinery:
    """The code of ``clew_call``, and the record by which Python knows it."""

    def __init__(self, library: Library) -> None:
        library.keep()
        self._method = _Method(b"compiled", library.address("clew_call"), _FASTCALL, None)
        self._place = ctypes.addressof(self._method)
        self._new = ctypes.PYFUNCTYPE(
            ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p
        )(("PyCFunction_NewEx", ctypes.pythonapi))
        self.release = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(library.address("clew_release"))

    def function(self, holder: tuple[Any, ...]) -> Callable[..., Any]:
        """Return a built-in function whose table is the first object of ``holder``."""
        return self._new(self._place, holder, None)


def _machinery() -> _Machinery | None:
    with lock:
        return _installed()


@functools.lru_cache(maxsize=1)
def _installed() -> _Machinery | None:
    functions = _numpy_functions()
    if functions is None or not _objects_are_known():
        return None
    import llvmlite.binding as llvm

    for name in PYTHON:
        address = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value
        llvm.add_symbol(name, address)
    for name, address in functions.items():
        llvm.add_symbol(name, address)
    try:
        return _Machinery(compiled(entry_text(), ["clew_call", "clew_release"], 1))
    except ToolchainError:
        return None


def _numpy_functions() -> dict[str, int] | None:
    """Return the addresses of NumPy's C functions; None if its table is not the one known."""
    try:
        capsule = importlib.import_module("numpy._core._multiarray_umath")._ARRAY_API
        pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
            ("PyCapsule_GetPointer", ctypes.pythonapi)
        )
        table = ctypes.cast(pointer(capsule, None), ctypes.POINTER(ctypes.c_void_p))
    except (ImportError, AttributeError, ValueError, OSError):
        return None
    version = ctypes.CFUNCTYPE(ctypes.c_uint)(table[0] or 0)() >> 24
    if version != 2 or table[2] != id(np.ndarray):
        return None
    return {name: table[place] or 0 for name, place in NUMPY.items()}


def _objects_are_known() -> bool:
    """Say whether objects lie in memory as ``entry_text.py`` has them."""
    if sys.implementation.name != "cpython" or sys.byteorder != "little":
        return False
    # Interpreters for debugging, and those without a lock, have larger objects.
    if ctypes.sizeof(ctypes.c_void_p) != 8 or object.__basicsize__ != 16:
        return False
    square = np.arange(6.0).reshape(2, 3)
    square.flags.writeable = False
    examples = [square, square.T, np.zeros((2, 0, 4), np.int16), np.array(1j, np.complex64)]
    examples += [np.zeros(2, kind) for kind in (">f8", "?", "u1", "i8", "f4")]
    examples += [np.zeros(9, np.uint8)[1:].view(np.float64)]
    return all(_is_known(each) for each in examples)


def _is_known(array: np.ndarray) -> bool:
    at, dtype = id(array), array.dtype
    word, short = ctypes.c_int64.from_address, ctypes.c_int32.from_address
    return (
        word(at + 8).value == id(np.ndarray)
        and word(at + 16).value == array.ctypes.data
        and short(at + 24).value == array.ndim
        and word(at + 56).value == id(dtype)
        and short(at + 64).value == array.flags.num
        and (ctypes.c_int64 * array.ndim).from_address(word(at + 32).value)[:] == list(array.shape)
        and ctypes.c_char.from_address(id(dtype) + 26).value == dtype.byteorder.encode()
        and short(id(dtype) + 28).value == dtype.num
    )
