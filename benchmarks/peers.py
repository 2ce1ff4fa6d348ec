"""What the works share: each peer's set-up, and the usual forms of a gradient with it."""

from __future__ import annotations

import ctypes
import importlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Missing, Side

THREADS = 2


def load(name: str) -> Any:
    """Import a peer, or raise :class:`Missing`."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Missing(f"{name} is not installed") from error


def load_jax() -> Any:
    """Import JAX, with 64-bit numbers."""
    jax = load("jax")
    jax.config.update("jax_enable_x64", True)
    return jax


def load_torch() -> Any:
    """Import PyTorch, with two threads."""
    torch = load("torch")
    torch.set_num_threads(THREADS)
    return torch


def jax_side(function: Callable[..., Any], *args: Any, outputs: Any = None) -> Side:
    """Return a function of ``jax.numpy`` arrays, compiled; the arguments are put there first."""
    jax = load_jax()
    compiled = jax.jit(function)
    held = jax.tree_util.tree_map(jax.numpy.asarray, args)

    def run() -> Any:
        return jax.block_until_ready(compiled(*held))

    return Side(run) if outputs is None else Side(run, outputs)


def torch_side(
    loss: Callable[..., Any], params: Any, *args: Any, compiled: bool = False, outputs: Any = None
) -> Side:
    """Return value and gradient of ``loss(params, *args)``; ``params`` is a list or dictionary.

    Dictionaries are differentiated in the order of their keys.
    """
    torch = load_torch()
    if compiled:
        if shutil.which("g++") is None:
            raise Missing("torch.compile needs g++")
        loss = torch.compile(loss)
    keys = sorted(params) if isinstance(params, dict) else range(len(params))
    leaves = [torch.tensor(np.array(params[key]), requires_grad=True) for key in keys]
    held: Any = dict(zip(keys, leaves, strict=True)) if isinstance(params, dict) else leaves
    others = [torch.tensor(np.array(each)) for each in args]

    def run() -> Any:
        value = loss(held, *others)
        return value, torch.autograd.grad(value, leaves)

    return Side(run) if outputs is None else Side(run, outputs)


def autograd_side(loss: Callable[[Any], Callable[..., Any]], params: Any, *args: Any) -> Side:
    """Return autograd's value and gradient of ``loss(autograd.numpy)(params, *args)``."""
    autograd = load("autograd")
    function = autograd.value_and_grad(loss(load("autograd.numpy")))
    return Side(lambda: function(params, *args))


def compile_c(source: str) -> ctypes.CDLL:
    """Compile C with ``gcc -O3 -march=native`` and load it, or raise :class:`Missing`."""
    if shutil.which("gcc") is None:
        raise Missing("gcc is not installed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        text, library = Path(folder) / "source.c", Path(folder) / "library.so"
        text.write_text(source)
        command = ["gcc", "-O3", "-march=native", "-shared", "-fPIC", "-o", library, text, "-lm"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Missing(f"gcc: {done.stderr.strip().splitlines()[0]}")
        return ctypes.CDLL(str(library))


def pointers(*operands: np.ndarray) -> Sequence[ctypes.c_void_p]:
    """Return where arrays keep their data, for C; the pointers keep the arrays alive."""
    return [each.ctypes.data_as(ctypes.c_void_p) for each in operands]
