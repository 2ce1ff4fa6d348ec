"""Sparsity of Jacobians, found from the graph: what depends on what, whatever the values are.

See ``clew.calculus.reach`` for how dependence is kept, ``clew.calculus.dependence`` for the
rules, ``clew.calculus.walk`` for how graphs are walked.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from clew.calculus.arguments import select
from clew.calculus.derivatives import (
    Function,
    Names,
    Numbers,
    _flatten_all,
    _inexact,
    linear_stages,
)
from clew.calculus.jacobian import assembled
from clew.calculus.plans import whole_pattern
from clew.calculus.walk import pattern_of
from clew.core.errors import DerivativeError
from clew.core.primitive import Traced
from clew.core.types import type_of
from clew.trace import Recording, record


def jacobian_pattern(f: Function, argnums: Numbers = None, argnames: Names = None) -> Function:
    """Return a function that gives where the Jacobian can be nonzero, whatever the values.

    The blocks are those of ``jacobian(f, mode="sparse")``, of Booleans. "Whatever the values"
    means: of the differentiated arguments, on the Python path and with the integer indices of
    this call.

    >>> import numpy as np
    >>> print(jacobian_pattern(lambda x: x[1:] - x[0] ** 2)(np.zeros(3)).toarray())
    [[ True  True False]
     [ True False  True]]
    """

    @functools.wraps(f)
    def pattern_of_f(*args: Any, **kwargs: Any) -> Any:
        selection = select(f, args, kwargs, argnums, argnames)
        recording = record(selection.function, selection.chosen)
        leaves, structures = _flatten_all(selection.chosen)
        blocks = _blocks(recording, leaves, _inexact(leaves))
        return assembled(selection, recording, structures, blocks, flat=True)

    return pattern_of_f


def _blocks(recording: Recording, leaves: Sequence[Any], seeded: Sequence[int]) -> list[list[Any]]:
    """Return where each block can be nonzero; None where there is no path to the output."""
    _check_concrete([*leaves, *recording.captured])
    stages, _, carried, has_path = linear_stages(recording, leaves, seeded)
    kinds = [type_of(leaves[i]) for i in seeded]
    rows: list[list[Any]] = [[None] * len(leaves) for _ in has_path]
    shown = [i for i, flag in enumerate(has_path) if flag]
    found = pattern_of(stages, carried, kinds).outputs if shown else []
    for number, reach in zip(shown, found, strict=True):
        rows[number] = _split_columns(whole_pattern([reach]), np.dtype(bool), leaves, seeded)
    return rows


def _split_columns(
    band: Any, dtype: np.dtype, leaves: Sequence[Any], seeded: Sequence[int]
) -> list[Any]:
    """Cut an output's rows into a block for each input."""
    row: list[Any] = [None] * len(leaves)
    left = 0
    for number in seeded:
        size = type_of(leaves[number]).size
        row[number] = band[:, left : left + size].astype(dtype)
        left += size
    return row


def _check_concrete(values: Sequence[Any]) -> None:
    """Raise if a value is traced: a sparse matrix cannot hold those."""
    if any(isinstance(value, Traced) for value in values):
        raise DerivativeError(
            "a pattern was asked for inside another trace (of grad, vmap, jit, ...)",
            "ask for it outside",
        )
