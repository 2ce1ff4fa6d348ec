"""One file per family of primitives, one record per primitive."""

from clew.ops import elementwise, index, reduce, shape

__all__ = ["elementwise", "index", "reduce", "shape"]
