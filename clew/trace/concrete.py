"""Actual values behind traced ones, for Python conditions that depend on them.

The equations recorded so far are evaluated on the function's actual inputs, each once. The
inputs may themselves be traced by an outer trace: then its values are asked in turn. Under
``vmap`` the inputs carry a batch, and a condition has an answer if all examples agree on it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.errors import TraceError
from clew.core.graph import Var
from clew.core.primitive import Traced


class _Unknown:
    """Stands for a value that is not one value: it differs from step to step of a loop."""


UNKNOWN = _Unknown()


class ConcreteValues:
    """The values of a graph under construction, evaluated as far as they were asked for."""

    __slots__ = ("_batched", "_done", "_size", "_values")

    def __init__(self, size: int = 0) -> None:
        self._values: dict[Var, Any] = {}
        self._batched: set[Var] = set()
        self._done = 0
        self._size = size

    def define(self, var: Var, value: Any, batched: bool = False) -> None:
        """Say what an input or a captured variable stands for."""
        self._values[var] = value
        if batched:
            self._batched.add(var)

    def of(self, builder: Any, var: Var) -> np.ndarray:
        """Return the concrete value of a variable of ``builder``."""
        self._advance(builder)
        value = self._lookup(builder, var)
        if value is UNKNOWN:
            raise TraceError(
                "a Python condition depends on a value inside a loop or branch, "
                "where it is not one value",
                "choose with clew.cond or np.where; repeat with clew.while_loop",
            )
        while isinstance(value, Traced):
            value = value.concrete()  # type: ignore[attr-defined]
        value = np.asarray(value)
        return self._agreed(value) if var in self._batched else value

    def _agreed(self, value: np.ndarray) -> np.ndarray:
        if len(value) == 0 or not (value == value[:1]).all():
            raise TraceError(
                "vmap: a Python condition depends on a mapped value, and the examples disagree",
                "write the choice with np.where, or map with a Python loop",
            )
        return value[0]

    def _lookup(self, builder: Any, atom: Any) -> Any:
        if type(atom) is not Var:
            return atom.value
        if atom in builder.constants:
            return builder.constants[atom]
        return self._values[atom]

    def _advance(self, builder: Any) -> None:
        equations = builder.equations
        while self._done < len(equations):
            equation = equations[self._done]
            self._done += 1
            operands = [self._lookup(builder, atom) for atom in equation.inputs]
            flags = [atom in self._batched for atom in equation.inputs]
            if any(operand is UNKNOWN for operand in operands):
                self._values.update(dict.fromkeys(equation.outputs, UNKNOWN))
                continue
            primitive = equation.primitive
            with np.errstate(all="ignore"):
                if any(flags):
                    result = primitive.batched(self._size, operands, flags, equation.params)
                    self._batched.update(equation.outputs)
                else:
                    result = primitive(*operands, **equation.params)
            results = result if primitive.multiple else (result,)
            self._values.update(zip(equation.outputs, results, strict=True))
