"""What a call costs where there is next to nothing to compute."""

from __future__ import annotations

from typing import Any

import numpy as np

import clew
from benchmarks.measure import Aim, Side, Work
from benchmarks.peers import jax_side, load_torch


def affine(x: Any) -> Any:
    """Return ``2 x + 1``."""
    return x * 2 + 1


def total(params: Any) -> Any:
    """Return the sum of a dictionary's arrays."""
    first, *others = (params[key] for key in sorted(params))
    for each in others:
        first = first + each
    return first


def small() -> dict[str, np.ndarray]:
    """Return ten arrays of three numbers, by name."""
    return {f"weight{i}": np.arange(3.0) + i for i in range(10)}


def _compiled(function: Any, argument: Any) -> Side:
    compiled = clew.jit(function)
    return Side(lambda: compiled(argument))


def _eager(function: Any, argument: Any) -> Side:
    torch = load_torch()
    if isinstance(argument, dict):
        held: Any = {key: torch.tensor(value) for key, value in argument.items()}
    else:
        held = torch.tensor(argument)
    return Side(lambda: function(held))


def _work(name: str, title: str, function: Any, argument: Any) -> Work:
    return Work(
        name,
        f"call overhead, {title}",
        lambda: _compiled(function, argument),
        {
            "JAX": lambda: jax_side(function, argument),
            "PyTorch": lambda: _eager(function, argument),
        },
        (Aim(1.0, ("JAX",)),),
    )


def vector() -> Work:
    """Return the work of one argument."""
    return _work("call-vector", "2 x + 1 of 3 numbers", affine, np.arange(3.0))


def dictionary() -> Work:
    """Return the work of a dictionary."""
    return _work("call-dict", "sum of a dictionary of 10 arrays", total, small())


WORKS = {"call-vector": vector, "call-dict": dictionary}
