"""Functions of SciPy's compiled modules, by the addresses that they keep for Cython.

A module's ``__pyx_capi__`` holds a capsule for each function: a pointer, named by the text of its C
signature. Code may call it without the interpreter's lock if the function is declared so.

Source: Cython documentation, "Sharing Declarations Between Cython Modules".
"""

from __future__ import annotations

import ctypes
import importlib


def exported(library: str) -> dict[str, object]:
    """Return the capsules of a compiled module by name; none if there is no such module.

    >>> exported("scipy.linalg.no_such_module")
    {}
    """
    try:
        return importlib.import_module(library).__pyx_capi__
    except (ImportError, AttributeError):
        return {}


def signature(capsule: object) -> str:
    """Return the C signature of what a capsule points to.

    >>> signature(exported("scipy.linalg.cython_blas")["dswap"])[:12]
    'void (int *,'
    """
    ask = ctypes.pythonapi.PyCapsule_GetName
    ask.restype, ask.argtypes = ctypes.c_char_p, [ctypes.py_object]
    return (ask(capsule) or b"").decode()


def address(capsule: object) -> int:
    """Return the address that a capsule holds.

    >>> address(exported("scipy.linalg.cython_blas")["dswap"]) > 0
    True
    """
    ask = ctypes.pythonapi.PyCapsule_GetPointer
    ask.restype, ask.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return ask(capsule, signature(capsule).encode())
