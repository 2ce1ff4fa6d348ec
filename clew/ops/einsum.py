"""Einsum: sums of products of any number of operands, contracted in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from clew.core.errors import InputError, ShapeError
from clew.core.types import type_of
from clew.ops.dot import contract, lengths_of_names, promoted
from clew.ops.index import gather
from clew.ops.reduce import sum
from clew.ops.shape import reshape, transpose

Array = Any


class _Term(NamedTuple):
    """A value with a name for each axis."""

    value: Array
    names: tuple[int, ...]


def einsum(subscripts: Any, *operands: Any, optimize: Any = "greedy") -> Array:
    """Return the sum of products that the subscripts describe, as ``numpy.einsum``.

    ``c[i, k] = sum over j of a[i, j] b[j, k]`` is ``"ij,jk->ik"``; a letter that stands twice
    in one operand takes its diagonal. Operands are contracted in pairs, in the order that
    ``numpy.einsum_path`` finds.

    Parameters
    ----------
    subscripts : str, or the first operand
        Letters, with or without ``->``, with or without ``...``; or operands and lists of
        integers in turn, as in NumPy.
    optimize : "greedy", "optimal" or a path
        How the order is found; it does not change the result.

    Raises
    ------
    InputError
        If subscripts and operands do not belong together.
    ShapeError
        If axes of one name differ in length.

    >>> einsum("ij,jk->ik", np.ones((2, 3)), np.ones((3, 4))).shape
    (2, 4)
    >>> float(einsum("ii", np.eye(3)))
    3.0
    """
    if not isinstance(subscripts, str):
        subscripts, operands = _lettered((subscripts, *operands))
    values = promoted(*operands)
    names, out = _parse(subscripts, [type_of(x).ndim for x in values])
    terms = [_without_repeats(x, each) for x, each in zip(values, names, strict=True)]
    lengths_of_names("einsum", [term.value for term in terms], [term.names for term in terms])
    for pair in _order(terms, out, optimize):
        taken = [terms.pop(i) for i in sorted(pair, reverse=True)][::-1]
        while len(taken) > 1:
            rest = [*terms, *taken[2:]]
            later = set().union(*(term.names for term in rest))
            taken = [_contract_pair(taken[0], taken[1], out, later), *taken[2:]]
        terms.append(taken[0])
    return _arranged(_summed(terms[0], set(out)), out)


def _lettered(arguments: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """Turn operands and lists of integers into subscripts."""
    alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

    def letters(numbers: Any) -> str:
        return "".join("..." if each is ... else alphabet[each] for each in numbers)

    pairs = len(arguments) // 2
    text = ",".join(letters(arguments[2 * i + 1]) for i in range(pairs))
    if len(arguments) % 2:
        text += "->" + letters(arguments[-1])
    return text, arguments[0 : 2 * pairs : 2]


def _parse(subscripts: str, ranks: Sequence[int]) -> tuple[list[list[int]], list[int]]:
    """Return names for the axes of each operand and of the result.

    A letter's name is its code; the axes under ``...`` are -1, -2, ... from the last.
    """
    text = subscripts.replace(" ", "")
    given, arrow, result = text.partition("->")
    parts = given.split(",")
    letters = text.replace("->", "").replace(",", "").replace("...", "")
    if len(parts) != len(ranks) or not (letters.isalpha() or not letters):
        raise InputError(
            f"einsum: {subscripts!r} for {len(ranks)} operands",
            "give one group of letters for each operand, with commas between",
        )
    names = []
    for part, rank in zip(parts, ranks, strict=True):
        before, dots, after = part.partition("...")
        hidden = rank - len(before) - len(after)
        if hidden < 0 or (hidden and not dots):
            raise ShapeError(
                f"einsum: {subscripts!r} names {len(before) + len(after)} axes of an operand "
                f"that has {rank}",
                "name each axis with one letter, or use ...",
            )
        names.append([*map(ord, before), *range(-hidden, 0), *map(ord, after)])
    return names, _result_names(subscripts, names, arrow, result)


def _result_names(subscripts: str, names: list[list[int]], arrow: str, result: str) -> list[int]:
    joined = [name for each in names for name in each]
    hidden = list(range(min((0, *joined)), 0))
    if not arrow:
        return hidden + sorted({name for name in joined if name > 0 and joined.count(name) == 1})
    before, dots, after = result.partition("...")
    out = [*map(ord, before), *(hidden if dots else ()), *map(ord, after)]
    if len(set(out)) != len(out) or not set(out) <= set(joined) or (hidden and not dots):
        raise InputError(
            f"einsum: the result of {subscripts!r} does not follow from its operands",
            "use each letter of the operands at most once after ->, and ... if they use it",
        )
    return out


def _order(terms: Sequence[_Term], out: Sequence[int], optimize: Any) -> list[tuple[int, ...]]:
    """Return which terms to contract, step by step; results go to the end of the list."""
    count = len(terms)
    if count < 3:
        return [(0, 1)] * (count - 1)
    seen = dict.fromkeys(name for term in terms for name in term.names)
    if len(seen) > 52:
        return [(0, 1)] * (count - 1)
    if isinstance(optimize, (bool, type(None))):
        optimize = "greedy"
    alphabet = dict(zip(seen, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", strict=False))
    text = ",".join("".join(alphabet[name] for name in term.names) for term in terms)
    text += "->" + "".join(alphabet[name] for name in out)
    # Only shapes matter to the path: operands without memory.
    hollow = [np.broadcast_to(0.0, type_of(term.value).shape) for term in terms]
    return np.einsum_path(text, *hollow, optimize=optimize)[0][1:]


def _without_repeats(x: Array, names: Sequence[int]) -> _Term:
    """Take the diagonal of axes that have one name."""
    for name in dict.fromkeys(names):
        places = [i for i, other in enumerate(names) if other == name]
        if len(places) > 1:
            lengths = {type_of(x).shape[place] for place in places}
            if len(lengths) > 1:
                raise ShapeError(
                    f"einsum: one name for axes {tuple(places)} of shape {type_of(x).shape}",
                    "a diagonal needs axes of one length",
                )
            along = np.arange(lengths.pop())
            x = gather(x, *[along] * len(places), axes=tuple(places))
            names = [name, *(other for other in names if other != name)]
    return _Term(x, tuple(names))


def _contract_pair(first: _Term, second: _Term, out: Sequence[int], later: set[int]) -> _Term:
    """Contract two terms; axes of the result stand in its order, then those only needed later."""
    needed = later.union(out)
    first, second = _unstretched(first, second), _unstretched(second, first)
    first = _summed(first, needed | set(second.names))
    second = _summed(second, needed | set(first.names))
    present = dict.fromkeys((*first.names, *second.names))
    number = {name: i for i, name in enumerate(present)}
    last = (name for name in present if name in later and name not in out)
    kept = (*(name for name in out if name in number), *last)
    value = contract(
        first.value,
        second.value,
        left=tuple(number[name] for name in first.names),
        right=tuple(number[name] for name in second.names),
        out=tuple(number[name] for name in kept),
    )
    return _Term(value, kept)


def _unstretched(term: _Term, other: _Term) -> _Term:
    """Drop the axes of length 1 that the other operand stretches."""
    lengths = dict(zip(other.names, type_of(other.value).shape, strict=True))
    shape = type_of(term.value).shape
    kept = [
        i
        for i, (name, length) in enumerate(zip(term.names, shape, strict=True))
        if length != 1 or lengths.get(name, 1) == 1
    ]
    if len(kept) == len(shape):
        return term
    value = reshape(term.value, shape=tuple(shape[i] for i in kept))
    return _Term(value, tuple(term.names[i] for i in kept))


def _summed(term: _Term, needed: set[int]) -> _Term:
    axes = tuple(i for i, name in enumerate(term.names) if name not in needed)
    if not axes:
        return term
    return _Term(sum(term.value, axis=axes), tuple(n for n in term.names if n in needed))


def _arranged(term: _Term, out: Sequence[int]) -> Array:
    order = tuple(term.names.index(name) for name in out)
    return term.value if order == tuple(range(len(order))) else transpose(term.value, axes=order)
