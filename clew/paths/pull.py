"""Gradients along the written run: one pull-back per node, from the last to the first.

The same sweep carries one cotangent per value, or a polynomial of them in a formal variable z
that counts how long a path has been: axis 0 is then the power of z. What arrives along each use
of a value can be watched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from clew.core.types import Type
from clew.paths.net import Edge, Net
from clew.paths.written import JOIN, OUTSIDE, Written

Array = Any
_CACHED = 2**14
"""Numbers that one run of a program works on at a time."""


def reached_from(
    run: Written, values: Iterable[int], start: int = 0, stop: int | None = None
) -> set[int]:
    """Return the values that a gradient path leads to from some values, themselves included."""
    found = set(values)
    for node in range(start, len(run) if stop is None else stop):
        rule = run.rules[node]
        if rule is None:
            continue
        for value, reached in zip(run.operands[node], rule.reaches, strict=True):
            if value in found:
                found.update([run.results[node][place] for place in reached])
    return found


class Pull:
    """A sweep from some values back to others.

    Parameters
    ----------
    net : Net
    seeds : mapping
        The cotangent of each value that the sweep starts at.
    sources : sequence of int
        The values to arrive at; ``found`` has their gradients after :meth:`swept`.
    lanes : int
        The most powers of z that anything has; 0 for plain gradients.
    mark : callable
        The power of z of an edge, 0 or 1.
    masked : bool
        See :meth:`clew.paths.local.Rule.pull`.

    >>> import clew
    >>> from clew.paths.writing import written_out
    >>> run = written_out(clew.trace(lambda x: x * np.sin(x))(1.0), [1.0], [0])
    >>> pull = Pull(Net(run, []), {run.outputs[0]: 1.0}, run.inputs).swept()
    >>> float(pull.found[run.inputs[0]]) == float(np.sin(1.0) + np.cos(1.0))
    True
    """

    def __init__(
        self,
        net: Net,
        seeds: Mapping[int, Array],
        sources: Sequence[int],
        lanes: int = 0,
        mark: Callable[[Edge], int] | None = None,
        masked: bool = False,
    ) -> None:
        self.net = net
        self._run = net.run
        self._seeds = seeds
        self._sources = set(sources)
        self._lanes = lanes
        self._masked = masked
        self._in_equation = self._in_scope = 0
        if mark is not None:
            self._in_equation = mark(Edge(0, 0, 0, (), False))
            self._in_scope = mark(Edge(0, 0, 0, (), True))
        self._flowing = _Sums(lanes > 0)
        self._found = _Sums(lanes > 0)

    def swept(self, start: int = 0, stop: int | None = None) -> Pull:
        """Sweep over the nodes ``start`` to ``stop`` of the run; return self."""
        run = self._run
        wanted = reached_from(run, self._sources, start, stop)
        with np.errstate(all="ignore"):
            for value, seed in self._seeds.items():
                if value in wanted:
                    self._arrive(value, seed, OUTSIDE)
            for node in range(len(run) - 1 if stop is None else stop - 1, start - 1, -1):
                rule = run.rules[node]
                if rule is not None:
                    self._through(node, rule, wanted)
        return self

    @property
    def found(self) -> dict[int, Array]:
        """What arrived at each of the sources that a path leads to."""
        return self._found.values

    @property
    def finite(self) -> bool:
        """Whether all that was found is finite."""
        return all(np.isfinite(value).all() for value in self.found.values())

    # --- what may be watched ------------------------------------------------------------------

    def arrived(self, node: int, cotangents: Sequence[Array]) -> None:
        """Take note of the cotangents of a node's results (None: no path)."""

    def contributed(
        self, node: int, operand: int, value: int, contribution: Array, index: Any = None
    ) -> None:
        """Take note of what flows back along one use of a value; to a part of it, if indexed."""

    # --- the sweep ----------------------------------------------------------------------------

    def _through(self, node: int, rule: Any, wanted: set[int]) -> None:
        run = self._run
        results = run.results[node]
        cotangents = [self._flowing.take(result) for result in results]
        if all(each is None for each in cotangents):
            return
        self.arrived(node, cotangents)
        operands = run.operands[node]
        flags = tuple(
            [
                value in wanted and bool(reached)
                for value, reached in zip(operands, rule.reaches, strict=True)
            ]
        )
        if True not in flags:
            return
        if self._in_equation and self.net.nodes[self.net.node_of[node]].instance is None:
            cotangents = [None if each is None else _times_z(each) for each in cotangents]
        primitive = run.equations[node].primitive
        if primitive is JOIN:
            self._unjoin(node, cotangents[0], flags)
            return
        if primitive.name == "basic_slice" and flags[0]:
            self._into_part(node, cotangents[0])
            return
        for operand, contribution in enumerate(self._pulled(node, rule, cotangents, flags)):
            if contribution is not None:
                self.contributed(node, operand, operands[operand], contribution)
                self._arrive(operands[operand], contribution, node)

    def _pulled(
        self, node: int, rule: Any, cotangents: list[Array], flags: tuple[bool, ...]
    ) -> list[Array]:
        """Pull back through one node: a polynomial some powers at a time, so that they fit caches.

        Together they take one program run; more than fit, or one, are no faster than apart.
        """
        run = self._run
        operands = [run.values[each] for each in run.operands[node]]
        results = [run.values[each] for each in run.results[node]]
        if not self._lanes:
            return rule.pull(operands, results, cotangents, flags, 0, self._masked)
        powers = max([len(each) for each in cotangents if each is not None])
        widest = max([run.types[each].size for each in (*run.operands[node], *run.results[node])])
        room = max(1, _CACHED // max(widest, 1))
        together = 1 << min((powers - 1).bit_length(), room.bit_length() - 1)
        found: list[Array] = [None] * len(operands)
        for first in range(0, powers, together):
            part = [None if each is None else _some(each, first, together) for each in cotangents]
            lanes = together if together > 1 else 0
            values = rule.pull(operands, results, part, flags, lanes, self._masked)
            for operand, value in enumerate(values):
                if value is None:
                    continue
                if found[operand] is None:
                    kind = run.types[run.operands[node][operand]]
                    found[operand] = np.empty((powers, *kind.shape), kind.dtype)
                whole = found[operand][first : first + together]
                whole[...] = value[: len(whole)] if lanes else value
        return found

    def _unjoin(self, node: int, cotangent: Array, flags: Sequence[bool]) -> None:
        for part, (value, flag) in enumerate(zip(self._run.operands[node], flags, strict=True)):
            if flag:
                contribution = cotangent[:, part] if self._lanes else cotangent[part]
                self.contributed(node, part, value, contribution)
                self._arrive(value, contribution, node)

    def _into_part(self, node: int, cotangent: Array) -> None:
        """Add to a part of what flows to the whole, in place: T slices cost one whole."""
        index = self._run.equations[node].params["index"]
        if self._lanes:
            index = (slice(None), *index)
        value = self._run.operands[node][0]
        self.contributed(node, 0, value, cotangent, index)
        self._arrive(value, cotangent, node, index)

    def _arrive(self, value: int, cotangent: Array, reader: int, index: Any = None) -> None:
        """Add what comes back from a reader to a value, or to a part of it."""
        kind = self._run.types[value]
        enters = self._enters(value, reader)
        if value in self._sources and enters is not False:
            self._found.add(value, cotangent, index, kind)
        if self._run.producers[value] == OUTSIDE:
            return
        if self._in_scope and enters:
            cotangent = _times_z(cotangent)
        self._flowing.add(value, cotangent, index, kind)

    def _enters(self, value: int, reader: int) -> bool | None:
        """Say whether a path comes into a contracted scope here, or is inside; else None."""
        owner = self.net.owner(value)
        if owner < 0 or self.net.nodes[owner].instance is None:
            return None
        return reader == OUTSIDE or self.net.node_of[reader] != owner


class _Sums:
    """What has come to each value so far; sums of several are arrays of ours, added to in place."""

    def __init__(self, polynomials: bool) -> None:
        self.values: dict[int, Any] = {}
        self._own: set[int] = set()
        self._polynomials = polynomials

    def add(self, value: int, cotangent: Array, index: Any, kind: Type) -> None:
        """Add a cotangent to a value of a type, or to a part of it."""
        if value not in self.values:
            if index is None:
                self.values[value] = cotangent
                return
            self._make_room(value, self._room(cotangent, kind), kind)
        before = self.values[value]
        if index is None and np.shape(before) == np.shape(cotangent):
            if value in self._own:
                before += cotangent
            else:
                total = self.values[value] = before + cotangent
                if type(total) is np.ndarray:
                    self._own.add(value)
            return
        room = max(self._room(cotangent, kind), before.shape)
        if value not in self._own or before.shape != room:
            self._make_room(value, room, kind)
        whole = self.values[value]
        part = whole[: len(cotangent)] if self._polynomials else whole
        part[... if index is None else index] += cotangent

    def _room(self, cotangent: Array, kind: Type) -> tuple[int, ...]:
        return (len(cotangent), *kind.shape) if self._polynomials else kind.shape

    def _make_room(self, value: int, shape: tuple[int, ...], kind: Type) -> None:
        """Make what has come to a value an array of ours, of this shape."""
        made = np.zeros(shape, kind.dtype)
        if value in self.values:
            before = self.values[value]
            made[: len(before)] = before
        self.values[value] = made
        self._own.add(value)

    def take(self, value: int) -> Array:
        """Return what has come to a value, and forget it."""
        self._own.discard(value)
        return self.values.pop(value, None)


def _times_z(polynomial: Array) -> Array:
    """Move the coefficients of all powers of z up by one."""
    moved = np.zeros((len(polynomial) + 1, *polynomial.shape[1:]), polynomial.dtype)
    moved[1:] = polynomial
    return moved


def _some(polynomial: Array, first: int, count: int) -> Array:
    """Return so many coefficients, one as itself; those beyond the end are zero."""
    part = polynomial[first : first + count]
    if count == 1:
        return part[0] if len(part) else np.zeros(polynomial.shape[1:], polynomial.dtype)[()]
    if len(part) == count:
        return part
    more = np.zeros((count, *polynomial.shape[1:]), polynomial.dtype)
    more[: len(part)] = part
    return more


def careful(make: Callable[[bool], Pull]) -> Pull:
    """Sweep; if something is not finite, sweep again with masks, which costs more.

    ``make(masked)`` gives the sweep.
    """
    first = make(False).swept()
    return first if first.finite else make(True).swept()


def pushed(
    net: Net, tangents: Mapping[int, Array], results: Sequence[int], start: int, stop: int
) -> list[Array]:
    """Return the tangents of some results, None where there is no path; forward mode.

    Runs over the nodes ``start`` to ``stop``.
    """
    run = net.run
    known: dict[int, Array] = dict(tangents)
    with np.errstate(all="ignore"):
        for node in range(start, stop):
            rule: Any = run.rules[node]
            operands = run.operands[node]
            if rule is None or not any(value in known for value in operands):
                continue
            moving = [
                known.get(value) if reached else None
                for value, reached in zip(operands, rule.reaches, strict=True)
            ]
            if all(each is None for each in moving):
                continue
            if run.equations[node].primitive is JOIN:
                kind = run.types[run.results[node][0]]
                made = np.zeros(kind.shape, kind.dtype)
                for part, each in enumerate(moving):
                    if each is not None:
                        made[part] = each
                found: list[Array] = [made]
            else:
                values = run.values
                found = rule.push(
                    [values[each] for each in operands],
                    [values[each] for each in run.results[node]],
                    moving,
                )
            for result, tangent in zip(run.results[node], found, strict=True):
                if tangent is not None:
                    known[result] = tangent
    return [known.get(result) for result in results]
