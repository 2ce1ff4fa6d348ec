"""``checkpoint``: a function of which reverse mode keeps the inputs only, and runs it again."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.calculus.push import push
from clew.calculus.transpose import split, transpose
from clew.core import pytree
from clew.core.cost import Measure, bytes_of
from clew.core.graph import Equation, Graph, Var
from clew.core.kinds import Control
from clew.core.primitive import Traced
from clew.core.program import program
from clew.core.types import Type
from clew.loops.branch import widened
from clew.loops.closures import outer_traces, with_own_work
from clew.loops.spec import reordered, twins_of
from clew.trace import record


def _run(xp: Any, *operands: Any, body: Graph) -> tuple[Any, ...]:
    with np.errstate(all="ignore"):
        return tuple(program(body)(xp, *operands))


@dataclass(frozen=True, eq=False, repr=False)
class Remat(Control):
    """A graph kept whole, so that nothing inside is shared with what runs outside."""

    def result_type(self, types: Sequence[Type], params: dict[str, Any]) -> Any:
        """Return the types that the body returns."""
        return tuple(atom.type for atom in params["body"].outputs)

    def pushed(self, builder: Any, equation: Any, tangents: Sequence[Any]) -> Sequence[Any]:
        """Push the body forward."""
        seeded = [i for i, tangent in enumerate(tangents) if tangent is not None]
        made = push(equation.params["body"], seeded)
        found = [
            None if tangent is None else Var(var.type)
            for tangent, var in zip(made.tangents, equation.outputs, strict=True)
        ]
        inputs = [*equation.inputs, *(builder.atom(tangents[i]) for i in seeded)]
        outputs = [*equation.outputs, *(var for var in found if var is not None)]
        body = made.graph.with_live_equations()
        builder.equations.append(_equation(equation, inputs, body, outputs))
        return [None if var is None else builder.value(var) for var in found]

    def split(self, equation: Any, dependent: Sequence[bool]) -> Any:
        """Run the body's known part for what is known; the linear part runs it again."""
        body = equation.params["body"]
        seeds = [v for v, flag in zip(body.inputs, dependent, strict=True) if flag]
        parts = split(body, seeds)
        reached: set[Any] = {*seeds, *(var for each in parts.linear for var in each.outputs)}
        moving = [atom in reached for atom in body.outputs]
        if all(moving):
            return None
        primal = Graph(body.inputs, parts.primal, body.outputs, body.constants)
        early = equation.remade(equation.inputs, {"body": primal}, equation.outputs)
        known = self.pruned(early, [not flag for flag in moving])
        return [known], [self.pruned(equation, moving)] if any(moving) else []

    def pull(self, cotangent: Any, operands: Sequence[Any], params: dict) -> Sequence[Any]:
        """Run the body's known part, then its transposed linear part, in one equation."""
        body = params["body"]
        linear = [isinstance(operand, Type) for operand in operands]
        given = [i for i, each in enumerate(cotangent) if each is not None]
        seeds = [v for v, flag in zip(body.inputs, linear, strict=True) if flag]
        graph, has_path = transpose(body, seeds, [body.outputs[i] for i in given], ())
        known = [x for x, flag in zip(operands, linear, strict=True) if not flag]
        found = iter(self(*known, *(cotangent[i] for i in given), body=graph))
        paths = iter(has_path)
        return [next(found) if flag and next(paths) else None for flag in linear]

    def batched(
        self, size: int, operands: Sequence[Any], batched: Sequence[bool], params: dict
    ) -> Any:
        """Batch the body."""
        return self(*operands, body=widened(params["body"], size, list(batched)))

    def measured(self, equation: Any) -> Measure:
        """Count the body."""
        each = equation.params["body"].cost()
        results = [bytes_of(var.type) for var in equation.outputs]
        return Measure(each.operations, each.bytes, results, each.peak, each.unknown)

    def pruned(self, equation: Any, live: Sequence[bool]) -> Any:
        """Drop the outputs that nobody reads, and inputs that they do not need."""
        body = equation.params["body"]
        wanted = [atom for atom, flag in zip(body.outputs, live, strict=True) if flag]
        body = reordered(body, body.inputs, wanted)
        used = {atom for each in body.equations for atom in each.inputs} | {*body.outputs}
        reads = [var in used for var in body.inputs]
        body = reordered(body, [v for v, f in zip(body.inputs, reads, strict=True) if f], wanted)
        inputs = [atom for atom, flag in zip(equation.inputs, reads, strict=True) if flag]
        outputs = [var for var, flag in zip(equation.outputs, live, strict=True) if flag]
        return _equation(equation, inputs, body, outputs)

    def twins(self, equation: Any) -> dict[Any, Any]:
        """Return the outputs that the body returns before."""
        return twins_of(equation.outputs, equation.params["body"].outputs)


def _equation(
    like: Equation, inputs: Sequence[Any], body: Graph, outputs: Sequence[Var]
) -> Equation:
    return like.remade(tuple(inputs), {"body": body}, tuple(outputs))


remat = Remat("remat", _run, "", True)


def checkpoint(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return the same function, of which reverse mode saves nothing but the arguments.

    What its way back needs is computed again there: less memory, one more run of ``f``.
    (Chen et al., "Training deep nets with sublinear memory cost", 2016.)

    >>> import clew
    >>> clew.grad(checkpoint(lambda x: np.sin(np.sin(x))))(0.0)
    np.float64(1.0)
    """

    @functools.wraps(f)
    def checkpointed(*args: Any) -> Any:
        leaves = [leaf for argument in args for leaf in pytree.flatten(argument)[0]]
        if not any(isinstance(leaf, Traced) for leaf in leaves):
            return f(*args)
        before = outer_traces()
        recording = with_own_work(record(f, args), before)
        body = recording.graph.with_live_equations()
        values = remat(*leaves, *recording.captured, body=body)
        return recording.structure.unflatten(values)

    return checkpointed
