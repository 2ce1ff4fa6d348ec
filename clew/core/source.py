"""Where a value comes from: the user's line, and the path of scope names.

``user_location`` walks the Python stack past Clew's, NumPy's and SciPy's own files.
``scope("encoder")`` names a part of the model; equations recorded inside carry the path.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy

_PACKAGES = os.path.dirname(os.path.dirname(os.path.abspath(numpy.__file__)))
_INTERNAL = (
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep,
    os.path.join(_PACKAGES, "numpy") + os.sep,
    os.path.join(_PACKAGES, "scipy") + os.sep,
    os.path.dirname(os.path.abspath(threading.__file__)) + os.sep + "contextlib.py",
)
_is_internal: dict[str, bool] = {}


class Where(NamedTuple):
    """A line of the user's source; falsy when unknown.

    >>> str(Where("/home/ada/model.py", 12))
    'model.py:12'
    >>> bool(Where())
    False
    """

    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.line}" if self.file else ""

    def __bool__(self) -> bool:
        return bool(self.file)


def _internal(file: str) -> bool:
    known = _is_internal.get(file)
    if known is None:
        known = file.startswith(_INTERNAL)
        _is_internal[file] = known
    return known


def user_location() -> Where:
    """Return the innermost line on the stack that is not Clew's, NumPy's or SciPy's.

    >>> user_location().line
    1
    """
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not _internal(file):
            return Where(file, frame.f_lineno)
        frame = frame.f_back
    return Where()


class ScopePath(str):
    """A path of scope names that knows which entering of each name it stands for.

    ``enterings`` has a number for each part of the path, different for every ``with`` block
    entered, so that a module called twice can be told apart. In all else it is the path alone.

    >>> path = ScopePath("encoder/block3", (1, 2))
    >>> path == "encoder/block3", path.enterings
    (True, (1, 2))
    """

    __slots__ = ("enterings",)
    enterings: tuple[int, ...]

    def __new__(cls, path: str = "", enterings: tuple[int, ...] = ()) -> ScopePath:
        self = super().__new__(cls, path)
        self.enterings = enterings
        return self


class _Scopes(threading.local):
    path: ScopePath = ScopePath()


_scopes = _Scopes()
_numbers = itertools.count(1)


def current_scope() -> ScopePath:
    """Return the path of scope names entered so far, for instance ``encoder/block3``."""
    return _scopes.path


@contextmanager
def scope(name: str) -> Iterator[None]:
    """Name the part of the model recorded inside the ``with`` block.

    Scopes nest; the path is joined with ``/`` and carried by every equation.

    >>> import clew
    >>> def model(x):
    ...     with clew.scope("encoder"):
    ...         return x * x
    >>> clew.trace(model)(3.0).equations[0].scope
    'encoder'
    """
    before = _scopes.path
    path = f"{before}/{name}" if before else name
    entered = [next(_numbers) for _ in name.split("/")]
    _scopes.path = ScopePath(path, (*before.enterings, *entered))
    try:
        yield
    finally:
        _scopes.path = before
