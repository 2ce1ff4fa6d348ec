"""Recurrent cells against their published equations, unrolling, stacks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

import clew
from clew import nn
from clew.core.errors import InputError, ShapeError
from clew.testing import check_derivatives

GENERATOR = np.random.default_rng(0)
CELLS = [nn.RNNCell, nn.GRUCell, nn.LSTMCell]


def gates(cell, count):
    """The cell's weights and biases apart, one triple per gate."""
    return list(
        zip(
            np.split(cell.input_weight, count, axis=1),
            np.split(cell.state_weight, count, axis=1),
            np.split(cell.bias, count),
            strict=True,
        )
    )


def drawn(kind, inputs=3, width=4):
    cell = kind.create(GENERATOR, inputs, width)
    return kind(cell.input_weight, cell.state_weight, GENERATOR.normal(size=cell.bias.shape))


def test_rnn():
    cell = drawn(nn.RNNCell)
    x, h = GENERATOR.normal(size=(5, 3)), GENERATOR.normal(size=(5, 4))
    expected = np.tanh(x @ cell.input_weight + h @ cell.state_weight + cell.bias)
    np.testing.assert_allclose(cell(x, h), expected, rtol=1e-14)


def test_gru():
    cell = drawn(nn.GRUCell)
    x, h = GENERATOR.normal(size=(5, 3)), GENERATOR.normal(size=(5, 4))
    (wr, ur, br), (wz, uz, bz), (wn, un, bn) = gates(cell, 3)
    r = expit(x @ wr + h @ ur + br)
    z = expit(x @ wz + h @ uz + bz)
    new = np.tanh(x @ wn + (r * h) @ un + bn)
    np.testing.assert_allclose(cell(x, h), z * h + (1 - z) * new, rtol=1e-12)


def test_lstm():
    cell = drawn(nn.LSTMCell)
    x, h, c = GENERATOR.normal(size=(5, 3)), *GENERATOR.normal(size=(2, 5, 4))
    i, f, g, o = (x @ w + h @ u + b for w, u, b in gates(cell, 4))
    memory = expit(f) * c + expit(i) * np.tanh(g)
    found = cell(x, (h, c))
    np.testing.assert_allclose(found[0], expit(o) * np.tanh(memory), rtol=1e-12)
    np.testing.assert_allclose(found[1], memory, rtol=1e-12)


def test_first_weights():
    cell = nn.LSTMCell.create(GENERATOR, 3, 4)
    np.testing.assert_array_equal(cell.bias, np.repeat([0.0, 1.0, 0.0, 0.0], 4))
    for _, around, _ in gates(cell, 4):
        np.testing.assert_allclose(around.T @ around, np.eye(4), atol=1e-14)


@pytest.mark.parametrize("kind", CELLS)
def test_unroll(kind):
    cell = drawn(kind)
    inputs = GENERATOR.normal(size=(6, 5, 3))
    outputs, last = nn.unroll(cell, inputs)
    state = cell.initial(5)
    for time in range(6):
        state = cell(inputs[time], state)
        np.testing.assert_array_equal(outputs[time], cell.output(state))
    np.testing.assert_array_equal(cell.output(last), cell.output(state))
    half = nn.unroll(cell, inputs[:3])[1]
    np.testing.assert_array_equal(nn.unroll(cell, inputs[3:], half)[0], outputs[3:])


@pytest.mark.parametrize("kind", CELLS)
def test_derivatives_through_time(kind):
    cell = drawn(kind)
    inputs = GENERATOR.normal(size=(4, 2, 3))
    agreement = check_derivatives(lambda cell, x: nn.unroll(cell, x)[0], cell, inputs)
    assert agreement.forward < 1e-8


def test_weights_shared_over_time_receive_the_sum():
    cell = drawn(nn.RNNCell)
    inputs = GENERATOR.normal(size=(3, 2, 3))

    def apart(cells):
        state = cell.initial(2)
        for each, x in zip(cells, inputs, strict=True):
            state = each(x, state)
        return np.sum(state**2)

    copies = [drawn(nn.RNNCell) for _ in range(3)]
    copies = [
        nn.RNNCell(cell.input_weight.copy(), cell.state_weight.copy(), cell.bias.copy())
        for _ in copies
    ]
    parts = clew.grad(apart)(copies)
    whole = clew.grad(lambda cell: apart([cell] * 3))(cell)
    expected = sum(part.state_weight for part in parts)
    np.testing.assert_allclose(whole.state_weight, expected, rtol=1e-12)


@pytest.mark.parametrize("reach", [1, 2, 3])
def test_stack(reach):
    cells = [drawn(nn.RNNCell, 4, 4) for _ in range(5)]
    stack = nn.RecurrentStack(cells, reach=reach)
    x = GENERATOR.normal(size=(2, 4))
    states = tuple(GENERATOR.normal(size=(5, 2, 4)))
    levels = [x]
    for cell, state in zip(cells, states, strict=True):
        levels.append(cell(np.sum(levels[-reach:], axis=0), state))
    for found, expected in zip(stack(x, states), levels[1:], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("reach", "expected"), [(1, [1, 1, 1, 1, 1]), (2, [1, 2, 3, 5, 8]), (3, [1, 2, 4, 7, 13])]
)
def test_ways_up_through_a_stack(reach, expected):
    # with slopes of one everywhere the derivative through the layers counts the ways
    ones = nn.RNNCell(np.ones((1, 1)), np.zeros((1, 1)), np.zeros(1))
    found = []
    for layers in range(1, 6):
        stack = nn.RecurrentStack([ones] * layers, reach=reach)
        slope = clew.grad(lambda x, s=stack: np.sum(s.output(s(x, s.initial()))))(np.zeros(1))
        found.append(int(slope[0]))
    assert found == expected


def test_a_stack_of_lstms_unrolls():
    stack = nn.RecurrentStack([drawn(nn.LSTMCell, 4, 4) for _ in range(3)])
    inputs = GENERATOR.normal(size=(3, 2, 4))
    agreement = check_derivatives(lambda stack: nn.unroll(stack, inputs)[0], stack)
    assert agreement.forward < 1e-8


def test_bad_input():
    cell = drawn(nn.RNNCell)
    with pytest.raises(ShapeError, match=r"unroll: inputs of shape \(3,\) have no steps"):
        nn.unroll(cell, np.ones(3))
    with pytest.raises(ShapeError, match=r"unroll: inputs of shape \(0, 3\)"):
        nn.unroll(cell, np.ones((0, 3)))
    with pytest.raises(ShapeError, match=r"rnncell: the input has shape \(2, 5\)"):
        cell(np.ones((2, 5)), cell.initial(2))
    with pytest.raises(InputError, match="reach=0"):
        nn.RecurrentStack([cell], reach=0)


def test_states_have_the_dtype_of_the_weights():
    generator = np.random.default_rng(0)
    cell = nn.LSTMCell.create(generator, 3, 4)
    single = clew.core.pytree.map(lambda x: x.astype(np.float32), cell)
    assert [part.dtype for part in single.initial(2)] == [np.float32, np.float32]
    outputs, _ = nn.unroll(single, np.ones((5, 2, 3), np.float32))
    assert outputs.dtype == np.float32
