"""One file per family of primitives, one record per primitive."""

from clew.ops import (
    conv,
    cumulative,
    dot,
    einsum,
    elementwise,
    factor,
    fft,
    index,
    inverse,
    linalg,
    matrix,
    random,
    reduce,
    shape,
    sort,
    special,
)

__all__ = [
    "conv",
    "cumulative",
    "dot",
    "einsum",
    "elementwise",
    "factor",
    "fft",
    "index",
    "inverse",
    "linalg",
    "matrix",
    "random",
    "reduce",
    "shape",
    "sort",
    "special",
]
