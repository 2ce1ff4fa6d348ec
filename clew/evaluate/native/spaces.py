"""What each equation computes at one place: its space of loops, and its value at an index.

Three kinds of equation are written as loops:

``view``    another way to index its operand; costs nothing
``point``   each element from a few elements of the operands: arithmetic, small sums, small joins
``reduce``  a sum (product, extreme, ...) over axes too long to write out

All others are ``opaque``: they run by themselves, on operands in memory.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from clew.core.errors import IndexingError
from clew.core.graph import Atom, Equation, Var
from clew.core.kinds import Elementwise
from clew.core.tape import TapeType
from clew.core.types import Type
from clew.evaluate.native.affine import (
    ZERO,
    Affine,
    Index,
    Term,
    linear,
    strides_of,
    unflattened,
)
from clew.evaluate.native.emitter import Emitter, Module, Value

SMALL_AXIS = 4
"""Axes up to this long are written out, so that vectors in space and colours fuse."""
SMALL_SIZE = 16
"""Elements that are written out, or live in registers, at most."""
_SHORT_VECTOR = 8
"""Elements of the longest array that lives in registers whatever its axes are."""
_VIEWS = frozenset(["reshape", "transpose", "broadcast_to", "basic_slice"])
_REDUCTIONS = frozenset(["sum", "prod", "max", "min", "any", "all"])
SUMMING = _REDUCTIONS | {"contract"}
"""Primitives with a :class:`Space`."""


LIGHT = frozenset(
    [
        *("add", "subtract", "multiply", "divide", "negative", "positive", "square", "absolute"),
        *("maximum", "minimum", "where", "convert", "real", "imag", "conjugate"),
        *("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"),
        *("logical_and", "logical_or", "logical_not"),
        *("sum", "contract", "concatenate", "update"),
    ]
)
"""Primitives that cost about one operation."""


class Reader(Protocol):
    """Gives the value of an atom at an index, in the function being written."""

    e: Emitter

    def value(self, atom: Atom, index: Index) -> Value:
        """Return the element."""
        ...

    def gathered(self, atom: Atom, index: Sequence[Value | Affine]) -> Value:
        """Return the element at an index known only when running."""
        ...

    def report(self, wrong: Value, complaint: OutOfRange) -> None:
        """Raise when the code runs, if a condition holds."""
        ...


@dataclass(frozen=True)
class OutOfRange:
    """An index beyond an axis, which an equation would have read or written."""

    equation: Equation
    axis: int
    length: int

    @property
    def error(self) -> IndexingError:
        """What is raised."""
        return IndexingError(
            f"{self.equation.primitive.name}: an index is out of bounds for axis {self.axis}, "
            f"whose length is {self.length}",
            "keep indices below the length, for instance with np.clip or np.minimum",
            self.equation.where or None,
        )


@functools.lru_cache(maxsize=4096)
def loop_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes that become loops; the others are written out.

    >>> loop_axes((256, 256, 3)), loop_axes((3, 3)), loop_axes((2, 2, 2, 2, 2))
    ((0, 1), (), (0, 1, 2, 3, 4))
    """
    long = tuple(axis for axis, length in enumerate(shape) if length > SMALL_AXIS)
    written = math.prod(length for length in shape if length <= SMALL_AXIS)
    if written <= SMALL_SIZE:
        return long
    return tuple(axis for axis, length in enumerate(shape) if length > 1)


def in_registers(kind: Type) -> bool:
    """Say whether values of a type live in registers: short vectors and small matrices.

    >>> [in_registers(Type(shape, np.float64)) for shape in ((), (8,), (9,), (4, 4), (2, 9))]
    [True, True, False, True, False]
    """
    size = kind.size
    if size <= _SHORT_VECTOR:
        return size > 0
    return size <= SMALL_SIZE and max(kind.shape) <= SMALL_AXIS


def places(shape: Sequence[int], terms: Sequence[Term]) -> Iterator[Index]:
    """Yield the indices of all elements that one turn of the loops computes."""
    axes = loop_axes(shape)
    of_axis = dict(zip(axes, terms, strict=True))
    free = [axis for axis in range(len(shape)) if axis not in of_axis]
    for chosen in itertools.product(*(range(shape[axis]) for axis in free)):
        fixed = dict(zip(free, chosen, strict=True))
        yield tuple(
            Affine.of(of_axis[axis]) if axis in of_axis else Affine(fixed[axis])
            for axis in range(len(shape))
        )


# --- views -------------------------------------------------------------------------------------


def is_view(equation: Equation) -> bool:
    """Say whether an equation only indexes its operand in another way."""
    return equation.primitive.name in _VIEWS


def source_index(equation: Equation, index: Index) -> Index | None:
    """Return where a view reads its operand; None if that is not affine."""
    name = equation.primitive.name
    shape = equation.inputs[0].type.shape
    if name == "reshape":
        offset = linear(index, strides_of(equation.outputs[0].type.shape))
        return unflattened(offset, shape)
    if name == "transpose":
        place = dict(zip(equation.params["axes"], index, strict=True))
        return tuple(place[axis] for axis in range(len(shape)))
    if name == "broadcast_to":
        return broadcast_index(index, shape)
    return _sliced_index(equation.params["index"], index, shape)


def broadcast_index(index: Index, shape: Sequence[int]) -> Index:
    """Return where an operand of this shape is read for an element of the broadcast result."""
    own = index[len(index) - len(shape) :]
    return tuple(ZERO if n == 1 else each for each, n in zip(own, shape, strict=True))


def _sliced_index(parts: Sequence[Any], index: Index, shape: Sequence[int]) -> Index:
    given = iter(index)
    found = []
    for axis, length in enumerate(shape):
        part = parts[axis] if axis < len(parts) else slice(None)
        if isinstance(part, slice):
            steps = range(*part.indices(length))
            found.append(next(given).scaled(steps.step).plus(steps.start))
        else:
            found.append(Affine(int(part) % length))
    return tuple(found)


# --- points ------------------------------------------------------------------------------------


def point_value(reader: Reader, equation: Equation, index: Index) -> Value:
    """Return the value of a point equation at an index."""
    name = equation.primitive.name
    if isinstance(equation.primitive, Elementwise):
        operands = [
            reader.value(atom, broadcast_index(index, atom.type.shape)) for atom in equation.inputs
        ]
        return equation.primitive.emit(reader.e, *operands, **equation.params)  # type: ignore[misc]
    if name == "concatenate":
        return _joined_value(reader, equation, index)
    if name == "update":
        return _updated_value(reader, equation, index)
    if name == "gather":
        return _gathered_value(reader, equation, index)
    total: Value | None = None
    space = space_of(equation)
    axes = [axis for axis in range(len(space.shape)) if axis not in space.kept]
    for chosen in itertools.product(*(range(space.shape[axis]) for axis in axes)):
        full: dict[int, Affine] = dict(zip(space.kept, index, strict=True))
        full |= {axis: Affine(i) for axis, i in zip(axes, chosen, strict=True)}
        term = space.value(reader, tuple(full[axis] for axis in range(len(space.shape))))
        total = term if total is None else combined(reader.e, space.operation, total, term)
    if total is None:
        total = reader.e.constant(equation.outputs[0].type.dtype, _IDENTITY[space.operation])
    return total


def _joined_value(reader: Reader, equation: Equation, index: Index) -> Value:
    axis = equation.params["axis"]
    place = index[axis].constant
    for atom in equation.inputs:
        length = atom.type.shape[axis]
        if place < length:
            own = (*index[:axis], Affine(place), *index[axis + 1 :])
            found = reader.value(atom, own)
            return reader.e.convert(found, equation.outputs[0].type.dtype)
        place -= length
    raise AssertionError("an index beyond what is joined")


def update_place(equation: Equation, index: Index) -> Index | None:
    """Return where an update's value is read for an element; None if it is not written there.

    Axes that are written whole are passed through; on the others the index must be known.
    """
    parts = equation.params["index"]
    found = []
    for axis, (each, length) in enumerate(zip(index, equation.inputs[0].type.shape, strict=True)):
        part = parts[axis] if axis < len(parts) else slice(None)
        if isinstance(part, slice):
            steps = range(*part.indices(length))
            if len(steps) == length and steps.step == 1:
                found.append(each)
            elif each.constant in steps:
                found.append(Affine(steps.index(each.constant)))
            else:
                return None
        elif each.constant != int(part) % length:
            return None
    return tuple(found)


def _updated_value(reader: Reader, equation: Equation, index: Index) -> Value:
    old, new = equation.inputs
    place = update_place(equation, index)
    if place is None:
        return reader.value(old, index)
    return reader.e.convert(reader.value(new, place), old.type.dtype)


def _gathered_value(reader: Reader, equation: Equation, index: Index) -> Value:
    source, *indices = equation.inputs
    axes = equation.params["axes"]
    rank = len(indices[0].type.shape)
    rest = iter(index[rank:])
    numbers = {}
    for axis, each in zip(axes, indices, strict=True):
        length = source.type.shape[axis]
        numbers[axis], outside = wrapped(reader.e, reader.value(each, index[:rank]), length)
        reader.report(outside, OutOfRange(equation, axis, length))
    place = [numbers[axis] if axis in numbers else next(rest) for axis in range(source.type.ndim)]
    return reader.gathered(source, place)


def wrapped(e: Emitter, number: Value, length: int) -> tuple[Value, Value]:
    """Return an index as NumPy takes it (negative ones count from the end), and if it is outside.

    One outside is drawn to the edge, so that no other memory is touched before it is reported.
    """
    number = e.convert(number, np.int64)
    zero, size = e.like(number, 0), e.like(number, length)
    number = e.select(e.lt(number, zero), e.add(number, size), number)
    last = e.like(number, max(length - 1, 0))
    below, above = e.lt(number, zero), e.gt(number, last)
    return e.select(below, zero, e.select(above, last, number)), e.or_(below, above)


# --- reductions --------------------------------------------------------------------------------

_IDENTITY: dict[str, Any] = {"sum": 0, "prod": 1, "any": False, "all": True}


@dataclass(frozen=True)
class Space:
    """The loops of a reduction: a shape, the axes kept, and the value to be reduced."""

    operation: str
    shape: tuple[int, ...]
    kept: tuple[int, ...]
    atoms: tuple[Atom, ...]
    axes_of: tuple[tuple[int, ...], ...]
    dtype: np.dtype

    def value(self, reader: Reader, index: Index) -> Value:
        """Return what is reduced, at an index of the space."""
        found = None
        for atom, axes in zip(self.atoms, self.axes_of, strict=True):
            each = reader.value(atom, tuple(index[axis] for axis in axes))
            if self.operation in ("any", "all"):
                each = reader.e.truth(each)
            each = reader.e.convert(each, self.dtype)
            found = each if found is None else reader.e.mul(found, each)
        assert found is not None
        return found


def space_of(equation: Equation) -> Space:
    """Return the space of a reduction, or of a product that sums."""
    dtype = equation.outputs[0].type.dtype
    if equation.primitive.name == "contract":
        return _product_space(equation, dtype)
    shape = equation.inputs[0].type.shape
    gone = equation.params["axis"]
    kept = tuple(axis for axis in range(len(shape)) if axis not in gone)
    every = (tuple(range(len(shape))),)
    return Space(equation.primitive.name, shape, kept, equation.inputs, every, dtype)


def _product_space(equation: Equation, dtype: np.dtype) -> Space:
    """The axes in the order of the larger operand, then those of the other."""
    x, y = equation.inputs
    names = (equation.params["left"], equation.params["right"])
    first, second = names if x.type.size >= y.type.size else names[::-1]
    order = [*first, *(name for name in second if name not in first)]
    size = dict(zip(names[0], x.type.shape, strict=True))
    size |= dict(zip(names[1], y.type.shape, strict=True))
    return Space(
        "sum",
        tuple(size[name] for name in order),
        tuple(order.index(name) for name in equation.params["out"]),
        equation.inputs,
        tuple(tuple(order.index(name) for name in own) for own in names),
        dtype,
    )


def identity(operation: str, dtype: np.dtype) -> Any:
    """Return what a reduction of nothing gives, or what any element replaces."""
    if operation in _IDENTITY:
        return _IDENTITY[operation]
    low = operation == "max"
    if dtype.kind == "f":
        return -math.inf if low else math.inf
    if dtype.kind == "b":
        return not low
    limits = np.iinfo(dtype)
    return limits.min if low else limits.max


def combined(e: Emitter, operation: str, x: Value, y: Value) -> Value:
    """Return one step of a reduction."""
    if operation in ("sum", "prod"):
        return (e.add if operation == "sum" else e.mul)(x, y)
    if operation in ("any", "all"):
        return (e.or_ if operation == "any" else e.and_)(x, y)
    return e.maximum(x, y) if operation == "max" else e.minimum(x, y)


# --- classes of equations ----------------------------------------------------------------------


def kind_of(equation: Equation) -> str:
    """Return ``view``, ``point``, ``reduce`` or ``opaque``."""
    if len(equation.outputs) != 1:
        return "opaque"
    for atom in (*equation.inputs, *equation.outputs):
        kind = atom.type
        if type(kind) is TapeType or kind.dtype.kind not in "biufc":
            return "opaque"
    name = equation.primitive.name
    if name in _VIEWS:
        return "view"
    if isinstance(equation.primitive, Elementwise):
        return "point" if _has_native_form(equation) else "opaque"
    if name in _REDUCTIONS:
        return _reduction_kind(equation)
    if name == "contract":
        return _product_kind(equation)
    if name == "concatenate":
        axis = equation.params["axis"]
        return "point" if axis not in loop_axes(equation.outputs[0].type.shape) else "opaque"
    if name == "update":
        return "point" if _updates_written_axes(equation) else "opaque"
    return "point" if name == "gather" and equation.inputs[0].type.size else "opaque"


def _reduction_kind(equation: Equation) -> str:
    shape, dtype = equation.inputs[0].type.shape, equation.inputs[0].type.dtype
    extreme = equation.primitive.name in ("max", "min")
    if extreme and (dtype.kind == "c" or not math.prod(shape)):
        return "opaque"
    if 0 in shape:
        return "point"
    if dtype == np.float16 and equation.primitive.name in ("sum", "prod"):
        return "opaque"  # NumPy adds them up in single precision
    loops = set(loop_axes(shape))
    return "reduce" if loops & set(equation.params["axis"]) else "point"


def _product_kind(equation: Equation) -> str:
    """Large products of matrices have kernels of their own."""
    space = space_of(equation)
    if 0 in space.shape:
        return "point"
    loops = loop_axes(space.shape)
    gone = [axis for axis in range(len(space.shape)) if axis not in space.kept]
    if not any(axis in loops for axis in gone):
        out = equation.outputs[0].type.shape
        same = [space.shape[a] for a in loops] == [out[a] for a in loop_axes(out)]
        return "point" if same else "opaque"
    if equation.outputs[0].type.dtype not in (np.float32, np.float64):
        return "reduce"
    left, right = (set(axes) for axes in space.axes_of)
    rows = math.prod(space.shape[a] for a in space.kept if a not in right)
    columns = math.prod(space.shape[a] for a in space.kept if a not in left)
    return "reduce" if min(rows, columns) == 1 else "opaque"


def _updates_written_axes(equation: Equation) -> bool:
    """Whether an update writes a part only along axes that are written out anyway."""
    shape = equation.inputs[0].type.shape
    parts = equation.params["index"]
    for axis in loop_axes(shape):
        part = parts[axis] if axis < len(parts) else slice(None)
        if not isinstance(part, slice):
            return False
        steps = range(*part.indices(shape[axis]))
        if len(steps) != shape[axis] or steps.step != 1:
            return False
    return True


_native_forms: dict[Any, bool] = {}


def _has_native_form(equation: Equation) -> bool:
    """Try the rule on a function that is thrown away, once for each choice of dtypes."""
    primitive = equation.primitive
    if primitive.emit is None:  # type: ignore[attr-defined]
        return False
    dtypes = tuple(atom.type.dtype for atom in equation.inputs)
    known = _known_exponent(equation)
    key = (primitive, dtypes, equation.outputs[0].type.dtype, known)
    found = _native_forms.get(key)
    if found is None:
        e = Emitter(Module(), "trial")
        operands = [Value(d, "%x", "%y" if d.kind == "c" else None) for d in dtypes]
        if known is not None:
            operands[1].known = known
        made = primitive.emit(e, *operands, **equation.params)  # type: ignore[attr-defined]
        found = made is not None and made.dtype == equation.outputs[0].type.dtype
        _native_forms[key] = found
    return found


def _known_exponent(equation: Equation) -> Any:
    if equation.primitive.name != "power" or type(equation.inputs[1]) is Var:
        return None
    return equation.inputs[1].value  # type: ignore[union-attr]
