"""A run written out: every equation that ran, in order, once for each time that it ran.

Loops are written out step by step, of switches only the branch taken, and calls and checkpointed
functions are opened. What is left is a straight line of *nodes*, each an equation with the
numbers of the values it read and made, so that questions about paths are exact at this point.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from clew.core.graph import Equation, Var
from clew.core.types import Type
from clew.paths.local import Rule, Rules

OUTSIDE = -1
"""The producer of a value that no node made: an argument or a constant."""


class Frame(NamedTuple):
    """The loops around a node, outermost first: the steps, and how deep their scopes are."""

    steps: tuple[int, ...] = ()
    depths: tuple[int, ...] = ()

    def inside(self, step: int, scope: str) -> Frame:
        """Return the frame of a step of a loop in this frame, made in a scope."""
        depth = scope.count("/") + 1 if scope else 0
        return Frame((*self.steps, step), (*self.depths, depth))


class Joined:
    """The rule of ``join``: each operand is a part of the result."""

    def __init__(self, count: int) -> None:
        self.reaches = ((0,),) * count


class _Join:
    """What stacks the values of a loop's steps; it stands in no graph, only here."""

    name = "stack"
    multiple = False


JOIN: Any = _Join()


class Written:
    """The nodes and values of a run; everything is known by its number.

    ``equations[n]``, ``operands[n]``, ``results[n]``, ``rules[n]`` and ``frames[n]`` belong to node
    n; ``values[v]``, ``types[v]``, ``producers[v]`` and ``active[v]`` (does a gradient reach an
    input from here?) to value v. A rule is None where no operand is active. If not ``evaluated``,
    all values that are computed are None.
    """

    def __init__(self) -> None:
        self.equations: list[Equation] = []
        self.operands: list[tuple[int, ...]] = []
        self.results: list[tuple[int, ...]] = []
        self.rules: list[Rule | Joined | None] = []
        self.frames: list[Frame] = []
        self.values: list[Any] = []
        self.types: list[Type] = []
        self.producers: list[int] = []
        self.active: list[bool] = []
        self.inputs: list[int] = []
        self.outputs: list[int] = []
        self.evaluated = True
        self._rules = Rules()

    def value(self, value: Any, kind: Type, active: bool = False) -> int:
        """Add a value that no node made; return its number."""
        self.values.append(value)
        self.types.append(kind)
        self.producers.append(OUTSIDE)
        self.active.append(active)
        return len(self.values) - 1

    def node(self, equation: Equation, operands: Sequence[int], frame: Frame) -> tuple[int, ...]:
        """Run an equation and add it; return the numbers of its results."""
        values = self.values
        found: Any = ()
        if self.evaluated:
            given = [values[number] for number in operands]
            found = equation.primitive.eval(np, *given, **equation.params)
            if not equation.primitive.multiple:
                found = (found,)
        rule = None
        flags = tuple([self.active[number] for number in operands])
        if True in flags and any(var.type.inexact for var in equation.outputs):
            rule = self._rules.of(equation, flags)
        return self._add(equation, tuple(operands), found, rule, frame)

    def join(self, parts: Sequence[int], kind: Type, like: Equation, frame: Frame) -> int:
        """Add a node that stacks the values of a loop's steps; return the result's number."""
        found: Any = ()
        if self.evaluated:
            found = (np.stack([np.asarray(self.values[number]) for number in parts]),)
        rule = Joined(len(parts)) if any(self.active[number] for number in parts) else None
        equation = Equation(JOIN, (), {}, (Var(kind),), like.scope, like.where)
        return self._add(equation, tuple(parts), found, rule, frame)[0]

    def _add(
        self, equation: Equation, operands: tuple[int, ...], found: Any, rule: Any, frame: Frame
    ) -> tuple[int, ...]:
        first = len(self.values)
        node = len(self.equations)
        count = len(equation.outputs)
        self.values += found if self.evaluated else [None] * count
        self.types += [var.type for var in equation.outputs]
        self.producers += [node] * count
        moving = set() if rule is None else set().union(*rule.reaches)
        self.active += [place in moving for place in range(count)]
        results = tuple(range(first, first + count))
        self.equations.append(equation)
        self.operands.append(operands)
        self.results.append(results)
        self.rules.append(rule)
        self.frames.append(frame)
        return results

    def __len__(self) -> int:
        return len(self.equations)
