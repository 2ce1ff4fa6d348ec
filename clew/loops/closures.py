"""What a body computes from outer values alone belongs to the body.

Tracing records an operation in the innermost trace among its operands, so the square root in
``cond(x > 0, lambda: np.sqrt(x), ...)`` is recorded outside the branch: it would run whichever
branch is taken, and its infinite slope at zero would meet the branch's zero cotangent. Such
equations are moved into the graph of the branch, or of the step that may never run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clew.core.graph import Atom, Equation, Graph, Var
from clew.trace import Recording
from clew.trace.builder import open_builders


def outer_traces() -> dict[Any, int]:
    """Return the traces that are open now, and how many equations each has.

    >>> outer_traces()
    {}
    """
    return {builder: len(builder.equations) for builder in open_builders()}


def with_own_work(recording: Recording, before: Mapping[Any, int]) -> Recording:
    """Return a recording with the outer equations that its function added moved in.

    ``before`` is what ``outer_traces`` returned before it was recorded. The equations stay
    where they were, too: nobody reads them there, unless the function kept a value. Checks
    have no readers, and are taken away.
    """
    mover = _Mover(recording, before)
    return mover.moved() if mover.made or mover.checks else recording


class _Mover:
    def __init__(self, recording: Recording, before: Mapping[Any, int]) -> None:
        self._recording = recording
        self._present: dict[Var, Atom] = {}  # outer variable -> the graph's own
        self._captured: dict[Var, Any] = {}  # the graph's own -> outer value
        self._equations: list[Equation] = []
        self._constants: dict[Var, Any] = {}
        self._origin: dict[Var, Var] = {}  # captured by an outer trace -> of a trace beyond
        self.made: dict[Var, tuple[Any, Equation]] = {}
        self.checks: list[tuple[Any, Equation]] = []
        for builder, count in before.items():
            kept = builder.equations[:count]
            for equation in builder.equations[count:]:
                self.made.update((var, (builder, equation)) for var in equation.outputs)
                if equation.primitive.name == "check":
                    self.checks.append((builder, equation))
                else:
                    kept.append(equation)
            builder.equations[:] = kept
            captured = builder.captured.items()
            self._origin.update((own, var) for var, (own, _) in captured)

    def moved(self) -> Recording:
        graph, captured = self._recording.graph, self._recording.captured
        count = len(graph.inputs) - len(captured)
        replaced: dict[Any, Atom] = {}
        for own, value in zip(graph.inputs[count:], captured, strict=True):
            replaced[own] = self._inside(value.builder, value.read(), own)
        for builder, check in self.checks:
            self._copy(builder, check)
        equations = [
            *self._equations,
            *(each.reading(replaced, each.outputs) for each in graph.equations),
        ]
        outputs = [replaced.get(atom, atom) for atom in graph.outputs]
        inputs = [*graph.inputs[:count], *self._captured]
        constants = {**graph.constants, **self._constants}
        whole = Graph(inputs, equations, outputs, constants, graph.names)
        return replace(self._recording, graph=whole, captured=list(self._captured.values()))

    def _inside(self, builder: Any, outer: Var, own: Var | None = None) -> Atom:
        """Return what stands for an outer variable in the graph."""
        while self._origin.get(outer) in self.made:
            outer = self._origin[outer]
        known = self._present.get(outer)
        if known is None:
            if outer in self.made:
                self._copy(*self.made[outer])
                return self._present[outer]
            known = own or Var(outer.type)
            self._present[outer] = known
            if outer in builder.constants:
                self._constants[known] = builder.constants[outer]
            else:
                self._captured[known] = builder.value(outer)
        return known

    def _copy(self, builder: Any, equation: Equation) -> None:
        inputs: dict[Any, Atom] = {
            atom: self._inside(builder, atom) for atom in equation.inputs if type(atom) is Var
        }
        outputs = tuple(Var(var.type) for var in equation.outputs)
        self._present.update(zip(equation.outputs, outputs, strict=True))
        self._equations.append(equation.reading(inputs, outputs))
