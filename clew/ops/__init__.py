"""One file per family of primitives, one record per primitive."""

from clew.ops import (
    cumulative,
    dot,
    elementwise,
    fft,
    index,
    linalg,
    reduce,
    shape,
    sort,
    special,
)

__all__ = [
    "cumulative",
    "dot",
    "elementwise",
    "fft",
    "index",
    "linalg",
    "reduce",
    "shape",
    "sort",
    "special",
]
