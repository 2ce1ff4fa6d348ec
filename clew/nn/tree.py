"""Networks that follow a tree: one cell wherever children meet, by plain Python recursion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from clew.core.errors import InputError
from clew.core.types import type_of
from clew.nn.activation import sigmoid
from clew.nn.initialise import glorot_uniform
from clew.nn.module import Array, Module, module


class Tree(NamedTuple):
    """A labelled ordered tree; a leaf has no children.

    >>> str(Tree("not", (Tree("good"),)))
    '(not good)'
    """

    label: str
    children: tuple[Tree, ...] = ()

    @property
    def depth(self) -> int:
        """The number of edges from the root to the farthest leaf."""
        return max((1 + child.depth for child in self.children), default=0)

    def __str__(self) -> str:
        if not self.children:
            return self.label
        return f"({' '.join([self.label, *map(str, self.children)])})"


def fold(
    tree: Tree,
    leaf: Callable[[str], Any],
    node: Callable[..., Any],
    known: dict[Tree, Any] | None = None,
) -> Any:
    """Work up a tree: ``leaf(label)`` at the leaves, ``node(label, *results)`` where they meet.

    Parameters
    ----------
    tree : Tree
    leaf, node : callable
    known : dict, optional
        Results by subtree. Given the same dictionary, equal subtrees of many trees are worked
        out once and used in all of their places.

    >>> numbers = Tree("+", (Tree("1"), Tree("+", (Tree("2"), Tree("3")))))
    >>> fold(numbers, float, lambda label, a, b: a + b)
    6.0
    """
    known = {} if known is None else known
    if tree not in known:
        if tree.children:
            parts = [fold(child, leaf, node, known) for child in tree.children]
            known[tree] = node(tree.label, *parts)
        else:
            known[tree] = leaf(tree.label)
    return known[tree]


@module
class TreeCell(Module):
    """The plain recursive cell: ``tanh(sum_k child_k W_k + b)`` (Goller and Kuechler 1996).

    Parameters
    ----------
    weights : tuple of arrays (width, width)
        One per child, by position.
    bias : array (width,)

    Raises
    ------
    InputError
        If the number of children is not that of the weights.

    >>> cell = TreeCell.create(np.random.default_rng(0), width=3, children=2)
    >>> cell(np.zeros(3), np.zeros(3))
    array([0., 0., 0.])
    """

    weights: tuple[Array, ...]
    bias: Array

    @classmethod
    def create(
        cls, generator: np.random.Generator, width: int, children: int = 2, name: str = ""
    ) -> TreeCell:
        """Draw a cell for this many children.

        >>> TreeCell.create(np.random.default_rng(0), 3, children=1)
        TreeCell(weights=(f64[3,3]), bias=f64[3])
        """
        weights = tuple(glorot_uniform(generator, (width, width)) for _ in range(children))
        return cls(weights, np.zeros(width), name=name)

    def forward(self, *children: Any) -> Any:
        """Return the parent's vector, of shape (..., width)."""
        _check_count(self.label, children, len(self.weights))
        total = self.bias
        for child, weight in zip(children, self.weights, strict=True):
            total = total + child @ weight
        return np.tanh(total)


@module
class TreeLSTMCell(Module):
    """The N-ary Tree-LSTM without input at the nodes (Tai, Socher and Manning 2015, section 3.2).

    With ``h`` the children's outputs joined: ``i, o = sigmoid(h U + b)``, ``u = tanh(...)``,
    one forget gate ``f_k`` per child; ``c = i u + sum_k f_k c_k``, ``h' = o tanh(c)``. A value
    is a pair (h, c); a leaf's is ``(h, zeros)``.

    Parameters
    ----------
    weight : array (children * width, (3 + children) * width)
        Gates i, o, u, then the forget gates, along axis 1.
    bias : array ((3 + children) * width,)

    >>> cell = TreeLSTMCell.create(np.random.default_rng(0), width=3, children=2)
    >>> word = (np.zeros(3), np.zeros(3))
    >>> cell(word, word)[0]
    array([0., 0., 0.])
    """

    weight: Array
    bias: Array

    @classmethod
    def create(
        cls, generator: np.random.Generator, width: int, children: int = 2, name: str = ""
    ) -> TreeLSTMCell:
        """Draw a cell for this many children; the forget gates' biases start at 1.

        >>> TreeLSTMCell.create(np.random.default_rng(0), 3)
        TreeLSTMCell(weight=f64[6,15], bias=f64[15])
        """
        gates = 3 + children
        weight = glorot_uniform(generator, (children * width, gates * width))
        bias = np.zeros(gates * width)
        bias[3 * width :] = 1.0
        return cls(weight, bias, name=name)

    def forward(self, *children: Any) -> Any:
        """Return the parent's (h, c), each of shape (..., width)."""
        rows, columns = type_of(self.weight).shape
        width = (columns - rows) // 3
        _check_count(self.label, children, rows // width)
        total = np.concatenate([h for h, _ in children], axis=-1) @ self.weight + self.bias
        let_in, let_out, new, *forget = [
            total[..., i * width : (i + 1) * width] for i in range(columns // width)
        ]
        memory = sigmoid(let_in) * np.tanh(new)
        for gate, (_, kept) in zip(forget, children, strict=True):
            memory = memory + sigmoid(gate) * kept
        return sigmoid(let_out) * np.tanh(memory), memory


def _check_count(label: str, children: Any, expected: int) -> None:
    if len(children) != expected:
        raise InputError(
            f"{label}: {len(children)} children were given, the cell takes {expected}",
            "use a cell made for this many children",
        )
