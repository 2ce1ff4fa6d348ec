"""One sweep over the paths between two ends, in any semiring.

Over a semiring (+, x), the sum over all paths of the products of their edges is found by one pass
through the graph: by distributivity, ``sum over paths`` and ``product along a path`` change places
(Mohri, "Semiring frameworks and algorithms for shortest-distance problems", 2002).
Back-propagation is the case of matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from clew.paths.net import Edge, Net

Element = TypeVar("Element")


@dataclass(frozen=True)
class Semiring(Generic[Element]):
    """Two operations, their neutral elements, and what an edge is worth.

    Parameters
    ----------
    zero, one : element
        Neutral to ``add`` (no path) and to ``mul`` (the path of no edges).
    add, mul : callable
        Of two elements. ``add`` joins paths side by side, ``mul`` lengthens one: its first operand
        is what comes from the sink.
    edge : callable
        Gives the element of an :class:`Edge`.

    >>> counting = Semiring(0, 1, lambda a, b: a + b, lambda a, b: a * b, lambda edge: 1)
    >>> counting.add(counting.one, counting.one)
    2
    """

    zero: Element
    one: Element
    add: Callable[[Element, Element], Element]
    mul: Callable[[Element, Element], Element]
    edge: Callable[[Edge], Element]


def back_from(net: Net, semiring: Semiring[Any], sinks: Iterable[int]) -> dict[int, Any]:
    """Return, for each value that a path from the sinks comes to, the sum over those paths."""
    found = _started(semiring, sinks)
    add, mul, weigh = semiring.add, semiring.mul, semiring.edge
    for node in reversed(net.nodes):
        for edge in node.edges:
            total = None
            for result in edge.results:
                if result in found:
                    each = found[result]
                    total = each if total is None else add(total, each)
            if total is None:
                continue
            total = mul(total, weigh(edge))
            value = edge.value
            found[value] = add(found[value], total) if value in found else total
    return found


def forth_from(net: Net, semiring: Semiring[Any], sources: Iterable[int]) -> dict[int, Any]:
    """Return, for each value that a path leads to from the sources, the sum over those paths."""
    found = _started(semiring, sources)
    add, mul, weigh = semiring.add, semiring.mul, semiring.edge
    for node in net.nodes:
        for edge in node.edges:
            if edge.value not in found:
                continue
            total = mul(weigh(edge), found[edge.value])
            for result in edge.results:
                found[result] = add(found[result], total) if result in found else total
    return found


def _started(semiring: Semiring[Any], ends: Iterable[int]) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for value in ends:
        found[value] = semiring.add(found.get(value, semiring.zero), semiring.one)
    return found


def total(semiring: Semiring[Any], found: dict[int, Any], ends: Iterable[int]) -> Any:
    """Return the sum of what came to these values."""
    result = semiring.zero
    for value in ends:
        if value in found:
            result = semiring.add(result, found[value])
    return result


# --- the table -----------------------------------------------------------------------------------


def counting(mark: Callable[[Edge], int] | None = None, bits: int = 0) -> Semiring[int]:
    """Return (+, x) on integers: numbers of paths, or their generating polynomial.

    With ``mark``, an edge is ``z^mark(edge)`` with ``z = 2^bits``: if no coefficient needs more
    bits, the digits of the result in base z are the numbers of paths of each length (Kronecker's
    substitution), so that a polynomial costs no more than an integer of that size.

    >>> counting().add(2, 3)
    5
    """
    if mark is None:
        return Semiring(0, 1, int.__add__, int.__mul__, lambda edge: 1)
    return Semiring(0, 1, int.__add__, int.__lshift__, lambda edge: bits * mark(edge))


def digits(number: int, bits: int) -> dict[int, int]:
    """Return the digits of a number in base ``2^bits`` that are not 0, by their place.

    >>> digits(3 + (5 << 16), 8)
    {0: 3, 2: 5}
    """
    found = {}
    text = number.to_bytes((number.bit_length() + 7) // 8, "little")
    width = bits // 8
    for place in range(0, len(text), width):
        digit = int.from_bytes(text[place : place + width], "little")
        if digit:
            found[place // width] = digit
    return found


def shortest(mark: Callable[[Edge], int]) -> Semiring[float]:
    """Return (min, +): the least sum of marks along a path."""
    return Semiring(float("inf"), 0, min, lambda a, b: a + b, mark)


def longest(mark: Callable[[Edge], int]) -> Semiring[float]:
    """Return (max, +): the greatest sum of marks along a path."""
    return Semiring(-float("inf"), 0, max, lambda a, b: a + b, mark)


def strongest(gain: Callable[[Edge], float]) -> Semiring[float]:
    """Return (max, x): the greatest product of gains along a path."""
    return Semiring(0.0, 1.0, max, lambda a, b: a * b, gain)
