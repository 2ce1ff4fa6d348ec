"""Positional and keyword arguments as trees with the names that the user gave them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.core import pytree
from clew.core.primitive import Traced
from clew.core.types import Type, type_of


@dataclass(frozen=True)
class Call:
    """A function and its arguments as a function of trees only, for :func:`clew.trace.record`."""

    function: Callable[..., Any]
    trees: tuple[Any, ...]
    names: tuple[str, ...]

    def leaf_names(self) -> list[str]:
        """Return the names of the leaves: ``x``, ``params.weight``, ``params[0]``."""
        found = []
        for name, tree in zip(self.names, self.trees, strict=True):
            for path in pytree.flatten(tree)[1].names:
                join = "" if path.startswith("[") or not path else "."
                found.append(f"{name}{join}{path}")
        return found


def call_of(f: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call:
    """Bind keyword arguments to places after the positional ones.

    >>> call_of(lambda x, *rest, y: x, (1.0, 2.0), {"y": {"a": 3.0}}).leaf_names()
    ['x', 'rest0', 'y.a']
    """
    keys = tuple(kwargs)
    count = len(args)
    names = (*_positional_names(f, count), *keys)

    def function(*trees: Any) -> Any:
        return f(*trees[:count], **dict(zip(keys, trees[count:], strict=True)))

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, kind) for name in names]
    )
    return Call(function, (*args, *kwargs.values()), names)


def _positional_names(f: Callable[..., Any], count: int) -> list[str]:
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        parameters = ()
    names: list[str] = []
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}{i}" for i in range(count - len(names))]
        elif parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            names.append(parameter.name)
    return [*names, *(f"argument{i}" for i in range(len(names), count))][:count]


_NUMBERS = {
    kind: ((), np.dtype(kind))
    for kind in (float, int, bool, complex, *(np.dtype(code).type for code in "?bBhHiIlLqQefdFD"))
}


def is_plain(leaf: Any) -> bool:
    """Say whether a leaf is an array or number that programs read as it is.

    >>> is_plain(1.0), is_plain(np.ones(2)), is_plain(np.ones(2, ">f8")), is_plain(b"12")
    (True, True, False, False)
    """
    kind = type(leaf)
    return kind in _NUMBERS or (kind is np.ndarray and leaf.dtype.isnative)


def plain(leaf: Any) -> Any:
    """Return a leaf as an array of native byte order, without a copy where it lies as one.

    Anything that shares its memory is taken: by ``__array__`` (PyTorch, JAX), the buffer
    protocol (``array.array``, ``memoryview``), or DLPack. What is no array stays as it is.

    >>> import array
    >>> numbers = array.array("d", [1.0, 2.0])
    >>> np.shares_memory(plain(numbers), np.asarray(numbers))
    True
    """
    if is_plain(leaf) or isinstance(leaf, (Traced, str, bytes)):
        return leaf
    if hasattr(leaf, "__dlpack__") and not hasattr(leaf, "__array__"):
        found = np.from_dlpack(leaf)
    elif hasattr(leaf, "__array__") or _has_buffer(leaf):
        found = np.asarray(leaf)
    else:
        return leaf
    return found if found.dtype.isnative else found.astype(found.dtype.newbyteorder("="))


def _has_buffer(leaf: Any) -> bool:
    try:
        memoryview(leaf).release()
    except (TypeError, BufferError):
        return False
    return True


def type_key(leaf: Any) -> Any:
    """Return a key of a leaf's type: its shape and dtype, found quickly."""
    kind = type(leaf)
    if kind is np.ndarray:
        return leaf.shape, leaf.dtype
    known = _NUMBERS.get(kind)
    if known is not None:
        return known
    found = type_of(leaf)
    return found.shape, found.dtype


def types_of(keys: Sequence[Any]) -> tuple[Type, ...]:
    """Return the types that keys stand for."""
    return tuple(Type(*key) for key in keys)
