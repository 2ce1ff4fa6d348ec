"""The search itself: back along a graph, and into the graphs that its equations hold.

A loop is run again with a few of its states kept, and walked from its last step to its first: as
long as a carry was as bad before a step as after, nothing happened in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import isqrt
from typing import Any

import numpy as np

from clew.calculus.call import _transposed as transposed_rule
from clew.core.graph import Atom, Equation, Graph, Var
from clew.core.tape import Tape
from clew.evaluate.blame import (
    Blame,
    Found,
    Iteration,
    Mask,
    Origin,
    blame_plain,
    depends,
    executed,
    kinds_of,
    origin_at,
    union,
    value_of,
)
from clew.loops.batched import graph_of
from clew.loops.execute import scannable, settled, span_of, steps
from clew.loops.replay import expanded
from clew.loops.spec import Groups, Results, Spec, reordered, spec_of


def search(graph: Graph, values: dict[Any, Any], wanted: Iterable[tuple[Atom, Mask]]) -> Found:
    """Follow bad elements back through a graph to its inputs, or to where they began."""
    tracked: dict[Var, Mask] = {}
    for atom, mask in wanted:
        if type(atom) is Var:
            tracked[atom] = union(tracked.get(atom), mask)
    origin: Origin | None = None
    visited: list[Equation] = []
    for equation in reversed(graph.equations):
        masks = [tracked.get(var) for var in equation.outputs]
        if all(mask is None for mask in masks):
            continue
        operands = [value_of(values, atom) for atom in equation.inputs]
        outputs = [values[var] for var in equation.outputs]
        found = blame(equation, operands, outputs, masks)
        visited.append(equation)
        began = found.origin
        for position, mask in found.operands.items():
            atom = equation.inputs[position]
            if type(atom) is Var and atom not in graph.constants:
                tracked[atom] = union(tracked.get(atom), mask)
            elif began is None:
                began = replace(origin_at(equation, operands, outputs, masks), given=True)
        if began is not None:
            feeding = [equation.inputs[position] for position in began.feeds]
            origin = replace(began, feeds=depends(graph, feeding))
            del visited[:-1]
    inputs = {n: tracked[var] for n, var in enumerate(graph.inputs) if var in tracked}
    return Found(inputs, origin, tuple(visited[::-1]))


def blame(
    equation: Equation, operands: Sequence[Any], outputs: Sequence[Any], masks: Sequence[Mask]
) -> Blame:
    """Find what is to blame for the masked elements of an equation's results."""
    inside = _INSIDE.get(equation.primitive.name)
    if inside is None:
        return blame_plain(equation, operands, outputs, masks)
    found = inside(equation, operands, outputs, masks)
    if not found.operands and found.origin is None:
        return Blame({}, origin_at(equation, operands, outputs, masks))
    return found


def _in_graph(graph: Graph, operands: Sequence[Any], masks: Sequence[Mask], skip: int = 0) -> Blame:
    """Search a graph that an equation holds, whose inputs are the operands after ``skip``."""
    with np.errstate(all="ignore"):
        values = executed(graph, operands[skip:])
    wanted = [(a, m) for a, m in zip(graph.outputs, masks, strict=True) if m is not None]
    found = search(graph, values, wanted)
    origin = found.origin
    if origin is not None:
        origin = replace(origin, feeds=frozenset(position + skip for position in origin.feeds))
    return Blame({position + skip: mask for position, mask in found.inputs.items()}, origin)


def _in_body(equation: Equation, operands: Any, outputs: Any, masks: Any) -> Blame:
    return _in_graph(equation.params["body"], operands, masks)


def _in_branch(equation: Equation, operands: Any, outputs: Any, masks: Any) -> Blame:
    branches = equation.params["branches"]
    number = min(max(int(operands[0]), 0), len(branches) - 1)
    return _in_graph(branches[number], operands, masks, 1)


def _in_pulled(equation: Equation, operands: Any, outputs: Any, masks: Any) -> Blame:
    graph = transposed_rule(equation.params["graph"], equation.params["count"])
    return _in_graph(graph, operands, masks)


def _in_replay(equation: Equation, operands: Any, outputs: Any, masks: Any) -> Blame:
    kinds = [atom.type for atom in equation.inputs]
    graph = graph_of(lambda *values: expanded(values, **equation.params), kinds)
    return _in_graph(graph, operands, masks)


# --- loops ---------------------------------------------------------------------------------------


class _States:
    """The carries before every step: some are kept, those between are computed again."""

    def __init__(self, spec: Spec, groups: Groups, total: int) -> None:
        body = reordered(spec.body, spec.body.inputs, spec.body_carries)
        self._span = span_of(spec.with_(body=body, condition=None, snapshots=None))
        self._reverse = spec.reverse
        self._total = total
        self._scanned = scannable(groups.scanned)
        self.held = settled(np, groups.held)
        self._stride = max(1, isqrt(total))
        state = settled(np, groups.carries)
        self._kept = [state]
        for first in range(0, total - self._stride, self._stride):
            state = self._after(first, first + self._stride, state)
            self._kept.append(state)
        self._block = -1
        self._states: list[Any] = []

    def _after(self, first: int, last: int, state: Any) -> Any:
        start, stop, step = steps(self._reverse, first, last, self._total)
        with np.errstate(all="ignore"):
            return self._span(np, start, stop, step, 0, state, self._scanned, self.held, ())[0]

    def around(self, position: int) -> tuple[Any, Any]:
        """Return the carries before and after a step."""
        block, place = divmod(position, self._stride)
        if block != self._block:
            first = block * self._stride
            state = self._kept[block]
            self._states = [state]
            for each in range(first, min(first + self._stride, self._total)):
                state = self._after(each, each + 1, state)
                self._states.append(state)
            self._block = block
        return self._states[place], self._states[place + 1]

    def items(self, index: int) -> list[Any]:
        """Return what a step reads of the scanned arrays."""
        return [array[index] for array in self._scanned]


class _LoopWalk:
    """The walk from the last step of a loop to its first."""

    def __init__(
        self, equation: Equation, operands: Sequence[Any], outputs: Sequence[Any], masks: Any
    ) -> None:
        self._spec = spec_of(equation)
        self._where = self._spec.policy.where or equation.where
        self._groups = self._spec.operands(operands)
        self._total = _total(self._spec, self._groups, self._spec.results(outputs))
        self._states = _States(self._spec, self._groups, self._total)
        wanted = self._spec.results(masks)
        self._carried = {k: mask for k, mask in enumerate(wanted.carries) if mask is not None}
        self._stacked = self._first_steps(wanted)
        self._others: dict[int, Mask] = {}
        self._origin: Origin | None = None

    def _first_steps(self, wanted: Results) -> dict[int, list[tuple[int, Mask]]]:
        """Return, for the first step at which each stack is bad, the masks in that step."""
        found: dict[int, list[tuple[int, Mask]]] = {}
        for number, mask in enumerate(wanted.stacked):
            if mask is None:
                continue
            tape = isinstance(mask, dict)
            bad = mask if tape else np.flatnonzero(mask.reshape(len(mask), -1).any(axis=1))
            position = min(self._index(int(each)) for each in bad)
            found.setdefault(position, []).append((number, mask[self._index(position)]))
        return found

    def _index(self, position: int) -> int:
        """Return a step's place in the arrays from its place in time, or the other way."""
        return self._total - 1 - position if self._spec.reverse else position

    def blame(self) -> Blame:
        last = max(self._stacked, default=-1)
        for position in range(self._total - 1 if self._carried else last, -1, -1):
            if not self._carried:
                if position > last:
                    continue
                if position < min(self._stacked):
                    break
            self._step(position)
        start = int(self._spec.counted)
        found = {start + k: mask for k, mask in self._carried.items()}
        found |= {start + number: mask for number, mask in self._others.items()}
        return Blame(found, self._origin)

    def _step(self, position: int) -> None:
        before, after = self._states.around(position)
        kept: dict[int, Mask] = {}
        wanted = [
            (self._spec.body_stacked[number], mask)
            for number, mask in self._stacked.get(position, ())
        ]
        for k, mask in self._carried.items():
            same = mask & (kinds_of(before[k]) == kinds_of(after[k]))
            if same.any():
                kept[k] = same
            if not same.all() and (mask & ~same).any():
                wanted.append((self._spec.body_carries[k], mask & ~same))
        self._carried = kept
        if wanted:
            self._searched(self._index(position), before, wanted)

    def _searched(self, index: int, before: Any, wanted: Any) -> None:
        spec = self._spec
        items = self._states.items(index)
        with np.errstate(all="ignore"):
            values = executed(spec.body, [*before, *items, *self._states.held])
        found = search(spec.body, values, wanted)
        for number, mask in found.inputs.items():
            if number < spec.carries:
                self._carried[number] = union(self._carried.get(number), mask)
                continue
            scanned = number - spec.carries
            if scanned < spec.scanned:
                mask = _at_step(self._groups.scanned[scanned], index, mask)
            self._others[number] = union(self._others.get(number), mask)
        if found.origin is not None:
            iteration = Iteration(spec.policy.spelling, self._where, index)
            self._origin = replace(
                found.origin,
                iterations=(iteration, *found.origin.iterations),
                feeds=self._feeds(found.origin.feeds),
            )

    def _feeds(self, inside: frozenset[int]) -> frozenset[int]:
        """Return the operands that feed inputs of the body, by way of earlier steps too."""
        known: set[int] = set()
        waiting = set(inside)
        while waiting:
            number = waiting.pop()
            known.add(number)
            if number < self._spec.carries:
                atom = self._spec.body_carries[number]
                waiting |= depends(self._spec.body, [atom]) - known
        return frozenset(number + int(self._spec.counted) for number in known)


def _at_step(whole: Any, index: int, mask: Mask) -> Mask:
    if type(whole) is Tape:
        return {index: mask}
    full = np.zeros(np.shape(whole), bool)
    full[index] = mask
    return full


def _total(spec: Spec, groups: Groups, results: Results) -> int:
    if spec.length is not None:
        return spec.length
    return int((groups.count or results.count)[0])


def _in_loop(equation: Equation, operands: Any, outputs: Any, masks: Any) -> Blame:
    return _LoopWalk(equation, operands, outputs, masks).blame()


_INSIDE: dict[str, Callable[..., Blame]] = {
    "call": _in_body,
    "remat": _in_body,
    "switch": _in_branch,
    "pulled": _in_pulled,
    "replay": _in_replay,
    "loop": _in_loop,
}
