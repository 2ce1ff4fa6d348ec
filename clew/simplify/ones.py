"""Products with arrays of ones are sums.

Masks travel through products as products with ones (``clew.core.kinds``); written as sums they
cost what moving the mask costs, not what the product does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clew.core.graph import Atom, Equation, Literal, Var
from clew.core.primitive import PRIMITIVES
from clew.core.types import Type
from clew.simplify.rewriting import MadeBy, repeated


def without_ones(equation: Equation, made_by: MadeBy) -> list[Equation] | None:
    """Return equations for a product one operand of which is ones everywhere; None if none is.

    >>> import clew, numpy as np
    >>> graph = clew.trace(lambda x: x @ np.broadcast_to(1.0, (3, 4)))(np.ones((2, 3)))
    >>> [e.primitive.name for e in clew.simplify.simplify(graph).equations]
    ['sum', 'reshape', 'broadcast_to']
    """
    for side in (0, 1):
        if repeated(equation.inputs[side], made_by) == 1:
            other = equation.inputs[1 - side]
            if other.type.dtype != equation.outputs[0].type.dtype:
                return None
            if equation.primitive.name == "contract":
                return _summed(equation, side, other)
            return (_of_ones if side == 0 else _windows)(equation, other)
    return None


class _Chain:
    """Equations one after the other, at the place of an equation that they replace."""

    def __init__(self, equation: Equation) -> None:
        self._like = equation
        self.equations: list[Equation] = []

    def __call__(self, name: str, inputs: Sequence[Atom], **params: Any) -> Var:
        primitive = PRIMITIVES[name]
        kind: Type = primitive.result_type([atom.type for atom in inputs], params)
        outputs = (Var(kind),)
        like = self._like
        self.equations.append(
            Equation(primitive, tuple(inputs), params, outputs, like.scope, like.where)
        )
        return outputs[0]

    def done(self) -> list[Equation]:
        """Let the last equation give the result of the one replaced."""
        last = self.equations[-1]
        self.equations[-1] = last.remade(last.inputs, last.params, self._like.outputs)
        return self.equations


def _summed(equation: Equation, side: int, other: Atom) -> list[Equation] | None:
    """``sum over k of x[i, k] 1[k, j]`` is ``sum over k of x[i, k]``, for every j."""
    own, ones = (equation.params[key] for key in ("left", "right")[:: 1 if side == 1 else -1])
    out = equation.params["out"]
    length = dict(zip(ones, equation.inputs[side].type.shape, strict=True))
    if any(name not in own and name not in out and length[name] != 1 for name in ones):
        return None  # summing ones gives a factor
    chain = _Chain(equation)
    value = other
    gone = tuple(axis for axis, name in enumerate(own) if name not in out)
    if gone:
        value = chain("sum", [value], axis=gone)
    kept = [name for name in own if name in out]
    wanted = [name for name in out if name in own]
    if kept != wanted:
        value = chain("transpose", [value], axes=tuple(kept.index(name) for name in wanted))
    shape = equation.outputs[0].type.shape
    aligned = tuple(n if name in own else 1 for name, n in zip(out, shape, strict=True))
    if aligned != value.type.shape:
        value = chain("reshape", [value], shape=aligned)
    chain("broadcast_to", [value], shape=shape)
    return chain.done()


def _windows(equation: Equation, signal: Atom) -> list[Equation] | None:
    """A kernel of ones gives every channel the same: the sum of what it meets."""
    kernel = equation.inputs[1].type
    if equation.params["groups"] != 1 or 1 in kernel.shape[:2]:
        return None
    chain = _Chain(equation)
    shape = signal.type.shape
    value = chain("sum", [signal], axis=(1,))
    value = chain("reshape", [value], shape=(shape[0], 1, *shape[2:]))
    one = Literal(kernel.dtype.type(1))
    ones = chain("broadcast_to", [one], shape=(1, 1, *kernel.shape[2:]))
    value = chain("conv", [value, ones], **equation.params)
    chain("broadcast_to", [value], shape=equation.outputs[0].type.shape)
    return chain.done()


def _of_ones(equation: Equation, kernel: Atom) -> list[Equation] | None:
    """A signal of ones gives every example the same, and so do its channels: they are summed."""
    signal = equation.inputs[0].type
    if equation.params["groups"] != 1 or signal.shape[:2] == (1, 1) or 0 in signal.shape[:2]:
        return None
    chain = _Chain(equation)
    shape = kernel.type.shape
    value = chain("sum", [kernel], axis=(1,))
    value = chain("reshape", [value], shape=(shape[0], 1, *shape[2:]))
    one = Literal(signal.dtype.type(1))
    ones = chain("broadcast_to", [one], shape=(1, 1, *signal.shape[2:]))
    value = chain("conv", [ones, value], **equation.params)
    chain("broadcast_to", [value], shape=equation.outputs[0].type.shape)
    return chain.done()
