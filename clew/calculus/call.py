"""Functions as equations: composites that keep their name, and rules of the user's own.

A ``call`` holds the graph of its body. Its derivative is the body's, unless the user stated a
rule: a push-forward, or a pull-back. Either gives the other by transposing it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.batch import batch, vmap
from clew.calculus.push import push
from clew.calculus.transpose import transpose
from clew.core import pytree
from clew.core.errors import DerivativeError, DtypeError
from clew.core.graph import Graph, interpret
from clew.core.kinds import general, zeros
from clew.core.primitive import Traced
from clew.core.types import Type, type_of
from clew.ops.shape import with_batch
from clew.trace import Builder, record, run

Function = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Rule:
    """A user's derivative for a function with these argument and result trees."""

    push: Function | None
    pull: Function | None
    inputs: tuple[pytree.Structure, ...]
    output: pytree.Structure

    def arguments(self, leaves: Sequence[Any]) -> list[Any]:
        """Put the arguments together from their leaves."""
        rest = iter(leaves)
        return [each.unflatten([next(rest) for _ in range(each.count)]) for each in self.inputs]


def _evaluated(xp: Any, body: Graph, operands: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(
        interpret(body, operands, lambda each, x: each.primitive.eval(xp, *x, **each.params))
    )


# --- call --------------------------------------------------------------------------------


def _push_call(
    primals: Any, tangents: Any, outputs: Any, *, name: str, body: Graph, rule: Rule | None
) -> Sequence[Any]:
    seeded = [i for i, tangent in enumerate(tangents) if tangent is not None]
    if rule is None:
        pushed = push(body, seeded)
        values = run(pushed.graph, [*primals, *(tangents[i] for i in seeded)])
        found = iter(values[len(body.outputs) :])
        return [None if t is None else next(found) for t in pushed.tangents]
    count = sum(each.count for each in rule.inputs)
    if any(tangent is not None for tangent in tangents[count:]):
        raise DerivativeError(
            f"custom_rule {name}: the function reads traced values that are not its arguments, "
            "and its rule cannot know their derivative",
            "pass them to the function as arguments",
        )
    full = [
        zeros(type_of(primal)) if tangent is None else tangent
        for primal, tangent in zip(primals[:count], tangents[:count], strict=True)
    ]
    if rule.push is not None:
        args, directions = rule.arguments(primals[:count]), rule.arguments(full)
        result = rule.push(tuple(args), tuple(directions), rule.output.unflatten(outputs))
        return _checked(
            name, "push", pytree.flatten(result, shared=False)[0], [type_of(y) for y in outputs]
        )
    graph = _pull_as_graph(name, rule, primals[:count], outputs)
    return pulled(*full, *primals[:count], *outputs, graph=graph, count=count)


def _checked(name: str, what: str, found: Sequence[Any], types: Sequence[Type]) -> Sequence[Any]:
    shapes = [type_of(value).shape for value in found]
    if shapes != [kind.shape for kind in types]:
        raise DerivativeError(
            f"custom_rule {name}: {what} returned shapes {shapes}, "
            f"expected {[kind.shape for kind in types]}",
            "return one derivative for each leaf, of its shape",
        )
    return found


def _batch_call(
    size: int, operands: Any, batched: Any, *, name: str, body: Graph, rule: Rule | None
) -> Sequence[Any]:
    if rule is None:
        wide, flags = batch(body, size, list(batched))
        return _with_batches(run(wide, operands), flags, size)
    mapped = Rule(
        None if rule.push is None else vmap(rule.push),
        None if rule.pull is None else vmap(rule.pull),
        rule.inputs,
        rule.output,
    )
    full = [with_batch(x, size, flag) for x, flag in zip(operands, batched, strict=True)]
    wide, flags = batch(body, size, [True] * len(full))
    wide = _all_batched(wide, flags, size)
    return call(*full, name=name, body=wide, rule=mapped)


def _all_batched(graph: Graph, flags: Sequence[bool], size: int) -> Graph:
    """Repeat the outputs that do not depend on the batch."""
    if all(flags):
        return graph
    recording = record(
        lambda *leaves: tuple(_with_batches(run(graph, leaves), flags, size)),
        [np.zeros(var.type.shape, var.type.dtype) for var in graph.inputs],
    )
    return recording.graph


def _with_batches(values: Sequence[Any], flags: Sequence[bool], size: int) -> list[Any]:
    return [with_batch(value, size, flag) for value, flag in zip(values, flags, strict=True)]


call = general(
    "call",
    eval=lambda xp, *operands, name, body, rule: _evaluated(xp, body, operands),
    type=lambda *operands, name, body, rule: tuple(atom.type for atom in body.outputs),
    push=_push_call,
    batch=_batch_call,
    multiple=True,
)

# --- pulled: a push-forward known by its transpose -------------------------------------------


def _pull_as_graph(name: str, rule: Rule, primals: Sequence[Any], outputs: Sequence[Any]) -> Graph:
    """Trace the user's pull-back: inputs are cotangents, primals, outputs."""
    count = len(outputs)

    def flat(*leaves: Any) -> tuple[Any, ...]:
        cotangent = rule.output.unflatten(leaves[:count])
        args = rule.arguments(leaves[count : count + len(primals)])
        result = rule.output.unflatten(leaves[count + len(primals) :])
        found = rule.pull(cotangent, result, *args)  # type: ignore[misc]
        if not isinstance(found, tuple):
            found = (found,)
        found = pytree.flatten(found)[0]
        return tuple(_checked(name, "pull", found, [type_of(x) for x in primals]))

    with Builder.transforming(Graph((), (), ())) as builder:
        operands = (*outputs, *primals, *outputs)
        found = flat(*(builder.input(type_of(x)) for x in operands))
        atoms = [builder.atom(value) for value in found]
    return builder.transformed(builder.inputs, atoms, ())


def _transposed(graph: Graph, count: int) -> Graph:
    """Transpose a pull-back: inputs are tangents, then what the pull-back held."""
    seeds = graph.inputs[: _pulled_outputs(graph, count)]
    try:
        backward, has_path = transpose(graph, seeds, graph.outputs, ())
    except (DerivativeError, DtypeError):
        raise DerivativeError(
            "custom_rule: the pull is not linear in its cotangent, so forward mode, which needs "
            "its transpose, does not follow from it",
            "use reverse mode (clew.grad, clew.vjp), or a rule with push "
            "(of solve_ode: gradient='discrete')",
        ) from None
    held = len(graph.inputs) - len(seeds)
    found = iter(backward.outputs)
    with Builder.transforming(backward) as builder:
        builder.equations += backward.equations
        atoms = [
            next(found) if flag else builder.atom(zeros(var.type))
            for var, flag in zip(seeds, has_path, strict=True)
        ]
    inputs = (*backward.inputs[held:], *backward.inputs[:held])
    return builder.transformed(inputs, atoms, ())


def _pulled_outputs(graph: Graph, count: int) -> int:
    return (len(graph.inputs) - count) // 2


def _eval_pulled(xp: Any, *operands: Any, graph: Graph, count: int) -> tuple[Any, ...]:
    forward = _transposed(graph, count)
    return _evaluated(xp, forward, operands)


def _pull_pulled(cotangents: Any, *operands: Any, graph: Graph, count: int) -> Sequence[Any]:
    held = operands[count:]
    found = run(graph, [*cotangents, *held])
    return [*found, *(None for _ in held)]


def _push_pulled(
    primals: Any, tangents: Any, outputs: Any, *, graph: Graph, count: int
) -> Sequence[Any]:
    """Differentiate the transposed graph, in the direction and in what is held."""
    forward = _transposed(graph, count)
    seeded = [i for i, tangent in enumerate(tangents) if tangent is not None]
    if all(i < count for i in seeded):
        full = [
            zeros(type_of(x)) if t is None else t
            for x, t in zip(primals[:count], tangents[:count], strict=True)
        ]
        return pulled(*full, *primals[count:], graph=graph, count=count)
    pushed = push(forward, seeded)
    values = run(pushed.graph, [*primals, *(tangents[i] for i in seeded)])
    found = iter(values[len(forward.outputs) :])
    return [None if t is None else next(found) for t in pushed.tangents]


def _batch_pulled(
    size: int, operands: Any, batched: Any, *, graph: Graph, count: int
) -> Sequence[Any]:
    forward = _transposed(graph, count)
    wide, flags = batch(forward, size, list(batched))
    return _with_batches(run(wide, operands), flags, size)


pulled = general(
    "pulled",
    eval=_eval_pulled,
    type=lambda *operands, graph, count: tuple(
        var.type for var in graph.inputs[: _pulled_outputs(graph, count)]
    ),
    push=_push_pulled,
    batch=_batch_pulled,
    transpose=_pull_pulled,
    multiple=True,
)

# --- the decorators --------------------------------------------------------------------------


def _as_call(function: Function, name: str, rule: tuple[Function | None, Function | None]) -> Any:
    @functools.wraps(function)
    def called(*args: Any) -> Any:
        flat = [pytree.flatten(argument) for argument in args]
        leaves = [leaf for own, _ in flat for leaf in own]
        if not any(isinstance(leaf, Traced) for leaf in leaves):
            return function(*args)
        recording = record(function, args)
        own = None
        if rule != (None, None):
            structures = tuple(structure for _, structure in flat)
            own = Rule(*rule, structures, recording.structure)
        body = recording.graph.with_live_equations()
        values = call(*leaves, *recording.captured, name=name, body=body, rule=own)
        return recording.structure.unflatten(values)

    return called


def composite(function: Function) -> Function:
    """Keep a function's name in the graph; everything else follows from its body.

    >>> @composite
    ... def softplus(x):
    ...     return np.log1p(np.exp(x))
    >>> import clew
    >>> clew.trace(softplus)(1.0).equations[0].params["name"]
    'softplus'
    """
    return _as_call(function, function.__name__, (None, None))


def custom_rule(
    function: Function | None = None,
    *,
    push: Function | None = None,
    pull: Function | None = None,
) -> Any:
    """Give a function a derivative of your own, as a push-forward or as a pull-back.

    One of the two is enough: the other follows by transposing it.

    Parameters
    ----------
    push : callable
        ``push(primals, tangents, output) -> output tangent``, linear in the tangents.
    pull : callable
        ``pull(cotangent, output, *primals) -> cotangents``, one per argument, linear in the
        cotangent.

    Raises
    ------
    DerivativeError
        If neither or both are given, or a rule returns the wrong shapes.

    >>> import clew
    >>> @custom_rule(pull=lambda t, y, x: np.clip(t, -1.0, 1.0))
    ... def clipped_backward(x):
    ...     return x * 1.0
    >>> clew.grad(lambda x: 5.0 * clipped_backward(x))(2.0)
    np.float64(1.0)
    """
    if (push is None) == (pull is None):
        raise DerivativeError(
            "custom_rule: give one of push and pull", "the other follows by transposing"
        )
    if function is None:
        return functools.partial(custom_rule, push=push, pull=pull)
    return _as_call(function, function.__name__, (push, pull))
