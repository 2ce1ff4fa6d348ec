"""Parameters as one flat vector of float64, and back to the user's tree.

Methods only ever see the vector. It holds the free real numbers: fixed parameters are left out,
a complex number is two of them. Names, bounds and units follow each number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.core import pytree
from clew.core.errors import DtypeError, InputError, ShapeError
from clew.solve.naming import Names, entries


@dataclass(frozen=True)
class Leaf:
    """One array of parameters: its name, type, and place in the full vector."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int
    scalar: bool
    unit: str = ""

    @property
    def is_complex(self) -> bool:
        """Whether every element takes two real numbers."""
        return self.dtype.kind == "c"

    @property
    def length(self) -> int:
        """How many real numbers the leaf takes."""
        return int(np.prod(self.shape, dtype=np.int64)) * (2 if self.is_complex else 1)

    @property
    def places(self) -> slice:
        """Where they stand in the full vector."""
        return slice(self.offset, self.offset + self.length)

    def element(self, number: int) -> str:
        """Return the name of one real number of the leaf, such as ``light.position[0]``."""
        part = ""
        if self.is_complex:
            part = (".real", ".imag")[number % 2]
            number //= 2
        if self.shape == ():
            return self.name + part
        index = np.unravel_index(number, self.shape)
        return f"{self.name}[{','.join(str(int(i)) for i in index)}]{part}"


class ParameterSpace:
    """The free parameters of a problem as a vector.

    Parameters
    ----------
    start : pytree of float or complex arrays
        The neutral start.
    bounds, fixed, units : pytree-prefix or dict by name, optional
        As in :class:`clew.Problem`.

    >>> space = ParameterSpace({"light": [1.0, 2.0], "albedo": np.ones(3)}, {"albedo": (0, 1)})
    >>> space.size, space.coordinate(3)
    (5, 'light[0]')
    >>> space.lower
    array([  0.,   0.,   0., -inf, -inf])
    >>> space.tree(space.start * 0.5)["albedo"]
    array([0.5, 0.5, 0.5])
    """

    def __init__(
        self, start: Any, bounds: Any = None, fixed: Any = None, units: Any = None
    ) -> None:
        raw, self.structure = pytree.flatten(start)
        if not raw:
            raise InputError(
                "Problem: start holds no parameters (an empty tree)",
                "give at least one float or array of floats to solve for",
            )
        self.names = Names.of(self.structure, [np.shape(leaf) for leaf in raw])
        self.leaves = _leaves(raw, self.names, _units(units, self.names))
        self.full_start = self._checked_start(raw)
        self.full_lower, self.full_upper = self._bounds(bounds)
        self.free = self._free(fixed)
        self.start = self.full_start[self.free]
        self.lower = self.full_lower[self.free]
        self.upper = self.full_upper[self.free]
        self.places = np.flatnonzero(self.free)
        self._position = np.cumsum(self.free) - 1
        self._check_start_inside()

    @property
    def size(self) -> int:
        """The number of free real parameters."""
        return self.start.size

    @property
    def bounded(self) -> bool:
        """Whether any free parameter has a bound."""
        return bool(np.isfinite(self.lower).any() or np.isfinite(self.upper).any())

    def coordinate(self, number: int) -> str:
        """Return the name of a free number, such as ``light.position[0]``."""
        place = int(self.places[number])
        leaf = self.leaf_at(place)
        return leaf.element(place - leaf.offset)

    def leaf_at(self, place: int) -> Leaf:
        """Return the leaf that holds a place of the full vector."""
        offsets = [leaf.offset for leaf in self.leaves if leaf.length]
        holders = [leaf for leaf in self.leaves if leaf.length]
        return holders[int(np.searchsorted(offsets, place, side="right")) - 1]

    def full(self, vector: np.ndarray) -> np.ndarray:
        """Return the full vector, fixed parameters at their start."""
        full = self.full_start.copy()
        full[self.free] = vector
        return full

    def tree(self, vector: np.ndarray) -> Any:
        """Return the user's tree for a vector of the free parameters (plain arrays)."""
        full = self.full(vector)
        return self.from_full(full)

    def from_full(self, full: np.ndarray) -> Any:
        """Return the user's tree for a full vector, one number per real parameter."""
        values = []
        for leaf in self.leaves:
            part = full[leaf.places]
            if leaf.is_complex:
                part = np.ascontiguousarray(part).view(np.complex128)
            shaped = part.reshape(leaf.shape).astype(leaf.dtype)
            values.append(shaped[()] if leaf.scalar else shaped)
        return self.structure.unflatten(values)

    def traced_tree(self, vector: Any) -> Any:
        """Return the user's tree for a vector that is being differentiated."""
        return self.structure.unflatten([self._traced_leaf(leaf, vector) for leaf in self.leaves])

    def _traced_leaf(self, leaf: Leaf, vector: Any) -> Any:
        free = self.free[leaf.places]
        constant = self.full_start[leaf.places]
        if not free.any():
            part = constant
        elif free.all():
            first = int(self._position[leaf.offset])
            part = vector[first : first + leaf.length]
        else:
            index = np.where(free, self._position[leaf.places], 0)
            part = np.where(free, vector[index], constant)
        if leaf.is_complex:
            part = part[0::2] + 1j * part[1::2]
        part = part.reshape(leaf.shape)
        return part if part.dtype == leaf.dtype else part.astype(leaf.dtype)

    def flat(self, tree: Any) -> np.ndarray:
        """Return the vector of the free parameters of a tree of the same structure."""
        leaves, structure = pytree.flatten(tree)
        if len(leaves) != len(self.leaves):
            raise InputError(
                f"the tree holds {', '.join(structure.names)}; "
                f"the problem has {self.names.listed()}",
                "give a tree of the structure of start",
            )
        full = np.concatenate(
            [_reals(value, leaf) for value, leaf in zip(leaves, self.leaves, strict=True)]
        )
        return full[self.free]

    def known(self, tree: Any) -> np.ndarray:
        """Return a full vector of known values; NaN where the tree does not speak of one."""
        full = np.full(self.full_start.shape, np.nan)
        for name, value in entries(tree, _is_number):
            rest = np.asarray(value).reshape(-1)
            for match in self.names.find(name, "truth"):
                leaf = self.leaves[match.leaf]
                if match.element is not None:
                    full[_element_place(leaf, match.element)] = rest[0].real
                elif rest.size in (1, max(1, int(np.prod(leaf.shape)))):
                    full[leaf.places] = _reals(np.broadcast_to(rest, leaf.shape or (1,)), leaf)
                else:
                    raise _misfit("truth", leaf, value)
        return full

    def _checked_start(self, raw: Sequence[Any]) -> np.ndarray:
        full = np.concatenate(
            [_reals(value, leaf) for value, leaf in zip(raw, self.leaves, strict=True)]
        )
        bad = np.flatnonzero(~np.isfinite(full))
        if bad.size:
            leaf = self.leaf_at(int(bad[0]))
            name = leaf.element(int(bad[0]) - leaf.offset)
            raise InputError(
                f"Problem: start is {full[bad[0]]} at {name}",
                "start from finite numbers",
            )
        if not full.size:
            raise InputError(
                "Problem: start holds arrays without elements", "give at least one number"
            )
        return full

    def _bounds(self, bounds: Any) -> tuple[np.ndarray, np.ndarray]:
        lower = np.full(self.full_start.shape, -np.inf)
        upper = np.full(self.full_start.shape, np.inf)
        for name, pair in entries(bounds, _is_pair):
            for match in self.names.find(name, "bounds"):
                leaf = self.leaves[match.leaf]
                if leaf.is_complex:
                    raise DtypeError(
                        f"bounds: {leaf.name} is complex, and complex numbers have no order",
                        "use two real parameters, or leave it free",
                    )
                low, high = (_spread(end, leaf, pair, match.element) for end in pair)
                place = leaf.places
                if match.element is not None:
                    place = _element_place(leaf, match.element)
                lower[place] = -np.inf if low is None else low
                upper[place] = np.inf if high is None else high
        wrong = np.flatnonzero(~(lower < upper))
        if wrong.size:
            leaf = self.leaf_at(int(wrong[0]))
            name = leaf.element(int(wrong[0]) - leaf.offset)
            low, high = lower[wrong[0]], upper[wrong[0]]
            raise InputError(
                f"bounds: {name} has low {low:g} and high {high:g}, but low must be below high",
                f"write ({high:g}, {low:g})" if low > high else f"list {name} in fixed=",
            )
        return lower, upper

    def _free(self, fixed: Any) -> np.ndarray:
        free = np.ones(self.full_start.shape, dtype=bool)
        if isinstance(fixed, str):
            fixed = [fixed]
        if isinstance(fixed, (list, tuple, set, frozenset)) and all(
            isinstance(name, str) for name in fixed
        ):
            fixed = dict.fromkeys(fixed, True)
        for name, flags in entries(fixed, _is_flag):
            for match in self.names.find(name, "fixed"):
                leaf = self.leaves[match.leaf]
                if match.element is not None:
                    free[_element_place(leaf, match.element)] = not flags
                    continue
                try:
                    spread = np.broadcast_to(np.asarray(flags, dtype=bool), leaf.shape)
                except ValueError:
                    raise _misfit("fixed", leaf, flags) from None
                free[leaf.places] = ~np.repeat(spread.reshape(-1), 2 if leaf.is_complex else 1)
        if not free.any():
            raise InputError(
                "Problem: every parameter is fixed, so there is nothing to solve for",
                "leave at least one out of fixed=",
            )
        return free

    def _check_start_inside(self) -> None:
        outside = np.flatnonzero((self.start < self.lower) | (self.start > self.upper))
        if outside.size:
            number = int(outside[0])
            value = self.start[number]
            below = value < self.lower[number]
            bound = self.lower[number] if below else self.upper[number]
            side = "below its lower" if below else "above its upper"
            raise InputError(
                f"Problem: start of {self.coordinate(number)} is {value:g}, {side} bound {bound:g}",
                "start inside the bounds, or widen them",
            )


def _leaves(raw: Sequence[Any], names: Names, units: dict[int, str]) -> list[Leaf]:
    leaves: list[Leaf] = []
    offset = 0
    for number, (value, name) in enumerate(zip(raw, names.leaves, strict=True)):
        array = np.asarray(value)
        if array.dtype.kind not in "fc":
            fix = "write 1.0, not 1" if array.ndim == 0 else "use .astype(float)"
            raise DtypeError(
                f"Problem: start of {name} has dtype {array.dtype}, which has no derivative",
                f"parameters are floats: {fix if array.dtype.kind in 'iub' else 'give numbers'}",
            )
        scalar = not isinstance(value, np.ndarray)
        leaf = Leaf(name, array.shape, array.dtype, offset, scalar, units.get(number, ""))
        offset += leaf.length
        leaves.append(leaf)
    return leaves


def _units(units: Any, names: Names) -> dict[int, str]:
    found = {}
    for name, unit in entries(units, lambda value: isinstance(value, str)):
        for match in names.find(name, "units"):
            found[match.leaf] = unit
    return found


def _reals(value: Any, leaf: Leaf) -> np.ndarray:
    array = np.asarray(value)
    if leaf.is_complex:
        pairs = np.ascontiguousarray(array, dtype=np.complex128).reshape(-1)
        return pairs.view(np.float64).copy()
    return np.ascontiguousarray(np.real(array), dtype=np.float64).reshape(-1)


def _element_place(leaf: Leaf, index: tuple[int, ...]) -> Any:
    number = int(np.ravel_multi_index(index, leaf.shape))
    if leaf.is_complex:
        return slice(leaf.offset + 2 * number, leaf.offset + 2 * number + 2)
    return leaf.offset + number


def _spread(end: Any, leaf: Leaf, pair: Any, element: tuple[int, ...] | None) -> np.ndarray | None:
    if end is None:
        return None
    try:
        shape = () if element is not None else leaf.shape
        spread = np.broadcast_to(np.asarray(end, dtype=np.float64), shape)
    except (ValueError, TypeError):
        raise _misfit("bounds", leaf, pair) from None
    if np.isnan(spread).any():
        raise InputError(f"bounds: {leaf.name} has a NaN bound", "write None for no bound")
    return spread.reshape(-1) if element is None else spread


def _misfit(setting: str, leaf: Leaf, value: Any) -> ShapeError:
    return ShapeError(
        f"{setting}: {leaf.name} has shape {leaf.shape}, and {value!r} does not fit it",
        f"give one value for all of {leaf.name}, or an array of shape {leaf.shape}",
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (float, int, complex, np.ndarray, np.generic))


def _is_pair(value: Any) -> bool:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        return False
    ends = [end for end in value if end is not None]
    if not ends:
        return True
    lists = isinstance(value, tuple)
    return all(_is_number(end) or (lists and _is_numeric_list(end)) for end in ends)


def _is_numeric_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_number(entry) for entry in value)


def _is_flag(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_, np.ndarray))
