"""The traced value: behaves as a NumPy array, records what is done to it.

A tracer is a cell (``var``, replaced when the array is written into) or a view of another
tracer: reading applies the view again if the parent changed, writing goes back through it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from clew.core.errors import DtypeError, ShapeError, TraceError
from clew.core.graph import Var
from clew.core.kinds import broadcast_like
from clew.core.primitive import PRIMITIVES, Traced
from clew.core.types import Type, type_of
from clew.ops import elementwise as e
from clew.trace import builder as _builder
from clew.trace import protocols
from clew.trace.guards import Expected, guard

_NUMBERS = (float, int, bool, complex)


class Tracer(Traced):
    """A value of the function being traced, with the NumPy array interface.

    Type and shape are static. What would need an actual number (``float()``,
    ``np.asarray``) raises and says what to write; a condition (``if x > 0``) is answered
    from the actual inputs and guarded.
    """

    __slots__ = ("_key", "_layout", "_parent", "_put", "_read", "_seen", "_var", "builder")

    def __init__(self, builder: Any, var: Var) -> None:
        self.builder = builder
        self._var = var
        self._parent: Tracer | None = None

    # --- cell and view ---------------------------------------------------------------

    def read(self) -> Var:
        """Return the variable that holds the present value."""
        parent = self._parent
        if parent is not None:
            present = parent.read()
            if present is not self._seen:
                self._var = self.builder.atom(self._read(parent))
                self._seen = present
        return self._var

    def write(self, value: Any) -> None:
        """Replace the value in place; for a view, in the array it views."""
        if not self.builder.open:
            raise _builder.leaked(self)
        value = fitted(value, self.type)
        if self._parent is not None:
            self._parent.write(self._put(self._parent, value))
            return
        _builder.refuse_write(self.builder, self._var)
        self._var = self._own(value)

    def _own(self, value: Any) -> Var:
        if isinstance(value, Traced) and value.builder.level > self.builder.level:
            raise TraceError(
                f"a value of an inner trace is written into an array ({self.type}) of an outer one",
                "return the value from the inner function instead of writing it outside",
            )
        return self.builder.variable(value)

    def view(
        self,
        read: Callable[[Any], Any],
        put: Callable[[Any, Any], Any],
        layout: Callable[[np.ndarray], np.ndarray] | None = None,
        key: Any = None,
    ) -> Tracer:
        """Return a view: ``read(parent)`` is its value, ``put(parent, value)`` the new parent.

        ``layout`` does to a NumPy array what the view does; ``read`` itself if not given.
        ``key`` is the index that made it, if one did.
        """
        present = self.read()
        child = Tracer(self.builder, self.builder.atom(read(self)))
        child._parent = self
        child._read = read
        child._put = put
        child._seen = present
        child._layout = layout or read
        child._key = key
        return child

    def layout(self) -> np.ndarray:
        """Return a stand-in with the strides NumPy's array would have, and no memory."""
        if self._parent is not None:
            return self._layout(self._parent.layout())
        strides = np.cumprod((1, *self.shape[:0:-1]))[::-1][: self.ndim]
        one = np.zeros(1, np.int8)
        return np.lib.stride_tricks.as_strided(one, self.shape, strides, writeable=False)

    def snapshot(self) -> Tracer:
        """Return the present value as an array of its own."""
        if _builder.active_builder() is not self.builder:
            return PRIMITIVES["positive"](self)
        return Tracer(self.builder, self.read())

    def is_part(self, parent: Any, key: Any) -> bool:
        """Whether this is the view ``parent[key]``, so that writing it there changes nothing."""
        return self._parent is parent and self._key is not None and _same_key(self._key, key)

    @property
    def is_view(self) -> bool:
        """Whether writing here writes into another array."""
        return self._parent is not None

    # --- what NumPy arrays say of themselves -----------------------------------------

    @property
    def type(self) -> Type:
        """Shape and dtype."""
        return self._var.type

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return self._var.type.shape

    @property
    def dtype(self) -> np.dtype:
        """The NumPy dtype."""
        return self._var.type.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self._var.type.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._var.type.size

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.itemsize

    @property
    def device(self) -> str:
        """Where the value lives (Array API)."""
        return "cpu"

    def __repr__(self) -> str:
        return f"<traced {self.type}>"

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a scalar")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise TypeError("iteration over a scalar")
        return (self[i] for i in range(self.shape[0]))

    __hash__ = None  # type: ignore[assignment]

    # --- conditions: answered from the actual inputs, guarded --------------------------

    def concrete(self) -> np.ndarray:
        """Return the actual value for the inputs being traced with."""
        values = self.builder.concrete
        if values is None:
            raise TraceError(
                f"the actual value of a traced {self.type} is needed here, "
                "and this trace has no actual inputs",
                "write the choice with np.where",
            )
        return values.of(self.builder, self.read())

    def guarded(self) -> np.ndarray:
        """Return the actual value, and record that the trace depends on it."""
        value = self.concrete()
        guard(self, expected=Expected(np.array(value)))
        return value

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"the truth value of an array of shape {self.shape} is ambiguous: "
                "use .any() or .all()"
            )
        return bool(e.not_equal(self, 0).guarded() if self.dtype.kind != "b" else self.guarded())

    def __index__(self) -> int:
        if self.dtype.kind not in "iub" or self.ndim:
            raise TypeError(f"only an integer scalar can be an index, not {self.type}")
        return int(self.guarded())

    def __int__(self) -> int:
        if self.size != 1 or self.dtype.kind == "c":
            raise TypeError(f"int(): only a real scalar can be converted, not {self.type}")
        return int(e.trunc(self).guarded() if self.dtype.kind == "f" else self.guarded())

    def __float__(self) -> float:
        self._needs_number("float()", "keep the value as it is (float() is not needed)")

    def __complex__(self) -> complex:
        self._needs_number("complex()", "keep the value as it is (complex() is not needed)")

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        self._needs_number(
            "making a plain NumPy array",
            "use np.stack([...]) or clew.numpy.array([...]) to join traced values, and "
            "np.zeros_like(x) or clew.numpy.zeros(...) for an array to write them into, and "
            "clew.numpy.array(a)[i] to index a plain array with a traced number",
        )

    def item(self, *_: Any) -> Any:
        """Raise: a plain number would cut the gradient."""
        self._needs_number(".item()", "index the value, x[0], which keeps the path")

    def tolist(self) -> Any:
        """Raise: plain numbers would cut the gradient."""
        self._needs_number(".tolist()", "iterate over the value, which keeps the path")

    def _needs_number(self, what: str, instead: str) -> NoReturn:
        raise TraceError(
            f"{what} of a traced value ({self.type}) would cut the gradient",
            f"{instead}, or mark the cut with clew.stop_gradient",
        )

    # --- NumPy protocols --------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return protocols.apply_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return protocols.apply_function(func, args, kwargs)

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return protocols.array_namespace()

    # --- reading and writing parts ------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        from clew.trace.indexing import get_item

        return get_item(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        from clew.trace.indexing import set_item

        set_item(self, key, value)


def _same_key(left: Any, right: Any) -> bool:
    left, right = (key if isinstance(key, tuple) else (key,) for key in (left, right))
    plain = (int, slice, type(None), type(Ellipsis))
    return all(isinstance(part, plain) for part in (*left, *right)) and left == right


def fitted(value: Any, mine: Type) -> Any:
    """Broadcast and convert a value to be written, as NumPy's assignment does."""
    its = type_of(value)
    if its.dtype != mine.dtype:
        if its.inexact and not mine.inexact and isinstance(value, Traced):
            raise DtypeError(
                f"writing {its} into an array of {mine.dtype} would cut the gradient",
                f"make the array of dtype {its.dtype}, for instance np.zeros_like(x)",
            )
        if its.dtype.kind == "c" and mine.dtype.kind != "c":
            raise DtypeError(
                f"writing {its} into an array of {mine.dtype} would drop the imaginary part",
                "make the array complex, or write value.real",
            )
        value = e.convert(value, dtype=mine.dtype)
    extra = its.ndim - mine.ndim
    if extra > 0 and its.shape[:extra].count(1) == extra:
        value = PRIMITIVES["reshape"](value, shape=its.shape[extra:])
    try:
        return broadcast_like(value, mine)
    except (ShapeError, ValueError):
        raise ShapeError(
            f"cannot write shape {its.shape} into a place of shape {mine.shape}",
            "reshape the value, or write into a place of its shape",
        ) from None


def as_operand(value: Any) -> Any:
    """Return a value usable as an operand, or NotImplemented."""
    if isinstance(value, Traced) or type(value) in _NUMBERS:
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        return value if value.dtype.kind in "biufc" else NotImplemented
    if isinstance(value, (list, tuple)):
        return protocols.HANDLERS[np.array](value)
    if hasattr(value, "__array__"):
        return np.asarray(value)
    return NotImplemented


def _binary(record: Callable[[Any, Any], Any], reflected: bool = False) -> Any:
    def method(self: Tracer, other: Any) -> Any:
        other = as_operand(other)
        if other is NotImplemented:
            return NotImplemented
        return record(other, self) if reflected else record(self, other)

    return method


def _in_place(record: Callable[[Any, Any], Any]) -> Any:
    def method(self: Tracer, other: Any) -> Any:
        other = as_operand(other)
        if other is NotImplemented:
            return NotImplemented
        result = record(self, other)
        if self.ndim == 0 and not self.is_view:
            # A NumPy scalar is immutable: the name is bound anew, other names keep the old value.
            return result
        protocols.write_result(self, result)
        return self

    return method


def _unary(record: Callable[[Any], Any]) -> Any:
    def method(self: Tracer) -> Any:
        return record(self)

    return method


def power(base: Any, exponent: Any) -> Any:
    """Return ``base ** exponent``; a square is a primitive of its own."""
    if type(exponent) in (int, float) and exponent == 2:
        if type(exponent) is float and type_of(base).dtype.kind in "biu":
            base = e.convert(base, dtype=np.dtype(np.float64))
        return e.square(base)
    return e.power(base, exponent)


def matrix_product(left: Any, right: Any) -> Any:
    """Return ``left @ right``."""
    return protocols.HANDLERS[np.matmul](left, right)


def _install_operators() -> None:
    two = {
        "add": e.add,
        "sub": e.subtract,
        "mul": e.multiply,
        "truediv": e.divide,
        "floordiv": e.floor_divide,
        "mod": e.remainder,
        "pow": power,
        "matmul": matrix_product,
        "and": e.bitwise_and,
        "or": e.bitwise_or,
        "xor": e.bitwise_xor,
        "lshift": e.left_shift,
        "rshift": e.right_shift,
    }
    for name, record in two.items():
        setattr(Tracer, f"__{name}__", _binary(record))
        setattr(Tracer, f"__r{name}__", _binary(record, reflected=True))
        setattr(Tracer, f"__i{name}__", _in_place(record))
    compare = ("lt", e.less), ("le", e.less_equal), ("gt", e.greater), ("ge", e.greater_equal)
    for name, record in (*compare, ("eq", e.equal), ("ne", e.not_equal)):
        setattr(Tracer, f"__{name}__", _binary(record))
    one = (
        ("neg", e.negative),
        ("pos", e.positive),
        ("abs", e.absolute),
        ("invert", e.bitwise_invert),
    )
    for name, record in one:
        setattr(Tracer, f"__{name}__", _unary(record))


_install_operators()
_builder.tracer_class = Tracer
