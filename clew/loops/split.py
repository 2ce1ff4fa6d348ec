"""Cut a loop in two: what does not depend on tangents runs first and saves what the rest needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clew.calculus.transpose import Linearized, split
from clew.core.graph import Atom, Equation, Graph, Var
from clew.core.primitive import PRIMITIVES
from clew.core.tape import TapeType
from clew.loops.execute import all_bytes
from clew.loops.memory import AUTO_BYTES
from clew.loops.residuals import saved_values
from clew.loops.spec import SNAPSHOTS, Groups, Results, Spec, spec_of


@dataclass(frozen=True)
class _Divided:
    """A loop's body divided, with what depends on tangents flagged."""

    spec: Spec
    parts: Linearized
    operands: Groups  # atoms
    depends: Groups  # flags
    results: Results  # the equation's output variables

    def inputs(self, dependent: bool) -> Groups:
        """Return the body's inputs that do, or do not, depend on tangents."""
        return _chosen(self.spec.inner(self.spec.body.inputs), self.depends, dependent)

    def arguments(self, dependent: bool) -> Groups:
        """Return the equation's operands for those inputs."""
        return _chosen(self.operands, self.depends, dependent)

    def stacked(self, dependent: bool) -> list[int]:
        """Return the numbers of the stacked outputs that do, or do not, depend on tangents."""
        known = self._known()
        return [
            i
            for i, atom in enumerate(self.spec.body_stacked)
            if (type(atom) is Var and atom not in known) is dependent
        ]

    def carried(self, dependent: bool) -> list[int]:
        """Return the numbers of such carries."""
        return [i for i, flag in enumerate(self.depends.carries) if bool(flag) is dependent]

    def _known(self) -> set[Any]:
        known: set[Any] = {*self.inputs(False).inner(), *self.spec.body.constants}
        for equation in self.parts.primal:
            known.update(equation.outputs)
        return known


def _chosen(groups: Groups, flags: Groups, dependent: bool) -> Groups:
    def pick(values: Sequence[Any], chosen: Sequence[Any]) -> list[Any]:
        return [v for v, flag in zip(values, chosen, strict=True) if bool(flag) is dependent]

    return Groups(
        [],
        pick(groups.carries, flags.carries),
        pick(groups.scanned, flags.scanned),
        pick(groups.held, flags.held),
    )


def split_loop(equation: Equation, dependent: Sequence[bool]) -> Any:
    """Return the known equations and the linear ones, or None if nothing is known."""
    spec = spec_of(equation)
    divided = _divide(spec, equation, spec.operands(list(dependent)))
    nothing_known = not divided.carried(False) and not divided.stacked(False)
    if nothing_known:
        return None
    wanted = spec.policy.checkpoint
    if wanted is None or not divided.carried(False):
        return _with_tape(divided, equation)
    saved = _saved(divided)
    if wanted == "auto":
        wanted = _snapshots_that_fit(divided, saved)
    if wanted is None:
        return _with_tape(divided, equation)
    return _with_snapshots(divided, equation, wanted)


def _divide(spec: Spec, equation: Equation, depends: Groups) -> _Divided:
    """Find which carries depend on tangents, and divide the body accordingly."""
    while True:
        flags = depends.inner()
        seeds = [var for var, flag in zip(spec.body.inputs, flags, strict=True) if flag]
        parts = split(spec.body, seeds)
        reached: set[Any] = set(seeds)
        for each in parts.linear:
            reached.update(each.outputs)
        carries = [
            flag or atom in reached
            for flag, atom in zip(depends.carries, spec.body_carries, strict=True)
        ]
        if carries == depends.carries:
            operands = spec.operands(equation.inputs)
            return _Divided(spec, parts, operands, depends, spec.results(equation.outputs))
        depends = Groups(depends.count, carries, depends.scanned, depends.held)


def _read(divided: _Divided) -> dict[Var, None]:
    """Return the known variables that the linear part reads."""
    known = divided._known()
    read: dict[Var, None] = {}
    atoms = [atom for equation in divided.parts.linear for atom in equation.inputs]
    atoms += _linear_outputs(divided)
    for atom in atoms:
        if type(atom) is Var and atom in known and atom not in divided.spec.body.constants:
            read[atom] = None
    return read


def _linear_outputs(divided: _Divided) -> list[Atom]:
    carried = [divided.spec.body_carries[i] for i in divided.carried(True)]
    return carried + [divided.spec.body_stacked[i] for i in divided.stacked(True)]


def _saved(divided: _Divided) -> list[Var]:
    known = divided.inputs(False)
    free = {*known.scanned, *known.held}
    read = [var for var in _read(divided) if var not in free]
    stacked = {divided.spec.body_stacked[i] for i in divided.stacked(False)}
    kept = {atom for atom in stacked if type(atom) is Var}
    return saved_values(divided.parts.primal, known.carries, read, kept)


def _snapshots_that_fit(divided: _Divided, saved: Sequence[Var]) -> int | None:
    """Return how many snapshots fit the budget; None if the whole tape surely does."""
    spec = divided.spec
    budget = spec.policy.memory or AUTO_BYTES
    each = all_bytes([var.type for var in saved])
    endless = any(type(var.type) is TapeType for var in saved)
    if spec.length is not None and not endless and spec.length * each <= budget:
        return None
    state = max(1, all_bytes([var.type for var in divided.inputs(False).carries]))
    if spec.length is not None and spec.length * state <= budget:
        return spec.length
    # The first run's snapshots, a block of states, and, beyond limit^2 steps, snapshots between.
    limit = budget // (2 * state)
    if spec.length is None or spec.length > limit * limit:
        limit = budget // (3 * state)
    return max(1, limit)


# --- saving what is needed ---------------------------------------------------------------------


def _with_tape(divided: _Divided, equation: Equation) -> tuple[list[Equation], list[Equation]]:
    """Save values at each step: the known loop stacks them, the linear loop scans them."""
    spec = divided.spec
    saved = _saved(divided)
    already = {spec.body_stacked[i]: divided.results.stacked[i] for i in divided.stacked(False)}
    fresh = [var for var in saved if var not in already]
    stacks = {var: Var(spec.stacked_type(var.type)) for var in fresh}
    old = divided.results.snapshots
    snapshots = (spec.snapshots or 0, old[0]) if old else None
    first, count = _known_loop(divided, equation, fresh, list(stacks.values()), snapshots)
    tapes = [already.get(var) or stacks[var] for var in saved]
    second = _linear_loop(divided, equation, saved, tapes, count)
    return first, second


def _known_loop(
    divided: _Divided,
    equation: Equation,
    extra: Sequence[Var],
    stacks: Sequence[Var],
    snapshots: tuple[int, Var] | None,
) -> tuple[list[Equation], list[Var]]:
    spec, results = divided.spec, divided.results
    inputs, arguments = divided.inputs(False), divided.arguments(False)
    carried, stacked = divided.carried(False), divided.stacked(False)
    outputs = [
        *(spec.body_carries[i] for i in carried),
        *(spec.body_stacked[i] for i in stacked),
        *extra,
    ]
    body = Graph(inputs.inner(), divided.parts.primal, outputs, spec.body.constants)
    condition = None
    if spec.condition is not None:
        condition = _known_condition(spec, divided.depends)
    new = spec.with_(
        body=body.with_live_equations(),
        condition=condition,
        carries=len(carried),
        scanned=len(inputs.scanned),
        snapshots=None if snapshots is None else snapshots[0],
    )
    made = [
        *(results.carries[i] for i in carried),
        *(results.stacked[i] for i in stacked),
        *stacks,
        *results.count,
        *(() if snapshots is None else (snapshots[1],)),
    ]
    operands = [*divided.operands.count, *arguments.inner()]
    known = _loop_equation(equation, new, operands, made)
    count = divided.operands.count or results.count
    return [known], list(count)


def _known_condition(spec: Spec, depends: Groups) -> Graph:
    condition = spec.condition
    assert condition is not None
    flags = [*depends.carries, *depends.held]
    inputs = [var for var, flag in zip(condition.inputs, flags, strict=True) if not flag]
    return Graph(inputs, condition.equations, condition.outputs, condition.constants)


def _linear_loop(
    divided: _Divided,
    equation: Equation,
    saved: Sequence[Var],
    tapes: Sequence[Atom],
    count: Sequence[Atom],
) -> list[Equation]:
    spec, results = divided.spec, divided.results
    known, given = divided.inputs(False), divided.arguments(False)
    moving, tangents = divided.inputs(True), divided.arguments(True)
    body = Graph(
        [*moving.carries, *saved, *known.scanned, *moving.scanned, *known.held, *moving.held],
        [*_without(divided.parts.primal, saved), *divided.parts.linear],
        _linear_outputs(divided),
        spec.body.constants,
    )
    new = spec.with_(
        body=body.with_live_equations(),
        condition=None,
        carries=len(moving.carries),
        scanned=len(saved) + len(known.scanned) + len(moving.scanned),
        snapshots=None,
    )
    made = [results.carries[i] for i in divided.carried(True)]
    made += [results.stacked[i] for i in divided.stacked(True)]
    operands = [
        *(count if spec.dynamic else ()),
        *tangents.carries,
        *tapes,
        *given.scanned,
        *tangents.scanned,
        *given.held,
        *tangents.held,
    ]
    return [_loop_equation(equation, new, operands, made)]


def _without(equations: Sequence[Equation], saved: Sequence[Var]) -> list[Equation]:
    """Leave out the equations of what is read from the tape; the dead ones go by themselves.

    An equation with several outputs may have some saved and some not: it is computed again
    under other names.
    """
    given = set(saved)
    kept = []
    for equation in equations:
        if all(var in given for var in equation.outputs):
            continue
        outputs = tuple(Var(v.type) if v in given else v for v in equation.outputs)
        kept.append(equation.reading({}, outputs))
    return kept


def _loop_equation(
    like: Equation, spec: Spec, operands: Sequence[Atom], outputs: Sequence[Var]
) -> Equation:
    loop = PRIMITIVES["loop"]
    made = Equation(loop, tuple(operands), spec.params(), tuple(outputs), like.scope, like.where)
    return loop.pruned(made, [True] * len(outputs))


# --- keeping snapshots -------------------------------------------------------------------------


def _with_snapshots(
    divided: _Divided, equation: Equation, wanted: int
) -> tuple[list[Equation], list[Equation]]:
    """Keep a few carries; the linear part runs along the steps computed again between them."""
    spec, results = divided.spec, divided.results
    snapshots = results.snapshots[0] if results.snapshots else Var(SNAPSHOTS)
    first, count = _known_loop(divided, equation, (), (), (wanted, snapshots))
    known, given = divided.inputs(False), divided.arguments(False)
    moving, tangents = divided.inputs(True), divided.arguments(True)
    carried = divided.carried(False)
    again = Graph(
        known.inner(),
        divided.parts.primal,
        [spec.body_carries[i] for i in carried],
        spec.body.constants,
    )
    along = Graph(
        [
            *moving.carries,
            *known.carries,
            *known.scanned,
            *moving.scanned,
            *known.held,
            *moving.held,
        ],
        [*divided.parts.primal, *divided.parts.linear],
        _linear_outputs(divided),
        spec.body.constants,
    )
    base = spec.with_(condition=None, snapshots=wanted)
    replayed = base.with_(
        body=again.with_live_equations(), carries=len(carried), scanned=len(known.scanned)
    )
    linear = base.with_(
        snapshots=None,
        body=along.with_live_equations(),
        carries=len(moving.carries),
        scanned=len(carried) + len(known.scanned) + len(moving.scanned),
    )
    operands = [
        *(count if spec.dynamic else ()),
        snapshots,
        *given.inner(),
        *tangents.carries,
        *given.scanned,
        *tangents.scanned,
        *given.held,
        *tangents.held,
    ]
    made = [results.carries[i] for i in divided.carried(True)]
    made += [results.stacked[i] for i in divided.stacked(True)]
    params = {"replayed": replayed, "along": linear}
    replay = PRIMITIVES["replay"]
    return first, [
        Equation(replay, tuple(operands), params, tuple(made), equation.scope, equation.where)
    ]
