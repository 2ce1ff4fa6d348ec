"""How arrays lie that a loop reads again and again: as the products in its body want them.

A product copies an operand whose columns are not side by side, at every step. If a loop reads an
array only by such products, it is copied once, before the loop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.core.graph import Equation, Graph, Var
from clew.evaluate.native.affine import strides_of
from clew.evaluate.native.host import host
from clew.evaluate.native.multiply import contraction_between
from clew.evaluate.native.products.plan import make_plan
from clew.evaluate.native.spaces import is_view
from clew.evaluate.native.storage import Memory, contiguous, viewed

_LINE = 64
_STEPS = 8
"""Steps from which on a copy pays."""
_GAIN = 0.95
"""What products may take of their time before, for a copy to pay."""


@dataclass(frozen=True)
class _Use:
    """A product, and the place among its operands where it reads an array through views."""

    equation: Equation
    place: int
    views: tuple[Equation, ...]

    def memory(self, whole: Memory) -> Memory | None:
        """Return the operand that the views make of an array; None if elements must move."""
        found: Any = whole
        for view in self.views:
            name, shape = view.primitive.name, view.outputs[0].type.shape
            found = found and viewed(name, found, view.params, shape)
        return found

    def cycles(self, whole: Memory) -> float:
        """Return what the product takes."""
        own = self.memory(whole)
        if own is None:
            return math.inf
        atoms = (*self.equation.inputs, self.equation.outputs[0])
        left, right, result = (contiguous(each.type.dtype, each.type.shape, "") for each in atoms)
        left, right = (own, right) if self.place == 0 else (left, own)
        one = contraction_between(self.equation, left, right, result)
        return make_plan(one, host(), 1).cost


def laid_out(
    frame: Any, body: Graph, variables: Sequence[Var], storages: Sequence[Any], steps: int | None
) -> list[Any]:
    """Return the arrays that a loop reads at each step, copied where that makes it faster.

    ``variables`` are the inputs of the body that they are.
    """
    if steps is not None and steps < _STEPS:
        return list(storages)
    pairs = zip(variables, storages, strict=True)
    return [_laid_out(frame, _uses(body, var), storage) for var, storage in pairs]


def _laid_out(frame: Any, uses: Sequence[_Use] | None, storage: Any) -> Any:
    if not uses or not isinstance(storage, Memory) or len(storage.shape) < 2:
        return storage
    if storage.dtype not in (np.float32, np.float64):
        return storage
    choices = [_Layout(order, pad) for order in _orders(uses, storage) for pad in (False, True)]

    def cycles(memory: Memory) -> float:
        return sum(use.cycles(memory) for use in uses)

    trials = [each.of(storage, contiguous(storage.dtype, (), "")) for each in choices]
    costs = [cycles(each) for each in trials]
    if not min(costs) < _GAIN * cycles(storage):
        return storage
    best = choices[costs.index(min(costs))]
    found = best.of(storage, frame.scratch(storage.dtype, best.shape(storage)))
    frame.copy(storage, found)
    return found


@dataclass(frozen=True)
class _Layout:
    """An order of axes in memory; ``padded`` rows lie so that few compete for a set of a cache."""

    order: tuple[int, ...]
    padded: bool

    def shape(self, storage: Memory) -> tuple[int, ...]:
        """Return the shape of the memory that is needed."""
        *outer, last = (storage.shape[axis] for axis in self.order)
        line = _LINE // storage.dtype.itemsize
        return (*outer, (-(-last // line) | 1) * line if self.padded else last)

    def of(self, storage: Memory, memory: Memory) -> Memory:
        """Return memory of that shape as an array like another one."""
        strides = dict(zip(self.order, strides_of(self.shape(storage)), strict=True))
        return memory.view(storage.shape, [strides[axis] for axis in range(len(strides))])


def _orders(uses: Sequence[_Use], storage: Memory) -> list[tuple[int, ...]]:
    """Return the order of axes as it is, and one in which sums run over the outer ones."""
    axes = range(len(storage.shape))
    found = [tuple(sorted(axes, key=lambda axis: -storage.strides[axis]))]
    orders = {_order(use, storage) for use in uses}
    wanted = orders.pop()
    if not orders and wanted is not None and wanted != found[0]:
        found.append(wanted)
    return found


def _order(use: _Use, storage: Memory) -> tuple[int, ...] | None:
    """Return an array's axes, those first that the product sums over."""
    numbered = contiguous(storage.dtype, storage.shape, "")
    own = use.memory(numbered)
    if own is None or sorted(own.strides) != sorted(numbered.strides):
        return None
    names = use.equation.params[("left", "right")[use.place]]
    summed = {
        stride
        for name, stride in zip(names, own.strides, strict=True)
        if name not in use.equation.params["out"]
    }
    axes = range(len(storage.shape))
    return tuple(sorted(axes, key=lambda axis: numbered.strides[axis] not in summed))


def _uses(body: Graph, var: Var) -> list[_Use] | None:
    """Return the products that read an array; None if anything else does."""
    found: list[_Use] = []
    reached: dict[Var, tuple[Equation, ...]] = {var: ()}
    for equation in body.equations:
        for place, atom in enumerate(equation.inputs):
            if type(atom) is not Var or atom not in reached:
                continue
            if is_view(equation):
                reached[equation.outputs[0]] = (*reached[atom], equation)
            elif equation.primitive.name == "contract":
                found.append(_Use(equation, place, reached[atom]))
            else:
                return None
    return None if any(atom in reached for atom in body.outputs) else found
