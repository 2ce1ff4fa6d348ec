"""``explain``: what ``jit`` made of a function, and why it traced it as often as it did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from clew.core.cost import Cost, measured
from clew.core.graph import Equation, Graph, bodies_of
from clew.core.memory import readable
from clew.core.source import Where
from clew.evaluate.jit import Cache, Signature, jit
from clew.evaluate.path_tree import Condition, Path, PathTree
from clew.evaluate.steps import ProgramReport

_MOST_LINES = 100
"""Lines on the native programs of one path that are printed; all are in the report."""
_MOST_CONDITIONS = 8
"""Conditions of one path that are printed; all of them are in the report."""


@dataclass(frozen=True)
class LoopReport:
    """A loop of a path: where it is, how many steps, what it keeps for the way back.

    Attributes
    ----------
    spelling : str
        ``scan``, ``fori_loop``, ``while_loop``.
    where : Where
    length : int or None
        None where the number of steps is found when running.
    checkpoint : str
        ``tape``, ``auto``, or a number of snapshots.
    memory : int
        Bytes predicted for its results, snapshots and workspace; of one step where the length
        is unknown.
    equations : int
        Of its body.
    depth : int
        How many loops it stands in.
    """

    spelling: str
    where: Where
    length: int | None
    checkpoint: str
    memory: int
    equations: int
    depth: int

    def __str__(self) -> str:
        steps = "unknown length" if self.length is None else f"{self.length:,} steps"
        a_step = " a step" if self.length is None else ""
        return (
            f"{self.spelling} at {self.where or '?'}: {steps} of {self.equations} equations, "
            f"checkpoint {self.checkpoint}, {readable(self.memory)}{a_step}"
        )


@dataclass(frozen=True)
class PathReport:
    """One way through the function's Python code.

    Attributes
    ----------
    conditions : tuple of Condition
        What Python asked, with the user's line and the answer.
    why : str
        Why it was traced: a new shape, a new answer at a line, ...
    runs : int
    equations : int
        After simplification; those of loop bodies count once.
    cost : Cost
    loops : tuple of LoopReport
    graph : Graph
    programs : tuple of ProgramReport
        The native programs that run it: one, or with conditions one before each.
    """

    conditions: tuple[Condition, ...]
    why: str
    runs: int
    equations: int
    cost: Cost
    loops: tuple[LoopReport, ...]
    graph: Graph
    programs: tuple[ProgramReport, ...]

    def lines(self) -> list[str]:
        """Return the report as lines."""
        found = [
            f"{_times(self.runs)}, {self.equations} equations, "
            f"{self.cost.operations:,} operations, {readable(self.cost.peak)} held at once",
            f"traced because: {self.why}",
        ]
        shown = self.conditions[:_MOST_CONDITIONS]
        found += [f"if {condition}" for condition in shown]
        if len(self.conditions) > len(shown):
            found.append(f"... and {len(self.conditions) - len(shown)} more conditions")
        found += [f"{'  ' * loop.depth}{loop}" for loop in self.loops]
        lines = [line for program in self.programs for line in program.lines()]
        if len(lines) > _MOST_LINES:
            lines = [*lines[:_MOST_LINES], f"... and {len(lines) - _MOST_LINES} more lines"]
        return [*found, *lines]


@dataclass(frozen=True)
class SignatureReport:
    """The paths for arguments of one structure, with leaves of certain shapes and dtypes."""

    arguments: str
    paths: tuple[PathReport, ...]


@dataclass(frozen=True)
class Explanation:
    """What ``jit`` knows of a function; call it with arguments to add what those need.

    Attributes
    ----------
    name : str
    signatures : tuple of SignatureReport
    most_paths : int
        The limit of paths for each signature.
    dropped : int
        Paths that had to go because of it.
    """

    name: str
    signatures: tuple[SignatureReport, ...]
    most_paths: int
    dropped: int
    cache: Cache

    @property
    def traces(self) -> int:
        """How often the function was traced."""
        return self.dropped + sum(len(each.paths) for each in self.signatures)

    def __call__(self, *args: Any, **kwargs: Any) -> Explanation:
        """Call the function, and return the explanation after that."""
        self.cache.run(args, kwargs)
        return _explanation(self.cache)

    def __str__(self) -> str:
        lines = [f"{self.name}: {_counted(self.traces, 'trace')}"]
        lines[0] += f", {_counted(len(self.signatures), 'signature')}"
        if not self.signatures:
            lines.append("  not called yet; call this explanation with arguments")
        for signature in self.signatures:
            lines.append(f"  ({signature.arguments})")
            for number, path in enumerate(signature.paths, 1):
                first, *rest = path.lines()
                lines.append(f"    path {number}: {first}")
                lines += [f"      {line}" for line in rest]
        if any(", predicted " in line for line in lines):
            from clew.evaluate.native.machine import machine

            lines.append(f"  predicted for {machine()}")
        if self.dropped:
            lines.append(
                f"  {_counted(self.dropped, 'path')} dropped: more than {self.most_paths} for one "
                "signature; write clew.while_loop, clew.cond or np.where"
            )
        return "\n".join(lines)

    __repr__ = __str__


def explain(f: Callable[..., Any]) -> Explanation:
    """Return a report of the traces of a function, and of the native code made of them.

    Signatures, paths, retraces and why; then the steps of each native program: which equations
    run together in which loops, what they read and write, operations, how many parts threads
    share out, how long a simple model of this machine predicts, and what is left to Python. Times
    are measured by :func:`clew.profile`.

    Of a function made by :func:`clew.jit` it tells what happened so far. Of any other function
    it begins empty. Calling the report with arguments calls the function with them, and gives
    the report after that.

    Parameters
    ----------
    f : callable

    Returns
    -------
    Explanation
        Prints as text; every figure is a field.

    >>> import clew
    >>> @clew.jit
    ... def f(x):
    ...     return x * 2.0 if x > 0 else -x
    >>> _ = f(1.0), f(2.0), f(-3.0)
    >>> print(explain(f))  # doctest: +ELLIPSIS
    f: 2 traces, 1 signature
      (x: f64)
        path 1: ran twice, 3 equations, 2 operations, 8 bytes held at once
          traced because: first call
          if ...:3: True  return x * 2.0 if x > 0 else -x
          native: 1 step, ... of code, ...
            registers: 1 equation (greater), at ...:3
          native: 1 step, ... of code, ...
            registers: 1 equation (multiply), at ...:3
        path 2: ran once, 3 equations, 2 operations, 8 bytes held at once
          traced because: new answer False at ...:3
          if ...:3: False  return x * 2.0 if x > 0 else -x
          native: 1 step, ... of code, ...
            registers: 1 equation (greater), at ...:3
          native: 1 step, ... of code, ...
            registers: 1 equation (negative), at ...:3
    >>> explain(lambda x: x + 1)(1.0).signatures[0].paths[0].equations
    1
    """
    cache = getattr(f, "paths", None)
    if not isinstance(cache, Cache):
        cache = jit(f).paths
    return _explanation(cache)


def _explanation(cache: Cache) -> Explanation:
    name = getattr(cache.function, "__name__", "a function")
    signatures = tuple(_of_signature(each) for each in list(cache.signatures.values()))
    return Explanation(name, signatures, cache.most_paths, cache.dropped, cache)


def _of_signature(signature: Signature) -> SignatureReport:
    tree = signature.tree
    paths = () if tree is None else tuple(_of_path(path, tree) for path in tree.paths)
    return SignatureReport(str(signature), paths)


def _of_path(path: Path, tree: PathTree) -> PathReport:
    graph = path.graph
    return PathReport(
        tuple(path.conditions),
        path.why,
        path.runs,
        _equations(graph),
        graph.cost(),
        tuple(_loops(graph, 0)),
        graph,
        tuple(ProgramReport(each.graph) for each in tree.stretches(path) if each.graph.equations),
    )


def _equations(graph: Graph) -> int:
    inside = sum(_equations(body) for each in graph.equations for body in bodies_of(each))
    return len(graph.equations) + inside


def _loops(graph: Graph, depth: int) -> Iterator[LoopReport]:
    for equation in graph.equations:
        loop = equation.primitive.name in ("loop", "replay")
        if loop:
            yield _of_loop(equation, depth)
        for body in bodies_of(equation):
            yield from _loops(body, depth + loop)


def _of_loop(equation: Equation, depth: int) -> LoopReport:
    params = equation.params
    if equation.primitive.name == "replay":
        params = vars(params["along"])
    policy = params["policy"]
    each = measured(equation)
    return LoopReport(
        policy.spelling,
        policy.where or equation.where,
        params["length"],
        str(policy),
        sum(each.results) + each.workspace,
        _equations(params["body"]),
        depth,
    )


def _times(count: int) -> str:
    return {0: "never ran", 1: "ran once", 2: "ran twice"}.get(count, f"ran {count:,} times")


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
