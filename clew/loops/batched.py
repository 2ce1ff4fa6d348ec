"""A loop over many examples at once: its body batched, examples that are done left as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clew.batch import batch
from clew.core.graph import Graph
from clew.core.primitive import PRIMITIVES
from clew.core.tape import TapeType
from clew.core.types import Type, type_of
from clew.loops.bodies import may_fail
from clew.loops.spec import COUNT, Groups, Spec
from clew.loops.tapes import wide
from clew.ops.shape import moveaxis, reshape
from clew.trace import Builder, run


def batch_loop(size: int, spec: Spec, operands: list[Any], batched: list[bool]) -> list[Any]:
    """Return the outputs, every one with the batch on axis 0 (of the elements, in a tape)."""
    groups = spec.operands(operands)
    flags = spec.operands(batched)
    carries = _fixpoint(spec, size, flags)
    # A replay knows its snapshots by the count, which has a batch: then the loop must, too.
    tested = carries if spec.snapshots is None else [True] * spec.carries
    asked = spec.condition is not None and _condition_batched(spec, size, tested, flags.held)
    if asked or any(flags.count):
        carries = [True] * spec.carries
    groups = aligned(size, groups, flags, carries)
    flags = Groups(flags.count, carries, flags.scanned, flags.held)
    if asked:
        return _while(size, spec, groups, flags)
    if any(flags.count):
        return _counted(size, spec, groups, flags)
    new, _ = alike(size, spec, flags)
    values = PRIMITIVES["loop"](*groups.flat(), **new.params())
    return examples_first(new, size, values, carries)


def alike(size: int, spec: Spec, flags: Groups) -> tuple[Spec, list[bool]]:
    """Return the loop for examples that all take the same steps, and which carries are batched."""
    carries = _fixpoint(spec, size, flags)
    body = _batched_body(spec, size, Groups([], carries, flags.scanned, flags.held))
    condition = None
    if spec.condition is not None:
        condition = batch(spec.condition, size, [*carries, *flags.held])[0]
    policy = spec.policy.of_batch(size)
    return spec.with_(body=body, condition=condition, policy=policy), carries


def aligned(size: int, groups: Groups, flags: Groups, carries: Sequence[bool]) -> Groups:
    """Return operands as a batched loop takes them: carries widened, steps before examples."""
    first = zip(groups.carries, flags.carries, carries, strict=True)
    scanned = zip(groups.scanned, flags.scanned, strict=True)
    return Groups(
        groups.count,
        [_wide(value, size, has, wanted) for value, has, wanted in first],
        [_steps_first(value, flag) for value, flag in scanned],
        groups.held,
    )


def _fixpoint(spec: Spec, size: int, flags: Groups) -> list[bool]:
    carries = [bool(flag) for flag in flags.carries]
    while True:
        _, found = batch(spec.body, size, [*carries, *flags.scanned, *flags.held])
        reached = [a or b for a, b in zip(carries, found[: spec.carries], strict=True)]
        if reached == carries:
            return carries
        carries = reached


def _condition_batched(
    spec: Spec, size: int, carries: Sequence[bool], held: Sequence[bool]
) -> bool:
    assert spec.condition is not None
    return batch(spec.condition, size, [*carries, *held])[1][0]


def _wide(value: Any, size: int, has: bool, wanted: bool) -> Any:
    return wide(value, size, has) if wanted else value


def _steps_first(value: Any, flag: bool) -> Any:
    """Move the axis of steps before that of examples; a tape has it there."""
    if not flag or isinstance(type_of(value), TapeType):
        return value
    return moveaxis(value, 1, 0)


def examples_first(
    new: Spec, size: int, values: Sequence[Any], carries: Sequence[bool]
) -> list[Any]:
    """Return a batched loop's results as ``vmap`` wants them: examples before steps."""
    results = new.results(values)
    final = [_wide(v, size, f, True) for v, f in zip(results.carries, carries, strict=True)]
    stacked = [
        v if isinstance(type_of(v), TapeType) else moveaxis(v, 1, 0) for v in results.stacked
    ]
    count = [_wide(value, size, False, True) for value in results.count]
    return [*final, *stacked, *count, *results.snapshots]


def _batched_body(spec: Spec, size: int, flags: Groups) -> Graph:
    """Batch the body; batch the carries flagged and everything stacked in any case."""
    body, found = batch(spec.body, size, flags.inner())
    wanted = [*flags.carries, *(True for _ in spec.body_stacked)]

    def step(*inputs: Any) -> list[Any]:
        values = run(body, inputs)
        return [_wide(v, size, f, w) for v, f, w in zip(values, found, wanted, strict=True)]

    return graph_of(step, [var.type for var in body.inputs])


def graph_of(function: Callable[..., Sequence[Any]], types: Sequence[Type]) -> Graph:
    """Return the graph of a function of traced values of these types.

    >>> import numpy as np
    >>> len(graph_of(lambda x: [x * x], [Type((), np.float64)]).equations)
    1
    """
    with Builder.transforming(Graph((), (), ())) as builder:
        results = function(*(builder.input(each) for each in types))
        atoms = [builder.atom(value) for value in results]
    return builder.transformed(builder.inputs, atoms, ()).with_live_equations()


def selected(active: Any, new: Any, old: Any) -> Any:
    """Return ``new`` for the examples that are active, ``old`` for the others."""
    rank = type_of(new).ndim
    if rank > 1:
        active = reshape(active, shape=(type_of(active).shape[0], *(1,) * (rank - 1)))
    return PRIMITIVES["where"](active, new, old)


def lent(active: Any, values: Sequence[Any]) -> list[Any]:
    """Give examples that are not active the values of the first that is.

    What is computed for them is thrown away, but must not fail, or never end.
    """
    number = PRIMITIVES["convert"](active, dtype=COUNT.dtype)
    first = PRIMITIVES["argmax"](number, axis=0)
    return [
        value
        if isinstance(type_of(value), TapeType)
        else selected(active, value, PRIMITIVES["gather"](value, first, axes=(0,)))
        for value in values
    ]


def _borrowed(body: Graph, flags: Groups) -> list[bool]:
    """Return which inputs an example that is done must borrow, lest the body fail on its own."""
    read: set[Any] = set()
    for equation in reversed(body.equations):
        if may_fail(equation) or any(var in read for var in equation.outputs):
            read.update(equation.inputs)
    return [bool(f) and var in read for f, var in zip(flags.inner(), body.inputs, strict=True)]


def _lent_where(borrowed: Sequence[bool], active: Any, values: Sequence[Any]) -> list[Any]:
    given = iter(lent(active, [v for v, flag in zip(values, borrowed, strict=True) if flag]))
    return [next(given) if flag else v for v, flag in zip(values, borrowed, strict=True)]


# --- loops whose examples stop at different times ----------------------------------------------


def _while(size: int, spec: Spec, groups: Groups, flags: Groups) -> list[Any]:
    """Run while any example is active; carry the step, who is active, and the steps of each."""
    assert spec.condition is not None
    asked, _ = batch(spec.condition, size, [*flags.carries, *flags.held])
    body = _batched_body(spec, size, flags)
    count, borrowed = spec.carries, _borrowed(body, flags)
    one = COUNT.dtype.type(1)

    def step(*inputs: Any) -> list[Any]:
        carries, (index, active, taken), held = (
            inputs[:count],
            inputs[count : count + 3],
            inputs[count + 3 :],
        )
        values = run(body, _lent_where(borrowed, active, [*carries, *held]))
        kept = [selected(active, n, o) for n, o in zip(values, carries, strict=False)]
        taken = taken + PRIMITIVES["convert"](active, dtype=COUNT.dtype)
        active = active & run(asked, [*kept, *held])[0]
        return [*kept, index + one, active, taken, *values[count:]]

    carry_types = [var.type for var in body.inputs[:count]]
    held_types = [var.type for var in body.inputs[count:]]
    more = _further(size)
    condition = graph_of(
        lambda *inputs: [PRIMITIVES["any"](inputs[count + 1], axis=(0,))],
        [*carry_types, *more, *held_types],
    )
    new = spec.with_(
        body=graph_of(step, [*carry_types, *more, *held_types]),
        condition=condition,
        carries=count + 3,
        policy=spec.policy.of_batch(size),
    )
    active = run(asked, [*groups.carries, *groups.held])[0]
    taken = np.zeros(size, COUNT.dtype)
    operands = [*groups.carries, COUNT.dtype.type(0), active, taken, *groups.held]
    results = new.results(PRIMITIVES["loop"](*operands, **new.params()))
    return [*results.carries[:count], *results.stacked, results.carries[-1], *results.snapshots]


def _counted(size: int, spec: Spec, groups: Groups, flags: Groups) -> list[Any]:
    """Run as many steps as the longest example takes; carry the step to know who is active."""
    idle = spec.snapshots is not None
    longest, further = waiting(size, spec, groups.count[0], idle)
    new = spec.with_(
        body=ragged_body(size, spec, flags, idle),
        carries=spec.carries + len(further),
        policy=spec.policy.of_batch(size),
    )
    operands = [longest, *groups.carries, *further, *groups.scanned, *groups.held, groups.count[0]]
    results = new.results(PRIMITIVES["loop"](*operands, **new.params()))
    return [*results.carries[: spec.carries], *results.stacked, *results.snapshots]


def waiting(size: int, spec: Spec, totals: Any, idle: bool) -> tuple[Any, list[Any]]:
    """Return the steps of the example that takes most, and the further carries at the start.

    They are the index of the step and, if ``idle``, two that stay as they are: snapshots of
    such a loop then look like those of a ``while_loop``, which carries as many.
    """
    longest = PRIMITIVES["max"](totals, axis=(0,)) if size else COUNT.dtype.type(0)
    first = longest - 1 if spec.reverse else COUNT.dtype.type(0)
    return longest, [first, *([np.zeros(size, bool), np.zeros(size, COUNT.dtype)] if idle else [])]


def ragged_body(
    size: int, spec: Spec, flags: Groups, idle: bool, states: int | None = None
) -> Graph:
    """Batch the body of a loop that examples take different numbers of steps of.

    Its last input is those numbers. The index of a step, and what is ``idle``, are further
    carries, or, with ``states``, scanned after so many others.
    """
    body = _batched_body(spec, size, flags)
    count, borrowed = spec.carries, _borrowed(body, flags)
    further = _further(size) if idle else _further(size)[:1]
    place = count + (states or 0)
    after = place + len(further)

    def step(*inputs: Any) -> list[Any]:
        carries, index, totals = inputs[:count], inputs[place], inputs[-1]
        active = index < totals
        own = [*inputs[:place], *inputs[after:-1]]
        values = run(body, _lent_where(borrowed, active, own))
        kept = [selected(active, n, o) for n, o in zip(values, carries, strict=False)]
        moved = index + (-1 if spec.reverse else 1)
        following = [moved, *inputs[place + 1 : after]] if states is None else []
        return [*kept, *following, *values[count:]]

    types = [var.type for var in body.inputs]
    return graph_of(step, [*types[:place], *further, *types[place:], Type((size,), COUNT.dtype)])


def _further(size: int) -> list[Type]:
    """Return the types of what a ragged loop carries: the step, who is active, steps taken."""
    return [COUNT, Type((size,), bool), Type((size,), COUNT.dtype)]
