"""Rare cases out of line: a call that vector code skips unless one of its lanes needs it.

Vectors have no branches, only masks: whatever a formula holds is computed for every element. A
masked call is the exception, since the function called may look at the mask. So a rare case becomes
a scalar function, compiled once for all programs, with variants for vectors of 2 to 16 lanes that
return at once when the mask is empty and else call the scalar one lane by lane. Loops written with
vectors call those (``wide.py``). LLVM, which makes vectors of the others, finds them through the
attribute ``vector-function-abi-variant`` (LLVM Language Reference; the names are mangled as in
OpenMP's vector ABI). Where no variant has its number of lanes, it branches for every lane.

Measured for sin in float64 (AVX-512): 1.2 ns an element, 0.9 ns without the call. By its count of
operations, the reduction of huge angles inline (four gathers and some fifty more) would more than
double the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from clew.evaluate.native.compiling import Unit
from clew.evaluate.native.emitter import Emitter, Module, Value, llvm_type
from clew.evaluate.native.math.number import Number

_LANES = (2, 4, 8, 16)
_ATTRIBUTES = "noinline nounwind willreturn memory(none)"
_UNITS: dict[str, tuple[Unit, ...]] = {}
"""For each function what has to be compiled for it, in the order of loading."""


def rare_case(rare: Number, name: str, body: Callable[..., Number], *operands: Number) -> Number:
    """Return ``body(*operands)``, computed out of line, where ``rare`` holds; else anything.

    ``name`` stands for the body: each is written once in a module. Call this before the usual
    case is computed, and select afterwards: vector registers do not survive calls.
    """
    e = rare.e
    dtype = operands[0].value.dtype
    kind = llvm_type(dtype)
    symbol = f"clew_math_{name}_{kind}"
    _define(e.module, symbol, body, operands)
    mangled = ",".join(
        f"_ZGV_LLVM_M{lanes}{'v' * len(operands)}_{symbol}({symbol}.v{lanes})" for lanes in _LANES
    )
    slot = e.slot(dtype)
    e.set(slot, operands[0].value)
    with e.when(rare.value):
        arguments = ", ".join(f"{kind} {x.value.name}" for x in operands)
        result = e.assign(
            f"call {kind} @{symbol}({arguments}) "
            f'nounwind willreturn memory(none) "vector-function-abi-variant"="{mangled}"'
        )
        e.set(slot, Value(dtype, result))
    return Number(e, e.get(slot))


def _define(
    module: Module, symbol: str, body: Callable[..., Number], operands: Sequence[Number]
) -> None:
    """Declare the scalar function and its variants in a module, once."""
    if module.declares(symbol):
        return
    dtype = operands[0].value.dtype
    if symbol not in _UNITS:
        _UNITS[symbol] = _units(symbol, dtype, body, len(operands))
    for unit in _UNITS[symbol]:
        module.require(unit)
    kind = llvm_type(dtype)
    given = ", ".join([kind] * len(operands))
    module.declare(symbol, f"{kind} @{symbol}({given}) {_ATTRIBUTES}")
    for lanes in _LANES:
        vector = f"<{lanes} x {kind}>"
        given = ", ".join([*([vector] * len(operands)), f"<{lanes} x i1>"])
        name = f"{symbol}.v{lanes}"
        module.declare(name, f"{vector} @{name}({given}) {_ATTRIBUTES}")
    module.keep(symbol, [f"{symbol}.v{lanes}" for lanes in _LANES])


def _units(
    symbol: str, dtype: np.dtype, body: Callable[..., Number], count: int
) -> tuple[Unit, ...]:
    """Write the function and its variants, which all programs of the process share."""
    kind = llvm_type(dtype)
    module = Module()
    names = [f"x{k}" for k in range(count)]
    parameters = [(kind, name, "") for name in names]
    e = Emitter(module, symbol, parameters, kind, flags="", attributes=_ATTRIBUTES, linkage="")
    result = body(*(Number(e, Value(dtype, f"%{name}")) for name in names))
    e.ret(f"{kind} {result.value.name}")
    module.add(e)
    variants = [f"{symbol}.v{lanes}" for lanes in _LANES]
    for lanes, name in zip(_LANES, variants, strict=True):
        module.add_text(name, _variant(module, symbol, kind, names, lanes))
    own = Unit(module.text(), (symbol, *variants), level=1)
    return (*module.required.values(), own)


def _variant(module: Module, symbol: str, kind: str, names: Sequence[str], lanes: int) -> str:
    """Return the text of a masked vector variant."""
    vector, mask = f"<{lanes} x {kind}>", f"<{lanes} x i1>"
    reduction = f"llvm.vector.reduce.or.v{lanes}i1"
    module.declare(reduction, f"i1 @{reduction}({mask})")
    parameters = ", ".join(f"{vector} %{name}" for name in names)
    lines = [
        f"define {vector} @NAME({parameters}, {mask} %mask) {_ATTRIBUTES} {{",
        "entry:",
        f"  %any = call i1 @{reduction}({mask} %mask)",
        "  br i1 %any, label %head, label %none",
        "none:",
        f"  ret {vector} %x0",
        "head:",
        "  %lane = phi i64 [ 0, %entry ], [ %next, %latch ]",
        f"  %so.far = phi {vector} [ %x0, %entry ], [ %now, %latch ]",
        f"  %needed = extractelement {mask} %mask, i64 %lane",
        "  br i1 %needed, label %then, label %latch",
        "then:",
        *(f"  %{n}.one = extractelement {vector} %{n}, i64 %lane" for n in names),
        f"  %one = call {kind} @{symbol}({', '.join(f'{kind} %{n}.one' for n in names)})",
        f"  %changed = insertelement {vector} %so.far, {kind} %one, i64 %lane",
        "  br label %latch",
        "latch:",
        f"  %now = phi {vector} [ %so.far, %head ], [ %changed, %then ]",
        "  %next = add nuw i64 %lane, 1",
        f"  %more = icmp ult i64 %next, {lanes}",
        "  br i1 %more, label %head, label %out",
        "out:",
        f"  ret {vector} %now",
        "}",
    ]
    return "\n".join(lines)
