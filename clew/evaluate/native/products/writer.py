"""Vectors and pointers in LLVM's text, on top of the emitter of scalars."""

from __future__ import annotations

from contextlib import AbstractContextManager
from weakref import WeakKeyDictionary

import numpy as np

from clew.evaluate.native.emitter import INT64, Emitter, Module, Value, literal, llvm_type

POINTER = "ptr"
WORD = "i64"


_loops: WeakKeyDictionary[Module, str] = WeakKeyDictionary()


def _as_written(module: Module) -> str:
    """Return the metadata of a loop to be left alone, the same for all of a module."""
    if module not in _loops:
        unroll = module.metadata('!{!"llvm.loop.unroll.disable"}')
        vectors = module.metadata('!{!"llvm.loop.vectorize.enable", i1 false}')
        _loops[module] = module.metadata(f"distinct !{{SELF, {unroll}, {vectors}}}")
    return _loops[module]


class VectorEmitter:
    """Writes one function on vectors of one dtype; ``e`` is the emitter below it.

    Parameters
    ----------
    parameters : str
        Names of the parameters, without ``%``: ``c a b`` are pointers to element data,
        ``scratch`` is one too, all others are words.
    """

    def __init__(
        self,
        module: Module,
        name: str,
        dtype: np.dtype,
        parameters: str,
        attributes: str,
        linkage: str = "internal",
    ) -> None:
        kinds = {"c": "noalias", "a": "noalias readonly", "b": "noalias readonly", "scratch": ""}
        given = [
            (POINTER, each, kinds[each]) if each in kinds else (WORD, each, "")
            for each in parameters.split()
        ]
        name = module.fresh(name) if linkage == "internal" else name
        self.e = Emitter(module, name, given, attributes=attributes, linkage=linkage)
        self.dtype = dtype
        self.kind = llvm_type(dtype)
        self.suffix = f"f{8 * dtype.itemsize}"

    def finish(self) -> str:
        """End the function; return its symbol."""
        self.e.ret()
        return self.e.module.add(self.e)

    # --- loops ---------------------------------------------------------------------------

    def loop(
        self, start: Value | int, stop: Value | int, step: int = 1, plain: bool = False
    ) -> AbstractContextManager[Value]:
        """Count; LLVM neither unrolls the loop nor makes vectors of it, unless it is ``plain``.

        What is worth it is done when writing, and LLVM's own attempts cost compile time.
        """
        return self.e.loop(start, stop, step, "" if plain else _as_written(self.e.module))

    # --- pointers and words ------------------------------------------------------------

    def at(self, pointer: str, offset: Value | int, stride: int = 1) -> str:
        """Return ``pointer + stride offset``, counted in elements.

        Not ``inbounds``: the first window of a padded signal begins before the signal.
        """
        if isinstance(offset, int):
            if not offset * stride:
                return pointer
            name = str(offset * stride)
        else:
            name = self.times(offset, stride).name
            if name == "0":
                return pointer
        return self.e.assign(f"getelementptr {self.kind}, ptr {pointer}, i64 {name}")

    def word(self, value: int) -> Value:
        """Return a constant word."""
        return Value(INT64, str(value))

    def times(self, x: Value, factor: int) -> Value:
        """Return ``factor x``."""
        if factor == 1:
            return x
        if factor == 0:
            return self.word(0)
        return Value(INT64, self.e.assign(f"mul nsw i64 {x.name}, {factor}"))

    def plus(self, x: Value, y: Value | int) -> Value:
        """Return ``x + y``."""
        name = str(y) if isinstance(y, int) else y.name
        if name == "0":
            return x
        if x.name == "0" and isinstance(y, Value):
            return y
        return Value(INT64, self.e.assign(f"add nsw i64 {x.name}, {name}"))

    def minus(self, x: Value | int, y: Value | int) -> Value:
        """Return ``x - y``."""
        first, second = (str(each) if isinstance(each, int) else each.name for each in (x, y))
        return Value(INT64, self.e.assign(f"sub nsw i64 {first}, {second}"))

    def least(self, x: Value, y: Value | int) -> Value:
        """Return the smaller of two words."""
        return self._choose("smin", x, y)

    def most(self, x: Value, y: Value | int) -> Value:
        """Return the larger of two words."""
        return self._choose("smax", x, y)

    def _choose(self, name: str, x: Value, y: Value | int) -> Value:
        other = str(y) if isinstance(y, int) else y.name
        arguments = (f"i64 {x.name}", f"i64 {other}")
        return Value(INT64, self.e.intrinsic(f"llvm.{name}.i64", WORD, *arguments))

    def divided(self, x: Value, divisor: int) -> tuple[Value, Value]:
        """Return quotient and remainder of a word that is not negative."""
        if divisor == 1:
            return x, self.word(0)
        quotient = self.e.assign(f"udiv i64 {x.name}, {divisor}")
        rest = self.e.assign(f"urem i64 {x.name}, {divisor}")
        return Value(INT64, quotient), Value(INT64, rest)

    def share(self, total: int, part: Value, parts: int) -> tuple[Value, Value]:
        """Return where the ``part``-th of ``parts`` nearly equal pieces begins and ends."""
        if parts == 1:
            return self.word(0), self.word(total)
        start = self.divided(self.times(part, total), parts)[0]
        return start, self.divided(self.times(self.plus(part, 1), total), parts)[0]

    # --- vectors -----------------------------------------------------------------------

    def vector(self, lanes: int) -> str:
        """Return the name of a vector's type."""
        return f"<{lanes} x {self.kind}>"

    def place(self, lanes: int) -> str:
        """Return a mutable vector, zero at first; only for the beginning of a function."""
        name = self.e.assign(f"alloca {self.vector(lanes)}")
        self.e.line(f"store {self.vector(lanes)} zeroinitializer, ptr {name}")
        return name

    def get(self, place: str, lanes: int) -> str:
        """Read a mutable vector."""
        return self.e.assign(f"load {self.vector(lanes)}, ptr {place}")

    def set(self, place: str, lanes: int, value: str) -> None:
        """Write a mutable vector."""
        self.e.line(f"store {self.vector(lanes)} {value}, ptr {place}")

    def load(self, pointer: str, lanes: int, mask: str = "") -> str:
        """Read a vector from anywhere; lanes that the mask leaves out are zero, not read."""
        vector, align = self.vector(lanes), self.dtype.itemsize
        if not mask:
            return self.e.assign(f"load {vector}, ptr {pointer}, align {align}")
        name = f"llvm.masked.load.v{lanes}{self.suffix}.p0"
        self.e.module.declare(name, f"{vector} @{name}(ptr, i32, <{lanes} x i1>, {vector})")
        arguments = f"ptr {pointer}, i32 {align}, <{lanes} x i1> {mask}, {vector} zeroinitializer"
        return self.e.assign(f"call {vector} @{name}({arguments})")

    def store(self, pointer: str, lanes: int, value: str, mask: str = "") -> None:
        """Write a vector anywhere, but for the lanes that the mask leaves out."""
        vector, align = self.vector(lanes), self.dtype.itemsize
        if not mask:
            self.e.line(f"store {vector} {value}, ptr {pointer}, align {align}")
            return
        name = f"llvm.masked.store.v{lanes}{self.suffix}.p0"
        self.e.module.declare(name, f"void @{name}({vector}, ptr, i32, <{lanes} x i1>)")
        arguments = f"{vector} {value}, ptr {pointer}, i32 {align}, <{lanes} x i1> {mask}"
        self.e.line(f"call void @{name}({arguments})")

    def mask(self, lanes: int, used: int) -> str:
        """Return the mask of the first lanes; none is needed for all."""
        if used == lanes:
            return ""
        bits = ", ".join("i1 true" if i < used else "i1 false" for i in range(lanes))
        return f"<{bits}>"

    def mask_below(self, lanes: int, used: Value) -> str:
        """Return the mask of the lanes before a number known at run time."""
        words = f"<{lanes} x i64>"
        first = self.e.assign(f"insertelement {words} poison, i64 {used.name}, i64 0")
        zeros = f"<{lanes} x i32> zeroinitializer"
        every = self.e.assign(f"shufflevector {words} {first}, {words} poison, {zeros}")
        order = ", ".join(f"i64 {i}" for i in range(lanes))
        return self.e.assign(f"icmp ult {words} <{order}>, {every}")

    def splat(self, pointer: str, lanes: int) -> str:
        """Read a number and return it in every lane."""
        number = self.e.assign(f"load {self.kind}, ptr {pointer}, align {self.dtype.itemsize}")
        vector = self.vector(lanes)
        first = self.e.assign(f"insertelement {vector} poison, {self.kind} {number}, i64 0")
        zeros = f"<{lanes} x i32> zeroinitializer"
        return self.e.assign(f"shufflevector {vector} {first}, {vector} poison, {zeros}")

    def lane(self, value: str, lanes: int, index: int) -> str:
        """Return one number of a vector."""
        return self.e.assign(f"extractelement {self.vector(lanes)} {value}, i64 {index}")

    def add(self, x: str, y: str, lanes: int) -> str:
        """Return ``x + y``."""
        return self.e.assign(f"fadd {self.vector(lanes)} {x}, {y}")

    def subtract(self, x: str, y: str, lanes: int) -> str:
        """Return ``x - y``."""
        return self.e.assign(f"fsub {self.vector(lanes)} {x}, {y}")

    def multiply_add(self, x: str, y: str, z: str, lanes: int, fused: bool) -> str:
        """Return ``x y + z``."""
        vector = self.vector(lanes)
        if not fused:
            product = self.e.assign(f"fmul {vector} {x}, {y}")
            return self.e.assign(f"fadd {vector} {product}, {z}")
        name = f"llvm.fma.v{lanes}{self.suffix}"
        arguments = (f"{vector} {x}", f"{vector} {y}", f"{vector} {z}")
        self.e.module.declare(name, f"{vector} @{name}({vector}, {vector}, {vector})")
        return self.e.assign(f"call {vector} @{name}({', '.join(arguments)})")

    def total(self, value: str, lanes: int) -> str:
        """Return the sum of a vector's lanes, added in pairs."""
        vector = self.vector(lanes)
        name = f"llvm.vector.reduce.fadd.v{lanes}{self.suffix}"
        self.e.module.declare(name, f"{self.kind} @{name}({self.kind}, {vector})")
        zero = literal(self.dtype, -0.0)
        return self.e.assign(
            f"call reassoc {self.kind} @{name}({self.kind} {zero}, {vector} {value})"
        )


def zero(w: VectorEmitter, pointer: str, many: int) -> None:
    """Write zeros."""
    name = "llvm.memset.p0.i64"
    w.e.module.declare(name, f"void @{name}(ptr, i8, i64, i1)")
    size = many * w.dtype.itemsize
    w.e.line(
        f"call void @{name}(ptr align {w.dtype.itemsize} {pointer}, i8 0, i64 {size}, i1 false)"
    )
