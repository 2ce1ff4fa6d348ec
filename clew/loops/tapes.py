"""The few operations on tapes themselves: adding, repeating for a batch, one for each branch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clew.core.kinds import linear, zeros
from clew.core.tape import Tape, TapeType, batched_type
from clew.core.types import Type, type_of
from clew.ops.shape import with_batch


def _each(tape: Tape, kind: TapeType, of_array: Callable[[Any], Any], inner: Any) -> Tape:
    """Apply a function to the items of a tape, an array of all steps or tapes within."""
    if tape.items is None:
        return Tape(kind, None)
    if isinstance(tape.items, np.ndarray):
        return Tape(kind, of_array(tape.items))
    return Tape(kind, [inner(item) for item in tape.items])


# --- add_tapes ---------------------------------------------------------------------------------


def _added(xp: Any, left: Tape, right: Tape) -> Tape:
    if left.items is None:
        return right
    if right.items is None:
        return left
    if isinstance(left.items, np.ndarray) and isinstance(right.items, np.ndarray):
        return Tape(left.type, left.items + right.items)
    pairs = zip(left.items, right.items, strict=True)
    return Tape(left.type, [_added(xp, a, b) if type(a) is Tape else a + b for a, b in pairs])


def _add_batch(size: int, tapes: Any, batched: Any) -> Any:
    return add_tapes(*(wide(x, size, flag) for x, flag in zip(tapes, batched, strict=True)))


add_tapes = linear(
    "add_tapes",
    eval=_added,
    type=lambda left, right: left,
    transpose=lambda t, left, right: (t, t),
    batch=_add_batch,
    linear_in=None,
)

# --- widen_tape --------------------------------------------------------------------------------


def _widened(xp: Any, tape: Tape, *, size: int) -> Tape:
    kind = batched_type(tape.type, size)
    assert isinstance(kind, TapeType)
    return _each(
        tape,
        kind,
        lambda x: np.broadcast_to(x[:, None], (len(x), size, *x.shape[1:])),
        lambda item: (
            _widened(xp, item, size=size)
            if type(item) is Tape
            else np.broadcast_to(item, (size, *np.shape(item)))
        ),
    )


def _narrowed(xp: Any, tape: Tape) -> Tape:
    kind = _narrow_type(tape.type)
    return _each(
        tape,
        kind,
        lambda x: x.sum(axis=1),
        lambda item: _narrowed(xp, item) if type(item) is Tape else item.sum(axis=0),
    )


def _narrow_type(kind: Any) -> TapeType:
    element = kind.element
    if type(element) is TapeType:
        return TapeType(_narrow_type(element))
    return TapeType(Type(element.shape[1:], element.dtype))


def _batch_size(kind: Any) -> int:
    while type(kind) is TapeType:
        kind = kind.element
    return kind.shape[0]


def _never(*_: Any, **__: Any) -> Any:
    raise NotImplementedError("tapes of loops are widened once, by the innermost vmap")


widen_tape = linear(
    "widen_tape",
    eval=_widened,
    type=lambda tape, *, size: batched_type(tape, size),
    transpose=lambda t, tape, *, size: (narrow_tape(t),),
    batch=_never,
)
narrow_tape = linear(
    "narrow_tape",
    eval=_narrowed,
    type=_narrow_type,
    transpose=lambda t, tape: (widen_tape(t, size=_batch_size(tape)),),
    batch=_never,
)


def wide(value: Any, size: int, has_batch: bool) -> Any:
    """Give a value, or the elements of a tape, a batch on axis 0, if it has none."""
    if has_batch or not isinstance(type_of(value), TapeType):
        return with_batch(value, size, has_batch)
    return widen_tape(value, size=size)


# --- one tape for each branch ------------------------------------------------------------------


def _picked(xp: Any, joined: Tape, *, number: int) -> Tape:
    return Tape(joined.type, None) if joined.items is None else joined.items[number]


def _pick_transpose(t: Any, joined: Any, *, number: int, of: int) -> Sequence[Any]:
    return (join_tapes(*(t if i == number else zeros(joined) for i in range(of))),)


join_tapes = linear(
    "join_tapes",
    eval=lambda xp, *tapes: Tape(tapes[0].type, list(tapes)),
    type=lambda *tapes: tapes[0],
    transpose=lambda t, *tapes: [pick_tape(t, number=i, of=len(tapes)) for i in range(len(tapes))],
    batch=_never,
    linear_in=None,
)
pick_tape = linear(
    "pick_tape",
    eval=lambda xp, joined, *, number, of: _picked(xp, joined, number=number),
    type=lambda joined, *, number, of: joined,
    transpose=_pick_transpose,
    batch=_never,
)
