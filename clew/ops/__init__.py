"""One file per family of primitives, one record per primitive."""

from clew.ops import (
    conv,
    cumulative,
    dot,
    elementwise,
    factor,
    fft,
    index,
    inverse,
    linalg,
    matrix,
    reduce,
    shape,
    sort,
    special,
)

__all__ = [
    "conv",
    "cumulative",
    "dot",
    "elementwise",
    "factor",
    "fft",
    "index",
    "inverse",
    "linalg",
    "random",
    "matrix",
    "reduce",
    "shape",
    "sort",
    "special",
]
