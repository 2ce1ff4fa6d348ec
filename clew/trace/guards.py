"""Guards: what a trace assumed about its inputs when Python took a branch.

``if x > 0`` on a traced value is answered from the actual inputs and the answer recorded as
an equation with no output. Evaluating the graph on inputs that give another answer raises
:class:`GuardFailed`; ``jit`` then retraces.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.kinds import general
from clew.core.primitive import NoDerivative


class GuardFailed(Exception):
    """The inputs take another Python path than the one the graph was traced on."""


class Expected:
    """An array a guard compares with, hashable by its content."""

    __slots__ = ("key", "value")

    def __init__(self, value: np.ndarray) -> None:
        self.value = value
        self.key = (value.shape, value.dtype.str, value.tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expected) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return np.array2string(self.value, threshold=6, separator=",").replace("\n", "")


def _check(xp: Any, x: Any, *, expected: Expected) -> tuple[()]:
    if not np.array_equal(
        np.asarray(x), expected.value, equal_nan=expected.value.dtype.kind == "f"
    ):
        raise GuardFailed(f"expected {expected}, found {x}")
    return ()


def _check_batch(size: int, x: Any, batched: Any, *, expected: Expected) -> tuple[()]:
    repeated = np.broadcast_to(expected.value, (size, *expected.value.shape))
    guard(x[0], expected=Expected(np.array(repeated)))
    return ()


guard = general(
    "guard",
    eval=_check,
    type=lambda x, *, expected: (),
    push=NoDerivative("a condition"),
    batch=_check_batch,
    multiple=True,
)
