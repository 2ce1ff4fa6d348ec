"""The transpose of a linear loop: the transposed step, run from the last step to the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clew.calculus.transpose import split, transpose
from clew.core.errors import DerivativeError
from clew.core.graph import Atom, Graph, Var
from clew.core.kinds import zeros
from clew.core.primitive import PRIMITIVES
from clew.core.types import Type
from clew.loops.spec import Groups, Results, Spec
from clew.simplify import simplify
from clew.trace import Builder


@dataclass(frozen=True)
class Transposed:
    """A transposed loop, and which cotangents it carries.

    Its carries are the cotangents of ``carries``, then sums for ``held``; it scans the known
    inputs, then the cotangents of ``stacked``; it stacks the cotangents of ``scanned``. The
    numbers count the original loop's operands, or outputs, of each group.
    """

    spec: Spec
    carries: list[int]
    held: list[int]
    stacked: list[int]
    scanned: list[int]


def linear_in(spec: Spec, depends: Groups) -> Groups:
    """Return which operands a loop is linear in: a carry may begin with zeros and become so."""
    carries = [bool(flag) for flag in depends.carries]
    while not all(carries):
        flags = [*carries, *depends.scanned, *depends.held]
        seeds = [var for var, flag in zip(spec.body.inputs, flags, strict=True) if flag]
        reached = {var for each in split(spec.body, seeds).linear for var in each.outputs}
        reached.update(seeds)
        found = [
            flag or atom in reached for flag, atom in zip(carries, spec.body_carries, strict=True)
        ]
        if found == carries:
            raise DerivativeError(
                "loop: cannot be transposed, some of its carries are not linear in it",
                "differentiate the function as a whole with clew.grad or clew.vjp",
            )
        carries = found
    return Groups(depends.count, carries, depends.scanned, depends.held)


def transposed(spec: Spec, depends: Groups, given: Results) -> Transposed:
    """Transpose a loop that is linear in its carries and the other operands flagged.

    ``given`` says which outputs have a cotangent.
    """
    inputs = spec.inner(spec.body.inputs)
    seeds = [var for var, flag in zip(spec.body.inputs, depends.inner(), strict=True) if flag]
    stacked = [i for i, flag in enumerate(given.stacked) if flag]
    carries = [bool(flag) for flag in given.carries]
    while True:
        outputs = [atom for atom, flag in zip(spec.body_carries, carries, strict=True) if flag]
        outputs += [spec.body_stacked[i] for i in stacked]
        graph, has_path = transpose(spec.body, seeds, outputs, ())
        found = _by_input(seeds, has_path, graph.outputs)
        reached = [flag or var in found for flag, var in zip(carries, inputs.carries, strict=True)]
        if reached == carries:
            break
        carries = reached
    active = [i for i, flag in enumerate(carries) if flag]
    held = [i for i, var in enumerate(inputs.held) if var in found]
    scanned = [i for i, var in enumerate(inputs.scanned) if var in found]
    body = _body(graph, spec, depends, found, active, held, scanned)
    known = sum(not flag for flag in depends.scanned)
    new = spec.with_(
        body=body,
        carries=len(active) + len(held),
        scanned=known + len(stacked),
        reverse=not spec.reverse,
    )
    return Transposed(new, active, held, stacked, scanned)


def _by_input(
    seeds: Sequence[Var], has_path: Sequence[bool], results: Sequence[Atom]
) -> dict[Var, Atom]:
    rest = iter(results)
    return {var: next(rest) for var, flag in zip(seeds, has_path, strict=True) if flag}


def _body(
    graph: Graph,
    spec: Spec,
    depends: Groups,
    found: dict[Var, Atom],
    active: Sequence[int],
    held: Sequence[int],
    scanned: Sequence[int],
) -> Graph:
    """Order the transposed step's inputs and outputs as a loop's body has them."""
    inputs = spec.inner(spec.body.inputs)
    known = Groups(
        [],
        [],
        [v for v, flag in zip(inputs.scanned, depends.scanned, strict=True) if not flag],
        [v for v, flag in zip(inputs.held, depends.held, strict=True) if not flag],
    )
    cotangents = graph.inputs[len(known.inner()) :]
    with Builder.transforming(graph) as builder:
        builder.equations += graph.equations
        next_carries = [
            found.get(inputs.carries[i]) or builder.atom(zeros(inputs.carries[i].type))
            for i in active
        ]
        sums = [Var(inputs.held[i].type) for i in held]
        for var, i in zip(sums, held, strict=True):
            total = PRIMITIVES["add"](builder.value(var), builder.operand(found[inputs.held[i]]))
            next_carries.append(builder.atom(total))
        results = [*next_carries, *(found[inputs.scanned[i]] for i in scanned)]
    ordered = [
        *cotangents[: len(active)],
        *sums,
        *known.scanned,
        *cotangents[len(active) :],
        *known.held,
    ]
    return simplify(builder.transformed(ordered, results, ()))


def start_of(
    made: Transposed, spec: Spec, operands: Groups, cotangents: Results
) -> tuple[list[Any], list[Any], list[Any]]:
    """Return the transposed loop's first carries, what it scans, and what it holds."""
    carries = []
    for i in made.carries:
        given = cotangents.carries[i]
        carries.append(zeros(spec.carry_types()[i]) if given is None else given)
    carries += [zeros(operands.held[i]) for i in made.held]
    scanned = [x for x in operands.scanned if not isinstance(x, Type)]
    scanned += [cotangents.stacked[i] for i in made.stacked]
    return carries, scanned, [x for x in operands.held if not isinstance(x, Type)]


def placed(made: Transposed, operands: Groups, results: Results) -> list[Any]:
    """Return the cotangents in the order of the original operands; None where there is none."""
    carries = dict(zip(made.carries, results.carries, strict=False))
    held = dict(zip(made.held, results.carries[len(made.carries) :], strict=True))
    scanned = dict(zip(made.scanned, results.stacked, strict=True))
    return [
        *(None for _ in operands.count),
        *(carries.get(i) for i in range(len(operands.carries))),
        *(scanned.get(i) for i in range(len(operands.scanned))),
        *(held.get(i) for i in range(len(operands.held))),
    ]
