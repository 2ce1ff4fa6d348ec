"""Products compiled apart from the programs that call them, once for each shape.

The kernels are vector code already, so LLVM has little to find: the short pipeline gives the same
speed in half the time. And programs share them: a value and its gradient, a first and a second
process (through the cache on disk).
"""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import replace

from clew.evaluate.native.emitter import Module
from clew.evaluate.native.host import host
from clew.evaluate.native.products.contraction import Contraction
from clew.evaluate.native.products.convolution import (
    Convolution,
    cheapest,
    emit_convolution,
)
from clew.evaluate.native.products.driver import Emitted, emit_plan
from clew.evaluate.native.products.plan import make_plan, waiting
from clew.evaluate.native.products.winograd import emit_filtered
from clew.evaluate.native.products.winograd_plan import filtered
from clew.evaluate.native.toolchain import Unit

_GAIN = 0.75
"""The share of a direct convolution's cycles that a filtered one may take to be preferred."""


def product(module: Module, one: Contraction | Convolution) -> Emitted:
    """Return a product that functions of a module may call."""
    emitted, units = _written(one)
    for unit in units:
        module.require(unit)
    for each in emitted.stages:
        module.declare(each.symbol[1:], f"void {each.symbol}(ptr, ptr, ptr, ptr, i64)")
    return emitted


@functools.lru_cache(maxsize=1024)
def _written(one: Contraction | Convolution) -> tuple[Emitted, tuple[Unit, ...]]:
    """Return a product, and what has to be compiled for it, in the order of loading."""
    module = Module()
    level = 1
    if isinstance(one, Convolution):
        level = 2  # loops over windows have addresses to be simplified
        emitted = _convolution(module, one)
    else:
        emitted = emit_plan(module, make_plan(one, host()), host(), "product")
    text = module.text()
    name = f"clew_product_{hashlib.sha256(text.encode()).hexdigest()[:32]}"
    names = {stage.symbol: f"{name}_{i}" for i, stage in enumerate(emitted.stages)}
    for symbol, public in names.items():
        own = re.escape(symbol)
        text = re.sub(rf"define internal void {own}\(", f"define void {symbol}(", text)
        text = re.sub(rf"{own}(?=[^\w.])", f"@{public}", text)
    unit = Unit((text,), tuple(names.values()), level)
    return _renamed(emitted, names), (*module.required.values(), unit)


def _renamed(emitted: Emitted, names: dict[str, str]) -> Emitted:
    first = None if emitted.first is None else _renamed(emitted.first, names)
    return replace(emitted, symbol=f"@{names[emitted.symbol]}", first=first)


def _convolution(module: Module, one: Convolution) -> Emitted:
    """Write a convolution, filtered if that should be clearly faster."""
    way = filtered(one, host())
    if way is not None:
        direct = cheapest(one, host())
        other = direct.cost * waiting(direct.parts * direct.plan.chunks, host())
        if way.cost * waiting(way.chunks, host()) < _GAIN * other:
            return emit_filtered(module, way, host())
    return emit_convolution(module, one, host())
