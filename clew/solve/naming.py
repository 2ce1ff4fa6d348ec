"""Settings given by name: bounds, fixed parameters, units, known values.

A setting follows the structure of the parameters as far as it needs to: ``{"light": (0, 9)}``
speaks of everything under ``light``. Written-out names work too: ``{"light.position[0]": ...}``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from clew.core import pytree
from clew.core.errors import InputError

ROOT = "params"
_ELEMENT = re.compile(r"^(?P<leaf>.*)\[(?P<index>[\d\s,]+)\]$")


@dataclass(frozen=True)
class Match:
    """A leaf, and the element of it that a setting speaks of (``None``: all of it)."""

    leaf: int
    element: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Names:
    """The names of the leaves, with all the names of a leaf that is reached by several routes."""

    leaves: tuple[str, ...]
    routes: tuple[tuple[str, int], ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, structure: pytree.Structure, shapes: Sequence[tuple[int, ...]]) -> Names:
        """Read the names off a tree; a tree that is a bare array is called ``params``."""
        numbered = structure.unflatten(list(range(structure.count)))
        slots, every = pytree.flatten(numbered)
        routes = tuple((name or ROOT, slot) for name, slot in zip(every.names, slots, strict=True))
        return cls(tuple(name or ROOT for name in structure.names), routes, tuple(shapes))

    def find(self, name: str, setting: str) -> list[Match]:
        """Return the leaves, or the one element, that a name speaks of.

        Raises
        ------
        InputError
            If there is no such parameter; the nearest names are offered.
        """
        if name == "":
            return [Match(slot) for slot in range(len(self.leaves))]
        slots = {slot for route, slot in self.routes if _under(route, name)}
        if slots:
            return [Match(slot) for slot in sorted(slots)]
        found = self._element(name)
        if found is not None:
            return [found]
        near = difflib.get_close_matches(name, [route for route, _ in self.routes], 3)
        raise InputError(
            f"{setting}: there is no parameter named {name!r}",
            f"did you mean {' or '.join(near)}?" if near else f"name one of {self.listed()}",
        )

    def _element(self, name: str) -> Match | None:
        parts = _ELEMENT.match(name)
        if parts is None:
            return None
        index = tuple(int(part) for part in parts["index"].split(","))
        for route, slot in self.routes:
            shape = self.shapes[slot]
            fits = len(index) == len(shape) and all(
                i < n for i, n in zip(index, shape, strict=True)
            )
            if route == (parts["leaf"] or ROOT) and fits:
                return Match(slot, index)
        return None

    def listed(self, most: int = 8) -> str:
        """Return the names in a row, cut short when there are many."""
        shown = ", ".join(self.leaves[:most])
        return shown + (", ..." if len(self.leaves) > most else "")


def _under(route: str, name: str) -> bool:
    return route == name or route.startswith((name + ".", name + "["))


def places(tree: Any) -> tuple[list[Any], pytree.Structure]:
    """Flatten a tree of values to one leaf for every place, also where places share an array.

    >>> import numpy as np
    >>> x = np.ones(2)
    >>> len(pytree.flatten([x, x])[0]), len(places([x, x])[0])
    (1, 2)
    """
    leaves, structure = pytree.flatten(tree)
    slots, spread = pytree.flatten(structure.unflatten(list(range(structure.count))))
    return [leaves[slot] for slot in slots], spread


def entries(
    setting: Any, is_value: Callable[[Any], bool], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Walk a setting down to its values, and give each with the name it speaks of.

    >>> list(entries({"light": {"position": "m"}}, lambda value: isinstance(value, str)))
    [('light.position', 'm')]
    """
    if setting is None:
        return
    if is_value(setting):
        yield prefix, setting
    elif isinstance(setting, dict):
        for key, value in setting.items():
            yield from entries(value, is_value, _join(prefix, key))
    elif isinstance(setting, (list, tuple)):
        for index, value in enumerate(setting):
            yield from entries(value, is_value, f"{prefix}[{index}]")
    elif hasattr(setting, "__dataclass_fields__"):
        for key in setting.__dataclass_fields__:
            yield from entries(getattr(setting, key), is_value, _join(prefix, key))
    else:
        raise InputError(
            f"a setting for {prefix or 'the parameters'} is {setting!r}",
            "follow the structure of the parameters, or name them as in 'light.position[0]'",
        )


def _join(prefix: str, key: Any) -> str:
    if isinstance(key, int):
        return f"{prefix}[{key}]"
    if key == "" or prefix == "":
        return f"{prefix}{key}"
    return f"{prefix}.{key}"
