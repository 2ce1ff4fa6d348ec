"""Hold what native code gives against what the reference evaluator gives."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import clew
from clew.core.graph import Graph
from clew.evaluate.native.run import Native
from clew.simplify import simplify

TOLERANCES = {"f2": 2e-3, "f4": 1e-5, "f8": 1e-12, "c8": 1e-5, "c16": 1e-12}
Named = list[tuple[str, Any]]
WRAPS = platform.machine().lower() in ("x86_64", "amd64")
"""Whether numbers below 0 wrap around when they become unsigned: C leaves that open."""


def differs(found: Any, expected: Any, scaled: bool = True, more: Any = 0.0) -> str:
    """Return what is wrong with a result, or nothing.

    Errors are relative to the largest finite number expected if ``scaled``, else to each number;
    infinities and NaN must be where they are expected. ``more`` is allowed besides.
    """
    found, expected = np.asarray(found), np.asarray(expected)
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return f"{found.dtype}{found.shape} for {expected.dtype}{expected.shape}"
    if expected.dtype.kind == "c":
        parts = [(found.real, expected.real), (found.imag, expected.imag)]
        size = _largest(expected) if scaled else None
        wrong = [differs_by(a, b, size, more) for a, b in parts]
        bad = wrong[0] | wrong[1]
    elif expected.dtype.kind == "f":
        bad = differs_by(found, expected, _largest(expected) if scaled else None, more)
    else:
        bad = found != expected
    if not np.any(bad):
        return ""
    place = tuple(int(axis[0]) for axis in np.nonzero(np.atleast_1d(bad)))
    pair = np.atleast_1d(found)[place], np.atleast_1d(expected)[place]
    return f"{np.count_nonzero(bad)} of {bad.size} differ, at {place}: {pair[0]} for {pair[1]}"


def differs_by(
    found: np.ndarray, expected: np.ndarray, size: float | None, more: Any = 0.0
) -> np.ndarray:
    """Say which floating numbers differ by more than the tolerance of their dtype."""
    same = (found == expected) | ((found != found) & (expected != expected))
    with np.errstate(all="ignore"):
        allowed = TOLERANCES[expected.dtype.str[1:]] * (np.abs(expected) if size is None else size)
        error = np.abs(found.astype(np.float64) - expected.astype(np.float64))
        return ~(same | (np.isfinite(expected) & (error <= allowed + more)))


def _largest(expected: np.ndarray) -> float:
    with np.errstate(all="ignore"):
        sizes = np.abs(expected)
    return float(np.max(sizes[np.isfinite(sizes)], initial=0))


def as_tuple(results: Any) -> tuple[Any, ...]:
    """Return results of ``clew.evaluate`` as a tuple."""
    return results if isinstance(results, tuple) else (results,)


def run_both(graph: Graph, operands: Sequence[Any]) -> tuple[Sequence[Any], tuple[Any, ...]]:
    """Return the results of native code and of the reference evaluator."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = as_tuple(clew.evaluate(graph, *operands))
        return Native(graph, level=1)(*operands), expected


def assert_same(
    function: Callable[..., Any], *operands: Any, scaled: bool = True, simplified: bool = True
) -> Sequence[Any]:
    """Compile a function's graph, as traced and simplified; hold both against the reference."""
    graph = clew.trace(function)(*operands)
    found, expected = run_both(graph, operands)
    graphs = [("as traced", found)]
    if simplified:
        graphs.append(("simplified", run_both(simplify(graph), operands)[0]))
    for name, results in graphs:
        for number, (mine, theirs) in enumerate(zip(results, expected, strict=True)):
            wrong = differs(mine, theirs, scaled)
            assert not wrong, f"{name}, output {number}: {wrong}\n{graph}"
    return found


def mismatches(
    build: Callable[[Any], Named], operands: Sequence[Any], scaled: Callable[[str], bool]
) -> list[str]:
    """Compile many named results as one graph; return a line for each that is wrong."""
    names: list[str] = []

    def outputs(*given: Any) -> list[Any]:
        named = build(given)
        names[:] = [name for name, _ in named]
        return [value for _, value in named]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = clew.trace(outputs)(*operands)
    found, expected = run_both(graph, operands)
    wrong = []
    for name, mine, theirs in zip(names, found, expected, strict=True):
        text = differs(mine, theirs, scaled(name))
        if text:
            wrong.append(f"{name}: {text}")
    return wrong
