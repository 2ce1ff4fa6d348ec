"""The Python paths through a function as a tree: what they share runs once, guards branch.

Each path is a graph with guards, the answers that Python conditions got while it was traced. On
the way down the tree only what the next guard needs is computed; the rest of a path's graph runs
at its leaf, when it is certain that the path is the right one.
"""

from __future__ import annotations

import functools
import linecache
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.core import pytree
from clew.core.graph import Atom, Equation, Graph, Var, bodies_of, interpret
from clew.core.program import program
from clew.core.source import Where
from clew.evaluate.native.entry import Entry
from clew.evaluate.native.run import native
from clew.evaluate.numbering import Numbering
from clew.trace import GuardFailed
from clew.trace.guards import Expected

_LARGEST_PROGRAM = 20_000
"""Equations of the largest stretch that is compiled; a longer one is interpreted."""


@dataclass(frozen=True)
class Condition:
    """A Python condition and the answer that a path depends on."""

    where: Where
    answer: str

    @property
    def source(self) -> str:
        """The line of the user's code, if it can still be read."""
        return linecache.getline(self.where.file, self.where.line).strip() if self.where else ""

    def __str__(self) -> str:
        source = f"  {self.source}" if self.source else ""
        return f"{self.where or '?'}: {self.answer}{source}"


class Path:
    """One way through the function's Python code, and how often it was taken."""

    def __init__(self, graph: Graph, structure: pytree.Structure, why: str = "") -> None:
        self.graph = graph
        self.structure = structure
        self.why = why
        self.conditions = list(conditions_of(graph))
        self.found = 0
        self.used = 0
        self.entries: list[Entry] = []
        self.equations: list[Equation] = []
        self.outputs: list[Atom] = []
        self.guards: list[Equation] = []

    @property
    def runs(self) -> int:
        """How often the path was taken, in Python's search for it or by its entries."""
        return self.found + sum(each.runs for each in self.entries)

    def enter(self, numbering: Numbering) -> None:
        """Take the variables that the paths of a tree have in common."""
        self.equations, self.outputs = numbering.renamed(self.graph)
        self.guards = [each for each in self.equations if each.primitive.name == "guard"]

    def same_way(self, other: Path) -> bool:
        """Say whether another path is this one, traced a second time."""
        return self.equations == other.equations and self.structure == other.structure

    def effects(self) -> list[Equation]:
        """Return the checks, which have no result but may raise."""
        return [e for e in self.equations if not e.outputs and e.primitive.name != "guard"]


def conditions_of(graph: Graph) -> Iterator[Condition]:
    """Yield the conditions that a graph depends on, those in bodies of its equations too."""
    for equation in graph.equations:
        if equation.primitive.name == "guard":
            expected = equation.params["expected"].value
            answer = str(expected[()]) if expected.ndim == 0 else str(Expected(expected))
            yield Condition(equation.where, answer)
        for body in bodies_of(equation):
            yield from conditions_of(body)


# --- the tree ------------------------------------------------------------------------------------


class Stretch:
    """Equations that run together, between two guards: native code, or the reference evaluator."""

    __slots__ = ("graph", "run_on")

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.run_on: Any = None

    def run(self, values: dict[Var, Any]) -> Sequence[Any]:
        """Return the outputs for the values of the inputs."""
        return self.runner()(*[values[var] for var in self.graph.inputs])

    def runner(self) -> Callable[..., Sequence[Any]]:
        """Return what runs the equations, made when it is first asked for."""
        if self.run_on is None:
            self.run_on = _runner(self.graph)
        return self.run_on


def _runner(graph: Graph) -> Callable[..., Sequence[Any]]:
    """Return what runs a graph."""
    compiled = native(graph)
    if compiled is not None:
        return compiled
    small = len(graph.equations) <= _LARGEST_PROGRAM
    evaluate = functools.partial(program(graph), np) if small else None

    def run(*operands: Any) -> Sequence[Any]:
        values = [*map(_settled, operands)]
        with np.errstate(all="ignore"):
            return interpret(graph, values, _applied) if evaluate is None else evaluate(*values)

    return run


def _settled(value: Any) -> Any:
    """Make a Python number NumPy's, whose arithmetic does not raise."""
    return value if type(value) is np.ndarray else np.asarray(value)[()]


def _applied(equation: Equation, operands: list[Any]) -> Any:
    return equation.primitive.eval(np, *operands, **equation.params)


class Leaf:
    """The end of a path."""

    __slots__ = ("path", "stretch")

    def __init__(self, path: Path) -> None:
        self.path = path


class Question:
    """A guard: a value to compute, and where each answer leads."""

    __slots__ = ("atom", "children", "dead", "equations", "stretch")

    def __init__(self, atom: Atom, equations: list[Equation]) -> None:
        self.atom = atom
        self.equations = equations
        self.children: dict[Any, Node] = {}

    def answer(self, values: dict[Var, Any]) -> Any:
        """Compute what is asked, and what the tests below share with it."""
        outputs = self.stretch.graph.outputs
        values.update(zip(outputs, self.stretch.run(values), strict=True))
        found = values[self.atom] if type(self.atom) is Var else self.atom.value
        return Expected(np.asarray(found)).key


class Node:
    """A place in the tree: paths that end here, and guards that come next (mostly one)."""

    __slots__ = ("done", "leaves", "tests")

    def __init__(self, done: set[Equation]) -> None:
        self.leaves: list[Leaf] = []
        self.tests: list[Question] = []
        self.done = done


class PathTree:
    """The paths for one type signature; made anew when a path comes or goes."""

    def __init__(
        self, paths: Sequence[Path], numbering: Numbering, before: PathTree | None = None
    ) -> None:
        self.paths = tuple(paths)
        self._numbering = numbering
        self.inputs = numbering.inputs
        self._constants = dict(numbering.constants)
        self._stretches: dict[Any, Stretch] = {}
        self._old = {} if before is None else before._stretches
        self.root = self._built()
        self._old = {}

    def find(self, arguments: Sequence[Any]) -> tuple[Path, list[Any]] | None:
        """Return the path that the arguments take, with its results; None for a new path."""
        values: dict[Var, Any] = dict(self._constants)
        values.update(zip(self.inputs, arguments, strict=True))
        waiting: list[Leaf | Question] = [*self.root.tests[::-1], *self.root.leaves[::-1]]
        alone = True
        while waiting:
            alone = alone and len(waiting) == 1
            step = waiting.pop()
            try:
                if isinstance(step, Leaf):
                    results = iter(step.stretch.run(values))
                    return step.path, [
                        next(results) if type(atom) is Var else atom.value
                        for atom in step.path.outputs
                    ]
                child = step.children.get(step.answer(values))
            except GuardFailed:  # a condition inside a body
                continue
            if child is not None:
                waiting += [*child.tests[::-1], *child.leaves[::-1]]
                if alone:  # no other way may still want them
                    for var in step.dead:
                        values.pop(var, None)
        return None

    def stretches(self, path: Path) -> list[Stretch]:
        """Return what runs on the way to the end of a path, in order."""
        found: list[Stretch] = []
        waiting: list[tuple[Node, list[Stretch]]] = [(self.root, [])]
        while waiting:
            node, above = waiting.pop()
            for leaf in node.leaves:
                if leaf.path is path:
                    found = [*above, leaf.stretch]
            for test in node.tests:
                own = [*above, test.stretch] if test.stretch.graph.equations else above
                waiting += [(child, own) for child in test.children.values()]
        return found

    # --- building: down the tree to place the equations, then up to see what is read ----------

    def _built(self) -> Node:
        root = Node(set())
        level = [(root, list(self.paths), 0)]
        nodes: list[Node] = []
        while level:
            below: list[tuple[Node, list[Path], int]] = []
            for node, paths, depth in level:
                nodes.append(node)
                below += self._placed(node, paths, depth)
            level = below
        reads: dict[Node, set[Var]] = {}
        for node in reversed(nodes):
            reads[node] = self._connected(node, reads)
        return root

    def _placed(
        self, node: Node, paths: list[Path], depth: int
    ) -> list[tuple[Node, list[Path], int]]:
        groups: dict[Any, list[tuple[Equation, Path]]] = {}
        for path in paths:
            if depth == len(path.guards):
                node.leaves.append(Leaf(path))
                continue
            guard = path.guards[depth]
            atom = guard.inputs[0]
            key = atom if type(atom) is Var else str(atom.value)
            groups.setdefault(key, []).append((guard, path))
        below = []
        for members in groups.values():
            atom = members[0][0].inputs[0]
            test = Question(atom, self._needed([atom], node.done))
            node.tests.append(test)
            by_answer: dict[Any, list[Path]] = {}
            for guard, path in members:
                by_answer.setdefault(guard.params["expected"].key, []).append(path)
            single = len(groups) == 1 and len(by_answer) == 1 and not node.leaves
            done = node.done if single else set(node.done)
            done.update(test.equations)
            for answer, own in by_answer.items():
                test.children[answer] = Node(done if single else set(done))
                below.append((test.children[answer], own, depth + 1))
        for leaf in node.leaves:
            leaf.stretch = self._leaf_stretch(leaf.path, node.done)
        return below

    def _needed(self, atoms: Iterable[Any], done: set[Equation]) -> list[Equation]:
        """Return the equations that atoms need besides those done, in order."""
        makers, order = self._numbering.makers, self._numbering.order
        found: set[Equation] = set()
        waiting = [atom for atom in atoms if type(atom) is Var]
        while waiting:
            maker = makers.get(waiting.pop())
            if maker is None or maker in done or maker in found:
                continue
            found.add(maker)
            waiting += [atom for atom in maker.inputs if type(atom) is Var]
        return sorted(found, key=order.__getitem__)

    def _leaf_stretch(self, path: Path, done: set[Equation]) -> Stretch:
        effects = path.effects()
        wanted = [*path.outputs, *(atom for each in effects for atom in each.inputs)]
        equations = {*self._needed(wanted, done), *effects}
        ordered = sorted(equations, key=self._numbering.order.__getitem__)
        return self._stretch(ordered, [atom for atom in path.outputs if type(atom) is Var])

    def _connected(self, node: Node, reads: dict[Node, set[Var]]) -> set[Var]:
        """Give the tests of a node their stretches; return what it reads from above."""
        wanted: set[Var] = set()
        for leaf in node.leaves:
            wanted.update(leaf.stretch.graph.inputs)
        for test in node.tests:
            below: set[Var] = set()
            for child in test.children.values():
                below |= reads.pop(child)
            made = [var for each in test.equations for var in each.outputs]
            outputs = [var for var in made if var in below or var is test.atom]
            test.stretch = self._stretch(test.equations, outputs)
            own = {*test.stretch.graph.inputs}
            if type(test.atom) is Var and test.atom not in outputs:
                own.add(test.atom)
            test.dead = [var for var in (*own, *outputs) if var not in below]
            wanted |= own | (below - {*made})
        return wanted

    def _stretch(self, equations: Sequence[Equation], outputs: Sequence[Var]) -> Stretch:
        key = (tuple(equations), tuple(outputs))
        known = self._old.get(key)
        if known is None:
            made: set[Any] = set()
            inputs: dict[Var, None] = {}
            for each in equations:
                inputs.update((a, None) for a in each.inputs if type(a) is Var and a not in made)
                made.update(each.outputs)
            inputs.update((var, None) for var in outputs if var not in made)
            held = {var: self._constants[var] for var in inputs if var in self._constants}
            read = tuple(var for var in inputs if var not in held)
            known = Stretch(Graph(read, equations, outputs, held))
        self._stretches[key] = known
        return known
