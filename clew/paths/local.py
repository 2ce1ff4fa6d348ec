"""What one equation does to gradients: which operands reach which results, and the two maps.

A rule is made once for equations that are alike (primitive, parameters, types, which operands
carry a gradient), from the primitive's own push-forward: its linear graph, run forwards or
transposed. Derivatives are stated nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from clew.batch import batch
from clew.calculus.transpose import transpose
from clew.core.graph import Equation, Graph, Var
from clew.core.primitive import PRIMITIVES
from clew.core.program import program
from clew.core.types import Type, type_of
from clew.trace import Builder

Flags = tuple[bool, ...]


class _Pull(NamedTuple):
    """A pull-back as a program; which cotangents it reads, and what it returns."""

    run: Callable[..., list[Any]]
    reads: Flags
    returns: Flags
    batched: tuple[bool, ...]


class Rule:
    """The derivative of one equation at any point.

    Parameters
    ----------
    equation : Equation
    active : tuple of bool
        Which operands carry a gradient.

    ``reaches[k]`` are the results (by position) that operand k has a gradient path to.

    >>> import clew
    >>> product = clew.trace(lambda x, y: x * y)(2.0, 3.0).equations[0]
    >>> rule = Rule(product, (True, True))
    >>> rule.reaches
    ((0,), (0,))
    >>> rule.pull((2.0, 3.0), (6.0,), (1.0,), (True, True))
    [3.0, 2.0]
    >>> rule.push((2.0, 3.0), (6.0,), (1.0, None))
    [3.0]
    """

    def __init__(self, equation: Equation, active: Flags) -> None:
        self._equation = equation
        self._types = [atom.type for atom in equation.inputs]
        self._pulls: dict[Any, _Pull] = {}
        self._pushes: dict[Flags, Any] = {}
        self.reaches = self._found_reaches(active)

    def pull(
        self,
        operands: Sequence[Any],
        results: Sequence[Any],
        cotangents: Sequence[Any],
        wanted: Flags,
        lanes: int = 0,
        masked: bool = False,
    ) -> list[Any]:
        """Return what flows back to each operand; None where nothing does, or it is not wanted.

        A cotangent of None is none. With ``lanes`` every cotangent has so many on axis 0. If
        ``masked``, elements whose cotangent is zero send back zero whatever the partial is:
        an infinity of a branch that ``where`` did not take then stays out.
        """
        given = tuple([each is not None for each in cotangents])
        key = (given, wanted, lanes, masked)
        made = self._pulls.get(key)
        if made is None:
            made = self._pulls[key] = self._pull_program(given, wanted, lanes, masked)
        inputs = [*operands, *results]
        if masked:
            inputs += [each != 0 for each in cotangents if each is not None]
        inputs += [each for each, flag in zip(cotangents, made.reads, strict=True) if flag]
        found = made.run(np, *inputs)
        if not all(made.batched):
            found = [
                value if flag else np.broadcast_to(value, (lanes, *type_of(value).shape))
                for value, flag in zip(found, made.batched, strict=True)
            ]
        return _placed(found, made.returns)

    def push(
        self, operands: Sequence[Any], results: Sequence[Any], tangents: Sequence[Any]
    ) -> list[Any]:
        """Return the tangent of each result, None where there is no path."""
        given = tuple([each is not None for each in tangents])
        made = self._pushes.get(given)
        if made is None:
            graph, seeds, outputs = self._pushed(given)
            found = [atom for atom in outputs if atom is not None]
            whole = Graph((*graph.inputs, *seeds), graph.equations, found, graph.constants)
            run = program(whole.with_live_equations())
            made = self._pushes[given] = run, tuple(each is not None for each in outputs)
        run, returns = made
        kept = [each for each in tangents if each is not None]
        return _placed(run(np, *operands, *results, *kept), returns)

    def _pushed(
        self, given: Flags, masked: Flags | None = None
    ) -> tuple[Graph, list[Var], list[Any]]:
        """Return the push-forward, its tangent inputs apart, and the results' tangents.

        Those of results that are ``masked`` are chosen by a mask, which is an input.
        """
        equation = self._equation
        with Builder.transforming(Graph((), (), ())) as builder:
            primals = [builder.input(kind) for kind in self._types]
            results = tuple(builder.input(var.type) for var in equation.outputs)
            masks = [
                builder.input(Type(var.type.shape, bool)) if flag else None
                for var, flag in zip(equation.outputs, masked or (), strict=masked is not None)
            ]
            known = tuple(builder.inputs)
            tangents = [
                builder.input(kind) if flag else None
                for kind, flag in zip(self._types, given, strict=True)
            ]
            multiple = equation.primitive.multiple
            made = equation.primitive.push(
                primals, tangents, results if multiple else results[0], equation.params
            )
            found = list(made) if multiple else [made]
            for number, var in enumerate(equation.outputs):
                if found[number] is None or not var.type.inexact:
                    found[number] = None
                    continue
                if masks and masks[number] is not None:
                    found[number] = PRIMITIVES["where"](masks[number], found[number], 0)
                found[number] = builder.atom(found[number])
        seeds = builder.inputs[len(known) :]
        return builder.transformed(known, (), ()), seeds, found

    def _found_reaches(self, active: Flags) -> tuple[tuple[int, ...], ...]:
        graph, seeds, outputs = self._pushed(active)
        behind: dict[Any, int] = {seed: 1 << number for number, seed in enumerate(seeds)}
        for equation in graph.equations:
            bits = 0
            for atom in equation.inputs:
                bits |= behind.get(atom, 0)
            behind.update(dict.fromkeys(equation.outputs, bits))
        bits = iter(1 << number for number in range(len(seeds)))
        masks = [next(bits) if flag else 0 for flag in active]
        return tuple(
            tuple(number for number, atom in enumerate(outputs) if behind.get(atom, 0) & mask)
            for mask in masks
        )

    def _pull_program(self, given: Flags, wanted: Flags, lanes: int, masked: bool) -> _Pull:
        graph, seeds, outputs = self._pushed(wanted, given if masked else None)
        reads = tuple(f and atom is not None for f, atom in zip(given, outputs, strict=True))
        flowing = [atom for atom, flag in zip(outputs, reads, strict=True) if flag]
        whole = Graph((*graph.inputs, *seeds), graph.equations, (), graph.constants)
        back, paths = transpose(whole, seeds, flowing, ())
        rest = iter(paths)
        returns = tuple(flag and next(rest) for flag in wanted)
        batched = [True] * len(back.outputs)
        if lanes:
            held = len(self._types) + len(outputs)
            moving = [number >= held for number in range(len(back.inputs))]
            back, batched = batch(back, lanes, moving)
        return _Pull(program(back), reads, returns, tuple(batched))


def _placed(found: Sequence[Any], flags: Flags) -> list[Any]:
    rest = iter(found)
    return [next(rest) if flag else None for flag in flags]


class Rules:
    """Rules found so far, one for all equations that are alike.

    >>> import clew
    >>> graph = clew.trace(lambda x: np.sin(np.sin(x)))(1.0)
    >>> rules = Rules()
    >>> one, other = (rules.of(equation, (True,)) for equation in graph.equations)
    >>> one is other
    True
    """

    def __init__(self) -> None:
        self._of_equation: dict[Any, tuple[Equation, Rule]] = {}
        self._alike: dict[Any, Rule] = {}

    def of(self, equation: Equation, active: Flags) -> Rule:
        """Return the rule of an equation with these operands active."""
        known = self._of_equation.get((id(equation), active))
        if known is not None:
            return known[1]
        key = (
            equation.primitive,
            tuple([(atom.type.shape, atom.type.dtype) for atom in equation.inputs]),
            tuple([(name, _key(value)) for name, value in equation.params.items()]),
            active,
        )
        rule = self._alike.get(key)
        if rule is None:
            rule = self._alike[key] = Rule(equation, active)
        # The equation is kept so that its number, and those of its parameters, stay taken.
        self._of_equation[id(equation), active] = (equation, rule)
        return rule


def _key(value: Any) -> Any:
    """Return something hashable that is equal for equal parameters."""
    kind = type(value)
    if kind in (int, bool, str, float, np.dtype, type(None)):
        return value
    if kind is tuple:
        return tuple([_key(item) for item in value])
    if kind is slice:
        return (value.start, value.stop, value.step)
    return (kind, id(value))
