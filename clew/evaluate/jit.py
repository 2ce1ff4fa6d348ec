"""``jit``: trace once per type signature and per Python path, then run the graph."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.core import pytree
from clew.core.graph import Graph
from clew.core.primitive import Traced
from clew.core.source import user_location
from clew.core.types import type_of
from clew.simplify import simplify
from clew.trace import GuardFailed, record, run

_MOST_PATHS = 16


@dataclass(frozen=True)
class _Program:
    graph: Graph
    structure: pytree.Structure


def jit(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that is traced once and then runs its graph.

    A new trace is made for new shapes, dtypes or argument structures, and when a Python
    condition on traced values takes a branch not seen before. Values that the function closes
    over are taken as they are when it is traced.

    Warns
    -----
    RuntimeWarning
        When the conditions have led to more paths than are kept.

    >>> traced = []
    >>> @jit
    ... def f(x):
    ...     traced.append(1)
    ...     return x * 2.0 if x > 0 else -x
    >>> float(f(1.0)), float(f(2.0)), float(f(-3.0)), len(traced)
    (2.0, 4.0, 3.0, 2)
    """
    programs: dict[Any, list[_Program]] = {}

    @functools.wraps(f)
    def compiled(*args: Any, **kwargs: Any) -> Any:
        trees = (*args, kwargs)
        flat = [pytree.flatten(tree) for tree in trees]
        leaves = [leaf for own, _ in flat for leaf in own]
        if any(isinstance(leaf, Traced) for leaf in leaves):
            return f(*args, **kwargs)
        key = (tuple(each for _, each in flat), tuple(type_of(leaf) for leaf in leaves))
        paths = programs.setdefault(key, [])
        for program in paths:
            try:
                return _run(program, leaves)
            except GuardFailed:
                continue
        recording = record(lambda *inner: f(*inner[:-1], **inner[-1]), trees)
        program = _Program(simplify(recording.graph), recording.structure)
        if len(paths) < _MOST_PATHS:
            paths.append(program)
        else:
            _warn_of_paths(f)
        return _run(program, [*leaves, *recording.captured])

    return compiled


def _run(program: _Program, leaves: list[Any]) -> Any:
    with np.errstate(all="ignore"):
        return program.structure.unflatten(run(program.graph, leaves))


def _warn_of_paths(f: Callable[..., Any]) -> None:
    name = getattr(f, "__name__", "a function")
    warnings.warn(
        f"jit: {name} (called at {user_location()}) took more than {_MOST_PATHS} different "
        "Python paths and is traced again on each new one; write the choice with np.where",
        RuntimeWarning,
        stacklevel=3,
    )
