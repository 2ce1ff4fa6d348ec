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
from clew.evaluate.native.products.convolution import Convolution, emit_convolution
from clew.evaluate.native.products.driver import Emitted, emit_plan
from clew.evaluate.native.products.plan import make_plan
from clew.evaluate.native.toolchain import Unit


def product(module: Module, one: Contraction | Convolution) -> Emitted:
    """Return a product that functions of a module may call."""
    emitted, units = _written(one)
    for unit in units:
        module.require(unit)
    module.declare(emitted.symbol[1:], f"void {emitted.symbol}(ptr, ptr, ptr, ptr, i64)")
    return emitted


@functools.lru_cache(maxsize=1024)
def _written(one: Contraction | Convolution) -> tuple[Emitted, tuple[Unit, ...]]:
    """Return a product, and what has to be compiled for it, in the order of loading."""
    module = Module()
    level = 1
    if isinstance(one, Convolution):
        level = 2  # loops over windows have addresses to be simplified
        emitted = emit_convolution(module, one, host())
    else:
        emitted = emit_plan(module, make_plan(one, host()), host(), "product")
    text = module.text()
    name = f"clew_product_{hashlib.sha256(text.encode()).hexdigest()[:32]}"
    own = re.escape(emitted.symbol)
    text = re.sub(rf"define internal void {own}\(", f"define void {emitted.symbol}(", text)
    text = re.sub(rf"{own}(?=[^\w.])", f"@{name}", text)
    own = Unit((text,), (name,), level)
    made = replace(emitted, symbol=f"@{name}")
    return made, (*module.required.values(), own)
