"""Rules for the operations on tapes themselves: loops over their elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from clew.core.graph import Equation, Graph, Var
from clew.core.primitive import PRIMITIVES
from clew.core.tape import TapeType
from clew.core.types import Type
from clew.evaluate.native.control import write_loop
from clew.evaluate.native.emitter import INT64, Emitter
from clew.evaluate.native.storage import Registers
from clew.evaluate.native.tapes import (
    JOINED,
    NESTED,
    Appender,
    TapeStore,
    ZeroTape,
    common_form,
    handle,
    loaded,
    nested,
    write_tape,
)
from clew.loops.batched import graph_of
from clew.loops.spec import COUNT, Policy, Spec
from clew.ops.shape import with_batch

_ON_ARRAYS: dict[str, Callable[..., Any]] = {
    "add_tapes": lambda x, y: x + y,
    "widen_tape": lambda x, size: with_batch(x, size, False),
    "narrow_tape": lambda x: x.sum(axis=0),
}


def write_by_element(program: Any, frame: Any, equation: Equation) -> bool:
    """Write a sum of tapes, or a tape whose elements get a batch, or lose it."""
    var, kind = _result(equation)
    tapes = [frame.storage(atom) for atom in equation.inputs]
    stored = [tape for tape in tapes if isinstance(tape, TapeStore)]
    if len(stored) < len(tapes):
        frame.define(var, stored[0] if stored else ZeroTape(kind.element))
        return True
    form = stored[0].form
    if form is None or any(tape.form != form for tape in stored) or {*form} - {JOINED, NESTED}:
        return False
    elements = [tape.element for tape in stored]
    joined = form[:1] == (JOINED,)
    if joined:  # the elements are tapes of the type that the whole is said to be
        rest = nested(form[1:])
        elements = [TapeType(element) for element in elements]
        stored = [
            replace(tape, element=element, form=rest)
            for tape, element in zip(stored, elements, strict=True)
        ]
        kind = TapeType(kind)
    result = _looped(program, frame, equation, _body(equation, elements), stored, kind)
    if joined:
        left = result.form[1:] if result.form else ()
        result = replace(result, element=_result(equation)[1].element, form=(JOINED, *left))
    frame.define(var, result)
    return True


def _result(equation: Equation) -> tuple[Var, TapeType]:
    (var,) = equation.outputs
    assert isinstance(var.type, TapeType)
    return var, var.type


def _body(equation: Equation, elements: Sequence[Type]) -> Graph:
    """Return what happens to the elements of a step."""
    name, params = equation.primitive.name, equation.params
    on_tapes = isinstance(elements[0], TapeType)
    rule = PRIMITIVES[name] if on_tapes else _ON_ARRAYS[name]
    return graph_of(lambda *items: [rule(*items, **params)], elements)


def _looped(
    program: Any,
    frame: Any,
    equation: Equation,
    body: Graph,
    tapes: Sequence[TapeStore],
    kind: TapeType,
) -> TapeStore:
    """Write a loop over the elements of tapes; of zeros it makes zeros."""
    e: Emitter = program.e
    longest = tapes[0].length
    for tape in tapes[1:]:
        longest = e.select(e.lt(longest, tape.length), tape.length, longest)
    count, result = Var(COUNT), Var(kind)
    inputs = [Var(TapeType(var.type)) for var in body.inputs]
    frame.define(count, Registers(INT64, (), (longest,)))
    for var, tape in zip(inputs, tapes, strict=True):
        frame.define(var, tape)
    owner = frame.escaping.get(equation.outputs[0])
    if owner is not None:
        frame.escaping[result] = owner
    spec = Spec(body, None, None, 0, len(inputs), False, Policy())
    loop = Equation(
        PRIMITIVES["loop"],
        (count, *inputs),
        spec.params(),
        (result,),
        equation.scope,
        equation.where,
    )
    write_loop(program, frame, loop)
    made: TapeStore = frame.storage(result)
    zeros, _, _ = handle(e, ZeroTape(kind.element))
    nothing = e.eq(longest, e.constant(INT64, 0))
    header = e.assign(f"select i1 {nothing.name}, ptr {zeros}, ptr {made.header}")
    return replace(made, header=header, size=None)


def write_join(program: Any, frame: Any, equation: Equation) -> bool:
    """Write one tape that has several for elements."""
    e: Emitter = program.e
    var, kind = _result(equation)
    tapes = [frame.storage(atom) for atom in equation.inputs]
    owner, count = frame.escaping.get(var), e.constant(INT64, len(tapes))
    appender = Appender(program, kind, Policy(), 0, owner, count)
    for number, tape in enumerate(tapes):
        write_tape(e, appender.place(e.constant(INT64, number)), tape)
    form = common_form(tapes)
    form = None if form is None else (JOINED, *form)
    frame.define(var, replace(appender.end(form), element=kind.element))
    return True


def write_pick(program: Any, frame: Any, equation: Equation) -> bool:
    """Write which tape of several joined ones."""
    e: Emitter = program.e
    var, kind = _result(equation)
    joined = frame.storage(equation.inputs[0])
    if isinstance(joined, ZeroTape):
        frame.define(var, joined)
        return True
    form = joined.form[1:] if joined.form and joined.form[0] == JOINED else None
    address = joined.address(e, e.constant(INT64, equation.params["number"]))
    frame.define(var, loaded(e, address, kind.element, form))
    return True
