"""Recurrent cells, their unrolling through time, and stacks with skip connections.

A cell is ``cell(x, state) -> state``; ``cell.initial(shape)`` is a state of zeros and
``cell.output(state)`` the part that others hear. Time is axis 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from clew.core.errors import InputError, ShapeError
from clew.core.types import type_of
from clew.loops import scan
from clew.nn.activation import sigmoid
from clew.nn.dense import check_width
from clew.nn.initialise import glorot_uniform, orthogonal
from clew.nn.module import Array, Module, call, module, static


class Cell(Module):
    """The base of recurrent cells: ``gates`` affine maps of the input and of the state.

    >>> RNNCell.create(np.random.default_rng(0), 3, 4).initial(2).shape
    (2, 4)
    """

    input_weight: Array
    state_weight: Array
    bias: Array
    gates = 1

    @classmethod
    def create(cls, generator: np.random.Generator, inputs: int, width: int, name: str = "") -> Any:
        """Draw a cell: Glorot weights for the input, orthogonal ones for the state, no bias.

        >>> LSTMCell.create(np.random.default_rng(0), 3, 4)
        LSTMCell(input_weight=f64[3,16], state_weight=f64[4,16], bias=f64[16])
        """
        ahead = [glorot_uniform(generator, (inputs, width)) for _ in range(cls.gates)]
        around = [orthogonal(generator, (width, width)) for _ in range(cls.gates)]
        bias = cls.first_bias(width)
        make: Any = cls
        return make(np.concatenate(ahead, 1), np.concatenate(around, 1), bias, name=name)

    @classmethod
    def first_bias(cls, width: int) -> np.ndarray:
        """Return the bias a new cell starts with."""
        return np.zeros(cls.gates * width)

    @property
    def width(self) -> int:
        """How many numbers the state holds."""
        return type_of(self.state_weight).shape[0]

    def initial(self, *batch: int) -> Any:
        """Return a state of zeros for a batch of this shape, in the weights' dtype."""
        return self._zeros(batch)

    def _zeros(self, batch: tuple[int, ...]) -> np.ndarray:
        return np.zeros((*batch, self.width), type_of(self.state_weight).dtype)

    def output(self, state: Any) -> Any:
        """Return what other layers hear of a state."""
        return state

    def parts(self, x: Any) -> list[Any]:
        """Split the last axis into one part for each gate."""
        width = self.width
        return [x[..., i * width : (i + 1) * width] for i in range(self.gates)]


@module
class RNNCell(Cell):
    """The plain recurrent cell: ``h' = tanh(x W + h U + b)`` (Elman 1990).

    Parameters
    ----------
    input_weight : array (inputs, width)
    state_weight : array (width, width)
    bias : array (width,)

    >>> cell = RNNCell(np.eye(2), np.zeros((2, 2)), np.zeros(2))
    >>> cell(np.zeros(2), cell.initial())
    array([0., 0.])
    """

    input_weight: Array
    state_weight: Array
    bias: Array

    def forward(self, x: Any, state: Any) -> Any:
        """Return the next state, of shape (..., width)."""
        check_width(self.label, x, type_of(self.input_weight).shape[0])
        return np.tanh(x @ self.input_weight + state @ self.state_weight + self.bias)


@module
class GRUCell(Cell):
    """The gated recurrent unit (Cho et al. 2014).

    ``r, z = sigmoid(x W + h U + b)``, ``n = tanh(x W_n + (r h) U_n + b_n)``,
    ``h' = z h + (1 - z) n``. The gates stand in the order reset, update, new along axis 1.

    Parameters
    ----------
    input_weight : array (inputs, 3 width)
    state_weight : array (width, 3 width)
    bias : array (3 width,)

    >>> cell = GRUCell.create(np.random.default_rng(0), 2, 3)
    >>> cell(np.zeros(2), cell.initial())
    array([0., 0., 0.])
    """

    input_weight: Array
    state_weight: Array
    bias: Array
    gates = 3

    def forward(self, x: Any, state: Any) -> Any:
        """Return the next state, of shape (..., width)."""
        check_width(self.label, x, type_of(self.input_weight).shape[0])
        width = self.width
        ahead = x @ self.input_weight + self.bias
        gates = sigmoid(ahead[..., : 2 * width] + state @ self.state_weight[:, : 2 * width])
        reset, update = gates[..., :width], gates[..., width:]
        around = (reset * state) @ self.state_weight[:, 2 * width :]
        new = np.tanh(ahead[..., 2 * width :] + around)
        return update * state + (1.0 - update) * new


@module
class LSTMCell(Cell):
    """Long short-term memory (Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000).

    ``i, f, o = sigmoid(x W + h U + b)``, ``g = tanh(...)``, ``c' = f c + i g``,
    ``h' = o tanh(c')``. The gates stand in the order i, f, g, o; the state is ``(h, c)``. The
    forget gate's bias starts at 1 (Jozefowicz, Zaremba and Sutskever 2015).

    Parameters
    ----------
    input_weight : array (inputs, 4 width)
    state_weight : array (width, 4 width)
    bias : array (4 width,)

    >>> cell = LSTMCell.create(np.random.default_rng(0), 2, 3)
    >>> cell.output(cell(np.zeros(2), cell.initial()))
    array([0., 0., 0.])
    """

    input_weight: Array
    state_weight: Array
    bias: Array
    gates = 4

    @classmethod
    def first_bias(cls, width: int) -> np.ndarray:
        """Return zeros, and ones for the forget gate."""
        return np.repeat([0.0, 1.0, 0.0, 0.0], width)

    def initial(self, *batch: int) -> Any:
        """Return zeros for output and memory."""
        return self._zeros(batch), self._zeros(batch)

    def output(self, state: Any) -> Any:
        """Return h of (h, c)."""
        return state[0]

    def forward(self, x: Any, state: Any) -> Any:
        """Return the next (h, c), each of shape (..., width)."""
        check_width(self.label, x, type_of(self.input_weight).shape[0])
        heard, memory = state
        total = x @ self.input_weight + heard @ self.state_weight + self.bias
        let_in, forget, new, let_out = self.parts(total)
        memory = sigmoid(forget) * memory + sigmoid(let_in) * np.tanh(new)
        return sigmoid(let_out) * np.tanh(memory), memory


def unroll(
    cell: Any,
    inputs: Any,
    state: Any = None,
    checkpoint: int | Literal["auto"] | None = None,
    memory: int | None = None,
) -> tuple[Any, Any]:
    """Run a cell (or a stack of them) over the steps of axis 0.

    Parameters
    ----------
    cell : Cell or RecurrentStack
    inputs : array (time, ..., features)
    state : optional
        Zeros if not given.
    checkpoint, memory
        What reverse mode keeps; see :func:`clew.scan`.

    Returns
    -------
    outputs : array (time, ..., width)
    state
        The last one.

    >>> cell = RNNCell.create(np.random.default_rng(0), 3, 4)
    >>> unroll(cell, np.zeros((7, 2, 3)))[0].shape
    (7, 2, 4)
    """
    shape = type_of(inputs).shape
    if len(shape) < 2 or shape[0] == 0:
        raise ShapeError(
            f"unroll: inputs of shape {shape} have no steps",
            "give (time, ..., features) with at least one step",
        )
    if state is None:
        state = cell.initial(*shape[1:-1])

    def step(state: Any, x: Any) -> tuple[Any, Any]:
        state = cell(x, state)
        return state, cell.output(state)

    last, outputs = scan(step, state, inputs, checkpoint=checkpoint, memory=memory)
    return outputs, last


@module
class RecurrentStack(Module):
    """Recurrent layers on top of each other, each hearing the ``reach`` levels below it.

    At every step, layer l takes the sum of the outputs of layers ``l - 1, ..., l - reach``, where
    layer 0 is the input. ``reach=1`` is the plain stack; with ``reach=2`` the number of paths
    up through the layers grows as the Fibonacci numbers.

    Parameters
    ----------
    cells : sequence of cells
        All of one width, which is also that of the input if ``reach > 1``.
    reach : int

    Raises
    ------
    InputError
        If ``reach`` is less than 1.

    >>> generator = np.random.default_rng(0)
    >>> stack = RecurrentStack([RNNCell.create(generator, 4, 4) for _ in range(3)], reach=2)
    >>> unroll(stack, np.zeros((5, 2, 4)))[0].shape
    (5, 2, 4)
    """

    cells: Sequence[Any]
    reach: int = static(default=2)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells", tuple(self.cells))
        if self.reach < 1:
            raise InputError(f"RecurrentStack: reach={self.reach}", "give 1 or more levels")

    def initial(self, *batch: int) -> Any:
        """Return a state of zeros for each layer."""
        return tuple(cell.initial(*batch) for cell in self.cells)

    def output(self, state: Any) -> Any:
        """Return what the top layer gives."""
        return self.cells[-1].output(state[-1])

    def forward(self, x: Any, state: Any) -> Any:
        """Return the next states, one for each layer."""
        levels = [x]
        after = []
        for number, (cell, before) in enumerate(zip(self.cells, state, strict=True)):
            below = levels[-self.reach :]
            heard = below[-1]
            for skipped in below[-2::-1]:
                heard = heard + skipped
            after.append(call(cell, f"{cell.label}{number}", heard, before))
            levels.append(cell.output(after[-1]))
        return tuple(after)
