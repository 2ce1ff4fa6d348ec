"""Products that need no carry are computed before the loop, for all steps at once.

What a step multiplies its own input with (``x_t @ W`` in a recurrent network) depends on no other
step. One product of all inputs does the same work with far better use of the machine, and so do
its transposes on the way back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clew.batch import batch
from clew.core.cost import bytes_of, measured
from clew.core.graph import Equation, Graph, Var
from clew.core.kinds import Control
from clew.core.tape import TapeType
from clew.loops.memory import AUTO_BYTES
from clew.loops.spec import Spec

_WORTH = 2**10
"""Operations in one step from which a product is taken out."""


@dataclass(frozen=True)
class Ahead:
    """A graph from all that is scanned, and held, to stacks to scan besides; the smaller loop."""

    graph: Graph
    spec: Spec


def ahead(spec: Spec) -> Ahead | None:
    """Take products of scanned and held values out of a loop; None if there are none.

    They must fit the memory that a loop may take for sums that leave it (``fission``). Loops
    with checkpoints keep little on purpose, and stay as they are.
    """
    body = spec.body
    inputs = spec.inner(body.inputs)
    if spec.length is None or spec.length < 2 or spec.policy.checkpoint is not None:
        return None
    if any(isinstance(var.type, TapeType) for var in (*inputs.scanned, *inputs.held)):
        return None
    moving: set[Any] = set(inputs.scanned)
    free: set[Any] = {*inputs.scanned, *inputs.held, *body.constants}
    early: list[Equation] = []
    wanted: list[Var] = []
    for equation in body.equations:
        known = all(type(atom) is not Var or atom in free for atom in equation.inputs)
        if not known or not equation.outputs or isinstance(equation.primitive, Control):
            continue
        early.append(equation)
        free.update(equation.outputs)
        if any(atom in moving for atom in equation.inputs):
            moving.update(equation.outputs)
            if _is_worth_it(equation):
                wanted += equation.outputs
    room = (spec.policy.memory or AUTO_BYTES) // spec.length
    if not wanted or sum(bytes_of(var.type) for var in wanted) > room:
        return None
    graph = Graph([*inputs.scanned, *inputs.held], early, wanted, body.constants)
    flags = [*(True for _ in inputs.scanned), *(False for _ in inputs.held)]
    graph, _ = batch(graph.with_live_equations(), spec.length, flags)
    own = [*inputs.carries, *inputs.scanned, *wanted, *inputs.held]
    rest = [e for e in body.equations if not any(var in wanted for var in e.outputs)]
    smaller = Graph(own, rest, body.outputs, body.constants).with_live_equations()
    return Ahead(graph, spec.with_(body=smaller, scanned=spec.scanned + len(wanted)))


def _is_worth_it(equation: Equation) -> bool:
    if equation.primitive.name not in ("contract", "conv"):
        return False
    return measured(equation).operations >= _WORTH
