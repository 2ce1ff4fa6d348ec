"""What users write: ``scan``, ``fori_loop``, ``while_loop``; all are the one ``loop``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

from clew.core.errors import DtypeError, InputError
from clew.core.graph import Graph, Var
from clew.core.primitive import PRIMITIVES, Traced
from clew.core.source import user_location
from clew.core.types import Type, type_of
from clew.loops.ahead import ahead
from clew.loops.bodies import Body, Carry, body_of, fitting, hoisted, policy_of, single_truth
from clew.loops.primitive import loop
from clew.loops.spec import COUNT, Spec
from clew.trace import run

Checkpoint = int | Literal["auto"] | None


def scan(
    step: Callable[[Any, Any], tuple[Any, Any]],
    carry: Any,
    xs: Any = None,
    length: int | None = None,
    *,
    reverse: bool = False,
    checkpoint: Checkpoint = None,
    memory: int | None = None,
) -> tuple[Any, Any]:
    """Take a carry through ``carry, y = step(carry, x)`` for every ``x``; stack the ``y``.

    Parameters
    ----------
    step : callable
        Gets the carry and one slice of ``xs`` (None if there are none). May read traced values
        from outside. Runs as a graph: a Python ``if`` in it may not depend on the carry.
    carry : tree of arrays
        Keeps its structure, shapes and dtypes from step to step.
    xs : tree of arrays, optional
        Scanned along axis 0; all of the same length.
    length : int, optional
        Needed without ``xs``.
    reverse : bool
        Run from the last slice to the first; ``ys`` are still in the order of ``xs``.
    checkpoint : None, int, or "auto"
        What reverse mode keeps: None, the values it needs of every step; n, only the carries
        before n steps, the others recomputed on a binomial schedule; "auto", the first if it
        fits ``memory``, else as many snapshots as fit.
    memory : int, optional
        Bytes that may be kept: 64 MiB for "auto", the machine's memory else. In a batch, of
        one example.

    Returns
    -------
    carry, ys
        The last carry, and the tree of stacked ``y``.

    Raises
    ------
    ShapeError, DtypeError, InputError
        If the carry changes, the lengths differ, or ``step`` does not return a pair.
    MemoryLimitError
        When what is saved would not fit.

    >>> total, sums = scan(lambda c, x: (c + x, c + x), 0.0, np.array([1.0, 2.0, 3.0]))
    >>> float(total), sums
    (6.0, array([1., 3., 6.]))
    """
    policy = policy_of("scan", checkpoint, memory, user_location())
    start = Carry.of(carry, "scan: carry")
    slices = Carry.of(xs, "scan: xs")
    length = _common_length(slices, length)
    body = _scan_body(step, start, slices, may_be_skipped=not length)
    count = len(start.leaves)
    spec = Spec(body.graph, None, length, count, len(slices.leaves), bool(reverse), policy)
    values = _bound(spec, (), start.leaves, slices.leaves, body.captured)
    _, stacked = body.structure.unflatten(values)
    return start.structure.unflatten(values[:count]), stacked


def _scan_body(
    step: Callable[[Any, Any], Any], start: Carry, slices: Carry, may_be_skipped: bool
) -> Body:
    elements = [Type(kind.shape[1:], kind.dtype) for kind in slices.types]
    one = Carry(slices.leaves, elements, slices.structure)

    def flat(carry: Any, x: Any) -> tuple[list[Any], Any]:
        result = step(carry, x)
        if not isinstance(result, tuple) or len(result) != 2:
            raise InputError(
                f"scan: the step returned {type(result).__name__}, not a pair",
                "return (carry, y); y may be None",
            )
        return fitting("scan", start, result[0]), result[1]

    return body_of(flat, (start.abstract(), one.abstract()), may_be_skipped)


def _common_length(slices: Carry, length: int | None) -> int:
    lengths: dict[int, str] = {}
    for name, kind in zip(slices.structure.names, slices.types, strict=True):
        if not kind.shape:
            raise InputError(
                f"scan: xs {name or ''} is a scalar and has no axis to scan".replace("  ", " "),
                "give arrays with the steps on axis 0; close over values that stay the same",
            )
        lengths.setdefault(kind.shape[0], name or "xs")
    if length is not None:
        if isinstance(length, Traced) or int(length) != length or length < 0:
            raise InputError(
                f"scan: length={length!r}", "give a whole number, or use clew.fori_loop"
            )
        lengths.setdefault(int(length), "length")
    if not lengths:
        raise InputError("scan: neither xs nor length was given", "give one of them")
    if len(lengths) > 1:
        found = ", ".join(f"{name} has {n}" for n, name in lengths.items())
        raise InputError(f"scan: lengths differ: {found}", "give all the same number of steps")
    return next(iter(lengths))


def fori_loop(
    lower: Any,
    upper: Any,
    body: Callable[[Any, Any], Any],
    carry: Any,
    *,
    checkpoint: Checkpoint = None,
    memory: int | None = None,
) -> Any:
    """Return the carry after ``for i in range(lower, upper): carry = body(i, carry)``.

    Parameters
    ----------
    lower, upper : int, may be traced
        With traced bounds the number of steps is found when running; reverse mode then keeps
        a tape.
    body : callable
        ``body(i, carry) -> carry``, with the carry's structure, shapes and dtypes.
    checkpoint, memory
        As for :func:`scan`.

    >>> float(fori_loop(0, 5, lambda i, c: c * 2.0, 1.0))
    32.0
    """
    policy = policy_of("fori_loop", checkpoint, memory, user_location())
    start = Carry.of(carry, "fori_loop: carry")
    first, last = _bound_of("lower", lower), _bound_of("upper", upper)

    def flat(i: Any, carry: Any) -> list[Any]:
        return [i + 1, *fitting("fori_loop", start, body(i, carry))]

    steps = last - first
    length = None if isinstance(steps, Traced) else max(int(steps), 0)
    traced = body_of(flat, (Type((), np.int64), start.abstract()), may_be_skipped=not length)
    count = () if length is not None else (PRIMITIVES["maximum"](steps, 0),)
    spec = Spec(traced.graph, None, length, 1 + len(start.leaves), 0, False, policy)
    values = _bound(spec, count, [first, *start.leaves], [], traced.captured)
    return start.structure.unflatten(values[1:])


def _bound_of(name: str, value: Any) -> Any:
    kind = type_of(value)
    if kind.shape != () or kind.dtype.kind not in "iu":
        raise DtypeError(f"fori_loop: {name} is {kind}, not a whole number", "give an integer")
    return PRIMITIVES["convert"](value, dtype=COUNT.dtype)


def while_loop(
    condition: Callable[[Any], Any],
    body: Callable[[Any], Any],
    carry: Any,
    *,
    checkpoint: Checkpoint = None,
    memory: int | None = None,
) -> Any:
    """Return the carry after ``while condition(carry): carry = body(carry)``.

    Reverse mode works without a bound on the number of steps: what the way back needs goes to
    a tape that grows, or (``checkpoint``) to snapshots that thin out.

    Parameters
    ----------
    condition : callable
        ``condition(carry) -> bool``.
    body : callable
        ``body(carry) -> carry``, with the carry's structure, shapes and dtypes.
    checkpoint : None, int, or "auto"
        None, a tape; n, at most n carries, the others recomputed; "auto", as many carries as
        fit ``memory``.
    memory : int, optional
        Bytes that may be kept: 64 MiB for "auto", the machine's memory else. In a batch, of
        one example.

    Raises
    ------
    ShapeError, DtypeError, InputError
        If the carry changes, or the condition is not one true or false.
    MemoryLimitError
        When the tape would grow beyond ``memory``.

    >>> halve = lambda x: while_loop(lambda c: c > 1.0, lambda c: c / 2.0, x)
    >>> import clew
    >>> float(halve(20.0)), float(clew.grad(halve)(20.0))
    (0.625, 0.03125)
    """
    policy = policy_of("while_loop", checkpoint, memory, user_location())
    start = Carry.of(carry, "while_loop: carry")
    asked = body_of(lambda carry: single_truth("while_loop", condition(carry)), (start.abstract(),))
    traced = body_of(
        lambda carry: fitting("while_loop", start, body(carry)),
        (start.abstract(),),
        may_be_skipped=True,
    )
    count = len(start.leaves)
    both = [*traced.captured, *asked.captured]
    own = traced.graph.inputs
    tested = asked.graph.inputs
    graph = _with_inputs(traced.graph, [*own, *_unread(tested[count:])])
    test = _with_inputs(asked.graph, [*tested[:count], *_unread(own[count:]), *tested[count:]])
    spec = Spec(graph, test, None, count, 0, False, policy)
    values = _bound(spec, (), start.leaves, [], both)
    return start.structure.unflatten(values[:count])


def _unread(like: Sequence[Var]) -> list[Var]:
    return [Var(var.type) for var in like]


def _with_inputs(graph: Graph, inputs: Sequence[Var]) -> Graph:
    return Graph(inputs, graph.equations, graph.outputs, graph.constants)


class _Manner(threading.local):
    as_written = False


_manner = _Manner()


@contextmanager
def as_written() -> Iterator[None]:
    """Leave in its step what a loop could compute before: for who looks at steps, not for speed.

    >>> import clew
    >>> def total(w):
    ...     return clew.scan(lambda c, x: (c + x @ w, None), np.zeros(32), np.ones((4, 32)))[0]
    >>> [each.primitive.name for each in clew.trace(total)(np.eye(32)).equations]
    ['contract', 'loop']
    >>> with as_written():
    ...     graph = clew.trace(total)(np.eye(32))
    >>> [each.primitive.name for each in graph.equations]
    ['loop']
    """
    before, _manner.as_written = _manner.as_written, True
    try:
        yield
    finally:
        _manner.as_written = before


def _bound(
    spec: Spec,
    count: Sequence[Any],
    carries: Sequence[Any],
    scanned: Sequence[Any],
    held: Sequence[Any],
) -> Sequence[Any]:
    """Record or run a loop, what does not change from step to step first."""
    if _manner.as_written:
        return loop(*count, *carries, *scanned, *held, **spec.params())
    before, smaller = hoisted(spec)
    with np.errstate(all="ignore"):
        extra = run(before, held)
        if spec.dynamic and any(isinstance(value, Traced) for value in extra):
            test = spec.condition
            runs = count[0] > 0 if test is None else run(test, [*carries, *held])[0]
            extra = [_if_needed(runs, value) for value in extra]
        early = ahead(smaller)
        if early is not None:
            scanned = [*scanned, *run(early.graph, [*scanned, *held, *extra])]
            smaller = early.spec
    return loop(*count, *carries, *scanned, *held, *extra, **smaller.params())


def _if_needed(runs: Any, value: Any) -> Any:
    """Give a value that only a loop's steps read no slope if there is no step.

    The slope may be infinite there; times the zero that flows back it would be no number.
    """
    if not type_of(value).inexact:
        return value
    return PRIMITIVES["where"](runs, value, PRIMITIVES["stop_gradient"](value))
