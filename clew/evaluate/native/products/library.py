"""Products for the programs that call them.

Loops around kernels in assembly are compiled with the program: there is nothing to improve. All
other products are compiled apart, once for each shape. They are vector code already, so the short
pipeline gives the same speed in half the time; and programs share them: a value and its gradient,
a first and a second process (through the cache on disk).
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace

from clew.evaluate.native.compiling import Unit
from clew.evaluate.native.emitter import Module
from clew.evaluate.native.host import host
from clew.evaluate.native.module import PLAIN
from clew.evaluate.native.products.contraction import Contraction
from clew.evaluate.native.products.convolution import (
    Convolution,
    cheapest,
    emit_convolution,
)
from clew.evaluate.native.products.driver import Emitted, emit_plan
from clew.evaluate.native.products.plan import make_plan, waiting
from clew.evaluate.native.products.winograd import emit_first, emit_last
from clew.evaluate.native.products.winograd_plan import Way, filtered

_GAIN = 0.75
"""The share of a direct convolution's cycles that a filtered one may take to be preferred."""
_SYMBOL = re.compile(r"@[\w.]+")
_LEVEL = 2
"""Of convolutions: loops over windows have addresses to be simplified."""


def product(module: Module, one: Contraction | Convolution, wanted: int | None = None) -> Emitted:
    """Return a product that functions of a module may call.

    It is in ``wanted`` chunks, or in as many as its work is worth.
    """
    emitted, units, own = _written(one, wanted)
    for unit in units:
        module.require(unit)
    if own is not None:
        module.take(own, PLAIN)
        return emitted
    for each in emitted.stages:
        module.declare(each.symbol[1:], f"void {each.symbol}(ptr, ptr, ptr, ptr, i64)")
    return emitted


_Written = tuple[Emitted, tuple[Unit, ...], Module | None]
"""A product; what is compiled apart for it, in the order of loading; what is not."""


@functools.lru_cache(maxsize=1024)
def _written(one: Contraction | Convolution, wanted: int | None) -> _Written:
    on = host()
    if isinstance(one, Contraction):
        plan = make_plan(one, on, wanted)
        return _apart(lambda module: emit_plan(module, plan, on, "product"), 1)
    way = _filtered(one)
    if way is None:
        return _apart(lambda module: emit_convolution(module, one, on), _LEVEL)
    first, units, _ = _apart(lambda module: emit_first(module, way, on), _LEVEL)
    last, more, _ = _apart(lambda module: emit_last(module, way, on), _LEVEL)
    return replace(last, first=first), (*units, *more), None


def _apart(write: Callable[[Module], Emitted], level: int) -> _Written:
    """Return a function under a name that follows from its text."""
    module = Module()
    emitted = write(module)
    text = module.text()
    name = f"clew_product_{hashlib.sha256(text.encode()).hexdigest()[:32]}"
    needed = tuple(module.required.values())
    if emitted.simple:
        renamed = module.renamed(name)
        return replace(emitted, symbol=f"@{name}.{emitted.symbol[1:]}"), needed, renamed
    text = text.replace(f"define internal void {emitted.symbol}(", f"define void @{name}(")
    text = _SYMBOL.sub(lambda found: f"@{name}" if found[0] == emitted.symbol else found[0], text)
    return replace(emitted, symbol=f"@{name}"), (*needed, Unit(text, (name,), level)), None


def _filtered(one: Convolution) -> Way | None:
    """Return how to filter a convolution, if that should be clearly faster than a direct sum."""
    way = filtered(one, host())
    if way is None:
        return None
    direct = cheapest(one, host())
    other = direct.cost * waiting(direct.parts * direct.plan.chunks, host())
    return way if way.cost * waiting(way.chunks, host()) < _GAIN * other else None
