"""Parameters as trees: dicts, lists, tuples, dataclasses, with arrays at the leaves.

``optree`` does the walking; it is imported here and nowhere else. Identity is kept: the same
array object (of at least one axis) reached by two routes is *one* leaf, and one object again
after an update.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import numpy as np
import optree

from clew.core.errors import InputError
from clew.core.primitive import Traced

_NAMESPACE = "clew"
Class = TypeVar("Class", bound=type)


class Structure:
    """How a tree is put together: its shape, and which places share one leaf."""

    __slots__ = ("_hash", "_names", "_slots", "_tree", "count")

    def __init__(self, tree: Any, slots: tuple[int, ...], count: int) -> None:
        self._tree = tree
        self._slots = slots
        self.count = count
        self._names: tuple[str, ...] | None = None
        self._hash: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """A readable name for each distinct leaf: of the first route to it."""
        if self._names is None:
            self._names = tuple(self.pick([path_name(path) for path in self._tree.paths()]))
        return self._names

    def unflatten(self, leaves: Sequence[Any]) -> Any:
        """Build the tree from its leaves; a shared leaf is one object in all its places."""
        return optree.tree_unflatten(self._tree, [leaves[slot] for slot in self._slots])

    def pick(self, leaves: Sequence[Any]) -> list[Any]:
        """Return, from one leaf per place, one for each distinct leaf."""
        first = dict(zip(reversed(self._slots), reversed(leaves), strict=True))
        return [first[slot] for slot in range(self.count)]

    def outline(self, leaves: Sequence[Any]) -> Any:
        """Return the tree with stand-ins for its leaves, if it is of plain containers only.

        Those are dicts, lists, tuples, None, and dataclasses that only store their fields
        (:func:`fields_of`); for other trees the result is None.
        """
        return self.unflatten(leaves) if _is_plain(self._tree) else None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Structure):
            return NotImplemented
        if self is other:
            return True
        return self._tree == other._tree and self._slots == other._slots

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash((self._tree, self._slots))
        return self._hash

    def __repr__(self) -> str:
        return f"Structure({', '.join(self.names)})"


def _is_plain(tree: Any) -> bool:
    if tree.is_leaf():
        return True
    known = tree.type in (dict, list, tuple, type(None)) or fields_of(tree.type) is not None
    return known and all(map(_is_plain, tree.children()))


_FIELDS: dict[type, tuple[tuple[str, ...], tuple[str, ...]]] = {}


def fields_of(cls: type) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return a registered class's fields that are children, and those that are structure.

    None if reading or writing such a field may run code of the class.
    """
    found = _FIELDS.get(cls)
    if found is None or hasattr(cls, "__getattr__"):
        return None
    if cls.__getattribute__ is not object.__getattribute__:
        return None
    stored = (inspect.getattr_static(cls, name, None) for name in (*found[0], *found[1]))
    computed = any(
        hasattr(each, "__set__") and not inspect.ismemberdescriptor(each) for each in stored
    )
    return None if computed else found


_LEAF = Structure(optree.tree_structure(cast(Any, 0), namespace=_NAMESPACE), (0,), 1)
_LEAVES = frozenset([np.ndarray, float, int, bool, complex, np.float64, np.float32])


def flatten(tree: Any, shared: bool = True) -> tuple[list[Any], Structure]:
    """Return the leaves of a tree and its structure.

    An array met twice is one leaf; with ``shared=False`` (results of functions, whose places
    are independent) every place is a leaf of its own.

    >>> w = np.ones(2)
    >>> leaves, structure = flatten({"encoder": w, "decoder": w})
    >>> len(leaves), structure.names
    (1, ('decoder',))
    >>> again = structure.unflatten([w + 1])
    >>> again["encoder"] is again["decoder"]
    True
    """
    if type(tree) in _LEAVES:
        return [tree], _LEAF
    raw, definition = optree.tree_flatten(tree, namespace=_NAMESPACE)
    leaves: list[Any] = []
    slots: list[int] = []
    known: dict[int, int] = {}
    for leaf in raw:
        # A scalar is a value, not an object: two equal ones are not one parameter.
        shareable = shared and isinstance(leaf, (np.ndarray, Traced)) and len(leaf.shape) > 0
        slot = known.get(id(leaf)) if shareable else None
        if slot is None:
            slot = len(leaves)
            leaves.append(leaf)
            if shareable:
                known[id(leaf)] = slot
        slots.append(slot)
    return leaves, Structure(definition, tuple(slots), len(leaves))


def path_name(path: Sequence[Any]) -> str:
    """Return a readable name for a route into a tree.

    >>> path_name(("layers", 0, "weight"))
    'layers[0].weight'
    """
    name = ""
    for step in path:
        if isinstance(step, int):
            name += f"[{step}]"
        else:
            name += f".{step}" if name else str(step)
    return name


def leaf_names(tree: Any) -> tuple[str, ...]:
    """Return the name of every distinct leaf, in the order of :func:`flatten`.

    >>> leaf_names({"light": [1.0, 2.0], "albedo": 0.5})
    ('albedo', 'light[0]', 'light[1]')
    """
    return flatten(tree)[1].names


def map(function: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """Apply a function to the leaves of trees of one structure, place by place.

    Places that share a leaf in every one of the trees share the result.

    >>> map(lambda a, b: a + b, {"x": 1.0}, {"x": 2.0})
    {'x': 3.0}
    """
    flat = [flatten(each) for each in (tree, *rest)]
    structure = flat[0][1]
    for _, other in flat[1:]:
        if len(other._slots) != len(structure._slots):
            raise InputError(
                f"pytree.map: trees differ: {structure.names} and {other.names}",
                "pass trees of one structure",
            )
    done: dict[tuple[int, ...], Any] = {}
    results = []
    for slots in zip(*(each._slots for _, each in flat), strict=True):
        if slots not in done:
            row = [leaves[slot] for (leaves, _), slot in zip(flat, slots, strict=True)]
            done[slots] = function(*row)
        results.append(done[slots])
    return optree.tree_unflatten(structure._tree, results)


def register(
    cls: Class, *, static: Sequence[str] = (), finish: Callable[[Any], Any] | None = None
) -> Class:
    """Make a dataclass a tree: its fields are children, those in ``static`` are structure.

    A node that was put together goes through ``finish``, which may return something else.

    >>> @dataclasses.dataclass
    ... class Line:
    ...     slope: float
    ...     name: str
    >>> _ = register(Line, static=("name",))
    >>> flatten(Line(2.0, "a"))[0]
    [2.0]
    """
    if not dataclasses.is_dataclass(cls):
        raise InputError(f"register: {cls.__name__} is not a dataclass", "decorate it first")
    kind: Any = cls
    fields = tuple(field.name for field in dataclasses.fields(kind) if field.name not in static)
    constants = tuple(static)

    def split(node: Any) -> tuple[list[Any], tuple[Any, ...], tuple[str, ...]]:
        children = [getattr(node, name) for name in fields]
        return children, tuple(getattr(node, name) for name in constants), fields

    def join(fixed: Any, children: Any) -> Any:
        node = object.__new__(cls)
        for name, value in zip((*fields, *constants), (*children, *fixed), strict=True):
            object.__setattr__(node, name, value)
        return node if finish is None else finish(node)

    if finish is None:
        _FIELDS[kind] = (fields, constants)
    optree.register_pytree_node(kind, split, join, namespace=_NAMESPACE)
    return kind


def broadcast_prefix(prefix: Any, tree: Any) -> list[Any]:
    """Return, for every distinct leaf of a tree, the entry of the prefix tree above it.

    >>> broadcast_prefix({"a": 0, "b": None}, {"a": (1.0, 2.0), "b": 3.0})
    [0, 0, None]
    """
    if prefix is None or isinstance(prefix, (int, float, str)):
        return [prefix] * flatten(tree)[1].count
    try:
        spread = optree.tree_broadcast_prefix(
            prefix, tree, is_leaf=lambda node: node is None, namespace=_NAMESPACE
        )
    except ValueError as error:
        raise InputError(
            f"the tree of settings does not fit: {error}", "follow its structure"
        ) from None
    entries = optree.tree_leaves(spread, none_is_leaf=True, namespace=_NAMESPACE)
    return flatten(tree)[1].pick(entries)
