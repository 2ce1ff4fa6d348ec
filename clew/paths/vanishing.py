"""Which parameters the gradient reaches, where it dies on the way, and what would help.

The *signal* on the way to a parameter is the norm of the gradient at the nodes that it passes: from
the node that reads the parameter, always on along the edge that brings most, up to the sink.
Where arrays are on the way, steps to and from single numbers are left out: what a sum or a mean
does to the signal is a matter of units. So is a small gradient in a parameter that is large: the
signal has vanished only if the loss does not answer either, that is if scaling the parameter by
1 + h changes the loss by far less than the part h of it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from clew.paths.gains import is_real
from clew.paths.naming import named_node
from clew.paths.net import Edge, Net
from clew.paths.singular import edge_operator, singular_values
from clew.paths.text import in_digits
from clew.paths.uses import EdgeNorms

FAINT = 1e-3
"""Of the signal, what has to arrive: float32 keeps seven digits, and a layer that learns a
thousand times slower than another does not learn while that one does."""
LOUD = 1e3
"""By how much the signal may grow: the same, seen from the other end."""
ONE_PLACE = 0.9
"""The part of the signal that has to die in one step for that step to be named alone."""
FAR = 3
"""The length of a shortest path from which skip connections shorten it."""
WEAK = 0.1
"""A largest singular value below which no direction passes well, so that scaling helps."""


@dataclass(frozen=True)
class Row:
    """One parameter: how the gradient reaches it.

    ``shares`` maps a length to the part of the gradient that came along paths of that length;
    ``ratio`` is the gradient's norm over the parameter's.
    """

    source: str
    paths: int
    shortest: int | None
    gradient: float | None
    ratio: float | None
    shares: Mapping[int, float]
    verdict: str
    advice: str


@dataclass(frozen=True)
class Table:
    """A row for each parameter; as text, a plain table.

    >>> row = Row("w", 2, 1, 0.5, 0.25, {1: 1.0}, "healthy", "")
    >>> print(Table((row,)))
    source  paths  shortest  gradient  ratio  lengths  verdict
    w       2      1         0.5       0.25   1: 100%  healthy
    """

    rows: tuple[Row, ...]

    def __str__(self) -> str:
        head = ("source", "paths", "shortest", "gradient", "ratio", "lengths", "verdict")
        lines = [head, *(_cells(row) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )


def _cells(row: Row) -> tuple[str, ...]:
    most = sorted(row.shares.items(), key=lambda item: -abs(item[1]))[:3]
    shares = ", ".join(f"{length}: {share:.0%}" for length, share in sorted(most))
    return (
        row.source,
        str(row.paths) if row.paths < 10**9 else f"1e{len(in_digits(row.paths)) - 1}",
        "-" if row.shortest is None else str(row.shortest),
        "-" if row.gradient is None else f"{row.gradient:.3g}",
        "-" if row.ratio is None else f"{row.ratio:.3g}",
        shares or "-",
        f"{row.verdict}; {row.advice}" if row.advice else row.verdict,
    )


@dataclass(frozen=True)
class Verdict:
    """What became of the signal, in words, and what would help."""

    text: str
    advice: str = ""


class _Step(NamedTuple):
    """From one node on the way to the next nearer the sink: how much of the signal passes it."""

    inner: Edge
    outer: Edge
    ratio: float


class Signals:
    """Follows the signal from a sink through a net, given the norms along its edges."""

    def __init__(self, net: Net, norms: EdgeNorms, sink: int) -> None:
        self._net = net
        self._loss = abs(complex(net.run.values[sink]))
        self._norms = norms
        self._readers: dict[int, Edge] = {}
        self._last_scope: int | None = None
        for number, node in enumerate(net.nodes):
            if node.instance is not None and node.edges:
                self._last_scope = number
            for edge in node.edges:
                norm = norms.of(edge)
                if norm is None:
                    continue
                best = self._readers.get(edge.value)
                if best is None or norm > (norms.of(best) or 0.0):
                    self._readers[edge.value] = edge

    def verdict(self, value: int, gradient: Any, shortest: int) -> Verdict:
        """Judge the gradient that arrived at a parameter."""
        if not np.isfinite(gradient).all():
            where = self._behind(value, lambda signal: not np.isfinite(signal))
            return Verdict(f"exploding: the gradient is not finite{where}")
        if not np.any(gradient):
            where = self._behind(value, lambda signal: signal == 0.0)
            return Verdict(f"dead: every path carries zero{where}")
        steps = self._steps(value)
        arrives = math.prod(step.ratio for step in steps)
        if arrives < FAINT and not self._answers(value, gradient):
            return self._vanishing(steps, arrives, shortest)
        if arrives > LOUD:
            worst = max(steps, key=lambda step: step.ratio)
            name = self._name(worst.outer)
            return Verdict(
                f"exploding: the signal grows {arrives:.2g}-fold, {worst.ratio:.2g}-fold in {name}",
                f"normalise or scale down what {name} multiplies by",
            )
        return Verdict("healthy")

    def _answers(self, value: int, gradient: Any) -> bool:
        """Whether the loss changes noticeably with a parameter, in proportion to both."""
        size = float(np.linalg.norm(np.ravel(self._net.run.values[value])))
        return size * float(np.linalg.norm(np.ravel(gradient))) >= FAINT * self._loss > 0.0

    def _vanishing(self, steps: Sequence[_Step], arrives: float, shortest: int) -> Verdict:
        worst = min(steps, key=lambda step: step.ratio)
        name = self._name(worst.outer)
        if 1 - worst.ratio >= ONE_PLACE:
            text = (
                f"vanishing: {_percent(1 - worst.ratio)} of the signal dies between {name} and "
                f"{self._name(worst.inner)}"
            )
            largest = self._largest(worst.outer)
            if largest is not None and largest < WEAK:
                advice = f"scale or normalise: no direction passes {name} with more than "
                return Verdict(text, f"{advice}{largest:.2g} of its length")
            return Verdict(text, f"a skip connection past {name}")
        lost = 1 - arrives ** (1 / len(steps))
        text = (
            f"vanishing: {arrives:.1g} of the signal arrives, {_percent(lost)} dies in each of "
            f"{len(steps)} steps"
        )
        advice = f"skip connections: even the shortest path has length {shortest}"
        return Verdict(text, advice if shortest >= FAR else "")

    def _steps(self, value: int) -> list[_Step]:
        """Return the steps on the way to a parameter, without those in which only units change."""
        chain = self._chain(value)
        sizes = [self._net.run.types[edge.results[0]].size for edge in chain]
        if any(size > 1 for size in sizes):
            chain = [edge for edge, size in zip(chain, sizes, strict=True) if size > 1]
        found = []
        for inner, outer in itertools.pairwise(chain):
            before = self._signal(outer)
            found.append(_Step(inner, outer, self._signal(inner) / before if before else 0.0))
        return found

    def _chain(self, value: int) -> list[Edge]:
        """Return the edges from a parameter to the sink, always along the one that brings most."""
        chain: list[Edge] = []
        edge = self._readers.get(value)
        while edge is not None:
            chain.append(edge)
            values = self._norms.values
            result = max(edge.results, key=lambda each: values.get(each, 0.0))
            edge = self._readers.get(result)
        if self._last_scope is not None:  # what comes after the last scope is the loss
            chain = [edge for edge in chain if edge.node <= self._last_scope]
        scopes = [edge for edge in chain if edge.in_scope]
        return scopes if len(scopes) > 1 else chain

    def _signal(self, edge: Edge) -> float:
        found = [self._norms.values.get(each, 0.0) for each in edge.results]
        return float(np.hypot.reduce(found))

    def _name(self, edge: Edge) -> str:
        name = named_node(self._net, edge.node)
        return name.name if edge.in_scope else str(name)

    def _largest(self, edge: Edge) -> float | None:
        if not is_real(self._net, edge):
            return None
        return singular_values(edge_operator(self._net, edge)).largest

    def _behind(self, value: int, bad: Callable[[float], bool]) -> str:
        """Say behind which node the signal is bad: the one nearest the sink."""
        chain = self._chain(value)
        if not chain:
            return ""
        # The signal is measured before a node, so the next one on the way made it bad.
        last = max((n for n, edge in enumerate(chain) if bad(self._signal(edge))), default=-1)
        return f" behind {self._name(chain[min(last + 1, len(chain) - 1)])}"


def _percent(part: float) -> str:
    """Write a part near 1 without rounding it up to all.

    >>> _percent(0.97), _percent(0.99996)
    ('97 %', '99.996 %')
    """
    digits = 0
    while digits < 6 and round(100 * part, digits) >= 100:
        digits += 1
    return f"{100 * part:.{digits}f} %"
