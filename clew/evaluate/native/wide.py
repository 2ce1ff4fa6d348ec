"""Loops as vectors: the body of a kernel's innermost loop, written again for several elements.

LLVM finds vectors by itself, but looks long for them and writes each loop many times over. Here all
that a body holds is known, so it is simply rewritten: what is the same for all elements goes before
the loop, what lies side by side is loaded and stored at once, a sum has a vector of sums. What is
left at the end runs under a mask or in smaller vectors. Other bodies are left to LLVM.

Compare R. Karrenberg, "Automatic SIMD Vectorization of SSA-based Control Flow Graphs" (2015).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clew.evaluate.native.emitter import INT64, Emitter, Value
from clew.evaluate.native.host import Host, host
from clew.evaluate.native.module import Passage
from clew.evaluate.native.straight import SIZES, Gathered, Instruction, Straight, read

MOST_LANES = 16
"""Lanes for which rare cases have functions."""
_MASKS = 32
"""Bytes in the vectors of machines that load and store under masks."""
_COPIES = ((10, 4), (20, 2))
"""How many vectors a turn of the loop does, for bodies of so many instructions at most."""
_NEAR = 4
"""Elements apart up to which those between are worth loading too."""
_DENSE = 32
"""Instructions for each such access from which on that does not matter."""
_MOST_PIECES = 2
"""Smaller vectors at the end of a loop from which on one mask is better."""
_SHORT = 64
"""Length up to which it is not."""
_ALL = "splat (i1 true)"
_NEUTRAL = {
    "fadd": "-0.0",
    "fmul": "1.0",
    "add": "0",
    "mul": "1",
    "or": "0",
    "and": "-1",
    "maximum": {"double": "0xFFF0000000000000", "float": "0xFFF0000000000000"},
    "minimum": {"double": "0x7FF0000000000000", "float": "0x7FF0000000000000"},
}
"""What an operation may be done with, and changes nothing."""
_BITS = {"i1": 1, "i8": 8, "i16": 16, "i32": 32, "i64": 64}


_known: dict[Any, tuple[Passage, dict[str, str]]] = {}
"""Loops that have been written, with what they declare: programs have many that are alike."""
_MOST_KNOWN = 512


def vector_loop(
    e: Emitter,
    start: Value | int,
    stop: Value | int,
    body: Callable[[Value], None],
    cuts: Sequence[int] = (),
    unrolled: bool = False,
) -> bool:
    """Write a loop for several elements at once, if that can be done here; say whether it was.

    ``body`` writes what is done for a counter. A loop whose limits are found when running starts
    and ends at a multiple of a vector, if all ``cuts`` are such. One of known length may be
    ``unrolled``.
    """
    counter = Value(INT64, e.fresh("i"))
    with e.aside() as inside:
        body(counter)
    known = stop if isinstance(stop, int) and start == 0 else None
    lines, mark = tuple(inside.lines), e.mark()
    limits = tuple(x if isinstance(x, int) else x.name for x in (start, stop))
    key = (lines, counter.name, limits, tuple(cuts), unrolled, host(), mark.names, mark.label)
    found = _known.get(key)
    if found is None:
        wide = widened(lines, counter.name, host(), known, unrolled)
        if wide is None:
            return False
        whole = bool(cuts) and not any(cut % wide.lanes for cut in cuts)
        writer = Writer(e, wide)
        writer.write(start, stop, whole)
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[key] = e.since(mark), writer.declared
    else:
        passage, declared = found
        e.again(passage)
        for name, signature in declared.items():
            e.module.declare(name, signature)
    return True


class _Narrow(Exception):
    """A body whose elements are not side by side."""


@dataclass
class Wide:
    """A body that is done for several elements at once.

    Parameters
    ----------
    body : Straight
    counter : str
    lanes : int
    copies : int
        Vectors in a turn of the loop.
    pieces : bool
        Whether the end of the loop is done by smaller vectors, not under a mask.
    strides : dict
        Of words that grow evenly: by how much from one element to the next. Of pointers: by how
        many bytes.
    wide : set
        Values with a number for each lane.
    apart : int
        Loads and stores of elements a little apart.
    """

    body: Straight
    counter: str
    lanes: int = 1
    copies: int = 1
    pieces: bool = False
    strides: dict[str, int] = field(default_factory=dict)
    wide: set[str] = field(default_factory=set)
    apart: int = 0

    def same(self, name: str) -> bool:
        """Say whether a value is the same for all elements."""
        return name not in self.strides and name not in self.wide


def widened(
    lines: tuple[str, ...], counter: str, on: Host, extent: int | None, unrolled: bool = False
) -> Wide | None:
    """Return a loop's body for several elements; None if it is better left to LLVM."""
    if on.vector < _MASKS:
        return None
    body = read(lines)
    if body is None:
        return None
    wide = Wide(body, counter, strides={counter: 1})
    try:
        _classify(wide)
    except _Narrow:
        return None
    widest = max((_bytes(wide, each) for each in body.instructions), default=0)
    if not widest:
        return None
    wide.lanes = min(MOST_LANES, on.vector // widest)
    if extent is not None:
        while wide.lanes > 2 and wide.lanes // 2 >= extent:
            wide.lanes //= 2
    length = sum(not wide.same(each.name) or each.what == "store" for each in body.instructions)
    if wide.apart * _DENSE > length:
        return None
    rare = any(each.what == "rare" for each in body.instructions)
    if not rare:
        wide.copies = next((copies for most, copies in _COPIES if length <= most), 1)
    if unrolled:
        wide.copies = 1 << 30
    if extent is not None:
        while wide.copies > 1 and wide.copies * wide.lanes > extent:
            wide.copies //= 2
        left = extent % (wide.lanes * wide.copies)
        # What was written under a mask cannot be read again at once: short loops would wait.
        few = (left // wide.lanes + (left % wide.lanes).bit_count()) <= _MOST_PIECES
        wide.pieces = (few or extent <= _SHORT) and not (rare and left % 2)
    return wide


def _bytes(wide: Wide, one: Instruction) -> int:
    """Return the bytes of the widest number that an instruction needs for each lane."""
    found = [SIZES[one.kind]] if one.name in wide.wide and one.kind else []
    if one.what == "store":
        found.append(SIZES[one.kind])
    elif one.what in ("value", "rare") and one.name in wide.wide:
        found += [SIZES[kind] for kind, x in one.operands if x in wide.strides]
    elif one.name in wide.wide and one.what == "address":
        found.append(8)
    return max(found, default=0)


# --- which values differ from element to element --------------------------------------------


def _classify(wide: Wide) -> None:
    made = {each.name: each for each in wide.body.instructions if each.what == "address"}
    stores = [each for each in wide.body.instructions if each.what == "store"]
    stored = {_root(made, each.operands[1][1]) for each in stores}
    wide.wide |= {each.old for each in wide.body.gathered}
    for each in wide.body.gathered:
        _neutral(each)
    for one in wide.body.instructions:
        names = [name for _, name in one.operands]
        if one.what == "store":
            if names[1] not in wide.strides:
                raise _Narrow
            wide.apart += _is_near(wide, one, names[1])
        elif one.what == "load":
            if wide.same(names[0]) and _root(made, names[0]) in stored:
                raise _Narrow
            if not wide.same(names[0]):
                wide.apart += _is_near(wide, one, names[0])
                wide.wide.add(one.name)
        elif one.what == "rare":
            wide.wide.add(one.name)
        elif not all(map(wide.same, names)):
            stride = _stride(wide, one, names)
            if stride is None:
                if one.what == "address" and not wide.same(names[0]):
                    raise _Narrow
                wide.wide.add(one.name)
            else:
                wide.strides[one.name] = stride


def _root(made: Mapping[str, Instruction], pointer: str) -> str:
    """Return what an address is in."""
    while pointer in made:
        pointer = made[pointer].operands[0][1]
    return pointer


def _is_near(wide: Wide, one: Instruction, pointer: str) -> bool:
    """Say whether elements are a little apart: LLVM loads and stores those between with them."""
    stride, size = wide.strides.get(pointer), SIZES[one.kind]
    return stride is not None and stride != size and abs(stride) <= _NEAR * size


def _stride(wide: Wide, one: Instruction, names: Sequence[str]) -> int | None:
    """Return by how much a word or a pointer grows; None if not evenly."""
    if any(name in wide.wide for name in names):
        return None
    first, second = (wide.strides.get(name, 0) for name in (names[0], names[-1]))
    if one.what == "address":
        return first + second * one.size
    if one.kind != "i64" or len(names) != 2:
        return None
    if one.operation in ("add", "sub"):
        return first + second if one.operation == "add" else first - second
    if one.operation == "mul":
        for stride, factor in ((first, names[1]), (second, names[0])):
            if stride and factor.lstrip("-").isdigit():
                return stride * int(factor)
    return None


def _neutral(gathered: Gathered) -> str:
    """Return what a lane begins with that gathers something."""
    operation, kind = gathered.operation, gathered.kind
    if operation in ("smax", "umin"):
        found = "-1" if operation == "umin" else str(-(1 << (_BITS[kind] - 1)))
    elif operation in ("smin", "umax"):
        found = "0" if operation == "umax" else str((1 << (_BITS[kind] - 1)) - 1)
    else:
        found = _NEUTRAL[operation]
    if isinstance(found, dict):
        return found[kind]
    return {"0": "false", "-1": "true"}.get(found, found) if kind == "i1" else found


# --- writing ------------------------------------------------------------------------------------


class Writer:
    """Writes the loop of a wide body into a function."""

    def __init__(self, e: Emitter, wide: Wide) -> None:
        self._e = e
        self._wide = wide
        self._lanes = wide.lanes
        self.declared: dict[str, str] = {}
        """Outside functions that the loop calls."""
        self._ahead: list[str] = []
        """Instructions before the loop."""
        self._spread: dict[tuple[str, str], str] = {}
        self._sums: dict[tuple[str, int, int], str] = {}
        """By place, lanes and copy, where is gathered."""
        self._renamed: dict[str, str] = {}

    def write(self, start: Value | int, stop: Value | int, whole: bool) -> None:
        """Write the loop from ``start`` to before ``stop``; ``whole`` if no vector is cut off."""
        e, wide = self._e, self._wide
        first, last = (e.constant(INT64, x) if isinstance(x, int) else x for x in (start, stop))
        step = wide.lanes * wide.copies
        turns, left = 2, step
        if isinstance(start, int) and isinstance(stop, int):
            turns, left = divmod(stop - start, step)
        full = e.add(first, e.and_(e.sub(last, first), e.constant(INT64, -step)))
        with e.aside() as loops:
            with e.loop(first, full, step) as counter:
                i = counter if turns == 1 else self._hidden(counter)
                for copy in range(wide.copies):
                    self._turn(e.add(i, e.constant(INT64, copy * wide.lanes)), copy, "")
            if wide.pieces and isinstance(stop, int):
                self._pieces(stop, step)
            elif not (whole and wide.copies == 1):
                with e.loop(full, last, wide.lanes) as counter:
                    i = counter if left <= wide.lanes else self._hidden(counter)
                    self._turn(i, 0, "" if whole else self._mask(e.sub(last, i)))
        with e.when(e.lt(first, last)):
            for line in self._ahead:
                e.line(line)
            for (place, lanes, _), where in self._sums.items():
                self._lanes = lanes
                each = next(x for x in wide.body.gathered if x.place == place)
                e.line(f"store {self._vector(each.kind)} {self._all(each)}, ptr {where}")
            e.put(loops)
            for each in wide.body.gathered:
                self._finish(each)

    def _hidden(self, counter: Value) -> Value:
        """Return a loop's counter so that LLVM does not see what it is.

        Otherwise it looks for better addresses, for 40 % of the time that it takes to choose
        instructions, and finds none. A loop of one turn is none to it: there it should see.
        """
        return Value(INT64, self._e.assign(f'call i64 asm "", "=r,0"(i64 {counter.name})'))

    def _pieces(self, stop: int, step: int) -> None:
        """Write what is left of a loop of known length in ever smaller vectors, without masks."""
        start = stop - stop % step
        while start < stop:
            while self._lanes > stop - start:
                self._lanes //= 2
            self._turn(self._e.constant(INT64, start), 0, "")
            start += self._lanes
        self._lanes = self._wide.lanes

    def _all(self, gathered: Gathered) -> str:
        """Return a vector that changes nothing of what is gathered."""
        return f"splat ({gathered.kind} {_neutral(gathered)})"

    def _sum(self, gathered: Gathered, copy: int) -> str:
        """Return where a copy gathers."""
        key = (gathered.place, self._lanes, copy)
        if key not in self._sums:
            self._sums[key] = self._e.at_entry(f"alloca {self._vector(gathered.kind)}")
        return self._sums[key]

    def _vector(self, kind: str) -> str:
        return f"<{self._lanes} x {kind}>"

    def _mask(self, left: Value) -> str:
        """Return the lanes before a number."""
        e, kind = self._e, self._vector("i64")
        order = ", ".join(f"i64 {i}" for i in range(self._lanes))
        return e.assign(f"icmp ult {kind} <{order}>, {self._splat(e.assign, 'i64', left.name)}")

    def _splat(self, assign: Callable[[str], str], kind: str, name: str) -> str:
        vector = self._vector(kind)
        one = assign(f"insertelement {vector} poison, {kind} {name}, i64 0")
        zeros = f"<{self._lanes} x i32> zeroinitializer"
        return assign(f"shufflevector {vector} {one}, {vector} poison, {zeros}")

    def _assign_ahead(self, text: str) -> str:
        name = self._e.fresh()
        self._ahead.append(f"{name} = {text}")
        return name

    def _operand(self, kind: str, name: str) -> str:
        """Return a value that is the same for all elements as a vector."""
        if not name.startswith("%"):
            return f"splat ({kind} {name})"
        key = (self._vector(kind), name)
        if key not in self._spread:
            one = self._renamed.get(name, name)
            self._spread[key] = self._splat(self._assign_ahead, kind, one)
        return self._spread[key]

    # --- one turn --------------------------------------------------------------------------

    def _turn(self, counter: Value, copy: int, mask: str) -> None:
        """Write the body for the elements from a counter on."""
        e, wide = self._e, self._wide
        names = {wide.counter: counter.name}
        for each in wide.body.gathered:
            where = self._sum(each, copy)
            names[each.old] = e.assign(f"load {self._vector(each.kind)}, ptr {where}")
        terms = {made: (x, each) for each in wide.body.gathered for made, x in each.terms.items()}
        for one in wide.body.instructions:
            if one.what == "store":
                self._store(one, names, mask)
            elif wide.same(one.name):
                if one.name not in self._renamed:
                    self._renamed[one.name] = self._assign_ahead(self._narrow(one, {}))
            elif one.name in wide.strides:
                names[one.name] = e.assign(self._narrow(one, names))
            elif one.what == "load":
                names[one.name] = self._load(one, names, mask)
            elif one.what == "address":
                names[one.name] = self._addresses(one, names)
            elif one.what == "rare":
                names[one.name] = self._rare(one, names, mask)
            else:
                names[one.name] = self._value(one, names, mask, terms.get(one.name))
        for each in wide.body.gathered:
            where = self._sum(each, copy)
            e.line(f"store {self._vector(each.kind)} {names[each.new]}, ptr {where}")

    def _narrow(self, one: Instruction, names: dict[str, str]) -> str:
        """Return an instruction for one element, or for all alike."""
        operands = [names.get(x, self._renamed.get(x, x)) for _, x in one.operands]
        given = {f"t{i}": kind for i, (kind, _) in enumerate(one.operands)}
        return one.form.format(*operands, **given, t=one.kind, s=_suffix(one.kind))

    def _read(self, kind: str, name: str, names: dict[str, str]) -> str:
        """Return an operand as a vector."""
        wide = self._wide
        if wide.same(name):
            return self._operand(kind, name)
        if name in wide.wide:
            return names[name]
        key = f"{name} of every lane"
        if key not in names:
            stride = wide.strides[name]
            steps = ", ".join(f"i64 {i * stride}" for i in range(self._lanes))
            first = self._splat(self._e.assign, "i64", names[name])
            names[key] = self._e.assign(f"add {self._vector('i64')} {first}, <{steps}>")
        return names[key]

    def _value(
        self,
        one: Instruction,
        names: dict[str, str],
        mask: str,
        term: tuple[str, Gathered] | None,
    ) -> str:
        e = self._e
        operands = [self._read(kind, x, names) for kind, x in one.operands]
        if term is not None and mask:
            added, gathered = term
            place = [x for _, x in one.operands].index(added)
            vector = self._vector(gathered.kind)
            choice = f"{vector} {operands[place]}, {vector} {self._all(gathered)}"
            text = f"select {self._vector('i1')} {mask}, {choice}"
            operands[place] = e.assign(text)
        given = {f"t{i}": self._vector(kind) for i, (kind, _) in enumerate(one.operands)}
        suffix = f"v{self._lanes}{_suffix(one.kind)}"
        text = one.form.format(*operands, **given, t=self._vector(one.kind), s=suffix)
        if text.startswith("call "):
            self._declare(one, suffix)
        return e.assign(text)

    def _declare_as(self, name: str, signature: str) -> None:
        self.declared[name] = signature
        self._e.module.declare(name, signature)

    def _declare(self, one: Instruction, suffix: str) -> None:
        """Declare an intrinsic for vectors; ``abs`` has one more operand."""
        vector = self._vector(one.kind)
        given = [vector] * len(one.operands) + (["i1"] if one.operation == "abs" else [])
        symbol = f"llvm.{one.operation}.{suffix}"
        self._declare_as(symbol, f"{vector} @{symbol}({', '.join(given)})")

    def _rare(self, one: Instruction, names: dict[str, str], mask: str) -> str:
        (_, asked), *rest = one.operands
        bits = self._vector("i1")
        condition = self._read("i1", asked, names)
        if mask:
            condition = self._e.assign(f"and {bits} {condition}, {mask}")
        given = ", ".join(f"{self._vector(k)} {self._read(k, x, names)}" for k, x in rest)
        symbol = f"{one.form}.v{self._lanes}"
        return self._e.assign(
            f"call {self._vector(one.kind)} @{symbol}({given}, {bits} {condition})"
        )

    # --- memory ----------------------------------------------------------------------------

    def _addresses(self, one: Instruction, names: dict[str, str]) -> str:
        (_, pointer), (kind, offset) = one.operands
        where = self._renamed.get(pointer, pointer)
        offsets = f"{self._vector('i64')} {self._read(kind, offset, names)}"
        return self._e.assign(one.form.format(where, "OFFSETS").replace("i64 OFFSETS", offsets))

    def _load(self, one: Instruction, names: dict[str, str], mask: str) -> str:
        e, vector, bits = self._e, self._vector(one.kind), self._vector("i1")
        pointer = names[one.operands[0][1]]
        align = SIZES[one.kind]
        suffix = f"v{self._lanes}{_suffix(one.kind)}"
        nothing = f"{vector} zeroinitializer"
        if self._wide.strides.get(one.operands[0][1]) != align:
            many, pointer = self._vector("ptr"), self._every(one.operands[0][1], pointer)
            name = f"llvm.masked.gather.{suffix}.v{self._lanes}p0"
            self._declare_as(name, f"{vector} @{name}({many}, i32, {bits}, {vector})")
            given = f"{many} {pointer}, i32 {align}, {bits} {mask or _ALL}, {nothing}"
            return e.assign(f"call {vector} @{name}({given})")
        if not mask:
            return e.assign(f"load {vector}, ptr {pointer}, align {align}")
        name = f"llvm.masked.load.{suffix}.p0"
        self._declare_as(name, f"{vector} @{name}(ptr, i32, {bits}, {vector})")
        given = f"ptr {pointer}, i32 {align}, {bits} {mask}, {nothing}"
        return e.assign(f"call {vector} @{name}({given})")

    def _every(self, name: str, pointer: str) -> str:
        """Return the addresses of all lanes."""
        stride = self._wide.strides.get(name)
        if stride is None:
            return pointer
        steps = ", ".join(f"i64 {i * stride}" for i in range(self._lanes))
        return self._e.assign(f"getelementptr i8, ptr {pointer}, {self._vector('i64')} <{steps}>")

    def _store(self, one: Instruction, names: dict[str, str], mask: str) -> None:
        e, vector, bits = self._e, self._vector(one.kind), self._vector("i1")
        (kind, value), (_, where) = one.operands
        value, pointer, align = self._read(kind, value, names), names[where], SIZES[kind]
        if self._wide.strides[where] != align:
            many, pointer = self._vector("ptr"), self._every(where, pointer)
            name = f"llvm.masked.scatter.v{self._lanes}{_suffix(kind)}.v{self._lanes}p0"
            self._declare_as(name, f"void @{name}({vector}, {many}, i32, {bits})")
            given = f"{vector} {value}, {many} {pointer}, i32 {align}, {bits} {mask or _ALL}"
            e.line(f"call void @{name}({given})")
            return
        if not mask:
            e.line(f"store {vector} {value}, ptr {pointer}, align {align}")
            return
        name = f"llvm.masked.store.v{self._lanes}{_suffix(kind)}.p0"
        self._declare_as(name, f"void @{name}({vector}, ptr, i32, {bits})")
        given = f"{vector} {value}, ptr {pointer}, i32 {align}, {bits} {mask}"
        e.line(f"call void @{name}({given})")

    # --- what places gathered -----------------------------------------------------------------

    def _finish(self, gathered: Gathered) -> None:
        """Put what the lanes gathered together with what the place held before."""
        e, kind = self._e, gathered.kind
        for lanes in sorted({lanes for _, lanes, _ in self._sums}, reverse=True):
            self._lanes, vector = lanes, f"<{lanes} x {kind}>"
            places = [w for (p, n, _), w in self._sums.items() if (p, n) == (gathered.place, lanes)]
            parts = [e.assign(f"load {vector}, ptr {where}") for where in places]
            while len(parts) > 1:
                pairs = zip(parts[::2], parts[1::2], strict=True)
                parts = [self._both(gathered, vector, *pair) for pair in pairs]
            total = self._across(gathered, parts[0])
            old = e.assign(f"load {kind}, ptr {gathered.place}")
            e.line(f"store {kind} {self._both(gathered, kind, old, total)}, ptr {gathered.place}")

    def _both(self, gathered: Gathered, kind: str, x: str, y: str) -> str:
        """Return the operation of two numbers, or of two vectors."""
        made = next(x for x in self._wide.body.instructions if x.name == gathered.new)
        lanes = f"v{self._lanes}" if kind.startswith("<") else ""
        suffix = lanes + _suffix(gathered.kind)
        text = made.form.format(x, y, t0=kind, t1=kind, t=kind, s=suffix)
        if text.startswith("call "):
            symbol = f"llvm.{made.operation}.{suffix}"
            self._declare_as(symbol, f"{kind} @{symbol}({kind}, {kind})")
        return self._e.assign(text)

    def _across(self, gathered: Gathered, value: str) -> str:
        """Return the operation of all lanes of a vector."""
        operation, kind, vector = gathered.operation, gathered.kind, self._vector(gathered.kind)
        named = {"maximum": "fmaximum", "minimum": "fminimum"}.get(operation, operation)
        symbol = f"llvm.vector.reduce.{named}.v{self._lanes}{_suffix(kind)}"
        if operation in ("fadd", "fmul"):
            self._declare_as(symbol, f"{kind} @{symbol}({kind}, {vector})")
            start = _neutral(gathered)
            return self._e.assign(
                f"call reassoc {kind} @{symbol}({kind} {start}, {vector} {value})"
            )
        self._declare_as(symbol, f"{kind} @{symbol}({vector})")
        return self._e.assign(f"call {kind} @{symbol}({vector} {value})")


def _suffix(kind: str) -> str:
    return {"double": "f64", "float": "f32"}.get(kind, kind)
