"""Shading a ball on a table under a point lamp: the gradient in 10 scene parameters, f32.

Lambert's law and a highlight about the halfway vector (Blinn 1977) per pixel, from given positions
and normals; the loss is the mean squared difference to a photograph. The highlight is a spherical
Gaussian, ``exp(s (n . h - 1))``, close to Blinn's ``(n . h)^s`` and without a power function, which
some peers do not vectorise.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import clew
from benchmarks.measure import Aim, Side, Work
from benchmarks.peers import autograd_side, jax_side, load_jax, load_torch, torch_side

CAMERA = (0.0, -4.0, 2.0)


def scene(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where the rays of a pinhole camera meet a unit ball or the table, and the normals."""
    across, down = np.meshgrid(*[(np.arange(size) + 0.5) / size * 2.0 - 1.0] * 2)
    forward = np.array([0.0, 4.0, -1.2]) / np.hypot(4.0, 1.2)
    upward = np.array([0.0, 1.2, 4.0]) / np.hypot(4.0, 1.2)
    right = np.array([1.0, 0.0, 0.0])
    ray = forward - 0.45 * down[..., None] * upward + 0.45 * across[..., None] * right
    ray = ray / np.linalg.norm(ray, axis=-1, keepdims=True)
    start = np.array(CAMERA) - np.array([0.0, 0.0, 1.0])  # seen from the ball's middle
    along = ray @ start
    inside = along**2 - start @ start + 1.0
    hit = inside > 0.0
    far = np.where(ray[..., 2] < -0.05, -CAMERA[2] / np.minimum(ray[..., 2], -0.05), 20.0)
    distance = np.where(hit, -along - np.sqrt(np.maximum(inside, 0.0)), far)
    positions = np.array(CAMERA) + distance[..., None] * ray
    normals = np.where(hit[..., None], positions - [0.0, 0.0, 1.0], [0.0, 0.0, 1.0])
    return positions.astype(np.float32), normals.astype(np.float32)


def example(size: int) -> tuple[dict[str, Any], tuple[np.ndarray, ...]]:
    """Return parameters to start from, and positions, normals and a photograph of others."""
    positions, normals = scene(size)
    true = {
        "albedo": np.array([0.7, 0.3, 0.2], np.float32),
        "ambient": np.float32(0.1),
        "intensity": np.float32(12.0),
        "light": np.array([2.0, -2.0, 4.0], np.float32),
        "shininess": np.float32(20.0),
        "specular": np.float32(0.4),
    }
    noise = np.random.default_rng(0).normal(size=positions.shape).astype(np.float32)
    photo = shade(true, positions, normals) + np.float32(0.01) * noise
    start = {name: np.float32(0.8) * value for name, value in true.items()}
    return start, (positions, normals, photo)


def shade(params: Any, positions: Any, normals: Any) -> Any:
    """Return the picture, (height, width, 3)."""
    path = params["light"] - positions
    square = np.sum(path * path, axis=-1)
    toward = path / np.sqrt(square)[..., None]
    sight = np.asarray(CAMERA, positions.dtype) - positions
    sight = sight / np.sqrt(np.sum(sight * sight, axis=-1, keepdims=True))
    halfway = toward + sight
    halfway = halfway / np.sqrt(np.sum(halfway * halfway, axis=-1, keepdims=True))
    received = params["intensity"] / square
    matte = received * np.maximum(np.sum(normals * toward, axis=-1), 0.0) + params["ambient"]
    glint = np.exp(params["shininess"] * (np.sum(normals * halfway, axis=-1) - 1.0))
    gloss = params["specular"] * received * glint
    return params["albedo"] * matte[..., None] + gloss[..., None]


def loss(params: Any, positions: Any, normals: Any, photo: Any) -> Any:
    """Return the mean squared difference to the photograph."""
    return np.mean((shade(params, positions, normals) - photo) ** 2)


def ours(params: Any, data: Any) -> Side:
    """Return Clew's side."""
    function = clew.jit(clew.value_and_grad(loss))
    return Side(lambda: function(params, *data))


# --- peers -----------------------------------------------------------------------------------


def loss_with(xp: Any) -> Any:
    """Return the loss on ``jax.numpy`` or ``autograd.numpy``."""

    def loss(params: Any, positions: Any, normals: Any, photo: Any) -> Any:
        path = params["light"] - positions
        square = xp.sum(path * path, axis=-1)
        toward = path / xp.sqrt(square)[..., None]
        sight = np.asarray(CAMERA, positions.dtype) - positions
        sight = sight / xp.sqrt(xp.sum(sight * sight, axis=-1, keepdims=True))
        halfway = toward + sight
        halfway = halfway / xp.sqrt(xp.sum(halfway * halfway, axis=-1, keepdims=True))
        received = params["intensity"] / square
        matte = received * xp.maximum(xp.sum(normals * toward, -1), 0.0) + params["ambient"]
        glint = xp.exp(params["shininess"] * (xp.sum(normals * halfway, axis=-1) - 1.0))
        gloss = params["specular"] * received * glint
        picture = params["albedo"] * matte[..., None] + gloss[..., None]
        return xp.mean((picture - photo) ** 2)

    return loss


def with_jax(params: Any, data: Any) -> Side:
    """Return JAX's, compiled."""
    jax = load_jax()
    return jax_side(jax.value_and_grad(loss_with(jax.numpy)), params, *data)


def with_torch(params: Any, data: Any, compiled: bool = False) -> Side:
    """Return PyTorch's, eager or through ``torch.compile``."""
    torch = load_torch()
    camera = torch.tensor(CAMERA)

    def loss(params: Any, positions: Any, normals: Any, photo: Any) -> Any:
        path = params["light"] - positions
        square = (path * path).sum(-1)
        toward = path / square.sqrt()[..., None]
        sight = torch.nn.functional.normalize(camera - positions, dim=-1)
        halfway = torch.nn.functional.normalize(toward + sight, dim=-1)
        received = params["intensity"] / square
        matte = received * (normals * toward).sum(-1).clamp(min=0.0) + params["ambient"]
        glint = (params["shininess"] * ((normals * halfway).sum(-1) - 1.0)).exp()
        gloss = params["specular"] * received * glint
        picture = params["albedo"] * matte[..., None] + gloss[..., None]
        return ((picture - photo) ** 2).mean()

    return torch_side(loss, params, *data, compiled=compiled)


def with_planes(params: Any, data: Any) -> Side:
    """Return ``torch.compile`` on arrays (3, height, width), which suit it better."""
    torch = load_torch()
    camera = torch.tensor(CAMERA)[:, None, None]

    def dot(a: Any, b: Any) -> Any:
        return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]

    def loss(params: Any, positions: Any, normals: Any, photo: Any) -> Any:
        path = params["light"][:, None, None] - positions
        square = dot(path, path)
        toward = path / square.sqrt()
        sight = camera - positions
        halfway = toward + sight / dot(sight, sight).sqrt()
        halfway = halfway / dot(halfway, halfway).sqrt()
        received = params["intensity"] / square
        matte = received * dot(normals, toward).clamp(min=0.0) + params["ambient"]
        glint = (params["shininess"] * (dot(normals, halfway) - 1.0)).exp()
        gloss = params["specular"] * received * glint
        picture = params["albedo"][:, None, None] * matte + gloss
        return ((picture - photo) ** 2).mean()

    planes = [np.ascontiguousarray(np.moveaxis(each, -1, 0)) for each in data]
    return torch_side(loss, params, *planes, compiled=True)


def work(size: int = 256) -> Work:
    """Return the work for a picture of size by size pixels."""
    params, data = example(size)
    return Work(
        f"shading{size}",
        f"shading {size} x {size}, f32",
        lambda: ours(params, data),
        {
            "JAX": lambda: with_jax(params, data),
            "torch.compile": lambda: with_torch(params, data, compiled=True),
            "torch.compile (3, H, W)": lambda: with_planes(params, data),
            "PyTorch": lambda: with_torch(params, data),
            "autograd": lambda: autograd_side(loss_with, params, *data),
        },
        (Aim(3.0, ("JAX", "torch.compile", "torch.compile (3, H, W)")),),
        tolerance=1e-4 if size < 1000 else 5e-3,  # NumPy adds a million f32 one after another
        differentiated=lambda: (loss, (params, *data)),
    )


WORKS = {"shading256": work, "shading1024": partial(work, 1024)}
