"""Routines of LAPACK and BLAS in native code, by the addresses that SciPy keeps of them.

A routine is used only if its signature is the expected one (integers of 32 bits above all);
otherwise there is none, and whoever wanted it leaves the equation to Python. Object code that is
kept on disk refers to routines by symbol, so it holds no address.

All arguments are pointers, as Fortran has them. No routine needs the interpreter's lock.

Source: E. Anderson et al. (1999), LAPACK Users' Guide, third edition.
"""

from __future__ import annotations

import ctypes
import functools
import re
from dataclasses import dataclass

import numpy as np

from clew.evaluate.native.emitter import Emitter, Module
from clew.evaluate.native.outside import address, exported, signature

_ROUTINES = {
    "potrf": ("potrf", "cipii", "cipii"),
    "gesv": ("gesv", "iipiipii", "iipiipii"),
    "getrf": ("getrf", "iipiii", "iipiii"),
    "geqrf": ("geqrf", "iipippii", "iipippii"),
    "orgqr": ("ungqr", "iiipippii", "iiipippii"),
    "syevd": ("heevd", "ccipippiiii", "ccipippipiiii"),
    "gesdd": ("gesdd", "ciipippipipiii", "ciipippipipipii"),
    "geev": ("geev", "ccipipppipipii", "ccipippipipipi"),
    "trsm": ("trsm", "cccciippipi", "cccciippipi"),
    "trsv": ("trsv", "cccipipi", "cccipipi"),
}
"""The name for complex matrices; characters, integers and other pointers of real and complex."""
_OF_BLAS = frozenset(["trsm", "trsv"])


@dataclass(frozen=True)
class Routine:
    """A routine for one dtype: its symbol in native code, and its address in this process."""

    symbol: str
    address: int

    def call(self, e: Emitter, *arguments: int | str) -> None:
        """Write a call. Arguments are whole numbers, characters, and names of pointers."""
        given = ", ".join(f"ptr {_place(e.module, each)}" for each in arguments)
        kinds = ", ".join(["ptr"] * len(arguments))
        e.module.declare(self.symbol, f"void @{self.symbol}({kinds})")
        e.line(f"call void @{self.symbol}({given})")

    def ask(self, *arguments: int | str | np.ndarray | None) -> None:
        """Call it now, to be told how much memory it wants to work in; None for any array.

        >>> work = np.zeros(1)
        >>> geqrf = routine("geqrf", work.dtype)
        >>> if geqrf is not None:
        ...     geqrf.ask(3, 2, None, 3, None, work, -1, None)
        >>> geqrf is None or bool(work[0] >= 2)
        True
        """
        arrays = [_array(each) for each in arguments]
        function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(arrays))(self.address)
        function(*(array.ctypes.data for array in arrays))


def _place(module: Module, argument: int | str) -> str:
    if isinstance(argument, int):
        return module.constant(f"int.{argument}", f"i32 {argument}")
    if len(argument) == 1:
        return module.constant(f"char.{argument}", f"i8 {ord(argument)}")
    return argument


def _array(argument: int | str | np.ndarray | None) -> np.ndarray:
    if isinstance(argument, np.ndarray):
        return argument
    if isinstance(argument, str):
        return np.frombuffer(argument.encode(), np.uint8)
    return np.full(4, argument or 0, np.int32)


@functools.cache
def routine(name: str, dtype: np.dtype) -> Routine | None:
    """Return the routine of this name (that for real matrices) for a dtype, if there is one.

    >>> routine("potrf", np.dtype(np.float16)) is None
    True
    """
    if dtype.char not in "fdFD":
        return None
    for_complex, of_real, of_complex = _ROUTINES[name]
    real = dtype.kind == "f"
    full = {"f": "s", "d": "d", "F": "c", "D": "z"}[dtype.char] + (name if real else for_complex)
    library = "cython_blas" if name in _OF_BLAS else "cython_lapack"
    capsule = exported(f"scipy.linalg.{library}").get(full)
    if capsule is None or letters_of(signature(capsule)) != (of_real if real else of_complex):
        return None
    from llvmlite import binding

    found = Routine(f"clew_lapack_{full}", address(capsule))
    binding.add_symbol(found.symbol, found.address)
    return found


def letters_of(text: str) -> str:
    """Return a letter for each pointer that a function without result takes; else nothing.

    >>> letters_of("void (char *, int *, __pyx_t_double_complex *)")
    'cip'
    >>> letters_of("void (char *, long *)"), letters_of("int (char *)")
    ('c?', '')
    """
    whole = re.fullmatch(r"void \((.*)\)", text)
    return "" if whole is None else "".join(map(_letter, whole[1].split(", ")))


def _letter(kind: str) -> str:
    if kind in ("char *", "int *"):
        return kind[0]
    return "p" if re.fullmatch(r"\w+(_s|_d|_complex) \*|(float|double) \*", kind) else "?"
