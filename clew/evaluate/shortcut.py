"""Calls that go past Python: whole arguments in, whole results out, conditions on the way.

The search of ``path_tree.py`` takes arguments apart in Python, which costs more than a small
program. Where arguments and results are of plain containers, native code does it instead: in one
step for a function without conditions, and in one step between two conditions for others.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from clew.core import pytree
from clew.core.graph import Graph, Var
from clew.core.types import Type
from clew.evaluate.native.calling import Native
from clew.evaluate.native.entry import MISS, Constant, Entry, Operand
from clew.evaluate.native.run import native
from clew.evaluate.path_tree import Leaf, Node, Path, PathTree, Question
from clew.trace import GuardFailed
from clew.trace.guards import Expected

_MOST_CONDITIONS = 8
"""Every step reads the arguments again, so long chains are better searched in Python."""


def shortcut(
    tree: PathTree,
    structures: Sequence[pytree.Structure],
    order: Sequence[int],
    donated: Collection[int],
    count: Callable[[Path], None],
) -> Callable[..., Any] | None:
    """Return a function that runs a tree's paths on arguments of certain structures.

    It takes them in the given order, and returns ``MISS`` if they are of other types or take
    another path. The memory of ``donated`` arguments may be kept for results of later calls.
    ``count`` is told of every path that was taken. None where there is no such function.
    """
    firsts = [0, *itertools.accumulate(each.count for each in structures)]
    ranges = list(itertools.pairwise(firsts))
    trees = [each.outline(range(*ends)) for each, ends in zip(structures, ranges, strict=True)]
    if any(each is None for each in trees):
        return None
    arguments = _Arguments(tree.inputs, ranges, [trees[number] for number in order], donated)
    if len(tree.root.tests) + len(tree.root.leaves) != 1:
        return None
    if tree.root.leaves:
        leaf = tree.root.leaves[0]
        entry = None if leaf.path.conditions else _leaf_entry(leaf, arguments, None)
        if entry is None:
            return None
        leaf.path.entries.append(entry)
        return entry.call
    if any(len(path.guards) > _MOST_CONDITIONS for path in tree.paths):
        return None
    return _Walk(tree.root, arguments, count)


class _Arguments:
    """The leaves of a call's arguments, and how they lie in them."""

    def __init__(
        self,
        inputs: Sequence[Var],
        ranges: Sequence[tuple[int, int]],
        trees: Sequence[Any],
        donated: Collection[int],
    ) -> None:
        self._inputs = inputs
        self._ranges = ranges
        self._trees = trees
        self._donated = donated

    def entry(
        self,
        program: Native,
        graph: Graph,
        known: Sequence[Var] | None,
        result: Any,
        last: bool = True,
    ) -> Entry | None:
        """Return a function of the arguments, and of a list of values known already.

        Arrays are given away by the last step only.
        """
        places = {var: place for place, var in enumerate(graph.inputs)}
        free = [*enumerate(program.outputs)]
        operands = []
        for number, (first, end) in enumerate(self._ranges):
            for var in self._inputs[first:end]:
                output = _taken(var.type, free) if last and number in self._donated else -1
                operands.append(Operand(var.type, places.get(var, -1), first, output))
        trees = [*self._trees]
        if known is not None:
            start = len(operands)
            operands += [
                Operand(var.type, places.get(var, -1), number)
                for number, var in enumerate(known, start)
            ]
            trees.append([*range(start, len(operands))])
        return program.entry(operands, trees, result)


def _taken(kind: Type, free: list[tuple[int, Type]]) -> int:
    """Take an output of a type from those left; return its number, or -1."""
    for each in free:
        if kind.shape and each[1] == kind:
            free.remove(each)
            return each[0]
    return -1


def _leaf_entry(leaf: Leaf, arguments: _Arguments, known: Sequence[Var] | None) -> Entry | None:
    program = leaf.stretch.runner()
    if not isinstance(program, Native):
        return None
    number = itertools.count()
    ends = [next(number) if type(a) is Var else Constant(a.value) for a in leaf.path.outputs]
    result = leaf.path.structure.outline(ends)
    if result is None:
        return None
    return arguments.entry(program, leaf.stretch.graph, known, result)


# --- conditions ----------------------------------------------------------------------------------


class _Step:
    """What runs up to the next condition, or to the end of a path."""

    __slots__ = ("call", "children", "index", "kept", "path", "question", "steps", "truth")

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call
        self.path: Path | None = None
        self.question: Question | None = None
        self.steps: dict[Any, _Step] = {}
        self.kept: list[int] = []
        self.index = 0
        self.truth = False


def _missed(*_: Any) -> Any:
    return MISS


class _Walk:
    """A function that goes down a tree; its steps are made when they are first taken."""

    def __init__(self, root: Node, arguments: _Arguments, count: Callable[[Path], None]) -> None:
        self._arguments = arguments
        self._count = count
        self._known: dict[_Step, list[Var]] = {}
        self._first = self._step(root, [])

    def __call__(self, *args: Any) -> Any:
        """Return the result, or ``MISS``."""
        try:
            return self._walked(args)
        except GuardFailed:  # a condition inside a body
            return MISS

    def _walked(self, args: tuple[Any, ...]) -> Any:
        step = self._first
        known: list[Any] = []
        while True:
            found = step.call(*args, known)
            if found is MISS:
                return MISS
            if step.path is not None:
                self._count(step.path)
                return found
            answer = found[step.index]
            if not step.truth:
                answer = Expected(np.asarray(answer)).key
            child = step.steps.get(answer)
            if child is None:
                child = self._child(step, answer)
                if child is None:
                    return MISS
            every = known + found
            known = [every[place] for place in step.kept]
            step = child

    def _child(self, step: _Step, answer: Any) -> _Step | None:
        assert step.question is not None
        key = Expected(np.asarray(answer)).key if step.truth else answer
        node = step.question.children.get(key)
        if node is None:
            return None
        child = self._step(node, self._known[step])
        return step.steps.setdefault(answer, child)

    def _step(self, node: Node, known: Sequence[Var]) -> _Step:
        if len(node.tests) + len(node.leaves) != 1:
            return _Step(_missed)
        if node.leaves:
            entry = _leaf_entry(node.leaves[0], self._arguments, known)
            step = _Step(_missed if entry is None else entry.call)
            step.path = node.leaves[0].path
            return step
        return self._question(node.tests[0], known)

    def _question(self, question: Question, known: Sequence[Var]) -> _Step:
        graph, atom = question.stretch.graph, question.atom
        if type(atom) is not Var:
            return _Step(_missed)
        program = question.stretch.runner()
        if atom not in graph.outputs:  # an argument, or computed before
            inputs = dict.fromkeys((*graph.inputs, atom))
            outputs = (*graph.outputs, atom)
            graph = Graph(tuple(inputs), graph.equations, outputs, graph.constants)
            program = native(graph)
        if not isinstance(program, Native):
            return _Step(_missed)
        results = [*range(len(graph.outputs))]
        entry = self._arguments.entry(program, graph, known, results, last=False)
        step = _Step(_missed if entry is None else entry.call)
        step.question = question
        step.index = graph.outputs.index(atom)
        step.truth = atom.type.shape == () and atom.type.dtype.kind == "b"
        every = [*known, *graph.outputs]
        dead = {*question.dead}
        places = {var: place for place, var in enumerate(every) if type(var) is Var}
        kept = {var: place for var, place in places.items() if var not in dead}
        step.kept = [*kept.values()]
        self._known[step] = [*kept]
        return step
