"""Positional and keyword arguments as trees with the names that the user gave them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clew.core import pytree


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
