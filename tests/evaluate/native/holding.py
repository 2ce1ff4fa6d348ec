"""Compile many programs, with their gradients, as one graph, and hold them to the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import clew
from clew.core.graph import Equation, Graph, interpret
from clew.core.kinds import Elementwise
from clew.evaluate.native.run import Native
from clew.evaluate.native.threads import set_threads, threads
from clew.simplify import simplify
from tests.evaluate.native.comparing import TOLERANCES, as_tuple, differs

TOGETHER = 20
"""Programs in one graph, which takes less time than a graph for each."""
ILL = 30.0
"""An error may be so many times what rounding everything once more does."""
EXACT = frozenset(
    [
        *("negative", "positive", "absolute", "sign", "maximum", "minimum", "where", "convert"),
        *("floor", "ceil", "trunc", "rint", "real", "imag", "conjugate"),
    ]
)
"""Primitives of numbers whose results are not rounded."""


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
    """Return what small changes of operands and of whatever is rounded change in each result."""
    draw = np.random.default_rng(0)

    def moved(x: Any) -> Any:
        dtype = np.asarray(x).dtype
        if dtype.kind not in "fc":
            return x
        signs = draw.choice([-1.0, 1.0], np.shape(x)) * np.finfo(dtype).eps
        return (x * (1.0 + signs)).astype(dtype)

    def apply(equation: Equation, given: list[Any]) -> Any:
        primitive = equation.primitive
        result = primitive.eval(np, *given, **equation.params)
        rounded = isinstance(primitive, Elementwise) and primitive.name not in EXACT
        return moved(result) if rounded or primitive.name in ("sum", "contract") else result

    with np.errstate(all="ignore"):
        others = interpret(graph, [moved(x) for x in operands], apply)
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
