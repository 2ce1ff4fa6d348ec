"""``check``: a condition that must hold when the graph runs, inside loops too."""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.errors import RunError
from clew.core.kinds import general
from clew.core.primitive import NoDerivative
from clew.core.source import Where, user_location
from clew.core.types import type_of
from clew.ops.shape import reshape


def _check(xp: Any, ok: Any, *values: Any, asked: str, fix: str, where: Where) -> tuple[()]:
    if not np.all(np.asarray(ok)):
        shown = [np.asarray(value)[()] for value in values]
        raise RunError(asked.format(*shown), fix, where)
    return ()


def _batch(size: int, operands: Any, batched: Any, **params: Any) -> tuple[()]:
    ok, *values = operands
    if batched[0]:
        ok = reshape(ok, shape=(type_of(ok).size,))
    checked(ok, *values, **params)
    return ()


checked = general(
    "check",
    eval=_check,
    type=lambda *operands, asked, fix, where: (),
    push=NoDerivative("a condition"),
    batch=_batch,
    multiple=True,
)


def check(ok: Any, asked: str, fix: str, *values: Any) -> None:
    """Raise when the graph runs, if ``ok`` is false then.

    Parameters
    ----------
    ok : bool, may be traced
        What must hold; of an array, every element.
    asked, fix : str
        The two sentences of the error: what went wrong, and what to do. ``{0}``, ``{1}``, ...
        in the first are filled with ``values`` (which may be traced).

    Raises
    ------
    RunError
        When ``ok`` is false, with the line that called this.

    >>> import clew
    >>> def root(x):
    ...     check(x >= 0, "root of a negative number: {0}", "pass a positive one", x)
    ...     return x**0.5
    >>> clew.grad(root)(4.0)
    np.float64(0.25)
    """
    checked(ok, *values, asked=asked, fix=fix, where=user_location())
