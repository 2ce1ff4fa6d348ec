"""A module, and what it calls that is compiled apart: compiled at once, then put together."""

from __future__ import annotations

from collections.abc import Sequence

from clew.evaluate.native.module import Module
from clew.evaluate.native.toolchain import Code, Library, Unit, codes, loaded

_shared: dict[str, Library] = {}
"""Units that every program of the process may call, by their first entry point."""


def linked(module: Module, entry_points: Sequence[str], level: int = 3) -> Library:
    """Return the machine code of a module, with all that it requires.

    >>> from clew.evaluate.native.emitter import Emitter
    >>> module = Module()
    >>> e = Emitter(module, "nothing", linkage="")
    >>> e.ret()
    >>> _ = module.add(e)
    >>> linked(module, ["nothing"]).address("nothing") > 0
    True
    """
    units = [unit for name, unit in module.required.items() if name not in _shared]
    parts = module.parts()
    levels = tuple(level if own is None else min(level, own) for _, own in parts)
    own = Unit(tuple(text for text, _ in parts), tuple(entry_points), levels)
    *others, code = codes([*units, own])
    for unit, each in zip(units, others, strict=True):
        _share(unit, each)
    return loaded(own, code)


def _share(unit: Unit, code: Code) -> None:
    from llvmlite import binding

    library = loaded(unit, code)
    library.keep()
    for name in unit.entry_points:
        binding.add_symbol(name, library.address(name))
    _shared[unit.entry_points[0]] = library
