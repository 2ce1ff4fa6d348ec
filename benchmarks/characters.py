"""ADBench's LSTM: two layers of 14 numbers, elementwise weights, a sequence of 1024; f64.

Srajer, Kukelova and Fitzgibbon (2018). Characters are 14 bits; each step predicts the next one.
The gradient is in the layers' weights and biases and in the weights before and after them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

import clew
from benchmarks.measure import Aim, Side, Work
from benchmarks.peers import jax_side, load_jax, load_torch, torch_side
from clew.nn import sigmoid

LAYERS = 2
BITS = 14


def example(length: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Return parameters, the first state and a sequence.

    ``main`` holds a row of weights and a row of biases for each layer, ``extra`` the weights
    before the layers, after them, and the biases after them; a state is (h, c) by layer.
    """
    generator = np.random.default_rng(0)
    params = {
        "main": 0.5 * generator.normal(size=(LAYERS, 2, 4 * BITS)),
        "extra": generator.normal(size=(3, BITS)),
    }
    state = 0.1 * generator.normal(size=(LAYERS, 2, BITS))
    return params, state, generator.integers(0, 2, size=(length, BITS)).astype(float)


def loss(params: Any, state: Any, sequence: Any) -> Any:
    """Return minus the mean of ``gold (y - log(2 + sum(exp(y))))``."""
    extra = params["extra"]

    def layer(weights: Any, state: Any, x: Any) -> tuple[Any, Any]:
        hidden, cell = state
        gates = np.concatenate([x, hidden, x, hidden]) * weights[0] + weights[1]
        forget, let_in, let_out = (sigmoid(gates[i * BITS : (i + 1) * BITS]) for i in range(3))
        cell = cell * forget + let_in * np.tanh(gates[3 * BITS :])
        return let_out * np.tanh(cell), cell

    def step(states: Any, at: Any) -> tuple[Any, Any]:
        x, gold = at
        x = x * extra[0]
        after = []
        for number, state in enumerate(states):
            after.append(layer(params["main"][number], state, x))
            x = after[-1][0]
        y = x * extra[1] + extra[2]
        return tuple(after), np.sum(gold * (y - np.log(2.0 + np.sum(np.exp(y)))))

    states = tuple((state[i, 0], state[i, 1]) for i in range(LAYERS))
    _, terms = clew.scan(step, states, (sequence[:-1], sequence[1:]))
    return -np.sum(terms) / sequence[1:].size


def ours(params: Any, state: np.ndarray, sequence: np.ndarray) -> Side:
    """Return Clew's side."""
    function = clew.jit(clew.value_and_grad(loss))
    return Side(lambda: function(params, state, sequence))


# --- peers -----------------------------------------------------------------------------------


def with_jax(params: Any, state: np.ndarray, sequence: np.ndarray) -> Side:
    """Return JAX's: ``lax.scan``, compiled."""
    jax = load_jax()
    jnp = jax.numpy

    def layer(weights: Any, state: Any, x: Any) -> tuple[Any, Any]:
        hidden, cell = state
        gates = jnp.concatenate([x, hidden, x, hidden]) * weights[0] + weights[1]
        forget, let_in, let_out, change = jnp.split(gates, 4)
        cell = cell * jax.nn.sigmoid(forget) + jax.nn.sigmoid(let_in) * jnp.tanh(change)
        return jax.nn.sigmoid(let_out) * jnp.tanh(cell), cell

    def loss(params: Any, state: Any, sequence: Any) -> Any:
        extra = params["extra"]

        def step(states: Any, at: Any) -> tuple[Any, Any]:
            x, gold = at
            x = x * extra[0]
            after = []
            for number, state in enumerate(states):
                after.append(layer(params["main"][number], state, x))
                x = after[-1][0]
            y = x * extra[1] + extra[2]
            return tuple(after), jnp.sum(gold * (y - jnp.log(2.0 + jnp.sum(jnp.exp(y)))))

        states = tuple((state[i, 0], state[i, 1]) for i in range(LAYERS))
        _, terms = jax.lax.scan(step, states, (sequence[:-1], sequence[1:]))
        return -jnp.sum(terms) / sequence[1:].size

    return jax_side(jax.value_and_grad(loss), params, state, sequence)


def with_torch(params: Any, state: np.ndarray, sequence: np.ndarray) -> Side:
    """Return PyTorch's, eager."""
    torch = load_torch()

    def layer(weights: Any, state: Any, x: Any) -> tuple[Any, Any]:
        hidden, cell = state
        gates = torch.cat([x, hidden, x, hidden]) * weights[0] + weights[1]
        forget, let_in, let_out, change = gates.chunk(4)
        cell = cell * forget.sigmoid() + let_in.sigmoid() * change.tanh()
        return let_out.sigmoid() * cell.tanh(), cell

    def loss(params: Any, state: Any, sequence: Any) -> Any:
        extra, main = params["extra"].unbind(), params["main"].unbind()
        states = [each.unbind() for each in state]
        total = 0.0
        rows = sequence.unbind()
        for x, gold in pairwise(rows):
            x = x * extra[0]
            for number in range(LAYERS):
                states[number] = layer(main[number], states[number], x)
                x = states[number][0]
            y = x * extra[1] + extra[2]
            total = total + (gold * (y - (2.0 + y.exp().sum()).log())).sum()
        return -total / sequence[1:].numel()

    return torch_side(loss, params, state, sequence)


def work(length: int = 1024) -> Work:
    """Return the work for a sequence of this length."""
    data = example(length)
    return Work(
        "characters",
        f"LSTM of ADBench, {LAYERS} layers, {BITS} bits, sequence {length}, f64",
        lambda: ours(*data),
        {"JAX": lambda: with_jax(*data), "PyTorch": lambda: with_torch(*data)},
        (Aim(5.0, ("JAX",)),),
        differentiated=lambda: (loss, data),
    )


WORKS = {"characters": work}
