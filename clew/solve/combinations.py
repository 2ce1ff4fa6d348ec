"""Directions that the data do not see, told as combinations of named parameters.

A direction found by linear algebra only speaks of small changes. Here it is tried out at a
finite distance: if multiplying some parameters and dividing others leaves the prediction as it is,
only their product is seen; if adding and taking away does, only their sum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from clew.solve.parameters import ParameterSpace

Array = np.ndarray
SAME = 1e-6  # coefficients this close are equal
UNCHANGED = 1e-7  # a move whose effect is this part of its pieces' effects is not seen
FAR = 0.05  # how far, relatively, a direction is tried out


@dataclass(frozen=True)
class Combination:
    """A direction in which the parameters can move unseen.

    Attributes
    ----------
    kind : str
        ``unused``, ``product``, ``sum`` (both confirmed at a distance), or ``direction``.
    names : tuple of str
        The parameters that take part, elements of one array joined.
    coefficients : tuple of float
        For each name its relative change (its change, for sums), the largest being 1.
    direction : array of shape (n,)
        In the parameters' own units.
    sentence : str
    """

    kind: str
    names: tuple[str, ...]
    coefficients: tuple[float, ...]
    direction: Array
    sentence: str

    def __str__(self) -> str:
        return self.sentence


def describe(
    space: ParameterSpace, vector: Array, directions: Array, change: Callable[[Array], float]
) -> list[Combination]:
    """Tell the directions of a null space in words.

    Parameters
    ----------
    space : ParameterSpace
    vector : array of shape (n,)
        The solution.
    directions : array of shape (k, n)
        A basis of the null space, in the parameters' own units.
    change : callable
        How much the prediction changes on going to a point, relative to the parts of the move.
    """
    scale = np.where(vector != 0, np.abs(vector), 1.0)
    sparse = _reduced(directions / scale)
    single = np.count_nonzero(sparse, axis=1) == 1
    found = _unused(space, np.flatnonzero(np.any(sparse[single] != 0, axis=0)))
    for row in sparse[~single]:
        found.append(_told(space, vector, row, row * scale, change))
    return found


def _reduced(rows: Array) -> Array:
    """Bring a basis to reduced echelon form with full pivoting, which makes it sparse."""
    rows = rows.copy()
    for number in range(len(rows)):
        rest = np.abs(rows[number:])
        if not rest.size or rest.max() == 0:
            return rows[:number]
        pivot = number + int(np.argmax(rest.max(axis=1)))
        column = int(np.argmax(np.abs(rows[pivot])))
        rows[[number, pivot]] = rows[[pivot, number]]
        rows[number] /= rows[number, column]
        others = np.arange(len(rows)) != number
        rows[others] -= np.outer(rows[others, column], rows[number])
        rows[others, column] = 0.0
    sizes = np.max(np.abs(rows), axis=1, keepdims=True, initial=0.0)
    return np.where(np.abs(rows) > SAME * sizes, rows, 0.0)


def _unused(space: ParameterSpace, numbers: Array) -> list[Combination]:
    found = []
    by_leaf: dict[str, list[int]] = {}
    for number in numbers:
        leaf = space.leaf_at(int(space.places[number]))
        by_leaf.setdefault(leaf.name, []).append(int(number))
    for members in by_leaf.values():
        name = _joined(space, members)
        direction = np.zeros(space.size)
        direction[members] = 1.0
        text = f"{name}: the data do not see it at all (no residual changes with it)"
        found.append(Combination("unused", (name,), (1.0,), direction, text))
    return found


def _told(
    space: ParameterSpace,
    vector: Array,
    relative: Array,
    absolute: Array,
    change: Callable[[Array], float],
) -> Combination:
    taking_part = relative != 0
    lively = bool(np.all(vector[taking_part] != 0))
    signed = relative * np.sign(vector)  # the change of the logarithm
    signed = signed / np.max(np.abs(signed))
    if lively and change(vector * np.exp(FAR * signed)) <= UNCHANGED:
        names, values = _grouped(space, signed)
        text = f"{_listed(names)}: {_product(names, values)}"
        return Combination("product", names, values, absolute, text)
    plain = absolute / np.max(np.abs(absolute))
    length = FAR * float(np.max(np.abs(vector[taking_part]))) or FAR
    if change(vector + length * plain) <= UNCHANGED:
        names, values = _grouped(space, plain)
        text = f"{_listed(names)}: {_sum(names, values)}"
        return Combination("sum", names, values, absolute, text)
    names, values = _grouped(space, signed if lively else plain)
    unit = " %" if lively else ""
    parts = ", ".join(
        f"{name} by {value:+.3g}{unit}" for name, value in zip(names, values, strict=True)
    )
    text = f"{_listed(names)}: to first order the data do not see a change of {parts}"
    return Combination("direction", names, values, absolute, text)


def _grouped(
    space: ParameterSpace, coefficients: Array
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Join the elements of one array that share a coefficient; the largest is made 1."""
    groups: list[tuple[str, float, list[int]]] = []
    for number in np.flatnonzero(coefficients):
        leaf = space.leaf_at(int(space.places[number])).name
        value = float(coefficients[number])
        for name, shared, members in groups:
            if name == leaf and abs(shared - value) <= SAME * abs(value):
                members.append(int(number))
                break
        else:
            groups.append((leaf, value, [int(number)]))
    first = groups[0][1]
    largest = max((value for _, value, _ in groups), key=abs)
    unit = abs(largest) * (1 if first > 0 else -1)
    names = tuple(_joined(space, members) for _, _, members in groups)
    return names, tuple(value / unit for _, value, _ in groups)


def _joined(space: ParameterSpace, members: Sequence[int]) -> str:
    """Name elements of one array together, such as ``albedo[0..2]``."""
    if len(members) == 1:
        return space.coordinate(members[0])
    leaf = space.leaf_at(int(space.places[members[0]]))
    in_a_row = members[-1] - members[0] == len(members) - 1
    if len(leaf.shape) == 1 and not leaf.is_complex and in_a_row:
        first, last = (int(space.places[m]) - leaf.offset for m in (members[0], members[-1]))
        return f"{leaf.name}[{first}..{last}]"
    if len(members) == leaf.length:
        return leaf.name
    return ", ".join(space.coordinate(member) for member in members)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]


def _product(names: tuple[str, ...], values: tuple[float, ...]) -> str:
    moves = _listed([_scaling(name, value) for name, value in zip(names, values, strict=True)])
    same = f"({moves} give the same prediction)"
    if len(names) != 2:
        return f"only combinations of them are seen {same}"
    ratio = -values[0] / values[1]
    if abs(ratio - 1) <= SAME:
        return f"only their product is seen {same}"
    if abs(ratio + 1) <= SAME:
        return f"only their ratio is seen {same}"
    powers = Fraction(ratio).limit_denominator(12)
    first, second = powers.denominator, powers.numerator
    if abs(powers - Fraction(ratio)) > SAME or not second:
        return f"only {names[0]} * {names[1]}^{ratio:.4g} is seen {same}"
    return f"only {_power(names[0], first)} * {_power(names[1], second)} is seen {same}"


def _scaling(name: str, value: float) -> str:
    power = _tidy(abs(value))
    factor = "s" if power == "1" else f"s^{power}"
    return f"{name} {'*' if value > 0 else '/'} {factor}"


def _power(name: str, power: int) -> str:
    return name if power == 1 else f"{name}^{power}"


def _sum(names: tuple[str, ...], values: tuple[float, ...]) -> str:
    moves = _listed(
        [
            f"{name} {'+' if value > 0 else '-'} "
            + ("t" if _tidy(abs(value)) == "1" else f"{_tidy(abs(value))} t")
            for name, value in zip(names, values, strict=True)
        ]
    )
    same = f"({moves} give the same prediction)"
    if len(names) == 2 and abs(values[0] + values[1]) <= SAME:
        return f"only their sum is seen {same}"
    if len(names) == 2 and abs(values[0] - values[1]) <= SAME:
        return f"only their difference is seen {same}"
    return f"only combinations of them are seen {same}"


def _tidy(value: float) -> str:
    near = Fraction(value).limit_denominator(12)
    if abs(float(near) - value) <= SAME:
        return str(near) if near.denominator == 1 else f"({near})"
    return f"{value:.4g}"
