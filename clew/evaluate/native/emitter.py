"""A writer of LLVM's textual IR: functions, values with NumPy dtypes, loops, scalar operations.

Rules in ``clew.ops`` receive an :class:`Emitter` as ``e`` and speak only its methods. Values are
single numbers; the loops around them become vectors later (``wide.py``). Mutable places are
``alloca`` slots, which LLVM turns into registers.

Source: LLVM Language Reference Manual, version 22.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

import numpy as np

from clew.core.types import Type
from clew.evaluate.native.module import (
    BOOL,
    FLOAT32,
    FLOAT64,
    INT32,
    INT64,
    UINT64,
    Aside,
    Mark,
    Module,
    Passage,
    Slot,
    Value,
    literal,
    llvm_type,
    memory_type,
    part_dtype,
)
from clew.evaluate.native.numpy_rules import NumpyRules

__all__ = [
    "BOOL",
    "FLOAT32",
    "FLOAT64",
    "INT32",
    "INT64",
    "UINT64",
    "Aside",
    "Emitter",
    "Module",
    "Slot",
    "Value",
    "literal",
    "llvm_type",
    "memory_type",
    "part_dtype",
]

_COMPARISONS = {
    "eq": ("oeq", "eq", "eq"),
    "ne": ("une", "ne", "ne"),
    "lt": ("olt", "slt", "ult"),
    "le": ("ole", "sle", "ule"),
    "gt": ("ogt", "sgt", "ugt"),
    "ge": ("oge", "sge", "uge"),
}


@final
class Emitter(NumpyRules):
    """Writes one function.

    Parameters
    ----------
    module : Module
        Where tables and declarations go; add the function itself with ``module.add``.
    name : str
        Without ``@``.
    parameters : list of (type, name, attributes)
        As LLVM writes them, names without ``%``.
    result : str
        LLVM type of the result.
    flags : str
        Fast-math flags of ordinary arithmetic; math functions are emitted without any.
    """

    def __init__(
        self,
        module: Module,
        name: str,
        parameters: Sequence[tuple[str, str, str]] = (),
        result: str = "void",
        flags: str = "contract",
        attributes: str = "nounwind",
        linkage: str = "internal",
    ) -> None:
        self.module = module
        self.name = name
        self.flags = flags
        self.parameters = list(parameters)
        self.attributes = attributes
        self.depth = 0
        """Loops around what is being written."""
        self._header = (linkage, result)
        self._entry: list[str] = []
        self._lines: list[str] = []
        self._count = 0
        self._reserved = 0
        self._label = "entry"

    # --- text ------------------------------------------------------------------------

    def text(self) -> str:
        """Return the function's definition, its own name written ``@NAME``."""
        linkage, result = self._header
        given = ", ".join(
            f"{kind} {more} %{name}".replace("  ", " ") for kind, name, more in self.parameters
        )
        lines = [f"define {linkage} {result} @NAME({given}) {self.attributes} {{", "entry:"]
        return "\n".join([*lines, *self._entry, *self._lines, "}"])

    def at_entry(self, text: str) -> str:
        """Write an instruction at the function's beginning; return the name of its result."""
        name = self.fresh()
        self._entry.append(f"  {name} = {text}")
        return name

    def reserve(self, text: str) -> None:
        """Write an instruction before everything at the function's beginning."""
        self._entry.insert(self._reserved, f"  {text}")
        self._reserved += 1

    @contextmanager
    def aside(self) -> Iterator[Aside]:
        """Write a part of the function that is put in its place later."""
        lines, self._lines = self._lines, []
        label, self._label = self._label, self.new_label("inner")
        part = Aside(self._label)
        yield part
        part.lines, self._lines = self._lines, lines
        part.last, self._label = self._label, label

    def put(self, part: Aside) -> None:
        """Put a part that was written aside."""
        self.start(part.first)
        self._lines += part.lines
        self._label = part.last

    def mark(self) -> Mark:
        """Return how far the function is written."""
        return Mark(len(self._lines), len(self._entry), self._count, self._label)

    def since(self, mark: Mark) -> Passage:
        """Return what has been written since."""
        lines, entry = self._lines[mark.lines :], self._entry[mark.entry :]
        return Passage(tuple(lines), tuple(entry), self._count, self._label)

    def again(self, passage: Passage) -> None:
        """Write what was written before in a function that had the same names until then."""
        self._lines += passage.lines
        self._entry += passage.entry
        self._count, self._label = passage.names, passage.label

    @staticmethod
    def type_of(value: Value) -> str:
        """Return LLVM's type of a value, of the parts of a complex one."""
        return llvm_type(part_dtype(value.dtype))

    def line(self, text: str) -> None:
        """Write an instruction without a result."""
        self._lines.append(f"  {text}")

    def fresh(self, prefix: str = "v") -> str:
        """Return an unused local name, with ``%``."""
        self._count += 1
        return f"%{prefix}{self._count}"

    def assign(self, text: str) -> str:
        """Write an instruction and return the name of its result."""
        name = self.fresh()
        self._lines.append(f"  {name} = {text}")
        return name

    def new_label(self, prefix: str = "b") -> str:
        """Return an unused block label."""
        self._count += 1
        return f"{prefix}{self._count}"

    def start(self, label: str, falls_through: bool = True) -> None:
        """Begin a block; control falls into it from the block before, unless that has ended."""
        if falls_through:
            self.line(f"br label %{label}")
        self._lines.append(f"{label}:")
        self._label = label

    @property
    def length(self) -> int:
        """How many instructions have been written."""
        return len(self._entry) + len(self._lines)

    @property
    def label(self) -> str:
        """The block being written."""
        return self._label

    # --- constants and places ----------------------------------------------------------

    def constant(self, dtype: Any, value: Any) -> Value:
        """Return a constant."""
        dtype = np.dtype(dtype)
        if dtype.kind == "c":
            part = part_dtype(dtype)
            number = complex(value)
            return Value(dtype, literal(part, number.real), literal(part, number.imag), value)
        return Value(dtype, literal(dtype, value), None, value)

    def like(self, x: Value, value: Any) -> Value:
        """Return a constant of a value's dtype."""
        return self.constant(x.dtype, value)

    def slot(self, dtype: np.dtype) -> Slot:
        """Return a place for a mutable value, alive for the whole function."""
        part = part_dtype(dtype)
        names = []
        for _ in range(1 + (dtype.kind == "c")):
            name = self.fresh("slot")
            self._entry.append(f"  {name} = alloca {llvm_type(part)}")
            names.append(name)
        return Slot(dtype, names[0], names[1] if len(names) == 2 else None)

    def set(self, slot: Slot, value: Value) -> None:
        """Write a place."""
        kind = llvm_type(part_dtype(slot.dtype))
        self.line(f"store {kind} {value.name}, ptr {slot.name}")
        if slot.imag is not None:
            self.line(f"store {kind} {value.imag}, ptr {slot.imag}")

    def get(self, slot: Slot) -> Value:
        """Read a place."""
        kind = llvm_type(part_dtype(slot.dtype))
        real = self.assign(f"load {kind}, ptr {slot.name}")
        imag = None if slot.imag is None else self.assign(f"load {kind}, ptr {slot.imag}")
        return Value(slot.dtype, real, imag)

    # --- memory ------------------------------------------------------------------------

    def address(self, pointer: str, dtype: np.dtype, offset: Value | int) -> str:
        """Return the address of an element, ``offset`` counted in elements."""
        name = offset.name if isinstance(offset, Value) else str(offset)
        if name == "0":
            return pointer
        kind = f"[{dtype.itemsize} x i8]" if dtype.kind == "c" else memory_type(dtype)
        return self.assign(f"getelementptr inbounds {kind}, ptr {pointer}, i64 {name}")

    def element_pointer(self, pointer: str, kind: Type, number: Value) -> str:
        """Return the address of one of many values of a type that follow each other."""
        size = kind.size * kind.dtype.itemsize
        return self.assign(
            f"getelementptr inbounds [{size} x i8], ptr {pointer}, i64 {number.name}"
        )

    def copy_bytes(self, target: str, source: str, size: int) -> None:
        """Copy memory that does not overlap."""
        self.module.declare("llvm.memcpy", "void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
        self.line(
            f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, i64 {size}, i1 false)"
        )

    def load(self, pointer: str, dtype: np.dtype, offset: Value | int = 0, more: str = "") -> Value:
        """Read an element; ``more`` is metadata."""
        where = self.address(pointer, dtype, offset)
        if dtype.kind == "c":
            part = part_dtype(dtype)
            kind = llvm_type(part)
            real = self.assign(f"load {kind}, ptr {where}{more}")
            other = self.assign(f"getelementptr inbounds {kind}, ptr {where}, i64 1")
            return Value(dtype, real, self.assign(f"load {kind}, ptr {other}{more}"))
        name = self.assign(f"load {memory_type(dtype)}, ptr {where}{more}")
        if dtype.kind == "b":
            name = self.assign(f"icmp ne i8 {name}, 0")
        return Value(dtype, name)

    def store(self, pointer: str, value: Value, offset: Value | int = 0, more: str = "") -> None:
        """Write an element."""
        where = self.address(pointer, value.dtype, offset)
        part = part_dtype(value.dtype)
        name = value.name
        if value.dtype.kind == "b":
            name = self.assign(f"zext i1 {name} to i8")
        self.line(f"store {memory_type(part)} {name}, ptr {where}{more}")
        if value.dtype.kind == "c":
            kind = llvm_type(part)
            other = self.assign(f"getelementptr inbounds {kind}, ptr {where}, i64 1")
            self.line(f"store {kind} {value.imag}, ptr {other}{more}")

    # --- control -----------------------------------------------------------------------

    @contextmanager
    def loop(
        self, start: Value | int, stop: Value | int, step: int = 1, metadata: str = ""
    ) -> Iterator[Value]:
        """Count from ``start`` to before ``stop``; the block's value is the counter (i64).

        ``metadata`` is the name of a loop's metadata node.
        """
        self.depth += 1
        if isinstance(start, int) and isinstance(stop, int) and 0 < stop - start <= step:
            yield self.constant(INT64, start)
            self.depth -= 1
            return
        first, last = (str(x) if isinstance(x, int) else x.name for x in (start, stop))
        head, body, latch, after = (self.new_label(p) for p in ("head", "body", "latch", "after"))
        compare = "slt" if step > 0 else "sgt"
        before = self._label
        enter = self.assign(f"icmp {compare} i64 {first}, {last}")
        self.line(f"br i1 {enter}, label %{head}, label %{after}")
        self._lines.append(f"{head}:")
        counter, following = self.fresh("i"), self.fresh("n")
        self._lines.append(
            f"  {counter} = phi i64 [ {first}, %{before} ], [ {following}, %{latch} ]"
        )
        self.start(body)
        yield Value(INT64, counter)
        self.depth -= 1
        self.start(latch)
        self._lines.append(f"  {following} = add nsw i64 {counter}, {step}")
        again = self.assign(f"icmp {compare} i64 {following}, {last}")
        more = f", !llvm.loop {metadata}" if metadata else ""
        self.line(f"br i1 {again}, label %{head}, label %{after}{more}")
        self.start(after, falls_through=False)

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """Run the block only if the condition holds."""
        then, after = self.new_label("then"), self.new_label("after")
        self.line(f"br i1 {condition.name}, label %{then}, label %{after}")
        self.start(then, falls_through=False)
        yield
        self.start(after)

    def ret(self, text: str = "void") -> None:
        """End the function; ``ret("i32 0")`` with a result."""
        self.line(f"ret {text}")

    def intrinsic(self, name: str, result: str, *arguments: str, flags: str = "") -> str:
        """Call an LLVM intrinsic; arguments are ``"type name"``. Return the result's name."""
        kinds = ", ".join(argument.rsplit(" ", 1)[0] for argument in arguments)
        self.module.declare(name, f"{result} @{name}({kinds})")
        text = f"{result} @{name}({', '.join(arguments)})"
        return self.assign(f"call {flags + ' ' if flags else ''}{text}")

    # --- arithmetic --------------------------------------------------------------------

    def _op(self, x: Value, y: Value, floating: str, signed: str, unsigned: str = "") -> Value:
        kind = llvm_type(x.dtype)
        if x.dtype.kind == "f":
            flags = f"{self.flags} " if self.flags else ""
            return Value(x.dtype, self.assign(f"{floating} {flags}{kind} {x.name}, {y.name}"))
        word = unsigned if unsigned and x.dtype.kind == "u" else signed
        return Value(x.dtype, self.assign(f"{word} {kind} {x.name}, {y.name}"))

    def parts(self, z: Value) -> tuple[Value, Value]:
        """Return the real and imaginary part of a complex value."""
        part = part_dtype(z.dtype)
        return Value(part, z.name), Value(part, z.imag or literal(part, 0.0))

    def joined(self, dtype: np.dtype, real: Value, imag: Value) -> Value:
        """Return a complex value made of two parts."""
        return Value(dtype, real.name, imag.name)

    def add(self, x: Value, y: Value) -> Value:
        """``x + y``; of truth values, either."""
        if x.dtype.kind == "c":
            (a, b), (c, d) = self.parts(x), self.parts(y)
            return self.joined(x.dtype, self.add(a, c), self.add(b, d))
        if x.dtype.kind == "b":
            return self.or_(x, y)
        return self._op(x, y, "fadd", "add")

    def sub(self, x: Value, y: Value) -> Value:
        """``x - y``."""
        if x.dtype.kind == "c":
            (a, b), (c, d) = self.parts(x), self.parts(y)
            return self.joined(x.dtype, self.sub(a, c), self.sub(b, d))
        return self._op(x, y, "fsub", "sub")

    def mul(self, x: Value, y: Value) -> Value:
        """``x * y``; of truth values, both."""
        if x.dtype.kind == "c":
            (a, b), (c, d) = self.parts(x), self.parts(y)
            real = self.sub(self.mul(a, c), self.mul(b, d))
            return self.joined(x.dtype, real, self.add(self.mul(a, d), self.mul(b, c)))
        if x.dtype.kind == "b":
            return self.and_(x, y)
        return self._op(x, y, "fmul", "mul")

    def div(self, x: Value, y: Value) -> Value:
        """``x / y`` of floating or complex values (Smith's method, CACM 5, 1962)."""
        if x.dtype.kind != "c":
            return self._op(x, y, "fdiv", "sdiv", "udiv")
        (a, b), (c, d) = self.parts(x), self.parts(y)
        flip = self.lt(self.abs(c), self.abs(d))
        big, small = self.select(flip, d, c), self.select(flip, c, d)
        ratio = self.div(small, big)
        scale = self.add(big, self.mul(small, ratio))
        first = self.add(
            self.select(flip, self.mul(a, ratio), a), self.select(flip, b, self.mul(b, ratio))
        )
        second = self.sub(
            self.select(flip, self.mul(b, ratio), b), self.select(flip, a, self.mul(a, ratio))
        )
        return self.joined(x.dtype, self.div(first, scale), self.div(second, scale))

    def remaindered(self, x: Value, y: Value) -> Value:
        """What a division rounded towards zero leaves."""
        return self._op(x, y, "frem", "srem", "urem")

    def neg(self, x: Value) -> Value:
        """``-x``."""
        if x.dtype.kind == "c":
            real, imag = self.parts(x)
            return self.joined(x.dtype, self.neg(real), self.neg(imag))
        if x.dtype.kind == "f":
            return Value(x.dtype, self.assign(f"fneg {llvm_type(x.dtype)} {x.name}"))
        return self.sub(self.like(x, 0), x)

    def fma(self, x: Value, y: Value, z: Value) -> Value:
        """``x y + z``, rounded once (where the machine cannot, LLVM calls the C library)."""
        return self._intrinsic("fma", x, y, z)

    def _intrinsic(self, name: str, *operands: Value) -> Value:
        kind = llvm_type(operands[0].dtype)
        suffix = {"half": "f16", "float": "f32", "double": "f64"}.get(kind, kind)
        arguments = [f"{kind} {x.name}" for x in operands]
        return Value(operands[0].dtype, self.intrinsic(f"llvm.{name}.{suffix}", kind, *arguments))

    def sqrt(self, x: Value) -> Value:
        """Square root, correctly rounded."""
        return self._intrinsic("sqrt", x)

    def floor(self, x: Value) -> Value:
        """Round down."""
        return self._intrinsic("floor", x)

    def ceil(self, x: Value) -> Value:
        """Round up."""
        return self._intrinsic("ceil", x)

    def trunc(self, x: Value) -> Value:
        """Round towards zero."""
        return self._intrinsic("trunc", x)

    def rint(self, x: Value) -> Value:
        """Round to the nearest whole number, ties to even."""
        return self._intrinsic("roundeven", x)

    def copysign(self, x: Value, y: Value) -> Value:
        """The size of x with the sign of y."""
        return self._intrinsic("copysign", x, y)

    def abs(self, x: Value) -> Value:
        """Absolute value."""
        if x.dtype.kind == "c":
            size = self.math("hypot", *self.parts(x))
            assert size is not None
            return size
        if x.dtype.kind == "f":
            return self._intrinsic("fabs", x)
        if x.dtype.kind in "ub":
            return x
        return self.select(self.lt(x, self.like(x, 0)), self.neg(x), x)

    # --- comparison, choice, logic -----------------------------------------------------

    def _compare(self, word: str, x: Value, y: Value) -> Value:
        ordered, signed, unsigned = _COMPARISONS[word]
        kind = llvm_type(x.dtype)
        if x.dtype.kind == "f":
            return Value(BOOL, self.assign(f"fcmp {ordered} {kind} {x.name}, {y.name}"))
        predicate = signed if x.dtype.kind == "i" else unsigned
        return Value(BOOL, self.assign(f"icmp {predicate} {kind} {x.name}, {y.name}"))

    def eq(self, x: Value, y: Value) -> Value:
        """``x == y``."""
        if x.dtype.kind == "c":
            (a, b), (c, d) = self.parts(x), self.parts(y)
            return self.and_(self.eq(a, c), self.eq(b, d))
        return self._compare("eq", x, y)

    def ne(self, x: Value, y: Value) -> Value:
        """``x != y``, true of NaN."""
        if x.dtype.kind == "c":
            return self.not_(self.eq(x, y))
        return self._compare("ne", x, y)

    def lt(self, x: Value, y: Value) -> Value:
        """``x < y``."""
        return self._compare("lt", x, y)

    def le(self, x: Value, y: Value) -> Value:
        """``x <= y``."""
        return self._compare("le", x, y)

    def gt(self, x: Value, y: Value) -> Value:
        """``x > y``."""
        return self._compare("gt", x, y)

    def ge(self, x: Value, y: Value) -> Value:
        """``x >= y``."""
        return self._compare("ge", x, y)

    def isnan(self, x: Value) -> Value:
        """Whether a value is not a number."""
        if x.dtype.kind == "c":
            real, imag = self.parts(x)
            return self.or_(self.isnan(real), self.isnan(imag))
        if x.dtype.kind != "f":
            return self.constant(BOOL, False)
        return self._compare("ne", x, x)

    def select(self, condition: Value, x: Value, y: Value) -> Value:
        """``x`` where the condition holds, else ``y``."""
        kind = llvm_type(part_dtype(x.dtype))
        text = f"select i1 {condition.name}, {kind} "
        real = self.assign(f"{text}{x.name}, {kind} {y.name}")
        if x.dtype.kind != "c":
            return Value(x.dtype, real)
        return Value(x.dtype, real, self.assign(f"{text}{x.imag}, {kind} {y.imag}"))

    def _bits(self, word: str, x: Value, y: Value) -> Value:
        return Value(x.dtype, self.assign(f"{word} {llvm_type(x.dtype)} {x.name}, {y.name}"))

    def and_(self, x: Value, y: Value) -> Value:
        """Bitwise (of truth values, logical) and."""
        return self._bits("and", x, y)

    def or_(self, x: Value, y: Value) -> Value:
        """Bitwise or."""
        return self._bits("or", x, y)

    def xor(self, x: Value, y: Value) -> Value:
        """Bitwise exclusive or."""
        return self._bits("xor", x, y)

    def not_(self, x: Value) -> Value:
        """Bitwise (of a truth value, logical) not."""
        return self.xor(x, self.constant(BOOL, True) if x.dtype.kind == "b" else self.like(x, -1))

    def shl(self, x: Value, y: Value) -> Value:
        """Shift to the left."""
        return self._bits("shl", x, y)

    def shr(self, x: Value, y: Value) -> Value:
        """Shift to the right: with the sign if signed, with zeros if not."""
        return self._bits("lshr" if x.dtype.kind == "u" else "ashr", x, y)

    # --- conversion --------------------------------------------------------------------

    def bitcast(self, x: Value, dtype: Any) -> Value:
        """The same bits as another dtype of the same size."""
        dtype = np.dtype(dtype)
        if llvm_type(dtype) == llvm_type(x.dtype):
            return Value(dtype, x.name)
        text = f"bitcast {llvm_type(x.dtype)} {x.name} to {llvm_type(dtype)}"
        return Value(dtype, self.assign(text))

    def convert(self, x: Value, dtype: Any) -> Value:
        """The same number in another dtype, as ``ndarray.astype`` makes it."""
        dtype = np.dtype(dtype)
        if dtype == x.dtype:
            return x
        if dtype.kind == "c":
            part = part_dtype(dtype)
            real, imag = self.parts(x) if x.dtype.kind == "c" else (x, None)
            zero = self.constant(part, 0.0)
            other = zero if imag is None else self.convert(imag, part)
            return self.joined(dtype, self.convert(real, part), other)
        if x.dtype.kind == "c":
            if dtype.kind == "b":
                return self.ne(x, self.like(x, 0))
            return self.convert(self.parts(x)[0], dtype)
        if dtype.kind == "b":
            return self.ne(x, self.like(x, 0))
        return self._converted(x, dtype)

    def math(self, name: str, *operands: Value) -> Value | None:
        """A function of ``clew.evaluate.native.math``, written inline; None if it has no such."""
        from clew.evaluate.native.math import emit_math, has_math

        if not has_math(name, operands[0].dtype):
            return None
        return emit_math(self, name, operands)

    @contextmanager
    def exactly(self) -> Iterator[None]:
        """Write arithmetic without fast-math flags inside the ``with`` block."""
        before, self.flags = self.flags, ""
        try:
            yield
        finally:
            self.flags = before
