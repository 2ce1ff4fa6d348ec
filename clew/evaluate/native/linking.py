"""A program's module is compiled part by part, with what it calls, and then put together."""

from __future__ import annotations

from collections.abc import Sequence

from clew.evaluate.native.compiling import Compiler, Task, Unit
from clew.evaluate.native.module import Module
from clew.evaluate.native.toolchain import Library, loaded

_shared: dict[str, Library] = {}
"""Units that every program of the process may call, by their first entry point."""


class Linker:
    """Has the parts of a module compiled, and the units that it requires, as they come.

    >>> from clew.evaluate.native.emitter import Emitter
    >>> with Compiler() as compiler:
    ...     linker = Linker(compiler)
    ...     module = Module(linker)
    ...     e = Emitter(module, "nothing", linkage="")
    ...     e.ret()
    ...     _ = module.add(e)
    ...     linker.library(module, ["nothing"]).address("nothing") > 0
    True
    """

    def __init__(self, compiler: Compiler, level: int = 3) -> None:
        self._compiler = compiler
        self._level = level
        self._parts: list[Task] = []
        self._required: dict[str, Task] = {}

    def part(self, text: str, level: int | None) -> None:
        """Compile a part of the module, at a level of its own or at that of the program."""
        self._parts.append(self._compiler.add(self._unit(text, level)))

    def _unit(self, text: str, level: int | None) -> Unit:
        return Unit(text, (), self._level if level is None else min(level, self._level))

    def require(self, unit: Unit) -> None:
        """Compile what the module calls, unless it is there already."""
        name = unit.entry_points[0]
        if name not in _shared and name not in self._required:
            self._required[name] = self._compiler.add(unit)

    def library(self, module: Module, entry_points: Sequence[str]) -> Library:
        """Return the machine code of a module that is finished."""
        rest = [self._unit(text, level) for text, level in module.rest()]
        self._parts += self._compiler.finish(rest)
        for task in self._required.values():
            _share(task)
        library = loaded([task.result for task in self._parts], entry_points)
        library.cached = all(task.cached for task in self._parts)
        return library


def _share(task: Task) -> None:
    from llvmlite import binding

    names = task.unit.entry_points
    library = loaded([task.result], names)
    library.keep()
    for name in names:
        binding.add_symbol(name, library.address(name))
    _shared[names[0]] = library
