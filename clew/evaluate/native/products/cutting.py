"""Products in equal parts, so that other steps can run with each part."""

from __future__ import annotations

import functools

from clew.evaluate.native.host import Host
from clew.evaluate.native.products.contraction import Contraction, Cut
from clew.evaluate.native.products.plan import chunks_for, make_plan, waiting, work

_WORTH = 1.25
"""How many times the cycles of the whole its parts may take together."""
_FAR = 1.03
"""What it costs if a part of the result is not near any more when the next step reads it."""
_CHUNK = 500.0
"""Cycles to begin a part."""


@functools.lru_cache(maxsize=1024)
def evenly(one: Contraction, host: Host) -> Cut | None:
    """Return the best way to cut a product into equal parts for threads, if there is a good one."""
    wanted = chunks_for(work(one))
    if wanted < 2:
        return None
    whole = make_plan(one, host, 1)
    best, found = _WORTH * (whole.cost + whole.extra), None
    written = one.elements * one.dtype.itemsize
    for chunks in range(2, 2 * wanted + 1):
        cut = one.cut(chunks)
        if cut is None:
            continue
        cycles = chunks * (_cycles(cut.part, host) + _CHUNK) * waiting(chunks, host)
        if written > chunks * host.level2 // 4:
            cycles *= _FAR
        if cycles < best:
            best, found = cycles, cut
        elif found is not None and cycles > _WORTH * best:
            break  # smaller parts only get worse
    return found


def joining(one: Contraction, chunks: int, host: Host) -> Cut | None:
    """Return a product in the parts of a region, if it is not much slower so."""
    cut = one.cut(chunks)
    if cut is None:
        return None
    whole = make_plan(one, host, 1)
    fast = chunks * _cycles(cut.part, host) < _WORTH * (whole.cost + whole.extra)
    return cut if fast else None


def _cycles(one: Contraction, host: Host) -> float:
    plan = make_plan(one, host, 1)
    return plan.cost + plan.extra
