"""The graph under construction: records equations, captures constants and outer values."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from clew.core.errors import DerivativeError, DtypeError, GraphError, TraceError
from clew.core.graph import Atom, Equation, Graph, Literal, Var, interpret
from clew.core.primitive import PRIMITIVES, Primitive, Traced, innermost
from clew.core.source import Where, current_scope, user_location
from clew.core.tape import TapeType
from clew.core.types import Type
from clew.trace.concrete import ConcreteValues


class _Active(threading.local):
    def __init__(self) -> None:
        self.stack: list[Builder] = []


_active = _Active()


def open_builders() -> tuple[Builder, ...]:
    """Return the builders of the functions being traced in this thread, outermost first."""
    return tuple(_active.stack)


def active_builder() -> Builder | None:
    """Return the builder of the function being traced in this thread, if any."""
    return _active.stack[-1] if _active.stack else None


class Builder:
    """Records equations.

    ``level`` orders nested traces: an operation belongs to the innermost trace among its
    operands. Values of outer traces become *captured* inputs of the graph.
    """

    __slots__ = (
        "_constant_of",
        "_context",
        "before",
        "captured",
        "concrete",
        "constants",
        "equations",
        "inputs",
        "level",
        "open",
    )

    def __init__(self, concrete: ConcreteValues | None = None) -> None:
        self.level = len(_active.stack) + 1
        self.inputs: list[Var] = []
        self.equations: list[Equation] = []
        self.constants: dict[Var, Any] = {}
        self.captured: dict[Var, tuple[Var, Any]] = {}
        self.concrete = concrete
        self.open = True
        self.before: dict[Builder, int] | None = None
        self._constant_of: dict[int, tuple[Any, Var]] = {}
        self._context: tuple[str, Where] | None = None

    # --- values ----------------------------------------------------------------------

    def input(self, type: Type, actual: Any = None, batched: bool = False) -> Any:
        """Add an input, standing for an actual value if there is one; return it traced."""
        var = Var(type)
        self.inputs.append(var)
        if self.concrete is not None:
            self.concrete.define(var, actual, batched)
        return self.value(var)

    def value(self, var: Var) -> Any:
        """Return a traced value for a variable of this graph."""
        return tracer_class(self, var)

    def operand(self, atom: Atom) -> Any:
        """Return an atom as an operand; a constant as itself, so rules compute with it at once."""
        if type(atom) is not Var:
            return atom.value
        constant = self.constants.get(atom)
        return self.value(atom) if constant is None else constant

    def variable(self, value: Any) -> Var:
        """Return the variable for an operand, recording an equation for a literal."""
        atom = self.atom(value)
        if type(atom) is not Var:
            atom = self.record(PRIMITIVES["positive"], (value,), {}).read()
        return atom

    def atom(self, value: Any) -> Atom:
        """Return the variable or literal that stands for an operand."""
        if isinstance(value, Traced):
            if value.builder is self:
                return value.read()  # type: ignore[attr-defined]
            return self._capture(value)
        if type(value) is np.ndarray:
            if not value.ndim:
                return Literal(value[()])
            return self._repeated(value) if _is_repeated(value) else self._constant(value)
        if isinstance(value, np.generic):
            return Literal(value)
        if isinstance(getattr(value, "type", None), TapeType):
            return self._opaque(value)
        array = np.asarray(value)
        if array.dtype.kind not in "biufc":
            raise DtypeError(
                f"an operand of type {type(value).__name__} (dtype {array.dtype}) is not numeric",
                "pass numbers or numeric arrays",
            )
        return self._constant(array) if array.ndim else Literal(array[()])

    def _repeated(self, array: np.ndarray) -> Var:
        """Record one number broadcast to an array as that, not as an array."""
        first = array[(0,) * array.ndim]
        return self.record(PRIMITIVES["broadcast_to"], (first,), {"shape": array.shape}).read()

    def _constant(self, array: np.ndarray) -> Var:
        known = self._constant_of.get(id(array))
        if known is not None and known[0] is array:
            var = known[1]
            kept = self.constants[var]
            if kept is array or _same_bits(kept, array):
                return var
        # The user may write into the array later: what was read must not change with it.
        kept = np.array(array)
        kept.flags.writeable = False
        var = Var(Type(kept.shape, kept.dtype))
        self.constants[var] = kept
        self._constant_of[id(array)] = (array, var)
        self._constant_of[id(kept)] = (kept, var)
        return var

    def _opaque(self, value: Any) -> Var:
        known = self._constant_of.get(id(value))
        if known is None:
            known = (value, Var(value.type))
            self.constants[known[1]] = value
            self._constant_of[id(value)] = known
        return known[1]

    def _capture(self, value: Any) -> Var:
        outer = value.builder
        if not outer.open or outer.level >= self.level:
            raise leaked(value)
        origin = value.read()
        known = self.captured.get(origin)
        if known is None:
            known = (Var(origin.type), outer.value(origin))
            self.captured[origin] = known
            if self.concrete is not None:
                self.concrete.define(*known)
        return known[0]

    # --- equations -------------------------------------------------------------------

    def record(self, primitive: Primitive, operands: Sequence[Any], params: dict[str, Any]) -> Any:
        """Append an equation and return its traced result (a tuple for several)."""
        if not self.open:
            raise leaked(next(x for x in operands if isinstance(x, Traced) and x.builder is self))
        inputs = tuple([self.atom(operand) for operand in operands])
        result = primitive.result_type([atom.type for atom in inputs], params)
        scope, where = self._context or (current_scope(), user_location())
        if primitive.multiple:
            outputs = tuple([Var(each) for each in result])
            self.equations.append(Equation(primitive, inputs, params, outputs, scope, where))
            return tuple([tracer_class(self, var) for var in outputs])
        var = Var(result)
        self.equations.append(Equation(primitive, inputs, params, (var,), scope, where))
        return tracer_class(self, var)

    def repeated(self) -> None:
        """Say that what is traced may run any number of times: it may not write outside.

        ``before`` keeps how many equations each outer trace had then.
        """
        self.before = {each: len(each.equations) for each in _active.stack if each is not self}

    def standing_at(self, equation: Equation) -> None:
        """Give equations recorded from now on the scope and line of another equation."""
        self._context = (equation.scope, equation.where)

    @contextmanager
    def recording(self) -> Iterator[Builder]:
        """Be the active builder inside the ``with`` block."""
        _active.stack.append(self)
        try:
            yield self
        finally:
            _active.stack.pop()
            self.open = False

    def finish(self, outputs: Sequence[Atom], names: Sequence[str] = ()) -> Graph:
        """Close the builder and return the graph; captured values are its last inputs."""
        self.open = False
        inputs = [*self.inputs, *(var for var, _ in self.captured.values())]
        return Graph(inputs, self.equations, outputs, self.constants, names)

    @classmethod
    @contextmanager
    def transforming(cls, graph: Graph) -> Iterator[Builder]:
        """Be the active builder of a new graph that goes on using another's variables."""
        builder = cls()
        builder.constants.update(graph.constants)
        for var, array in graph.constants.items():
            builder._constant_of[id(array)] = (array, var)
        with np.errstate(all="ignore"), builder.recording():
            yield builder

    def transformed(
        self, inputs: Sequence[Var], outputs: Sequence[Atom], names: Sequence[str]
    ) -> Graph:
        """Return the graph of a transform, whose rules may read nothing but their operands."""
        if self.captured:
            raise DerivativeError(
                "a derivative rule reads traced values that are not its arguments",
                "pass them to the function as arguments",
            )
        return Graph(inputs, self.equations, outputs, self.constants, names)

    def captured_values(self) -> list[Any]:
        """Return the outer values for the captured inputs, in order."""
        return [value for _, value in self.captured.values()]


def run(graph: Graph, arguments: Sequence[Any]) -> list[Any]:
    """Run a graph on eager or traced values; traced ones record, at the original lines.

    >>> import clew
    >>> run(clew.trace(lambda x: x * 3.0)(1.0), [2.0])
    [np.float64(6.0)]
    """
    return interpret(graph, arguments, _apply)


def _apply(equation: Equation, operands: list[Any]) -> Any:
    builder = innermost(operands)
    if builder is None:
        return equation.primitive.eval(np, *operands, **equation.params)
    before = builder._context
    builder.standing_at(equation)
    try:
        return builder.record(equation.primitive, operands, equation.params)
    finally:
        builder._context = before


def refuse_write(builder: Builder, var: Var) -> None:
    """Raise if a step or branch under way writes into an array that was there before it.

    Tracing it once records one write, but it may run any number of times.
    """
    for inner in _active.stack[builder.level :]:
        if inner.before is None:
            continue
        since = builder.equations[inner.before.get(builder, 0) :]
        if not any(var is made for each in since for made in each.outputs):
            raise TraceError(
                f"a step or branch writes into an array ({var.type}) from outside",
                "carry the array and return it, or write into a copy made inside",
            )


def leaked(value: Any) -> GraphError:
    """Return the error for a traced value used outside its trace."""
    return GraphError(
        f"a traced value ({value.type}) was used after its function returned, "
        f"or inside another trace it does not belong to",
        "return the value from the traced function instead of storing it outside",
    )


def _is_repeated(array: np.ndarray) -> bool:
    return array.size > 1 and not any(array.strides)


def _same_bits(left: np.ndarray, right: np.ndarray) -> bool:
    return (
        left.shape == right.shape
        and left.dtype == right.dtype
        and np.array_equal(_bytes(left), _bytes(right))
    )


def _bytes(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


tracer_class: Any = None
"""Set by ``trace.tracer``, which needs the builder and so is imported after it."""
