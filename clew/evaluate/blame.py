"""Where a NaN or an infinity came from: back along a graph, from results to the first cause.

An operand is to blame for a bad result if the result changes when the operand's bad elements
are replaced by ordinary numbers. So the branch of ``where`` that was not taken, an infinite
bound, and ``1 / inf`` are never blamed. What no operand is to blame for began right there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from clew.core.graph import Atom, Equation, Graph, Var
from clew.core.kinds import Bilinear, Elementwise, Linear, unbroadcast_mask
from clew.core.source import Where
from clew.core.tape import Tape
from clew.core.types import Type

Mask = Any
"""Which elements of a value are meant: booleans of its shape; of a tape, a mask for each step."""


@dataclass(frozen=True)
class Iteration:
    """A step of a loop.

    Attributes
    ----------
    spelling : str
        ``scan``, ``fori_loop``, ``while_loop``.
    where : Where
        The loop's line.
    index : int
        Counted from 0, in the order of the arrays that the loop scans.
    """

    spelling: str
    where: Where
    index: int

    def __str__(self) -> str:
        return f"iteration {self.index} of {self.spelling} at {self.where or '?'}"


@dataclass(frozen=True)
class Origin:
    """The equation at which a bad value began.

    ``element`` is its index in ``result``; ``given`` says that an operand which is a constant
    was bad already; ``feeds`` are the inputs, of the graph searched, that it depends on.
    """

    equation: Equation
    operands: tuple[Any, ...]
    result: Any
    element: tuple[int, ...]
    bad: int
    feeds: frozenset[int]
    given: bool = False
    iterations: tuple[Iteration, ...] = ()


@dataclass(frozen=True)
class Blame:
    """Which elements of which operands made a bad result, and what began in the equation."""

    operands: dict[int, Mask] = field(default_factory=dict)
    origin: Origin | None = None


@dataclass(frozen=True)
class Found:
    """What a search found: bad inputs by position, the first origin, and the way from there."""

    inputs: dict[int, Mask]
    origin: Origin | None
    trail: tuple[Equation, ...]


# --- masks ---------------------------------------------------------------------------------------


def kinds_of(value: Any) -> np.ndarray:
    """Return 0 for each finite element, 1 for NaN, 2 and 3 for the infinities.

    >>> kinds_of(np.array([0.0, np.nan, np.inf, -np.inf]))
    array([0, 1, 2, 3], dtype=int8)
    """
    array = np.asarray(value)
    if array.dtype.kind not in "fc":
        return np.zeros(array.shape, np.int8)
    below = np.real(array) < 0
    finite = np.where(np.isfinite(array), 0, np.where(below, 3, 2))
    return np.where(np.isnan(array), 1, finite).astype(np.int8)


def bad_of(value: Any) -> Mask | None:
    """Return the mask of elements that are not finite; None if there are none."""
    if type(value) is Tape:
        steps = () if value.items is None else value.items
        masks = {step: bad_of(item) for step, item in enumerate(steps)}
        return {step: mask for step, mask in masks.items() if mask is not None} or None
    if not isinstance(value, (np.ndarray, np.generic, float, complex)):
        return None
    array = np.asarray(value)
    if array.dtype.kind not in "fc":
        return None
    bad = ~np.isfinite(array)
    return bad if bad.any() else None


def union(left: Mask | None, right: Mask) -> Mask:
    """Return the elements that are in one of two masks."""
    if left is None:
        return right
    if isinstance(left, dict):
        return {step: union(left.get(step), mask) for step, mask in right.items()} | {
            step: mask for step, mask in left.items() if step not in right
        }
    return left | right


def first_of(mask: Mask) -> tuple[int, ...]:
    """Return the index of the first element of a mask; of a tape, of its first step."""
    if isinstance(mask, dict):
        step = min(mask)
        return (step, *first_of(mask[step]))
    return tuple(int(i) for i in np.unravel_index(np.argmax(mask), np.shape(mask)))


def count_of(mask: Mask) -> int:
    """Return how many elements are meant."""
    if isinstance(mask, dict):
        return sum(count_of(each) for each in mask.values())
    return int(np.sum(mask))


# --- running again ---------------------------------------------------------------------------


def executed(graph: Graph, arguments: Sequence[Any]) -> dict[Any, Any]:
    """Run a graph and return the values of all its variables."""
    values: dict[Any, Any] = dict(graph.constants)
    values.update(zip(graph.inputs, arguments, strict=True))
    for equation in graph.equations:
        operands = [value_of(values, atom) for atom in equation.inputs]
        result = equation.primitive.eval(np, *operands, **equation.params)
        results = result if equation.primitive.multiple else (result,)
        values.update(zip(equation.outputs, results, strict=True))
    return values


def value_of(values: dict[Any, Any], atom: Atom) -> Any:
    """Return the value of a variable or literal."""
    return values[atom] if type(atom) is Var else atom.value


def depends(graph: Graph, atoms: Iterable[Atom]) -> frozenset[int]:
    """Return the positions of the inputs that atoms depend on."""
    needed = {atom for atom in atoms if type(atom) is Var}
    for equation in reversed(graph.equations):
        if any(var in needed for var in equation.outputs):
            needed.update(atom for atom in equation.inputs if type(atom) is Var)
    return frozenset(n for n, var in enumerate(graph.inputs) if var in needed)


def origin_at(
    equation: Equation, operands: Sequence[Any], outputs: Sequence[Any], masks: Sequence[Mask]
) -> Origin:
    """Return the origin for an equation whose masked results began there."""
    number = next(n for n, mask in enumerate(masks) if mask is not None)
    mask = masks[number]
    return Origin(
        equation,
        tuple(operands),
        outputs[number],
        first_of(mask),
        count_of(mask),
        frozenset(range(len(operands))),
    )


# --- one equation --------------------------------------------------------------------------------


def blame_plain(
    equation: Equation, operands: Sequence[Any], outputs: Sequence[Any], masks: Sequence[Mask]
) -> Blame:
    """Find the operands to blame by replacing their bad elements."""
    suspects: dict[int, Mask] = {}
    for position, operand in enumerate(operands):
        bad = bad_of(operand)
        if bad is not None:
            reached = _reaching(equation, position, operands, masks, bad)
            if isinstance(reached, dict) or reached.any():
                suspects[position] = reached
    if any(isinstance(mask, dict) for mask in (*suspects.values(), *masks)):
        origin = None if suspects else origin_at(equation, operands, outputs, masks)
        return Blame(suspects, origin)
    began = masks
    if suspects:
        without = _with_ordinary(equation, operands, suspects)
        began = [
            _unchanged(m, old, new) for m, old, new in zip(masks, outputs, without, strict=True)
        ]
    origin = None
    if any(mask is not None and mask.any() for mask in began):
        origin = origin_at(equation, operands, outputs, _none_if_empty(began))
    if origin is not None and all(
        mask is None or np.array_equal(mask, other)
        for mask, other in zip(masks, began, strict=True)
    ):
        return Blame({}, origin)
    alone = {
        position: mask
        for position, mask in suspects.items()
        if _matters(equation, operands, outputs, masks, {position: mask})
    }
    return Blame(alone or suspects, origin)


def _none_if_empty(masks: Sequence[Mask]) -> list[Mask]:
    return [mask if mask is not None and mask.any() else None for mask in masks]


def _matters(
    equation: Equation,
    operands: Sequence[Any],
    outputs: Sequence[Any],
    masks: Sequence[Mask],
    suspects: dict[int, Mask],
) -> bool:
    without = _with_ordinary(equation, operands, suspects)
    return any(
        mask is not None and not np.array_equal(_unchanged(mask, old, new), mask)
        for mask, old, new in zip(masks, outputs, without, strict=True)
    )


def _with_ordinary(
    equation: Equation, operands: Sequence[Any], suspects: dict[int, Mask]
) -> Sequence[Any]:
    """Run an equation again with ordinary numbers in place of the bad elements."""
    cleaned = list(operands)
    for position, mask in suspects.items():
        value = np.array(operands[position])
        value[mask] = 1
        cleaned[position] = value[()]
    with np.errstate(all="ignore"):
        result = equation.primitive.eval(np, *cleaned, **equation.params)
    return result if equation.primitive.multiple else (result,)


def _unchanged(mask: Mask, old: Any, new: Any) -> Mask:
    return None if mask is None else mask & (kinds_of(old) == kinds_of(new))


def _reaching(
    equation: Equation, position: int, operands: Sequence[Any], masks: Sequence[Mask], bad: Mask
) -> Mask:
    """Leave out the bad elements of an operand that no masked result reads."""
    rule = _reach_of(equation.primitive)
    if rule is None or isinstance(bad, dict):
        return bad
    reached = rule(equation, position, operands, masks[0])
    return bad if reached is None else bad & np.asarray(reached)


def _reach_of(primitive: Any) -> Callable[..., Mask] | None:
    if isinstance(primitive, Elementwise):
        return _reach_elementwise
    if isinstance(primitive, Linear) and primitive.moves:
        return _reach_moved
    return _reach_product if isinstance(primitive, Bilinear) else None


def _reach_elementwise(equation: Equation, position: int, operands: Any, mask: Mask) -> Mask:
    return unbroadcast_mask(mask, np.shape(operands[position]))


def _reach_moved(equation: Equation, position: int, operands: Any, mask: Mask) -> Mask:
    linear_in = equation.primitive.linear_in  # type: ignore[attr-defined]
    chosen = range(len(operands)) if linear_in is None else linear_in
    if position not in chosen:
        return None
    given = [_real(x) if i in chosen else x for i, x in enumerate(operands)]
    found = equation.primitive.pull(mask.astype(np.float64), given, equation.params)[position]
    return None if found is None else np.asarray(found) != 0


def _reach_product(equation: Equation, position: int, operands: Any, mask: Mask) -> Mask:
    given = [np.ones(np.shape(x)) for x in operands]
    given[position] = _real(operands[position])  # type: ignore[call-overload]
    found = equation.primitive.pull(mask.astype(np.float64), given, equation.params)
    return np.asarray(found[position]) != 0


def _real(value: Any) -> Type:
    return Type(np.shape(value), np.float64)
