"""One step of the Dormand-Prince 5(4) pair, and its continuous extension.

Dormand and Prince, "A family of embedded Runge-Kutta formulae", J. Comp. Appl. Math. 6 (1980);
the extension of order 4 is Shampine's, coefficients as in Hairer, Norsett and Wanner, "Solving
Ordinary Differential Equations I" (2nd ed., 1993), section II.6 and the code DOPRI5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from clew.core.types import type_of
from clew.integrate.system import Leaves, System, combined, like, moved

NODES = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
DENSE = (
    -12715105075 / 11282082432,
    0.0,
    87487479700 / 32700410799,
    -10690763975 / 1880347072,
    701980252875 / 199316789632,
    -1453857185 / 822651844,
    69997945 / 29380423,
)


class Step(NamedTuple):
    """A step from ``time`` of length ``size``: where it leads and what lies between."""

    time: Any
    size: Any
    before: Leaves
    after: Leaves
    last_slope: Leaves
    error: Leaves
    dense: tuple[Leaves, Leaves, Leaves]

    def at(self, time: Any) -> Leaves:
        """Return the state at a time within the step."""
        share = (time - self.time) / self.size
        return interpolated(self.before, self.after, self.dense, share)


def interpolated(
    before: Sequence[Any], after: Sequence[Any], dense: Sequence[Sequence[Any]], share: Any
) -> Leaves:
    """Return the continuous extension at a share (0 to 1) of the step."""
    rest = 1.0 - share
    found = []
    for y, z, third, fourth, fifth in zip(before, after, *dense, strict=True):
        inner = third + share * (fourth + rest * fifth)
        found.append(like(y + share * ((z - y) + rest * inner), type_of(y)))
    return found


def step(system: System, time: Any, state: Leaves, size: Any, first_slope: Leaves) -> Step:
    """Take one step; its first slope is the last step's last.

    >>> system = System.of(lambda t, y: -y, 1.0, "example")
    >>> taken = step(system, 0.0, [1.0], 0.5, [-1.0])
    >>> import numpy as np
    >>> bool(abs(taken.after[0] - np.exp(-0.5)) < 1e-5)
    True
    >>> bool(abs(taken.at(0.2)[0] - np.exp(-0.2)) < 2e-5)
    True
    """
    slopes = [first_slope]
    inner = state
    for node, weights in zip(NODES[1:], STAGES, strict=True):
        inner = moved(state, size, combined(weights, slopes))
        slopes.append(system.slope(time + node * size, inner))
    error = [size * each for each in combined(ERROR, slopes)]
    bend = combined(DENSE, slopes)
    third, fourth, fifth = [], [], []
    for y, z, one, seven, d in zip(state, inner, slopes[0], slopes[-1], bend, strict=True):
        whole, kind = z - y, type_of(y)
        third.append(like(size * one - whole, kind))
        fourth.append(like(2.0 * whole - size * (one + seven), kind))
        fifth.append(like(size * d, kind))
    return Step(time, size, state, inner, slopes[-1], error, (third, fourth, fifth))
