"""What happened at each step of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

COLUMNS = ("loss", "gradient_norm", "step_length", "elapsed")


@dataclass(frozen=True)
class History:
    """One entry per step, the start included.

    Attributes
    ----------
    loss : array
        The loss (of the minibatch, where there are minibatches).
    gradient_norm : array
        The largest component of the projected gradient; for least squares the largest cosine
        between the residual and a column of the Jacobian.
    step_length : array
        The Euclidean length of the step.
    elapsed : array
        Seconds since the start, over all the sittings of a resumed run.

    >>> History.of([(1.0, 2.0, 0.0, 0.0), (0.5, 1.0, 0.1, 0.2)]).loss
    array([1. , 0.5])
    """

    loss: np.ndarray
    gradient_norm: np.ndarray
    step_length: np.ndarray
    elapsed: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[Sequence[float]]) -> History:
        """Gather the history from its rows."""
        table = np.array(rows, dtype=np.float64).reshape(-1, len(COLUMNS))
        return cls(*(np.ascontiguousarray(column) for column in table.T))

    def __len__(self) -> int:
        return self.loss.size
