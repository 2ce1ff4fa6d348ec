"""``explain_nan``: which operation, on which line, in which turn of which loop, made the first NaN.

The graph is run once more with every value kept. From an output that is not finite the search
goes back to the first value on its way whose inputs were all finite; a loop is run step by step
to the first turn that went bad, and the search goes on inside. A NaN or infinity that reaches
no output (a branch not taken, ``exp(-inf)``) is not blamed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clew.calculus.arguments import select
from clew.calculus.reverse import pull_graph
from clew.core import pytree
from clew.core.graph import Equation, Graph, Var
from clew.core.source import Where
from clew.core.tape import Tape
from clew.core.types import type_of
from clew.loops.batched import graph_of
from clew.loops.execute import scannable
from clew.loops.replay import expanded
from clew.loops.spec import Spec, spec_of
from clew.trace import record

_SHOWN = 4


@dataclass(frozen=True)
class Turn:
    """A turn of a loop; turns count from 0 in the order of the scanned arrays."""

    spelling: str
    where: Where
    index: int

    def __str__(self) -> str:
        at = f" at {self.where}" if self.where else ""
        return f"turn {self.index} of the {self.spelling}{at}"


@dataclass(frozen=True)
class Explanation:
    """What :func:`explain_nan` found; ``bool()`` is true if something was.

    ``phase`` is "value" or "gradient"; ``kind`` "nan" or "inf"; ``operation`` the primitive (or
    "argument", if it came in from outside), ``operands`` what it worked on, ``turns`` the loops
    around it from the outermost, ``arguments`` the inputs that lead to it.
    """

    phase: str = ""
    kind: str = ""
    operation: str = ""
    where: Where = Where()  # noqa: RUF009  (immutable)
    scope: str = ""
    element: tuple[int, ...] = ()
    count: int = 0
    size: int = 0
    operands: tuple[str, ...] = ()
    turns: tuple[Turn, ...] = ()
    arguments: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.phase)

    @property
    def summary(self) -> str:
        """The finding in one sentence."""
        if not self:
            return "value and gradient are finite"
        name = {"nan": "NaN", "inf": "infinity"}[self.kind]
        if self.operation == "argument":
            return f"{name} came in with {self.arguments[0]}{_at_element(self.element)}"
        at = f" at {self.where}" if self.where else ""
        scope = f" (in {self.scope})" if self.scope else ""
        pass_ = "" if self.phase == "value" else " on the way back"
        turns = "".join(f", {turn}" for turn in reversed(self.turns))
        return f"the first {name}{pass_} came from {self.operation}{at}{scope}{turns}"

    def __str__(self) -> str:
        lines = [self.summary]
        if self and self.operation != "argument":
            if self.size > 1:
                share = f"{self.count} of {self.size} elements"
                lines.append(f"  {share} are bad, the first{_at_element(self.element)}")
            lines += [f"  operand: {operand}" for operand in self.operands]
            if self.arguments:
                lines.append(f"  it follows from: {', '.join(self.arguments)}")
        return "\n".join(lines)


def _at_element(element: tuple[int, ...]) -> str:
    return f" at [{', '.join(map(str, element))}]" if element else ""


def explain_nan(f: Callable[..., Any], argnums: Any = None) -> Callable[..., Explanation]:
    """Return a function that finds the first NaN or infinity in ``f``, or in its gradient.

    Parameters
    ----------
    f : callable
        If its value is finite and a real scalar, its gradient is searched too.
    argnums : int or sequence of int, optional
        Arguments to differentiate; the first by default.

    Returns
    -------
    callable
        Takes the arguments of ``f`` and gives an :class:`Explanation`, true if there is anything
        to explain.

    >>> found = explain_nan(lambda x: np.sum(np.sqrt(x) * np.log(x)))(np.array([1.0, 0.0]))
    >>> found.operation, found.operands
    ('log', ('0.0 (at the bad element of shape (2,))',))
    >>> print(explain_nan(np.sqrt)(0.0).summary)  # doctest: +ELLIPSIS
    the first infinity on the way back came from ...
    """

    @functools.wraps(f)
    def explained(*args: Any, **kwargs: Any) -> Explanation:
        selection = select(f, args, kwargs, argnums, None)
        recording = record(selection.function, selection.chosen)
        leaves = [leaf for tree in selection.chosen for leaf in pytree.flatten(tree)[0]]
        values = [np.asarray(leaf)[()] for leaf in leaves] + list(recording.captured)
        graph = recording.graph
        found = _search(graph, values, "value")
        outputs = graph.outputs
        scalar = len(outputs) == 1 and outputs[0].type.shape == ()
        if found or not scalar or outputs[0].type.dtype.kind != "f":
            return found
        seeded = [i for i, leaf in enumerate(leaves) if type_of(leaf).inexact]
        whole, has_output, _ = pull_graph(graph, seeded)
        one = [outputs[0].type.dtype.type(1)] if any(has_output) else []
        return _search(whole, [*values, *one], "gradient")

    return explained


# --- searching a graph -----------------------------------------------------------------------


def _bad(value: Any) -> bool:
    if isinstance(value, Tape):
        return value.items is not None and any(_bad(item) for item in value.items)
    array = np.asarray(value)
    return array.dtype.kind in "fc" and not bool(np.all(np.isfinite(array)))


def _search(graph: Graph, values: Sequence[Any], phase: str) -> Explanation:
    with np.errstate(all="ignore"):
        found = _origin(graph, values)
    return replace(found, phase=phase) if found.kind else Explanation()


def _origin(graph: Graph, inputs: Sequence[Any]) -> Explanation:
    """Return where the bad outputs of a graph come from; with no kind if there are none."""
    values: dict[Any, Any] = {**graph.constants, **dict(zip(graph.inputs, inputs, strict=True))}
    made_by: dict[Any, Equation] = {}
    for equation in graph.equations:
        operands = [_value(values, atom) for atom in equation.inputs]
        result = equation.primitive.eval(np, *operands, **equation.params)
        results = result if equation.primitive.multiple else (result,)
        values.update(zip(equation.outputs, results, strict=True))
        made_by.update(dict.fromkeys(equation.outputs, equation))
    names = dict(zip(graph.inputs, graph.names, strict=False))
    for atom in graph.outputs:
        if type(atom) is Var and _bad(values[atom]):
            return _walked_back(atom, values, made_by, names)
    return Explanation()


def _value(values: dict[Any, Any], atom: Any) -> Any:
    return values[atom] if type(atom) is Var else atom.value


def _walked_back(
    var: Any, values: dict[Any, Any], made_by: dict[Any, Equation], names: dict[Any, str]
) -> Explanation:
    while var in made_by:
        equation = made_by[var]
        earlier = _bad_operand(equation, values[var], values)
        if earlier is None:
            found = _inside(equation, var, values)
            if found is None:
                found = _here(equation, values[var], values)
            leads = _leading(equation, made_by, names)
            return replace(found, arguments=leads or found.arguments)
        var = earlier
    kind, element, count, size = _badness(values[var])
    name = names.get(var) or "a value from outside"
    return Explanation(
        "", kind, "argument", element=element, count=count, size=size, arguments=(name,)
    )


def _bad_operand(equation: Equation, result: Any, values: dict[Any, Any]) -> Any:
    """Return the operand that a bad result came from, if one was bad before."""
    inputs = list(equation.inputs)
    if equation.primitive.name == "where":
        condition = np.broadcast_to(_value(values, inputs[0]), np.shape(result))
        wrong = ~np.isfinite(result)
        chosen = [bool(np.any(wrong & condition)), bool(np.any(wrong & ~condition))]
        inputs = [atom for atom, flag in zip(inputs[1:], chosen, strict=True) if flag]
    bad = [atom for atom in inputs if type(atom) is Var and _bad(values[atom])]
    with_nan = [atom for atom in bad if _badness(values[atom])[0] == "nan"]
    return next(iter([*with_nan, *bad]), None)


def _badness(value: Any) -> tuple[str, tuple[int, ...], int, int]:
    """Return the kind of what is bad in a value, where, how many, of how many."""
    if isinstance(value, Tape):
        return _badness(next(item for item in value.items if _bad(item)))
    array = np.asarray(value)
    wrong = ~np.isfinite(array)
    kind = "nan" if np.any(np.isnan(array)) else "inf"
    element = tuple(int(i) for i in np.argwhere(wrong)[0])
    return kind, element, int(np.sum(wrong)), array.size


def _here(equation: Equation, result: Any, values: dict[Any, Any]) -> Explanation:
    kind, element, count, size = _badness(result)
    operands = tuple(
        _shown(_value(values, atom), element, np.shape(result)) for atom in equation.inputs
    )
    return Explanation(
        "",
        kind,
        equation.primitive.name,
        equation.where,
        equation.scope,
        element,
        count,
        size,
        operands,
    )


def _shown(value: Any, element: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """Return an operand's value where the result is bad, or a summary of it."""
    if not isinstance(value, (np.ndarray, np.generic, int, float, complex, bool)):
        return repr(value)
    array = np.asarray(value)
    if array.shape == shape and shape:
        return f"{array[element]} (at the bad element of shape {shape})"
    if array.size <= _SHOWN:
        return str(array.tolist())
    extent = f"from {array.min()} to {array.max()}" if array.dtype.kind in "fiu" else ""
    return f"{type_of(array)} {extent}".rstrip()


def _leading(
    equation: Equation, made_by: dict[Any, Equation], names: dict[Any, str]
) -> tuple[str, ...]:
    """Return the names of the graph's inputs that an equation depends on."""
    reached: set[Any] = set()
    frontier = [equation]
    while frontier:
        for atom in frontier.pop().inputs:
            if type(atom) is Var and atom not in reached:
                reached.add(atom)
                if atom in made_by:
                    frontier.append(made_by[atom])
    return tuple(name for var, name in names.items() if var in reached)


# --- inside equations that hold graphs ---------------------------------------------------------


def _inside(equation: Equation, var: Any, values: dict[Any, Any]) -> Explanation | None:
    """Return the origin within a loop, branch or call whose operands are all finite."""
    operands = [_value(values, atom) for atom in equation.inputs]
    place = equation.outputs.index(var)
    name = equation.primitive.name
    found = None
    if name == "loop":
        found = _in_loop(spec_of(equation), operands, place, equation.where)
    elif name == "switch":
        branches = equation.params["branches"]
        branch = branches[min(max(int(operands[0]), 0), len(branches) - 1)]
        found = _origin(_only(branch, place), operands[1:])
    elif name in ("call", "remat"):
        found = _origin(_only(equation.params["body"], place), operands)
    elif name == "replay":
        kinds = [atom.type for atom in equation.inputs]
        graph = graph_of(lambda *inner: expanded(inner, **equation.params), kinds)
        found = _origin(_only(graph, place), operands)
    return found if found is not None and found.kind and found.operation != "argument" else None


def _only(graph: Graph, place: int) -> Graph:
    return Graph(graph.inputs, graph.equations, (graph.outputs[place],), graph.constants)


def _in_loop(spec: Spec, operands: Sequence[Any], place: int, where: Where) -> Explanation | None:
    """Run a loop to its first turn that gives something bad, and search that turn."""
    groups = spec.operands(operands)
    scanned = scannable(groups.scanned)
    carries = list(groups.carries)
    total = int(groups.count[0]) if spec.counted else spec.length
    turn = 0
    while total is None or turn < total:
        if spec.condition is not None:
            (going,) = _results(spec.condition, [*carries, *groups.held])
            if not going:
                break
        index = total - 1 - turn if spec.reverse and total is not None else turn
        inputs = [*carries, *(x[index] for x in scanned), *groups.held]
        results = _results(spec.body, inputs)
        wanted = results if place < spec.carries else [*results[: spec.carries], results[place]]
        if any(_bad(result) for result in wanted):
            found = _origin(spec.body, inputs)
            own = Turn(spec.policy.spelling, where, index)
            return replace(found, turns=(own, *found.turns))
        carries = results[: spec.carries]
        turn += 1
    return None


def _results(graph: Graph, inputs: Sequence[Any]) -> list[Any]:
    from clew.core.program import program

    return program(graph)(np, *inputs)
