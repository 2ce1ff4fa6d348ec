"""Compile many programs, with their gradients, as one graph, and hold them to the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import clew
from clew.core.graph import Graph
from clew.evaluate.native.run import Native
from clew.evaluate.native.threads import set_threads, threads
from clew.simplify import simplify
from tests.evaluate.native.comparing import TOLERANCES, as_tuple, differs

TOGETHER = 20
"""Programs in one graph, which takes less time than a graph for each."""
ILL = 30.0
"""An error may be so many times what changing the operands by one unit in the last place does."""


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    """Leave the number of threads as it was."""
    before = threads()
    yield
    set_threads(before)


def hold(functions: Sequence[Callable[[Any], Any]], operands: Sequence[Any], level: int) -> None:
    """Compare values and gradients with the reference's, and one thread with two, bit by bit."""

    def all_of_them(*given: Any) -> list[Any]:
        pairs = [(f(x), clew.grad(f)(x)) for f, x in zip(functions, given, strict=True)]
        return [part for pair in pairs for part in pair]

    with np.errstate(all="ignore"):
        graph = simplify(clew.trace(all_of_them)(*operands))
        expected = as_tuple(clew.evaluate(graph, *operands))
    set_threads(2)
    native = Native(graph, level=level)
    assert not [each for each in native.callouts if each.results], "Python evaluates something"
    found = [np.array(x) for x in native(*operands)]
    set_threads(1)
    again = native(*operands)
    for number, (mine, other) in enumerate(zip(found, again, strict=True)):
        assert mine.tobytes() == np.asarray(other).tobytes(), f"program {number // 2}, one thread"
    wrong = compared(found, expected, [0.0] * len(expected))
    if wrong:
        wrong = compared(found, expected, sensitivities(graph, operands, expected))
    assert not wrong, "\n".join(wrong)


def compared(found: Sequence[Any], expected: Sequence[Any], more: Sequence[Any]) -> list[str]:
    """Return a line for each result that is wrong."""
    wrong = []
    for number, (mine, theirs, error) in enumerate(zip(found, expected, more, strict=True)):
        text = differs(mine, theirs, more=error)
        if text:
            wrong.append(f"program {number // 2}, {['value', 'gradient'][number % 2]}: {text}")
    return wrong


def sensitivities(graph: Graph, operands: Sequence[Any], expected: Sequence[Any]) -> list[float]:
    """Return what a small change of the operands changes, at most, in each result."""
    moved = [np.nextafter(x, np.inf, dtype=np.asarray(x).dtype) for x in operands]
    with np.errstate(all="ignore"):
        others = as_tuple(clew.evaluate(graph, *moved))
    found = []
    for number, (mine, theirs) in enumerate(zip(others, expected, strict=True)):
        change = ILL * float(np.max(np.abs(mine - theirs), initial=0))
        if np.asarray(operands[number // 2]).dtype == np.float32:
            # What became double on the way was rounded to single before.
            change += TOLERANCES["f4"] * float(np.max(np.abs(theirs), initial=0))
        if number % 2:  # values are means of sines: terms that cancel are about as large as 1/size
            change += TOLERANCES[np.asarray(theirs).dtype.str[1:]] / np.size(theirs)
        found.append(change)
    return found
