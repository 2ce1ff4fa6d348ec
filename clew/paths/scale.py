"""One scale for all drawings: how wide and in which colour a gradient of some norm is drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

DECADES = 16  # beyond this far below the largest, a gradient is lost in rounding
# Viridis (van der Walt and Smith 2015, public domain) at equal distances, weak to strong. Its light
# end is left out on white, its dark end on black, so that weak gradients are still seen.
ON_LIGHT = ("#4ac16d", "#27ad81", "#1f958b", "#277f8e", "#2e6a8e", "#39568c", "#443a83", "#440154")
ON_DARK = ("#3d4e8a", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725")
NO_PATH = "#8a929b"
NOT_WEIGHED = "#39568c"  # there is a path, but no norm
NOT_FINITE = "#d6336c"


@dataclass(frozen=True)
class Scale:
    """A logarithmic scale between two powers of ten, from weak (0) to strong (1).

    >>> scale = Scale.of([1e-4, 0.02, 1.0])
    >>> scale.low, scale.high, scale.place(1e-2)
    (-4, 0, 0.5)
    >>> scale.place(0.0), scale.width(1.0), scale.colour(1.0)
    (0.0, 6.0, '#440154')
    """

    low: int
    high: int

    @classmethod
    def of(cls, norms: Iterable[float | None]) -> Scale:
        """Return the scale that holds these norms, at most `DECADES` long."""
        known = [math.log10(norm) for norm in norms if norm and math.isfinite(norm)]
        high = math.ceil(max(known, default=0.0))
        low = math.floor(max(min(known, default=0.0), high - DECADES))
        return cls(min(low, high - 1), high)

    def place(self, norm: float) -> float:
        """Return where on the scale a finite norm lies, in [0, 1]."""
        if norm <= 0:
            return 0.0
        return min(1.0, max(0.0, (math.log10(norm) - self.low) / (self.high - self.low)))

    def width(self, norm: float | None) -> float:
        """Return a line's width: 1 to 6, and 1 where there is no norm."""
        if norm is None or not math.isfinite(norm):
            return 1.0 if norm is None else 6.0
        return 1.0 + 5.0 * self.place(norm)

    def colour(self, norm: float | None, carries: bool = True) -> str:
        """Return the colour on white, as ``#rrggbb``; ``carries`` says whether there is a path."""
        if norm is None:
            return NOT_WEIGHED if carries else NO_PATH
        if not math.isfinite(norm):
            return NOT_FINITE
        at = self.place(norm) * (len(ON_LIGHT) - 1)
        left = min(int(at), len(ON_LIGHT) - 2)
        return _between(ON_LIGHT[left], ON_LIGHT[left + 1], at - left)


def _between(first: str, second: str, share: float) -> str:
    pairs = [(int(first[n : n + 2], 16), int(second[n : n + 2], 16)) for n in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)
