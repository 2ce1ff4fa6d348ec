"""Trees and the cells that follow them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

import clew
from clew import nn
from clew.core.errors import InputError
from clew.nn import Tree
from clew.testing import check_derivatives

GENERATOR = np.random.default_rng(0)
LEAF = Tree("x")
PAIR = Tree("f", (LEAF, LEAF))
DEEP = Tree("f", (PAIR, Tree("g", (PAIR,))))


def test_depth_and_text():
    assert (LEAF.depth, PAIR.depth, DEEP.depth) == (0, 1, 3)
    assert str(DEEP) == "(f (f x x) (g (f x x)))"


def test_fold_works_out_equal_parts_once():
    seen = []

    def node(label, *parts):
        seen.append(label)
        return sum(parts) + 1

    assert nn.fold(DEEP, lambda label: 1, node) == 8
    assert seen == ["f", "g", "f"]
    known = {}
    nn.fold(PAIR, lambda label: 1, node, known)
    seen.clear()
    nn.fold(DEEP, lambda label: 1, node, known)
    assert seen == ["g", "f"]


def test_a_part_used_twice_receives_the_sum():
    # d/dx of f(x, x) with f(a, b) = a^2 b, by the product rule
    slope = clew.grad(lambda x: nn.fold(PAIR, lambda _: x, lambda _, a, b: a * a * b))(2.0)
    assert float(slope) == 12.0


def test_tree_cell():
    cell = nn.TreeCell.create(GENERATOR, 4, children=3)
    children = GENERATOR.normal(size=(3, 4))
    total = sum(child @ weight for child, weight in zip(children, cell.weights, strict=True))
    np.testing.assert_allclose(cell(*children), np.tanh(total + cell.bias), rtol=1e-13)


def test_tree_lstm_cell():
    width = 4
    cell = nn.TreeLSTMCell.create(GENERATOR, width, children=2)
    cell = nn.TreeLSTMCell(cell.weight, GENERATOR.normal(size=cell.bias.shape))
    (h1, c1), (h2, c2) = children = GENERATOR.normal(size=(2, 2, width))
    columns = np.split(np.concatenate([h1, h2]) @ cell.weight + cell.bias, 5)
    i, o, u, f1, f2 = columns
    memory = expit(i) * np.tanh(u) + expit(f1) * c1 + expit(f2) * c2
    found = cell(*[tuple(child) for child in children])
    np.testing.assert_allclose(found[0], expit(o) * np.tanh(memory), rtol=1e-12)
    np.testing.assert_allclose(found[1], memory, rtol=1e-12)


@pytest.mark.parametrize("kind", [nn.TreeCell, nn.TreeLSTMCell])
def test_derivatives_through_a_tree(kind):
    cells = {"f": kind.create(GENERATOR, 3, children=2), "g": kind.create(GENERATOR, 3, children=1)}
    word = GENERATOR.normal(size=3)
    pairs = kind is nn.TreeLSTMCell

    def model(cells, word):
        top = nn.fold(
            DEEP,
            lambda _: (word, np.zeros(3)) if pairs else word,
            lambda label, *parts: cells[label](*parts),
        )
        return top[0] if pairs else top

    assert check_derivatives(model, cells, word, order=2).forward < 1e-7


@pytest.mark.parametrize("kind", [nn.TreeCell, nn.TreeLSTMCell])
def test_a_wrong_number_of_children(kind):
    cell = kind.create(GENERATOR, 3, children=2, name="and")
    child = (np.zeros(3), np.zeros(3)) if kind is nn.TreeLSTMCell else np.zeros(3)
    with pytest.raises(InputError, match="and: 3 children were given, the cell takes 2"):
        cell(child, child, child)
