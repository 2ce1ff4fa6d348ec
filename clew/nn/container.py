"""Modules made of modules: chains, residual blocks, densely connected blocks.

The parts are modules or any functions. Scopes are numbered, so each layer of a trace can be told
from the others: ``sequential/dense0``, ``sequential/tanh1``.

Functions among the parts are structure, so two networks of one shape hold the same functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clew.core import pytree
from clew.nn.module import Module, call, label_of, module, static

Part = Callable[..., Any]


@module
class Function(Module):
    """A plain function as a part of a network; containers wrap theirs by themselves.

    >>> float(Function(function=np.tanh)(0.0))
    0.0
    """

    function: Part = static()

    @property
    def label(self) -> str:
        """The name, or the function's."""
        return self.name or label_of(self.function)

    def forward(self, *inputs: Any) -> Any:
        """Return the function's result."""
        return self.function(*inputs)


def as_module(part: Part) -> Module:
    """Return a part as a module.

    >>> as_module(np.tanh)
    Function(function=tanh)
    """
    return part if isinstance(part, Module) else Function(function=part)


class _Layered(Module):
    """What containers with a tuple of layers share."""

    layers: Sequence[Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(as_module(layer) for layer in self.layers))


@module
class Sequential(_Layered):
    """A chain: each layer hears the one before.

    Parameters
    ----------
    layers : sequence of modules or functions

    >>> from clew.nn import Dense
    >>> chain = Sequential((Dense(np.eye(2)), np.tanh))
    >>> chain(np.zeros(2))
    array([0., 0.])
    """

    layers: Sequence[Any]

    def forward(self, x: Any) -> Any:
        """Return the last layer's output."""
        for number, layer in enumerate(self.layers):
            x = call(layer, f"{layer.label}{number}", x)
        return x


@module
class Residual(Module):
    """A residual block: ``shortcut(x) + body(x)`` (He, Zhang, Ren and Sun 2016).

    Parameters
    ----------
    body : module or function
    shortcut : module or function, optional
        The identity if not given; a projection where the widths differ.

    >>> from clew.nn import Dense
    >>> Residual(Dense(np.zeros((2, 2))))(np.array([1.0, 2.0]))
    array([1., 2.])
    """

    body: Any
    shortcut: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "body", as_module(self.body))
        if self.shortcut is not None:
            object.__setattr__(self, "shortcut", as_module(self.shortcut))

    def forward(self, x: Any) -> Any:
        """Return ``shortcut(x) + body(x)``."""
        kept = x if self.shortcut is None else call(self.shortcut, "shortcut", x)
        return kept + self.body(x)


@module
class DenseBlock(_Layered):
    """A densely connected block: each layer hears the input and all layers before it.

    Layer l takes ``[x, y_1, ..., y_(l-1)]`` joined along the last axis; so does the output
    (Huang, Liu, van der Maaten and Weinberger 2017).

    Parameters
    ----------
    layers : sequence of modules or functions
        Layer l takes ``width + (l - 1) growth`` features and gives ``growth``.

    >>> block = DenseBlock((np.tanh, np.tanh))
    >>> block(np.zeros((5, 3))).shape
    (5, 12)
    """

    layers: Sequence[Any]

    def forward(self, x: Any) -> Any:
        """Return the input and all layers' outputs, joined along the last axis."""
        heard = [x]
        for number, layer in enumerate(self.layers):
            joined = np.concatenate(heard, axis=-1) if number else x
            heard.append(call(layer, f"{layer.label}{number}", joined))
        return np.concatenate(heard, axis=-1)


def gradient_norms(gradients: Any, layers: Any) -> list[float]:
    """Return the Euclidean norm of the gradient in each of several parts of a network.

    Parameters
    ----------
    gradients : tree
        A network of gradients, as ``clew.grad`` gives.
    layers : callable
        ``layers(gradients)`` picks the parts, for instance ``lambda net: net.layers``.

    >>> import clew
    >>> from clew.nn import Dense
    >>> chain = Sequential((Dense(np.eye(2)), Dense(2.0 * np.eye(2))))
    >>> slopes = clew.grad(lambda net: net(np.ones(2)).sum())(chain)
    >>> gradient_norms(slopes, lambda net: net.layers)
    [4.0, 2.0]
    """
    norms = []
    for part in layers(gradients):
        leaves = [np.asarray(leaf) for leaf in pytree.flatten(part)[0]]
        norms.append(float(np.sqrt(sum(np.sum(np.abs(leaf) ** 2) for leaf in leaves))))
    return norms
