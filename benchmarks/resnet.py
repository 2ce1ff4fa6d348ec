"""Residual blocks of two 3 x 3 convolutions with batch normalisation, f32: one step of training."""

from __future__ import annotations

from typing import Any

import numpy as np

import clew
from benchmarks.measure import Aim, Side, Work
from benchmarks.peers import jax_side, load_jax, load_torch
from clew import nn
from clew.core import pytree
from clew.nn import convolution

EPSILON = 1e-5
RATE = np.float32(0.05)

Blocks = list[list[tuple[np.ndarray, np.ndarray, np.ndarray]]]
"""Per block two layers, each a kernel, and gamma and beta of its normalisation."""


def example(
    blocks: int, channels: int, size: int, batch: int
) -> tuple[Blocks, tuple[np.ndarray, ...]]:
    """Return parameters, pictures, and the features that they should have."""
    generator = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return generator.normal(size=shape).astype(np.float32)

    scale = np.float32((9 * channels) ** -0.5)
    params = [
        [
            (
                scale * normal(channels, channels, 3, 3),
                1 + np.float32(0.1) * normal(channels),
                np.float32(0.1) * normal(channels),
            )
            for _ in range(2)
        ]
        for _ in range(blocks)
    ]
    return params, (normal(batch, channels, size, size), normal(batch, channels))


def loss(blocks: Any, pictures: Any, target: Any) -> Any:
    """Return the mean squared distance of the pooled features to a target."""

    def layer(x: Any, kernel: Any, gamma: Any, beta: Any) -> Any:
        x = convolution(x, kernel, padding="same")
        mean = np.mean(x, axis=(0, 2, 3), keepdims=True)
        variance = np.mean((x - mean) ** 2, axis=(0, 2, 3), keepdims=True)
        x = (x - mean) / np.sqrt(variance + EPSILON)
        return gamma[:, None, None] * x + beta[:, None, None]

    x = pictures
    for first, second in blocks:
        x = nn.relu(x + layer(nn.relu(layer(x, *first)), *second))
    return np.mean((np.mean(x, axis=(2, 3)) - target) ** 2)


def train(blocks: Any, pictures: Any, target: Any) -> tuple[Any, Any]:
    """Return the loss, and the parameters after a step down its gradient."""
    value, slope = clew.value_and_grad(loss)(blocks, pictures, target)
    return value, pytree.map(lambda old, down: old - RATE * down, blocks, slope)


def ours(blocks: Blocks, data: Any) -> Side:
    """Return Clew's side."""
    function = clew.jit(train)
    return Side(lambda: function(blocks, *data))


# --- peers -----------------------------------------------------------------------------------


def with_jax(blocks: Blocks, data: Any) -> Side:
    """Return JAX's, compiled."""
    jax = load_jax()
    jnp = jax.numpy

    def layer(x: Any, kernel: Any, gamma: Any, beta: Any) -> Any:
        x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME")
        mean = jnp.mean(x, axis=(0, 2, 3), keepdims=True)
        variance = jnp.mean((x - mean) ** 2, axis=(0, 2, 3), keepdims=True)
        x = (x - mean) * jax.lax.rsqrt(variance + EPSILON)
        return gamma[:, None, None] * x + beta[:, None, None]

    def loss(blocks: Any, pictures: Any, target: Any) -> Any:
        x = pictures
        for first, second in blocks:
            x = jax.nn.relu(x + layer(jax.nn.relu(layer(x, *first)), *second))
        return jnp.mean((jnp.mean(x, axis=(2, 3)) - target) ** 2)

    def train(blocks: Any, pictures: Any, target: Any) -> Any:
        value, slope = jax.value_and_grad(loss)(blocks, pictures, target)
        return value, jax.tree_util.tree_map(lambda old, down: old - RATE * down, blocks, slope)

    return jax_side(train, blocks, *data)


def with_torch(blocks: Blocks, data: Any, last: bool) -> Side:
    """Return PyTorch's: ``functional`` layers, ``optim.SGD``; channels last if asked for."""
    torch = load_torch()
    functional = torch.nn.functional
    layout = torch.channels_last if last else torch.contiguous_format
    pictures = torch.tensor(data[0]).contiguous(memory_format=layout)
    target = torch.tensor(data[1])
    params = [
        [
            [
                torch.tensor(kernel).contiguous(memory_format=layout).requires_grad_(),
                torch.tensor(gamma, requires_grad=True),
                torch.tensor(beta, requires_grad=True),
            ]
            for kernel, gamma, beta in block
        ]
        for block in blocks
    ]
    leaves = [leaf for block in params for layer in block for leaf in layer]
    optimiser = torch.optim.SGD(leaves, lr=float(RATE))

    def layer(x: Any, kernel: Any, gamma: Any, beta: Any) -> Any:
        x = functional.conv2d(x, kernel, padding=1)
        return functional.batch_norm(x, None, None, gamma, beta, training=True, eps=EPSILON)

    def run() -> Any:
        optimiser.zero_grad()
        x = pictures
        for first, second in params:
            x = functional.relu(x + layer(functional.relu(layer(x, *first)), *second))
        value = ((x.mean((2, 3)) - target) ** 2).mean()
        value.backward()
        optimiser.step()
        return value

    return Side(run, lambda value: (value, params))


def work(blocks: int = 8, channels: int = 32, size: int = 32, batch: int = 32) -> Work:
    """Return the work for these sizes."""
    params, data = example(blocks, channels, size, batch)
    return Work(
        "resnet",
        f"ResNet, {blocks} blocks, {channels} channels, {batch} x {size} x {size}, f32, "
        "training step",
        lambda: ours(params, data),
        {
            "PyTorch channels_last": lambda: with_torch(params, data, last=True),
            "PyTorch": lambda: with_torch(params, data, last=False),
            "JAX": lambda: with_jax(params, data),
        },
        (Aim(1.2, ("PyTorch channels_last",)),),
        tolerance=2e-3,
        differentiated=lambda: (loss, (params, *data)),
    )


WORKS = {"resnet": work}
