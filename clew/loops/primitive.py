"""``loop``: the one loop primitive. Every transform of it is again a loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clew.core.cost import Measure, bytes_of
from clew.core.graph import Equation, Graph, Literal, Var
from clew.core.kinds import Control, zeros
from clew.core.types import Type
from clew.loops.batched import batch_loop
from clew.loops.execute import run_loop
from clew.loops.fission import fission, summed
from clew.loops.joint import joint
from clew.loops.schedule import block_positions
from clew.loops.spec import Groups, Results, Spec, spec_of, twins_of
from clew.loops.split import split_loop
from clew.loops.transposed import linear_in, placed, start_of, transposed


@dataclass(frozen=True, eq=False, repr=False)
class Loop(Control):
    """A carry taken through a body, so many times or while a condition holds."""

    def result_type(self, types: Sequence[Type], params: dict[str, Any]) -> Any:
        """Return the types of the carries, stacks, and count."""
        return Spec(**params).result_types()

    def pushed(self, builder: Any, equation: Any, tangents: Sequence[Any]) -> Sequence[Any]:
        """Record one loop for values and tangents."""
        spec = spec_of(equation)
        flags = spec.operands([tangent is not None for tangent in tangents])
        made = joint(spec, flags)
        return push_loop(self, builder, equation, tangents, made)

    def split(self, equation: Any, dependent: Sequence[bool]) -> Any:
        """Run what is known first; see ``clew.loops.split``."""
        return split_loop(equation, dependent)

    def pull(self, cotangent: Any, operands: Sequence[Any], params: dict) -> Sequence[Any]:
        """Run the transposed body backwards."""
        spec = Spec(**params)
        groups = spec.operands(operands)
        depends = linear_in(spec, spec.operands([isinstance(x, Type) for x in operands]))
        given = spec.results(cotangent)
        made = transposed(spec, depends, spec.results([c is not None for c in cotangent]))
        carries, scanned, held = start_of(made, spec, groups, given)
        divided = fission(made.spec, len(made.carries))
        if divided is None:
            values = self(*groups.count, *carries, *scanned, *held, **made.spec.params())
            return placed(made, groups, made.spec.results(values))
        first = carries[: len(made.carries)]
        new = divided.spec
        results = new.results(self(*first, *scanned, *held, **new.params()))
        stacked = results.stacked[: divided.stacked]
        sums = summed(divided, scanned, results.stacked[divided.stacked :], held)
        return placed(made, groups, Results([*results.carries, *sums], stacked, [], []))

    def batched(
        self, size: int, operands: Sequence[Any], batched: Sequence[bool], params: dict
    ) -> Any:
        """Batch the body; steps that some examples no longer take leave those as they are."""
        return batch_loop(size, Spec(**params), list(operands), list(batched))

    def measured(self, equation: Any) -> Measure:
        """Count the steps' operations, and what they leave behind."""
        return measure_loop(equation)

    def pruned(self, equation: Any, live: Sequence[bool]) -> Any:
        """Drop the carries and stacks that nobody reads, and inputs that no step reads."""
        return prune_loop(equation, live)

    def twins(self, equation: Any) -> dict[Any, Any]:
        """Return the stacks of what is stacked before."""
        spec = spec_of(equation)
        return twins_of(spec.results(equation.outputs).stacked, spec.body_stacked)


def push_loop(
    primitive: Any, builder: Any, equation: Equation, tangents: Sequence[Any], made: Any
) -> list[Any]:
    """Record the joint loop in place of a loop's equation; return the outputs' tangents."""
    spec = spec_of(equation)
    values = spec.operands(equation.inputs)
    moving = spec.operands(tangents)
    carried = [moving.carries[i] for i in made.carries]
    types = spec.carry_types()
    seeds = [
        zeros_atom(builder, types[i]) if tangent is None else builder.atom(tangent)
        for i, tangent in zip(made.carries, carried, strict=True)
    ]
    operands = [
        *values.count,
        *values.carries,
        *seeds,
        *values.scanned,
        *(builder.atom(t) for t in moving.scanned if t is not None),
        *values.held,
        *(builder.atom(t) for t in moving.held if t is not None),
    ]
    results = spec.results(equation.outputs)
    next_carries = {i: Var(results.carries[i].type) for i in made.carries}
    stacked = {i: Var(results.stacked[i].type) for i in made.stacked}
    outputs = [
        *results.carries,
        *next_carries.values(),
        *results.stacked,
        *stacked.values(),
        *results.count,
        *results.snapshots,
    ]
    params = made.spec.params()
    builder.equations.append(
        Equation(primitive, tuple(operands), params, tuple(outputs), equation.scope, equation.where)
    )
    found = [
        *(next_carries.get(i) for i in range(len(results.carries))),
        *(stacked.get(i) for i in range(len(results.stacked))),
        *(None for _ in results.count),
        # Those of the joint carries begin with those of the values: one variable is both.
        *results.snapshots,
    ]
    return [None if var is None else builder.value(var) for var in found]


def zeros_atom(builder: Any, kind: Type) -> Any:
    """Return an atom for zeros of a type."""
    return builder.atom(zeros(kind))


def measure_loop(equation: Equation) -> Measure:
    """Return the cost of a loop; of one step, if nobody knows how many there will be."""
    spec = spec_of(equation)
    each = spec.body.cost()
    asked = None if spec.condition is None else spec.condition.cost()
    steps = 1 if spec.length is None else spec.length
    results = [bytes_of(var.type) for var in equation.outputs]
    state = sum(bytes_of(kind) for kind in spec.carry_types())
    if spec.snapshots is not None:
        kept = spec.snapshots
        if spec.length is not None:
            kept = len(block_positions(spec.length, spec.snapshots))
        results[-1] = kept * state
    unknown = each.unknown
    if spec.length is None:
        tape = sum(bytes_of(atom.type) for atom in spec.body_stacked)
        where = f" at {spec.policy.where}" if spec.policy.where else ""
        unknown = (f"{spec.policy.spelling}{where}: {tape:,} bytes of tape a step", *unknown)
    operations = each.operations + (asked.operations if asked else 0)
    traffic = each.bytes + (asked.bytes if asked else 0)
    return Measure(steps * operations, steps * traffic, results, each.peak + state, unknown)


def prune_loop(equation: Equation, live: Sequence[bool]) -> Equation:
    """Return the equation with only the outputs flagged, and what they need."""
    spec = spec_of(equation)
    results = spec.results(equation.outputs)
    flags = spec.results(live)
    inputs = spec.inner(spec.body.inputs)
    condition = spec.condition
    asked: set[Any] = set()
    if condition is not None:
        condition = condition.with_live_equations()
        asked = {v for v in _read(condition) if type(v) is Var}
        tested = [var in asked for var in condition.inputs[: spec.carries]]
    else:
        tested = [False] * spec.carries
    everything = spec.snapshots is not None and any(flags.snapshots)
    kept = [flag or test or everything for flag, test in zip(flags.carries, tested, strict=True)]
    stacked = [i for i, flag in enumerate(flags.stacked) if flag]
    while True:
        outputs = [a for a, flag in zip(spec.body_carries, kept, strict=True) if flag]
        outputs += [spec.body_stacked[i] for i in stacked]
        body = Graph(spec.body.inputs, spec.body.equations, outputs, spec.body.constants)
        body = body.with_live_equations()
        read = _read(body)
        reached = [f or v in read for f, v in zip(kept, inputs.carries, strict=True)]
        if reached == kept:
            break
        kept = reached
    held_asked = [False] * len(inputs.held)
    if condition is not None:
        held_asked = [var in asked for var in condition.inputs[spec.carries :]]
    scans = [var in read for var in inputs.scanned]
    holds = [v in read or a for v, a in zip(inputs.held, held_asked, strict=True)]
    if all(live) and all(kept) and all(scans) and all(holds):
        return equation
    choose = Groups([True] * int(spec.counted), kept, scans, holds)
    operands = _chosen(equation.inputs, choose.flat())
    carried = [var for var, flag in zip(results.carries, kept, strict=True) if flag]
    chosen = _chosen(spec.body.inputs, choose.inner())
    new_body = Graph(chosen, body.equations, body.outputs, body.constants)
    if condition is not None:
        chosen = _chosen(condition.inputs, [*kept, *holds])
        condition = Graph(chosen, condition.equations, condition.outputs, condition.constants)
    new = spec.with_(
        body=new_body,
        condition=condition,
        carries=sum(kept),
        scanned=sum(scans),
        snapshots=spec.snapshots if everything else None,
    )
    made = [*carried, *(results.stacked[i] for i in stacked), *results.count]
    made += results.snapshots if everything else []
    return equation.remade(tuple(operands), new.params(), tuple(made))


def _chosen(values: Sequence[Any], flags: Sequence[bool]) -> list[Any]:
    return [value for value, flag in zip(values, flags, strict=True) if flag]


def _read(graph: Graph) -> set[Any]:
    """Return the variables that a graph reads or returns."""
    read = {atom for equation in graph.equations for atom in equation.inputs}
    read.update(graph.outputs)
    return {atom for atom in read if type(atom) is not Literal}


loop = Loop("loop", run_loop, "", True)
