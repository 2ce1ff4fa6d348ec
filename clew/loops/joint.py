"""The push-forward of a loop: one loop that carries values and tangents together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clew.calculus.push import push
from clew.core.graph import Graph, Var
from clew.core.kinds import zeros
from clew.loops.spec import Groups, Spec, reordered
from clew.simplify import simplify
from clew.trace import Builder


@dataclass(frozen=True)
class Joint:
    """A loop with its tangents: which carries and which stacked outputs have one.

    Tangents come after the values they belong to, group by group; operands too.
    """

    spec: Spec
    carries: list[int]
    stacked: list[int]


def joint(spec: Spec, seeded: Groups) -> Joint:
    """Push a loop forward in the operands flagged; carries that become dependent join them."""
    carries = [bool(flag) for flag in seeded.carries]
    while True:
        flags = [*carries, *seeded.scanned, *seeded.held]
        pushed = push(spec.body, [i for i, flag in enumerate(flags) if flag])
        reached = [
            flag or tangent is not None
            for flag, tangent in zip(carries, pushed.tangents[: spec.carries], strict=True)
        ]
        if reached == carries:
            break
        carries = reached
    graph = pushed.graph
    values = spec.inner(graph.inputs[: len(spec.body.inputs)])
    given = iter(graph.inputs[len(spec.body.inputs) :])
    tangents = spec.inner([next(given) if flag else None for flag in flags])
    moving = [i for i, flag in enumerate(carries) if flag]
    graph, next_tangents = _filled(graph, pushed.tangents, moving)
    stacked_tangents = pushed.tangents[spec.carries :]
    stacked = [i for i, tangent in enumerate(stacked_tangents) if tangent is not None]
    inputs = [
        *values.carries,
        *(tangents.carries[i] for i in moving),
        *values.scanned,
        *(var for var in tangents.scanned if var is not None),
        *values.held,
        *(var for var in tangents.held if var is not None),
    ]
    outputs = [
        *spec.body_carries,
        *next_tangents,
        *spec.body_stacked,
        *(stacked_tangents[i] for i in stacked),
    ]
    condition = None
    if spec.condition is not None:
        condition = _condition(spec, [tangents.carries[i] for i in moving], tangents.held)
    body = simplify(reordered(graph, inputs, outputs))
    new = spec.with_(
        body=body,
        condition=condition,
        carries=spec.carries + len(moving),
        scanned=spec.scanned + sum(var is not None for var in tangents.scanned),
    )
    return Joint(new, moving, stacked)


def _filled(graph: Graph, tangents: Sequence[Any], moving: Sequence[int]) -> tuple[Graph, list]:
    """Give zeros as the next tangent of carries whose tangent ends in this step."""
    with Builder.transforming(graph) as builder:
        builder.equations += graph.equations
        atoms = [
            builder.atom(zeros(graph.outputs[i].type)) if tangents[i] is None else tangents[i]
            for i in moving
        ]
    return builder.transformed(graph.inputs, graph.outputs, ()), atoms


def _condition(spec: Spec, carried: Sequence[Any], held: Sequence[Any]) -> Graph:
    """Let the condition pass over the tangents."""
    condition = spec.condition
    assert condition is not None
    inputs = [
        *condition.inputs[: spec.carries],
        *(Var(var.type) for var in carried),
        *condition.inputs[spec.carries :],
        *(Var(var.type) for var in held if var is not None),
    ]
    return Graph(inputs, condition.equations, condition.outputs, condition.constants)
