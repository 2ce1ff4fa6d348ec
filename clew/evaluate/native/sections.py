"""The functions of a program: one, or several that follow each other if it is long.

LLVM takes time in proportion to the square of a function's length. What a later function reads
of an earlier one is in the arena; addresses that last have names that each function defines for
itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from clew.evaluate.native.emitter import BOOL, Emitter, Value
from clew.evaluate.native.module import PLAIN, QUICK

SECTION = 4000
"""Instructions, as ``length_of`` counts them, from which a program is cut."""
_LINES = 8000
"""Instructions of a section."""
_LABEL = re.compile(r"label %([\w.]+)")
_CALLED = re.compile(r" call [^@]*@([\w.]+)\(")
_COMPUTES = re.compile(r" = (f[a-z]+ |load (?!ptr)|call (?!void|i32))|^  store (?!ptr)")
"""Arithmetic, and reading and writing of numbers."""
_NAME = re.compile(r"%(?:argument|arena|tape)\.\d+")
_PARAMETERS = [
    ("ptr", "arguments", "noalias"),
    ("ptr", "arena", "noalias"),
    ("ptr", "callback", ""),
]
_MORE = [("ptr", "tapes", ""), ("ptr", "scratch", "")]


class Sections:
    """Begins and ends the functions of a program.

    The function ``program`` does all by itself if ``whole``, else it calls the sections.
    """

    def __init__(self, program: Any, whole: bool) -> None:
        self.whole = whole
        self._program = program
        self._main = Emitter(program.module, "program", _PARAMETERS, "i32", linkage="")
        self._known: dict[str, tuple[str, ...]] = {}

    # --- names -------------------------------------------------------------------------

    def named(self, name: str, *texts: str) -> str:
        """Return the name, with ``%``, of an address that every function can find.

        ``texts`` are instructions; ``BEFORE`` is the result of the one before.
        """
        self._known[f"%{name}"] = texts
        return f"%{name}"

    def knows(self, name: str) -> bool:
        """Say whether a name is the same in all functions."""
        return name in self._known or name.startswith("@")

    def _define_names(self, e: Emitter) -> None:
        for name in dict.fromkeys(_NAME.findall(e.text())):
            *first, last = self._known[name]
            before = ""
            for number, text in enumerate(first):
                before = f"{name}.{number}"
                e.reserve(f"{before} = {text}")
            e.reserve(f"{name} = {last.replace('BEFORE', before)}")

    # --- functions ---------------------------------------------------------------------

    def begun(self) -> Emitter:
        """Return the function that the program is written into first."""
        return self._main if self.whole else self._section()

    def _section(self) -> Emitter:
        module = self._program.module
        return Emitter(module, module.fresh("section"), [*_PARAMETERS, *_MORE], "i32")

    def between_steps(self, frame: Any) -> None:
        """Go on in another section if this one is long enough."""
        if not self.whole and frame.e.length > _LINES and frame.park():
            self._finish(frame.e)
            self._program.e = frame.e = self._section()

    def end(self) -> None:
        """Go on in the function ``program`` itself."""
        if not self.whole:
            self._finish(self._program.e)
            self._program.e = self._main

    def _finish(self, e: Emitter) -> None:
        """End a section, and have it called."""
        e.ret("i32 0")
        e.start("failed", falls_through=False)
        e.ret("i32 1")
        given = ", ".join(f"ptr %{name}" for _, name, _ in e.parameters)
        status = self._main.assign(f"call i32 {self.add(e)}({given})")
        after = self._main.new_label("go")
        wrong = Value(BOOL, self._main.assign(f"icmp ne i32 {status}, 0"))
        self._main.line(f"br i1 {wrong.name}, label %failed, label %{after}")
        self._main.start(after, falls_through=False)

    def add(self, e: Emitter) -> str:
        """Add a finished function to the module; return its symbol."""
        self._define_names(e)
        return self._program.module.add(e, self._level(repeated(e.text())))

    def _level(self, lines: Sequence[str]) -> int | None:
        """Return the level of a function of which loops repeat some lines.

        What there is to optimise is in the kernels, unless loops hold arithmetic themselves, or
        call what LLVM may put into them.
        """
        if not lines:
            return PLAIN
        module = self._program.module
        for line in lines:
            called = _CALLED.search(line)
            if _COMPUTES.search(line) or (called and module.level(called[1]) is None):
                return None
        return QUICK


def repeated(text: str) -> list[str]:
    r"""Return the lines of a function that are in loops.

    >>> repeated("entry:\n  br label %a\na:\n  call void @f()\n  br label %a")
    ['a:', '  call void @f()', '  br label %a']
    """
    lines = text.splitlines()
    known: dict[str, int] = {}
    found: set[int] = set()
    for number, line in enumerate(lines):
        if line.endswith(":"):
            known[line[:-1]] = number
        elif line.startswith("  br "):
            for label in _LABEL.findall(line):
                if label in known:
                    found.update(range(known[label], number + 1))
    return [lines[number] for number in sorted(found)]
