"""Two layers of LSTM over 100 steps, batch 32, width 128, f32: loss and gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

import clew
from benchmarks.measure import Aim, Side, Work
from benchmarks.peers import jax_side, load_jax, load_torch
from clew import nn

Layers = list[tuple[np.ndarray, np.ndarray, np.ndarray]]


def example(steps: int, batch: int, width: int) -> tuple[Layers, tuple[np.ndarray, np.ndarray]]:
    """Return weights of input and state and the bias of two layers; inputs and targets."""
    generator = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return generator.normal(size=shape).astype(np.float32)

    scale = np.float32(width**-0.5)
    layers = [
        (scale * normal(width, 4 * width), scale * normal(width, 4 * width), normal(4 * width))
        for _ in range(2)
    ]
    return layers, (normal(steps, batch, width), normal(batch, width))


def loss(cells: Any, inputs: Any, target: Any) -> Any:
    """Return the mean squared distance of the last output to a target."""
    x = inputs
    for cell in cells:
        x, _ = nn.unroll(cell, x)
    return np.mean((x[-1] - target) ** 2)


def ours(layers: Layers, data: Any) -> Side:
    """Return Clew's side."""
    function = clew.jit(clew.value_and_grad(loss))
    cells = [nn.LSTMCell(*layer) for layer in layers]

    def outputs(result: Any) -> Any:
        value, slopes = result
        return value, [(each.input_weight, each.state_weight, each.bias) for each in slopes]

    return Side(lambda: function(cells, *data), outputs)


# --- peers -----------------------------------------------------------------------------------


def with_jax(layers: Layers, data: Any) -> Side:
    """Return JAX's: per layer one product for all inputs, then ``lax.scan``; compiled."""
    jax = load_jax()
    jnp = jax.numpy

    def loss(layers: Any, inputs: Any, target: Any) -> Any:
        x = inputs
        for ahead, around, bias in layers:

            def step(state: Any, fed: Any, around: Any = around) -> tuple[Any, Any]:
                heard, memory = state
                let_in, forget, new, let_out = jnp.split(fed + heard @ around, 4, axis=-1)
                memory = jax.nn.sigmoid(forget) * memory + jax.nn.sigmoid(let_in) * jnp.tanh(new)
                heard = jax.nn.sigmoid(let_out) * jnp.tanh(memory)
                return (heard, memory), heard

            nothing = jnp.zeros_like(target)
            _, x = jax.lax.scan(step, (nothing, nothing), x @ ahead + bias)
        return jnp.mean((x[-1] - target) ** 2)

    return jax_side(jax.value_and_grad(loss), layers, *data)


def with_torch(layers: Layers, data: Any) -> Side:
    """Return PyTorch's ``nn.LSTM``, whose second biases are zero here."""
    torch = load_torch()
    width = layers[0][1].shape[0]
    network = torch.nn.LSTM(width, width, num_layers=len(layers))
    with torch.no_grad():
        for number, (ahead, around, bias) in enumerate(layers):
            getattr(network, f"weight_ih_l{number}").copy_(torch.tensor(ahead.T.copy()))
            getattr(network, f"weight_hh_l{number}").copy_(torch.tensor(around.T.copy()))
            getattr(network, f"bias_ih_l{number}").copy_(torch.tensor(bias))
            getattr(network, f"bias_hh_l{number}").zero_()
    parameters = list(network.parameters())
    inputs, target = (torch.tensor(each) for each in data)

    def run() -> Any:
        value = ((network(inputs)[0][-1] - target) ** 2).mean()
        return value, torch.autograd.grad(value, parameters)

    def outputs(result: Any) -> Any:
        value, slopes = result
        by_layer = [slopes[4 * i : 4 * i + 3] for i in range(len(layers))]
        return value, [(ahead.T, around.T, bias) for ahead, around, bias in by_layer]

    return Side(run, outputs)


def work(steps: int = 100, batch: int = 32, width: int = 128) -> Work:
    """Return the work for these sizes."""
    layers, data = example(steps, batch, width)
    cells = [nn.LSTMCell(*layer) for layer in layers]
    return Work(
        "lstm",
        f"2-layer LSTM, {steps} x {batch} x {width}, f32, training gradient",
        lambda: ours(layers, data),
        {"PyTorch": lambda: with_torch(layers, data), "JAX": lambda: with_jax(layers, data)},
        (Aim(1.3, ("PyTorch",)),),
        tolerance=1e-4,
        differentiated=lambda: (loss, (cells, *data)),
    )


WORKS = {"lstm": work}
