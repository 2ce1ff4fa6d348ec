"""The fully connected layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from clew.core.errors import ShapeError
from clew.core.types import type_of
from clew.nn.initialise import Initialiser, glorot_uniform
from clew.nn.module import Array, Module, module, static


@module
class Dense(Module):
    """A fully connected layer: ``activation(x @ weight + bias)``.

    Parameters
    ----------
    weight : array (inputs, outputs)
    bias : array (outputs,), optional
    activation : callable, optional

    Raises
    ------
    ShapeError
        If the last axis of ``x`` is not ``inputs`` long.

    >>> layer = Dense(np.ones((2, 3)), np.zeros(3), activation=np.tanh)
    >>> layer(np.zeros((5, 2))).shape
    (5, 3)
    """

    weight: Array
    bias: Array = None
    activation: Callable[[Array], Array] | None = static(default=None)

    @classmethod
    def create(
        cls,
        generator: np.random.Generator,
        inputs: int,
        outputs: int,
        activation: Callable[[Array], Array] | None = None,
        *,
        initialise: Initialiser = glorot_uniform,
        bias: bool = True,
        name: str = "",
    ) -> Dense:
        """Draw a layer's weight; its bias starts at zero.

        >>> Dense.create(np.random.default_rng(0), 64, 32, np.tanh)
        Dense(weight=f64[64,32], bias=f64[32], activation=tanh)
        """
        weight = initialise(generator, (inputs, outputs))
        start = np.zeros(outputs) if bias else None
        return cls(weight, start, activation=activation, name=name)

    def forward(self, x: Any) -> Any:
        """Return ``activation(x @ weight + bias)`` for ``x`` of shape (..., inputs)."""
        check_width(self.label, x, type_of(self.weight).shape[-2])
        y = x @ self.weight
        if self.bias is not None:
            y = y + self.bias
        return y if self.activation is None else self.activation(y)


def check_width(label: str, x: Any, width: int) -> None:
    """Make sure that the last axis of an input is as long as a layer expects.

    >>> try:
    ...     check_width("dense", np.ones((3, 2)), 4)
    ... except ShapeError as error:
    ...     print(error.asked)
    dense: the input has shape (3, 2), the layer takes (..., 4)
    """
    shape = type_of(x).shape
    if not shape or shape[-1] != width:
        raise ShapeError(
            f"{label}: the input has shape {shape}, the layer takes (..., {width})",
            "make the last axis as long as the layer's weight has rows",
        )
