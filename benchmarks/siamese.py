"""A Siamese network, 64-128-128-32, batch 128, f32: one step of training.

Value and gradient of the contrastive loss (Hadsell, Chopra and LeCun 2006), and the step of
gradient descent.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

import clew
from benchmarks.measure import Aim, Side, Work
from benchmarks.peers import jax_side, load_jax, load_torch
from clew import nn
from clew.core import pytree

WIDTHS = (64, 128, 128, 32)
RATE = np.float32(0.05)
MARGIN = 1.0


def example(batch: int, widths: tuple[int, ...]) -> tuple[list[Any], tuple[np.ndarray, ...]]:
    """Return weights and biases, layer by layer, and pairs with their labels."""
    generator = np.random.default_rng(0)
    layers = [
        (
            (generator.normal(size=(n, m)) / np.sqrt(n)).astype(np.float32),
            (0.1 * generator.normal(size=m)).astype(np.float32),
        )
        for n, m in pairwise(widths)
    ]
    left = generator.uniform(size=(batch, widths[0])).astype(np.float32)
    right = left + (0.3 * generator.normal(size=left.shape)).astype(np.float32)
    same = (np.arange(batch) % 2).astype(np.float32)
    return layers, (left, right, same)


def network(layers: list[Any]) -> nn.Sequential:
    """Return the encoder."""
    *inner, last = layers
    hidden = [nn.Dense(weight, bias, activation=nn.relu) for weight, bias in inner]
    return nn.Sequential((*hidden, nn.Dense(*last)))


def loss(encoder: Any, left: Any, right: Any, same: Any) -> Any:
    """Return the contrastive loss of pairs."""
    distance = nn.squared_distance(encoder(left), encoder(right))
    return nn.contrastive_loss(distance, same, MARGIN)


def train(encoder: Any, left: Any, right: Any, same: Any) -> tuple[Any, Any]:
    """Return the loss, and the encoder after a step down its gradient."""
    value, slope = clew.value_and_grad(loss)(encoder, left, right, same)
    return value, pytree.map(lambda old, down: old - RATE * down, encoder, slope)


def ours(layers: list[Any], data: Any) -> Side:
    """Return Clew's side."""
    function = clew.jit(train)
    encoder = network(layers)

    def outputs(result: Any) -> Any:
        return result[0], [(each.weight, each.bias) for each in result[1].layers]

    return Side(lambda: function(encoder, *data), outputs)


# --- peers -----------------------------------------------------------------------------------


def with_jax(layers: list[Any], data: Any) -> Side:
    """Return JAX's, compiled."""
    jax = load_jax()
    jnp = jax.numpy

    def encode(layers: Any, x: Any) -> Any:
        for weight, bias in layers[:-1]:
            x = jax.nn.relu(x @ weight + bias)
        return x @ layers[-1][0] + layers[-1][1]

    def loss(layers: Any, left: Any, right: Any, same: Any) -> Any:
        squared = jnp.sum((encode(layers, left) - encode(layers, right)) ** 2, axis=-1)
        apart = squared > 0.0
        distance = jnp.where(apart, jnp.sqrt(jnp.where(apart, squared, 1.0)), 0.0)
        short = jnp.maximum(MARGIN - distance, 0.0)
        return 0.5 * jnp.mean(same * squared + (1.0 - same) * short * short)

    def train(layers: Any, left: Any, right: Any, same: Any) -> tuple[Any, Any]:
        value, slope = jax.value_and_grad(loss)(layers, left, right, same)
        return value, jax.tree_util.tree_map(lambda old, down: old - RATE * down, layers, slope)

    return jax_side(train, layers, *data)


def with_torch(layers: list[Any], data: Any, compiled: bool = False) -> Side:
    """Return PyTorch's: ``nn.Linear``, ``optim.SGD``."""
    torch = load_torch()
    parts: list[Any] = []
    for weight, bias in layers:
        linear = torch.nn.Linear(*weight.shape)
        linear.weight.data = torch.tensor(weight.T.copy())
        linear.bias.data = torch.tensor(bias)
        parts += [linear, torch.nn.ReLU()]
    encoder = torch.nn.Sequential(*parts[:-1])
    optimiser = torch.optim.SGD(encoder.parameters(), lr=float(RATE))
    left, right, same = (torch.tensor(each) for each in data)

    def loss() -> Any:
        squared = ((encoder(left) - encoder(right)) ** 2).sum(-1)
        short = (MARGIN - squared.clamp(min=1e-12).sqrt()).clamp(min=0.0)
        return 0.5 * (same * squared + (1.0 - same) * short * short).mean()

    def run() -> Any:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        optimiser.step()
        return value

    def outputs(value: Any) -> Any:
        linear = [each for each in encoder if hasattr(each, "weight")]
        return value, [(each.weight.T, each.bias) for each in linear]

    return Side(run, outputs)


def work(batch: int = 128, widths: tuple[int, ...] = WIDTHS) -> Work:
    """Return the work for this batch and these widths."""
    layers, data = example(batch, widths)
    return Work(
        "siamese",
        f"Siamese {'-'.join(map(str, widths))}, batch {batch}, f32, training step",
        lambda: ours(layers, data),
        {
            "JAX": lambda: with_jax(layers, data),
            "PyTorch": lambda: with_torch(layers, data),
        },
        (Aim(2.5, ("JAX", "PyTorch")),),
        tolerance=1e-5,
        differentiated=lambda: (loss, (network(layers), *data)),
    )


WORKS = {"siamese": work}
