"""Matrix products ``C[b, i, j] (+)= sum over k of A[b, i, k] B[b, k, j]`` as native code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clew.evaluate.native.emitter import Module
from clew.evaluate.native.host import Host
from clew.evaluate.native.products.contraction import Axis, Contraction
from clew.evaluate.native.products.driver import Emitted, emit_plan
from clew.evaluate.native.products.plan import make_plan
from clew.evaluate.native.products.writer import VectorEmitter

Strides = tuple[int, int, int]


@dataclass(frozen=True)
class Product:
    """A batch of matrix products, ``C[b, i, j] (+)= sum over k of A[b, i, k] B[b, k, j]``.

    Parameters
    ----------
    dtype : numpy.dtype
        float32 or float64.
    batch, rows, inner, columns : int
        How many values b, i, k and j have.
    left, right, result : tuple of three int
        Strides in elements: of A over (b, i, k), of B over (b, k, j), of C over (b, i, j).
        Zero where an operand is the same for the whole batch.
    accumulate : bool
        Add to what C holds.
    """

    dtype: np.dtype
    batch: int
    rows: int
    inner: int
    columns: int
    left: Strides
    right: Strides
    result: Strides
    accumulate: bool = False

    def contraction(self) -> Contraction:
        """Return the product as axes."""
        (ab, ai, ak), (bb, bk, bj), (cb, ci, cj) = self.left, self.right, self.result
        return Contraction(
            np.dtype(self.dtype),
            (Axis(self.batch, ab, bb, cb),),
            (Axis(self.rows, left=ai, result=ci),),
            (Axis(self.inner, left=ak, right=bk),),
            (Axis(self.columns, right=bj, result=cj),),
            self.accumulate,
        ).simplified()


def emit_product(module: Module, product: Product, host: Host) -> Emitted:
    """Write the function of a product; see :class:`Emitted` for how to call it."""
    empty = not (product.batch and product.rows and product.columns)
    if empty or (product.accumulate and not product.inner):
        return emit_nothing(module, product.dtype)
    return emit_plan(module, make_plan(product.contraction(), host), host, "product")


def emit_nothing(module: Module, dtype: np.dtype) -> Emitted:
    """Write a function that does nothing, for products without elements."""
    w = VectorEmitter(module, "nothing", np.dtype(dtype), "c a b scratch chunk", "nounwind")
    return Emitted(w.finish(), 1, 0)
