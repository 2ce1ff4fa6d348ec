"""``switch`` and ``cond``: only the branch taken runs, forwards and backwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.batch import batch
from clew.calculus.push import push
from clew.calculus.transpose import split, transpose
from clew.core.cost import Measure, bytes_of
from clew.core.errors import DtypeError, InputError, ShapeError
from clew.core.graph import Equation, Graph, Var
from clew.core.kinds import Control, zeros
from clew.core.primitive import PRIMITIVES, Traced
from clew.core.program import program
from clew.core.tape import TapeType
from clew.core.types import Type, type_of
from clew.loops.batched import graph_of, lent, selected
from clew.loops.bodies import Body, Carry, body_of, described
from clew.loops.residuals import saved_values
from clew.loops.spec import reordered, twins_of
from clew.loops.tapes import join_tapes, pick_tape, wide
from clew.trace import Builder, run

Branches = tuple[Graph, ...]


def _run(xp: Any, index: Any, *operands: Any, branches: Branches) -> tuple[Any, ...]:
    number = min(max(int(index), 0), len(branches) - 1)
    with np.errstate(all="ignore"):
        return tuple(program(branches[number])(xp, *operands))


@dataclass(frozen=True, eq=False, repr=False)
class Switch(Control):
    """One of several graphs, chosen by an integer; an index outside takes the nearest."""

    def result_type(self, types: Sequence[Type], params: dict[str, Any]) -> Any:
        """Return the types that all branches return."""
        return tuple(atom.type for atom in params["branches"][0].outputs)

    def pushed(self, builder: Any, equation: Any, tangents: Sequence[Any]) -> Sequence[Any]:
        """Push every branch forward; outputs have a tangent if any branch gives them one."""
        return _push_switch(self, builder, equation, tangents[1:])

    def split(self, equation: Any, dependent: Sequence[bool]) -> Any:
        """Run the known part of the branch first, and save what its linear part reads."""
        return _split_switch(self, equation, list(dependent[1:]))

    def pull(self, cotangent: Any, operands: Sequence[Any], params: dict) -> Sequence[Any]:
        """Run the transposed branch."""
        return _pull_switch(self, cotangent, operands, params["branches"])

    def batched(
        self, size: int, operands: Sequence[Any], batched: Sequence[bool], params: dict
    ) -> Any:
        """Run one branch if all examples take it, else each branch for those that do."""
        branches = params["branches"]
        if batched[0]:
            return _batch_by_example(self, size, operands, batched[1:], branches)
        return _batch_together(self, size, operands, batched[1:], branches)

    def measured(self, equation: Any) -> Measure:
        """Count the dearest branch."""
        costs = [branch.cost() for branch in equation.params["branches"]]
        return Measure(
            max(each.operations for each in costs),
            max(each.bytes for each in costs),
            [bytes_of(var.type) for var in equation.outputs],
            max(each.peak for each in costs),
            tuple(line for each in costs for line in each.unknown),
        )

    def pruned(self, equation: Any, live: Sequence[bool]) -> Any:
        """Drop the outputs that nobody reads, and operands that no branch reads."""
        branches = [
            reordered(b, b.inputs, [a for a, flag in zip(b.outputs, live, strict=True) if flag])
            for b in equation.params["branches"]
        ]
        read: set[int] = set()
        for each in branches:
            used = {atom for e in each.equations for atom in e.inputs} | {*each.outputs}
            read.update(i for i, var in enumerate(each.inputs) if var in used)
        kept = [
            reordered(b, [v for i, v in enumerate(b.inputs) if i in read], b.outputs)
            for b in branches
        ]
        inputs = [equation.inputs[0]]
        inputs += [atom for i, atom in enumerate(equation.inputs[1:]) if i in read]
        outputs = [var for var, flag in zip(equation.outputs, live, strict=True) if flag]
        return _equation(equation, inputs, tuple(kept), outputs)

    def twins(self, equation: Any) -> dict[Any, Any]:
        """Return the outputs that every branch returns before."""
        returned = zip(*(branch.outputs for branch in equation.params["branches"]), strict=True)
        return twins_of(equation.outputs, list(returned))


def _equation(like: Equation, inputs: Sequence[Any], branches: Branches, outputs: Any) -> Equation:
    return like.remade(tuple(inputs), {"branches": branches}, tuple(outputs))


def _with_zeros(graph: Graph, atoms: Sequence[Any], kinds: Sequence[Type]) -> tuple[Graph, list]:
    """Give zeros of these types where there is no atom."""
    with Builder.transforming(graph) as builder:
        builder.equations += graph.equations
        full = [
            builder.atom(zeros(kind)) if atom is None else atom
            for atom, kind in zip(atoms, kinds, strict=True)
        ]
    return builder.transformed(graph.inputs, graph.outputs, ()), full


def _push_switch(
    primitive: Any, builder: Any, equation: Equation, tangents: Sequence[Any]
) -> list[Any]:
    seeded = [i for i, tangent in enumerate(tangents) if tangent is not None]
    pushes = [push(branch, seeded) for branch in equation.params["branches"]]
    count = len(equation.outputs)
    moving = [i for i in range(count) if any(p.tangents[i] is not None for p in pushes)]
    branches = []
    for pushed in pushes:
        wanted = [pushed.tangents[i] for i in moving]
        kinds = [equation.outputs[i].type for i in moving]
        graph, atoms = _with_zeros(pushed.graph, wanted, kinds)
        branches.append(reordered(graph, graph.inputs, [*graph.outputs[:count], *atoms]))
    given = [builder.atom(tangents[i]) for i in seeded]
    found = {i: Var(equation.outputs[i].type) for i in moving}
    outputs = [*equation.outputs, *found.values()]
    inputs = [*equation.inputs, *given]
    builder.equations.append(_equation(equation, inputs, tuple(branches), outputs))
    return [builder.value(found[i]) if i in found else None for i in range(count)]


# --- splitting ---------------------------------------------------------------------------------


def _split_switch(primitive: Any, equation: Equation, dependent: list[bool]) -> Any:
    branches = equation.params["branches"]
    parts = []
    moving: set[int] = set()
    for branch in branches:
        seeds = [var for var, flag in zip(branch.inputs, dependent, strict=True) if flag]
        part = split(branch, seeds)
        reached = {*seeds, *(var for each in part.linear for var in each.outputs)}
        moving.update(i for i, atom in enumerate(branch.outputs) if atom in reached)
        parts.append(part)
    count = len(equation.outputs)
    if len(moving) == count:
        return None
    known_outputs = [i for i in range(count) if i not in moving]
    saved = [
        _saved_in(branch, part, dependent, [branch.outputs[i] for i in sorted(moving)])
        for branch, part in zip(branches, parts, strict=True)
    ]
    slots = _slots(saved)
    first, second = [], []
    for branch, part, own in zip(branches, parts, saved, strict=True):
        place = _places(own, slots)
        known = [v for v, flag in zip(branch.inputs, dependent, strict=True) if not flag]
        tangents = [v for v, flag in zip(branch.inputs, dependent, strict=True) if flag]
        graph = Graph(branch.inputs, part.primal, branch.outputs, branch.constants)
        graph, filled = _with_zeros(graph, place, slots)
        outputs = [*(branch.outputs[i] for i in known_outputs), *filled]
        first.append(reordered(graph, known, outputs))
        read = [var or Var(kind) for var, kind in zip(place, slots, strict=True)]
        again = [e for e in part.primal if not any(v in own for v in e.outputs)]
        linear = Graph(
            [*read, *known, *tangents],
            [*again, *part.linear],
            [branch.outputs[i] for i in sorted(moving)],
            branch.constants,
        )
        second.append(linear.with_live_equations())
    stores = [Var(kind) for kind in slots]
    atoms = equation.inputs[1:]
    known_atoms = [a for a, flag in zip(atoms, dependent, strict=True) if not flag]
    moving_atoms = [a for a, flag in zip(atoms, dependent, strict=True) if flag]
    index = equation.inputs[0]
    made = [*(equation.outputs[i] for i in known_outputs), *stores]
    one = _equation(equation, [index, *known_atoms], tuple(first), made)
    inputs = [index, *stores, *known_atoms, *moving_atoms]
    rest = [equation.outputs[i] for i in sorted(moving)]
    two = _equation(equation, inputs, tuple(second), rest)
    return [one], [primitive.pruned(two, [True] * len(rest))]


def _saved_in(branch: Graph, part: Any, dependent: Sequence[bool], results: Any) -> list[Var]:
    """Return what a branch saves, beside its own operands."""
    known = {v for v, flag in zip(branch.inputs, dependent, strict=True) if not flag}
    made = {var for each in part.primal for var in each.outputs}
    atoms = [atom for each in part.linear for atom in each.inputs]
    atoms += results
    read = [a for a in dict.fromkeys(atoms) if type(a) is Var and a in made and a not in known]
    return saved_values(part.primal, (), read, set())


def _slots(saved: Sequence[Sequence[Var]]) -> list[Type]:
    """Return types of shared places, enough for what any one branch saves."""
    slots: list[Type] = []
    for own in saved:
        free = list(slots)
        for var in own:
            if var.type in free:
                free.remove(var.type)
            else:
                slots.append(var.type)
    return slots


def _places(own: Sequence[Var], slots: Sequence[Type]) -> list[Var | None]:
    rest = list(own)
    placed: list[Var | None] = []
    for kind in slots:
        match = next((var for var in rest if var.type == kind), None)
        if match is not None:
            rest.remove(match)
        placed.append(match)
    return placed


# --- transposing -------------------------------------------------------------------------------


def _pull_switch(
    primitive: Any, cotangents: Sequence[Any], operands: Sequence[Any], branches: Branches
) -> list[Any]:
    index, own = operands[0], operands[1:]
    linear = [isinstance(operand, Type) for operand in own]
    given = [i for i, cotangent in enumerate(cotangents) if cotangent is not None]
    graphs, paths = [], []
    for branch in branches:
        seeds = [var for var, flag in zip(branch.inputs, linear, strict=True) if flag]
        graph, has_path = transpose(branch, seeds, [branch.outputs[i] for i in given], ())
        graphs.append(graph)
        paths.append(has_path)
    numbers = [i for i, flag in enumerate(linear) if flag]
    reached = [any(p[j] for p in paths) for j in range(len(numbers))]
    transposed = []
    for graph, has_path in zip(graphs, paths, strict=True):
        rest = iter(graph.outputs)
        found = [next(rest) if flag else None for flag in has_path]
        atoms = [a for a, flag in zip(found, reached, strict=True) if flag]
        kinds = [own[i] for i, flag in zip(numbers, reached, strict=True) if flag]
        graph, full = _with_zeros(graph, atoms, kinds)
        transposed.append(reordered(graph, graph.inputs, full))
    known = [x for x, flag in zip(own, linear, strict=True) if not flag]
    values = primitive(index, *known, *(cotangents[i] for i in given), branches=tuple(transposed))
    rest = iter(values)
    results: list[Any] = [None] * len(operands)
    for i, flag in zip(numbers, reached, strict=True):
        if flag:
            results[i + 1] = next(rest)
    return results


# --- batching ----------------------------------------------------------------------------------


def widened(branch: Graph, size: int, flags: Sequence[bool]) -> Graph:
    """Batch a graph, every output included."""
    body, found = batch(branch, size, flags)

    def all_wide(*inputs: Any) -> list[Any]:
        values = run(body, inputs)
        return [wide(v, size, flag) for v, flag in zip(values, found, strict=True)]

    return graph_of(all_wide, [var.type for var in body.inputs])


def _batch_together(
    primitive: Any, size: int, operands: Any, flags: Sequence[bool], branches: Branches
) -> Any:
    return primitive(*operands, branches=tuple(widened(b, size, flags) for b in branches))


def _batch_by_example(
    primitive: Any, size: int, operands: Any, flags: Sequence[bool], branches: Branches
) -> list[Any]:
    """Run each branch that any example takes, and choose.

    The other examples run it on the operands of one that takes it: nothing that a branch
    was not meant for ever enters it.
    """
    index, *own = operands
    full = [wide(x, size, flag) for x, flag in zip(own, flags, strict=True)]
    index = np.clip(index, 0, len(branches) - 1)
    takes = [PRIMITIVES["equal"](index, number) for number in range(len(branches))]
    found = []
    for number, branch in enumerate(branches):
        inputs = [_of_branch(x, number, len(branches)) for x in full]
        found.append(_run_where(primitive, size, branch, takes[number], inputs))
    results = []
    for values in zip(*found, strict=True):
        if isinstance(type_of(values[0]), TapeType):
            results.append(join_tapes(*values))
            continue
        result = values[0]
        for taking, value in zip(takes[1:], values[1:], strict=True):
            result = selected(taking, value, result)
        results.append(result)
    return results


def _of_branch(value: Any, number: int, count: int) -> Any:
    """Return what one branch may read of an operand: of joined tapes, its own."""
    if isinstance(type_of(value), TapeType):
        return pick_tape(value, number=number, of=count)
    return value


def _run_where(
    primitive: Any, size: int, branch: Graph, taking: Any, inputs: Sequence[Any]
) -> Sequence[Any]:
    """Run a branch if any example takes it; else return zeros."""
    body = widened(branch, size, [True] * len(inputs))
    types = [Type((size,), bool), *(var.type for var in body.inputs)]
    skipped = graph_of(lambda *_: [zeros(atom.type) for atom in body.outputs], types)
    taken = graph_of(lambda taking, *inner: run(body, lent(taking, inner)), types)
    any_takes = PRIMITIVES["any"](taking, axis=(0,))
    number = PRIMITIVES["convert"](any_takes, dtype=np.dtype(np.int64))
    return primitive(number, taking, *inputs, branches=(skipped, taken))


switch_of = Switch("switch", _run, "", True)


# --- what users write --------------------------------------------------------------------------


def cond(
    predicate: Any,
    if_true: Callable[..., Any],
    if_false: Callable[..., Any],
    *operands: Any,
) -> Any:
    """Return ``if_true(*operands)`` or ``if_false(*operands)``; only the one chosen runs.

    Parameters
    ----------
    predicate : bool
        One true or false; may be traced.
    if_true, if_false : callable
        Return trees of the same structure, shapes and dtypes. May read traced values from
        outside.

    Raises
    ------
    InputError, ShapeError, DtypeError
        If the results differ in structure, shape or dtype, or the predicate is not one value.

    >>> import clew
    >>> f = lambda x: cond(x > 0, lambda x: np.sqrt(x), lambda x: 0.0 * x, x)
    >>> float(clew.grad(f)(4.0)), float(clew.grad(f)(-4.0))
    (0.25, 0.0)
    """
    kind = type_of(predicate)
    if kind.shape != () or kind.dtype.kind not in "biu":
        raise ShapeError(
            f"cond: the predicate is {kind}, not one true or false",
            "reduce it with np.all or np.any, or choose by element with np.where",
        )
    index = PRIMITIVES["convert"](PRIMITIVES["not_equal"](predicate, 0), dtype=np.dtype(np.int64))
    return _switched("cond", index, (if_false, if_true), operands)


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """Return ``branches[index](*operands)``; only that one runs.

    An index below 0 takes the first branch, one beyond the last the last.

    Parameters
    ----------
    index : int
        May be traced.
    branches : sequence of callables
        Return trees of the same structure, shapes and dtypes.

    >>> float(switch(1, [lambda x: x, lambda x: x * x], 3.0))
    9.0
    """
    kind = type_of(index)
    if kind.shape != () or kind.dtype.kind not in "iu":
        raise DtypeError(f"switch: index is {kind}, not a whole number", "give an integer")
    if not branches:
        raise InputError("switch: no branches were given", "give at least one")
    return _switched("switch", index, tuple(branches), operands)


def _switched(
    what: str, index: Any, functions: Sequence[Callable[..., Any]], operands: Sequence[Any]
) -> Any:
    if not isinstance(index, Traced):
        number = min(max(int(index), 0), len(functions) - 1)
        return functions[number](*operands)
    own = Carry.of(list(operands), what)
    bodies = [body_of(function, own.abstract(), may_be_skipped=True) for function in functions]
    _check_alike(what, bodies)
    captured: list[Any] = []
    graphs = []
    for body in bodies:
        count = len(own.leaves)
        graph = body.graph
        others = [[Var(type_of(x)) for x in each.captured] for each in bodies]
        others[len(graphs)] = list(graph.inputs[count:])
        inputs = [*graph.inputs[:count], *(var for each in others for var in each)]
        graphs.append(Graph(inputs, graph.equations, graph.outputs, graph.constants))
        captured += body.captured
    values = switch_of(index, *own.leaves, *captured, branches=tuple(graphs))
    return bodies[0].structure.unflatten(values)


def _check_alike(what: str, bodies: Sequence[Body]) -> None:
    first = bodies[0]
    for number, body in enumerate(bodies[1:], 1):
        if body.structure != first.structure:
            raise InputError(
                f"{what}: branches return different structures: "
                f"{described(first.structure)} and {described(body.structure)}",
                "return the same tree from every branch",
            )
        pairs = zip(first.structure.names, first.graph.outputs, body.graph.outputs, strict=True)
        for name, one, other in pairs:
            if one.type != other.type:
                raise ShapeError(
                    f"{what}: {name or 'the result'} is {one.type} from branch 0 and "
                    f"{other.type} from branch {number}",
                    "return the same shapes and dtypes from every branch",
                )
