"""The body of a loop, read back from LLVM's text as a list of instructions.

Only what kernels are made of is understood: arithmetic on numbers, addresses, loads and stores,
mutable places, and calls for rare cases. Places vanish: what is read from one is what was written
to it, or what the iteration before left there, which is a sum of some kind.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

SIZES = {"double": 8, "float": 4, "i64": 8, "i32": 4, "i16": 2, "i8": 1, "i1": 0}
"""Bytes of the types that are understood; a truth value is a byte in memory."""
_KIND = "(double|float|i64|i32|i16|i8|i1)"
_NAMED = re.compile(r"  (%[\w.]+) = (.*)")
_BINARY = re.compile(
    "((?:f?add|f?sub|f?mul|fdiv|[su]div|[su]rem|and|or|xor|shl|[al]shr|fcmp|icmp)(?: [a-z]+)*?)"
    rf" {_KIND} (\S+), (\S+)"
)
_NEGATIVE = re.compile(rf"(fneg(?: [a-z]+)*?) {_KIND} (\S+)")
_SELECT = re.compile(rf"select i1 (\S+), {_KIND} (\S+), {_KIND} (\S+)")
_CAST = re.compile(
    rf"(bitcast|[zs]ext|trunc|fpto[su]i|[su]itofp|fpext|fptrunc) {_KIND} (\S+) to {_KIND}"
)
_CALL = re.compile(rf"call ((?:[a-z]+ )*?){_KIND} @llvm\.([a-z]+)\.[fi]\d+\((.*)\)")
_RARE = re.compile(rf"  (%[\w.]+) = call {_KIND} @(clew_math_\w+)\((.*?)\) .*")
_ADDRESS = re.compile(r"getelementptr inbounds (\[(\d+) x i8\]|\w+), ptr (\S+), i64 (\S+)")
_LOAD = re.compile(rf"load {_KIND}, ptr (%[\w.]+)")
_STORE = re.compile(rf"  store {_KIND} (\S+), ptr (%[\w.]+)")
_BRANCH = re.compile(r"  br i1 (\S+), label %(\w+), label %(\w+)")
_ROUNDING = frozenset(["ceil", "floor", "nearbyint", "rint", "round", "roundeven", "trunc"])
_CHOOSING = frozenset(["maximum", "minimum", "smax", "smin", "umax", "umin"])
_INTRINSICS = _ROUNDING | _CHOOSING | {"abs", "copysign", "fabs", "fma", "maxnum", "minnum", "sqrt"}
_GATHERED = _CHOOSING | {"add", "and", "fadd", "fmul", "mul", "or"}
"""Operations by which a place may change from one iteration to the next."""


@dataclass(frozen=True)
class Instruction:
    """An instruction.

    Parameters
    ----------
    name : str
        Of the result; empty for a store.
    what : str
        ``address``, ``load``, ``store``, ``rare`` (a masked call), or ``value``.
    kind : str
        Type of the result, or of what is stored; of an address, of nothing.
    operands : tuple of (type, name)
        Of a store the value, and where; of a rare case first the condition.
    form : str
        How it is written, with ``{0}`` for the first operand, ``{t0}`` for its type, ``{t}`` for
        the type of the result and ``{s}`` for what names the type in an intrinsic.
    size : int
        Of an address: the bytes of an element.
    """

    name: str
    what: str
    kind: str
    operands: tuple[tuple[str, str], ...]
    form: str = ""
    size: int = 0

    @property
    def operation(self) -> str:
        """The first word of what it does."""
        found = re.search(r"@llvm\.([a-z]+)", self.form)
        return found.group(1) if found else self.form.split(" ", 1)[0]


@dataclass
class Gathered:
    """What a place gathers: ``old`` is its value before an iteration, ``new`` the one after."""

    place: str
    kind: str
    old: str
    new: str
    operation: str = ""
    terms: dict[str, str] = field(default_factory=dict)
    """The operand that each instruction adds, by its result, in order."""


@dataclass
class Straight:
    """A body without branches."""

    instructions: list[Instruction] = field(default_factory=list)
    gathered: list[Gathered] = field(default_factory=list)


class NotStraight(Exception):
    """A body with something else."""


def read(lines: Sequence[str]) -> Straight | None:
    """Return the instructions of a body; None if there is one that is not understood."""
    reader = _Reader(lines)
    try:
        reader.run()
    except NotStraight:
        return None
    return reader.found


class _Reader:
    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = list(lines)
        self._at = 0
        self.found = Straight()
        self._gathered: dict[str, Gathered] = {}
        self._now: dict[str, str] = {}
        """What places hold."""
        self._same: dict[str, str] = {}

    def run(self) -> None:
        while self._at < len(self._lines):
            self._line(self._lines[self._at])
            self._at += 1
        self.found.gathered = list(self._gathered.values())
        uses = Counter(x for each in self.found.instructions for _, x in each.operands)
        for each in self.found.gathered:
            self._expect(bool(each.terms) and not uses[each.new])
            self._expect(all(uses[x] == 1 for x in (each.old, *list(each.terms)[:-1])))

    def _line(self, line: str) -> None:
        named = _NAMED.fullmatch(line)
        if named:
            self._named(*named.groups())
        elif line.startswith("  br label %"):
            self._expect(self._lines[self._at + 1] == f"{line[12:]}:")
            self._at += 1
        elif stored := _STORE.fullmatch(line):
            kind, value, where = stored.groups()
            if where in self._gathered:
                self._gather(self._gathered[where], self._value(value))
            elif where.startswith("%slot"):
                self._now[where] = self._value(value)
            else:
                self._add("", "store", kind, ((kind, self._value(value)), ("ptr", where)))
        elif branch := _BRANCH.fullmatch(line):
            self._rare(*branch.groups())
        else:
            raise NotStraight

    def _named(self, name: str, text: str) -> None:
        if loaded := _LOAD.fullmatch(text):
            self._load(name, *loaded.groups())
        elif address := _ADDRESS.fullmatch(text):
            kind, size, pointer, offset = address.groups()
            self._expect(size is not None or kind in SIZES)
            operands = (("ptr", pointer), ("i64", self._value(offset)))
            form = f"getelementptr inbounds {kind}, ptr {{0}}, i64 {{1}}"
            self._add(name, "address", "", operands, form, int(size or SIZES[kind]))
        else:
            self._arithmetic(name, text)

    def _arithmetic(self, name: str, text: str) -> None:
        if parts := _BINARY.fullmatch(text):
            head, kind, *pair = parts.groups()
            result = "i1" if head[1:4] == "cmp" else kind
            self._value_of(name, result, [(kind, x) for x in pair], head + " {t0} {0}, {1}")
        elif parts := _NEGATIVE.fullmatch(text):
            head, kind, x = parts.groups()
            self._value_of(name, kind, [(kind, x)], head + " {t0} {0}")
        elif parts := _SELECT.fullmatch(text):
            asked, kind, x, _, y = parts.groups()
            operands = [("i1", asked), (kind, x), (kind, y)]
            self._value_of(name, kind, operands, "select {t0} {0}, {t1} {1}, {t2} {2}")
        elif parts := _CAST.fullmatch(text):
            head, kind, x, result = parts.groups()
            self._value_of(name, result, [(kind, x)], head + " {t0} {0} to {t}")
        elif parts := _CALL.fullmatch(text):
            self._intrinsic(name, *parts.groups())
        else:
            raise NotStraight

    def _intrinsic(self, name: str, flags: str, kind: str, which: str, given: str) -> None:
        self._expect(which in _INTRINSICS)
        operands = [_operand(each) for each in given.split(", ")]
        last = ""
        if which == "abs":
            operands, last = operands[:1], ", " + " ".join(operands[1])
        self._expect(all(own == kind for own, _ in operands))
        places = ", ".join(f"{{t{i}}} {{{i}}}" for i in range(len(operands)))
        self._value_of(
            name, kind, operands, f"call {flags}{{t}} @llvm.{which}.{{s}}({places}{last})"
        )

    def _value_of(
        self, name: str, kind: str, operands: Sequence[tuple[str, str]], form: str
    ) -> None:
        self._add(name, "value", kind, [(own, self._value(x)) for own, x in operands], form)

    def _add(
        self,
        name: str,
        what: str,
        kind: str,
        operands: Sequence[tuple[str, str]],
        form: str = "",
        size: int = 0,
    ) -> None:
        one = Instruction(name, what, kind, tuple(operands), form, size)
        self.found.instructions.append(one)

    def _load(self, name: str, kind: str, where: str) -> None:
        if not where.startswith("%slot"):
            self._add(name, "load", kind, (("ptr", where),), "load {t}, ptr {0}")
            return
        if where not in self._now:
            self._now[where] = f"{where}.old"
            self._gathered[where] = Gathered(where, kind, f"{where}.old", f"{where}.old")
        self._same[name] = self._now[where]

    def _gather(self, gathered: Gathered, value: str) -> None:
        """Read that a place becomes an operation of what it was and a term."""
        one = self.found.instructions[-1]
        names = [x for _, x in one.operands]
        self._expect(one.name == value and one.what == "value" and len(names) == 2)
        self._expect(names.count(gathered.new) == 1 and one.operation in _GATHERED)
        self._expect(gathered.operation in ("", one.operation))
        gathered.operation = one.operation
        gathered.terms[value] = names[names[0] == gathered.new]
        gathered.new = self._now[gathered.place] = value

    def _rare(self, condition: str, then: str, after: str) -> None:
        """Read ``if condition: place = function(operands)``."""
        lines = self._lines[self._at + 1 : self._at + 6]
        self._expect(len(lines) == 5)
        call, stored = _RARE.fullmatch(lines[1]), _STORE.fullmatch(lines[2])
        ends = (lines[0], lines[3], lines[4]) == (f"{then}:", f"  br label %{after}", f"{after}:")
        if call is None or stored is None or not ends:
            raise NotStraight
        name, kind, symbol, given = call.groups()
        _, value, place = stored.groups()
        operands = [_operand(each) for each in given.split(", ")]
        same = self._now.get(place) == self._value(operands[0][1])
        self._expect(value == name and place.startswith("%slot") and same)
        every = [("i1", self._value(condition)), *((k, self._value(x)) for k, x in operands)]
        self._add(name, "rare", kind, every, form=symbol)
        self._now[place] = name
        self._at += 5

    def _value(self, name: str) -> str:
        return self._same.get(name, name)

    @staticmethod
    def _expect(condition: bool) -> None:
        if not condition:
            raise NotStraight


def _operand(text: str) -> tuple[str, str]:
    kind, name = text.split(" ")
    return kind, name
