"""``replay``: a linear loop along the states of another loop, which are computed again.

It is two loops in one equation. The first, ``replayed``, gives the state before each of its
steps; the second, ``along``, scans those states (its first scanned inputs) besides its own, in
the same direction or the other. The states are never stored all at once: going back, they are
recomputed from the snapshots that an earlier run of the first loop kept. Push-forwards,
transposes and batches of a replay are replays of the push-forwards, transposes and batches.

Operands: ``[count]  snapshots  replayed: carries scanned held  along: carries scanned held``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.calculus.transpose import split
from clew.core.cost import Measure, bytes_of
from clew.core.errors import DerivativeError
from clew.core.graph import Equation, Graph, Var
from clew.core.kinds import Control
from clew.core.primitive import PRIMITIVES
from clew.core.types import Type
from clew.loops.batched import (
    aligned,
    alike,
    examples_first,
    graph_of,
    ragged_body,
    waiting,
)
from clew.loops.execute import (
    Buffers,
    scannable,
    settled,
    span_of,
    steps,
    with_states,
)
from clew.loops.joint import joint
from clew.loops.primitive import zeros_atom
from clew.loops.schedule import first_positions, forward_steps, split_point
from clew.loops.spec import Groups, Spec, inlined
from clew.loops.transposed import linear_in, placed, start_of, transposed
from clew.trace import Builder

_CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class Operands:
    """The operands of a replay by role."""

    count: list[Any]
    snapshots: Any
    replayed: Groups
    along: Groups

    def flat(self) -> list[Any]:
        """Return all in order."""
        return [*self.count, self.snapshots, *self.replayed.inner(), *self.along.inner()]


def operands_of(values: Sequence[Any], replayed: Spec, along: Spec) -> Operands:
    """Group what is listed in the order of a replay's operands."""
    count = int(replayed.counted)
    middle = count + 1 + len(replayed.body.inputs)
    own = values[middle:]
    scans = along.carries + along.scanned - replayed.carries
    return Operands(
        list(values[:count]),
        values[count],
        replayed.inner(values[count + 1 : middle]),
        Groups([], list(own[: along.carries]), list(own[along.carries : scans]), list(own[scans:])),
    )


# --- running -----------------------------------------------------------------------------------


def run_replay(xp: Any, *operands: Any, replayed: Spec, along: Spec) -> tuple[Any, ...]:
    """Run the two loops; only the states of a stretch of steps exist at a time."""
    given = operands_of(operands, replayed, along)
    total = int(given.count[0]) if replayed.counted else replayed.length
    assert total is not None
    with np.errstate(all="ignore"):
        walk = _Walk(xp, replayed, along, given, total)
        if along.reverse == replayed.reverse:
            walk.forward()
        else:
            walk.backward(given.snapshots)
    return walk.results()


class _Walk:
    """A run of the second loop over stretches of states of the first."""

    def __init__(self, xp: Any, replayed: Spec, along: Spec, given: Operands, total: int) -> None:
        self._xp = xp
        self._replayed = replayed
        self._along = along
        self._total = total
        self._start = settled(xp, given.replayed.carries)
        self._scanned = scannable(given.replayed.scanned)
        self._held = settled(xp, given.replayed.held)
        self._carries = settled(xp, given.along.carries)
        self._along_scanned = scannable(given.along.scanned)
        self._along_held = settled(xp, given.along.held)
        self._elements = [atom.type for atom in along.body_stacked]
        self._buffers = Buffers(xp, self._elements, total)
        self._advance = span_of(replayed)
        self._record = span_of(with_states(replayed), 0, True)
        self._run_along = span_of(along, replayed.carries, False)

    def results(self) -> tuple[Any, ...]:
        kinds = [self._along.stacked_type(each) for each in self._elements]
        return (*self._carries, *self._buffers.results(self._xp, kinds))

    def forward(self) -> None:
        """Run both loops together, a stretch at a time."""
        kinds = self._replayed.carry_types()
        stretch = max(1, _CHUNK_BYTES // max(1, sum(map(bytes_of, kinds))))
        self._make_room(min(stretch, self._total))
        state = self._start
        for first in range(0, self._total, stretch):
            last = min(first + stretch, self._total)
            state, states, base = self._recorded(first, last, state)
            self._second(first, last, states, base)

    def backward(self, snapshots: Any) -> None:
        """Run the second loop from the last step to the first."""
        if not self._total:
            return
        count = self._replayed.carries
        if snapshots.dense:
            self._second(0, self._total, snapshots.items[:count], 0)
            return
        limit = snapshots.limit
        self._make_room(min(limit, self._total))
        kept = [
            (position, snapshots.at(slot)[:count])
            for slot, position in enumerate(snapshots.positions)
        ]
        end = self._total
        while end > 0:
            position, state = kept[-1]
            free = limit - len(kept)
            blocks = -(-(end - position) // limit)
            if blocks == 1:
                kept.pop()
            elif free:
                middle = position + limit * split_point(blocks, free + 1)
                kept.append((middle, self._advanced(position, middle, state)))
                continue
            else:
                last = position + limit * (blocks - 1)
                state = self._advanced(position, last, state)
                position = last
            _, states, base = self._recorded(position, end, state)
            self._second(position, end, states, base)
            end = position

    def _make_room(self, steps: int) -> None:
        self._states = Buffers(self._xp, self._replayed.carry_types(), steps)

    def _advanced(self, first: int, last: int, state: Any) -> Any:
        start, stop, step = steps(self._replayed.reverse, first, last, self._total)
        found, _ = self._advance(
            self._xp, start, stop, step, 0, state, self._scanned, self._held, ()
        )
        return found

    def _recorded(self, first: int, last: int, state: Any) -> tuple[Any, list[Any], int]:
        """Run the first loop over a stretch; return the last state, all of them, and the base."""
        states = self._states.items
        start, stop, step = steps(self._replayed.reverse, first, last, self._total)
        base = stop + 1 if step < 0 else start
        found, _ = self._record(
            self._xp, start, stop, step, base, state, self._scanned, self._held, states
        )
        return found, states, base

    def _second(self, first: int, last: int, states: Sequence[Any], base: int) -> None:
        """Run the second loop over a stretch of steps of the first, whose states are given."""
        if self._along.reverse == self._replayed.reverse:
            start, stop, step = steps(self._along.reverse, first, last, self._total)
        else:
            own = (self._total - last, self._total - first)
            start, stop, step = steps(self._along.reverse, *own, self._total)
        scanned = (*states, *self._along_scanned)
        self._carries, _ = self._run_along(
            self._xp,
            start,
            stop,
            step,
            base,
            self._carries,
            scanned,
            self._along_held,
            self._buffers.items,
        )


# --- as two loops ------------------------------------------------------------------------------


def expanded(operands: Sequence[Any], replayed: Spec, along: Spec) -> Sequence[Any]:
    """Record the two loops that a replay stands for, all states stored; return the results."""
    given = operands_of(operands, replayed, along)
    loop = PRIMITIVES["loop"]
    first = [*given.count, *given.replayed.inner()]
    values = loop(*first, **with_states(replayed).params())
    states = values[replayed.carries :]
    second = [*given.count, *given.along.carries, *states, *given.along.scanned, *given.along.held]
    return loop(*second, **along.params())


@dataclass(frozen=True, eq=False, repr=False)
class Replay(Control):
    """A linear loop along recomputed states."""

    def result_type(self, types: Sequence[Type], params: dict[str, Any]) -> Any:
        """Return the types of the second loop's results."""
        return params["along"].result_types()

    def pushed(self, builder: Any, equation: Any, tangents: Sequence[Any]) -> Sequence[Any]:
        """Push both loops forward; the states' tangents run along with the states."""
        return _push_replay(self, builder, equation, tangents)

    def split(self, equation: Any, dependent: Sequence[bool]) -> Any:
        """If the states depend on tangents: divide the two loops that it stands for."""
        replayed, along = equation.params["replayed"], equation.params["along"]
        flags = operands_of(list(dependent), replayed, along)
        if not any(flags.replayed.inner()) and all(flags.along.carries):
            return None
        kinds = [atom.type for atom in equation.inputs]
        graph = graph_of(lambda *values: expanded(values, replayed, along), kinds)
        return _split_graph(graph, equation, dependent)

    def pull(self, cotangent: Any, operands: Sequence[Any], params: dict) -> Sequence[Any]:
        """Run the transposed second loop along the states, the other way."""
        replayed, along = params["replayed"], params["along"]
        given = operands_of(operands, replayed, along)
        if any(isinstance(x, Type) for x in given.replayed.inner()):
            raise DerivativeError(
                "replay: cannot be transposed, its states are not linear in it",
                "differentiate the function as a whole with clew.grad or clew.vjp",
            )
        states = [0.0] * replayed.carries  # known, like any other value
        whole = Groups([], given.along.carries, [*states, *given.along.scanned], given.along.held)
        flags = (
            [isinstance(x, Type) for x in g] for g in (whole.carries, whole.scanned, whole.held)
        )
        linear = linear_in(along, Groups([], *flags))
        results = along.results([c is not None for c in cotangent])
        made = transposed(along, linear, results)
        cotangents = along.results(cotangent)
        carries, scanned, held = start_of(made, along, whole, cotangents)
        new = Operands(
            given.count,
            given.snapshots,
            given.replayed,
            Groups([], carries, scanned[replayed.carries :], held),
        )
        values = self(*new.flat(), replayed=replayed, along=made.spec)
        found = placed(made, whole, made.spec.results(values))
        del found[along.carries : along.carries + replayed.carries]
        before = len(given.count) + 1 + len(given.replayed.inner())
        return [*(None for _ in range(before)), *found]

    def measured(self, equation: Any) -> Measure:
        """Count both loops, the first as often as its schedule runs it."""
        return _measure_replay(equation)

    def batched(
        self, size: int, operands: Sequence[Any], batched: Sequence[bool], params: dict
    ) -> Any:
        """Batch both loops; examples that take fewer steps than others wait."""
        replayed, along = params["replayed"], params["along"]
        given = operands_of(list(operands), replayed, along)
        flags = operands_of(list(batched), replayed, along)
        if any(flags.count):
            return _batch_ragged(self, size, given, flags, params)
        return _batch_alike(self, size, given, flags, params)


def _batch_ragged(
    primitive: Any, size: int, given: Operands, flags: Operands, params: dict[str, Spec]
) -> Sequence[Any]:
    replayed, along = params["replayed"], params["along"]
    states, its = [True] * replayed.carries, flags.along
    own = Groups([], states, flags.replayed.scanned, flags.replayed.held)
    moving = [True] * along.carries
    known = Groups([], moving, [*states, *its.scanned], its.held)
    totals = given.count[0]
    longest, further = waiting(size, replayed, totals, idle=True)
    one = aligned(size, given.replayed, flags.replayed, states)
    two = aligned(size, given.along, its, moving)
    operands = Operands(
        [longest],
        given.snapshots,
        Groups([], [*one.carries, *further], one.scanned, [*one.held, totals]),
        Groups([], two.carries, two.scanned, [*two.held, totals]),
    )
    policy = replayed.policy.of_batch(size)
    body = ragged_body(size, replayed, own, idle=True)
    again = replayed.with_(body=body, carries=len(states) + len(further), policy=policy)
    body = ragged_body(size, along, known, idle=True, states=len(states))
    second = along.with_(body=body, scanned=along.scanned + len(further), policy=policy)
    return primitive(*operands.flat(), replayed=again, along=second)


def _batch_alike(
    primitive: Any, size: int, given: Operands, flags: Operands, params: dict[str, Spec]
) -> list[Any]:
    first, moving = alike(size, params["replayed"], flags.replayed)
    its = flags.along
    known = Groups([], its.carries, [*moving, *its.scanned], its.held)
    second, carries = alike(size, params["along"], known)
    operands = Operands(
        given.count,
        given.snapshots,
        aligned(size, given.replayed, flags.replayed, moving),
        aligned(size, given.along, its, carries),
    )
    values = primitive(*operands.flat(), replayed=first, along=second)
    return examples_first(second, size, values, carries)


def _measure_replay(equation: Equation) -> Measure:
    replayed, along = equation.params["replayed"], equation.params["along"]
    first, second = replayed.body.cost(), along.body.cost()
    state = sum(bytes_of(kind) for kind in replayed.carry_types())
    limit = replayed.snapshots
    steps, again = 1, 1
    if replayed.length is not None:
        steps = replayed.length
        again = 0 if steps <= limit else steps + _advanced_steps(steps, limit)
    stretch = min(limit, max(steps, 1)) if again else 0
    if -(-steps // limit) > limit:
        stretch += limit - 1  # snapshots between those of the first run
    operations = again * first.operations + steps * second.operations
    traffic = again * first.bytes + steps * second.bytes
    results = [bytes_of(var.type) for var in equation.outputs]
    own = sum(bytes_of(kind) for kind in along.carry_types())
    workspace = stretch * state + max(first.peak + state, second.peak + own)
    return Measure(operations, traffic, results, workspace, (*first.unknown, *second.unknown))


def _advanced_steps(steps: int, limit: int) -> int:
    """Return the steps run again only to reach a block, beyond those of the first run."""
    blocks = -(-steps // limit)
    first = first_positions(blocks, limit)[-1]
    return limit * (forward_steps(blocks, limit) - first)


def _split_graph(graph: Any, equation: Any, dependent: Sequence[bool]) -> Any:
    """Divide the equations of a graph that stands for an equation."""
    equations: list[Equation] = []
    atoms = inlined(graph, equation.inputs, equations)
    renamed = dict(zip(atoms, equation.outputs, strict=True))
    final = []
    for each in equations:
        outputs = tuple(renamed.get(var, var) for var in each.outputs)
        final.append(each.reading({}, outputs))
    seeds = [a for a, flag in zip(equation.inputs, dependent, strict=True) if flag]
    parts = split(Graph(equation.inputs, final, equation.outputs), seeds)
    return list(parts.primal), list(parts.linear)


def _push_replay(
    primitive: Any, builder: Any, equation: Equation, tangents: Sequence[Any]
) -> list[Any]:
    replayed, along = equation.params["replayed"], equation.params["along"]
    values = operands_of(equation.inputs, replayed, along)
    moving = operands_of(tangents, replayed, along)
    first = joint(replayed, _flags(moving.replayed))
    known = _flags(moving.along)
    states = [i in first.carries for i in range(replayed.carries)]
    second = joint(along, Groups([], known.carries, [*states, *known.scanned], known.held))
    spec = _states_first(second.spec, along, replayed.carries, len(first.carries), known)
    new = Operands(
        values.count,
        values.snapshots if moving.snapshots is None else builder.atom(moving.snapshots),
        _with_tangents(builder, replayed, values.replayed, moving.replayed, first.carries),
        _with_tangents(builder, along, values.along, moving.along, second.carries),
    )
    results = along.results(equation.outputs)
    next_carries = {i: Var(results.carries[i].type) for i in second.carries}
    stacked = {i: Var(results.stacked[i].type) for i in second.stacked}
    outputs = (
        *results.carries,
        *next_carries.values(),
        *results.stacked,
        *stacked.values(),
    )
    params = {"replayed": first.spec, "along": spec}
    builder.equations.append(
        Equation(primitive, tuple(new.flat()), params, outputs, equation.scope, equation.where)
    )
    found = [
        *(next_carries.get(i) for i in range(len(results.carries))),
        *(stacked.get(i) for i in range(len(results.stacked))),
    ]
    return [None if var is None else builder.value(var) for var in found]


def _flags(groups: Groups) -> Groups:
    return Groups(
        [], *([x is not None for x in g] for g in (groups.carries, groups.scanned, groups.held))
    )


def _with_tangents(
    builder: Builder, spec: Spec, values: Groups, moving: Groups, carried: Sequence[int]
) -> Groups:
    types = spec.carry_types()
    seeds = []
    for i in carried:
        tangent = moving.carries[i]
        atom = zeros_atom(builder, types[i]) if tangent is None else builder.atom(tangent)
        seeds.append(atom)
    return Groups(
        [],
        [*values.carries, *seeds],
        [*values.scanned, *(builder.atom(t) for t in moving.scanned if t is not None)],
        [*values.held, *(builder.atom(t) for t in moving.held if t is not None)],
    )


def _states_first(spec: Spec, along: Spec, states: int, tangents: int, known: Groups) -> Spec:
    """Order the joint second loop's scanned inputs: states, their tangents, then its own."""
    inputs = spec.inner(spec.body.inputs)
    own = along.scanned - states
    primal_states = inputs.scanned[:states]
    primal_own = inputs.scanned[states : states + own]
    moving_states = inputs.scanned[states + own : states + own + tangents]
    moving_own = inputs.scanned[states + own + tangents :]
    ordered = [*primal_states, *moving_states, *primal_own, *moving_own]
    body = Graph(
        [*inputs.carries, *ordered, *inputs.held],
        spec.body.equations,
        spec.body.outputs,
        spec.body.constants,
    )
    return spec.with_(body=body)


replay = Replay("replay", run_replay, "", True)
