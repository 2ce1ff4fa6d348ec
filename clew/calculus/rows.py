"""Sparse matrices that can be traced: where they can be nonzero is fixed, their data are values."""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.core import pytree
from clew.core.errors import DerivativeError
from clew.ops.index import scatter_add
from clew.ops.shape import reshape


@dataclass(frozen=True, eq=False)
class Layout:
    """Where a matrix can be nonzero, as ``scipy.sparse.csr_array`` keeps it; read-only."""

    indices: np.ndarray
    indptr: np.ndarray
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        self.indices.flags.writeable = False
        self.indptr.flags.writeable = False

    @functools.cached_property
    def pattern(self) -> Any:
        """The matrix of Booleans: a shallow copy of it costs less than making a matrix."""
        from scipy import sparse

        ones = np.ones(len(self.indices), bool)
        found = sparse.csr_array((ones, self.indices, self.indptr), shape=self.shape)
        found.has_canonical_format = True
        return found


@dataclass(frozen=True, eq=False)
class CompressedRows:
    """What stands for a ``scipy.sparse.csr_array`` while its data are traced.

    As a tree it has one leaf, its data. Put together with an array of them it is a
    ``csr_array``: that is what ``jit`` of a function that returns one gives.

    >>> import clew
    >>> f = clew.jit(clew.jacobian(lambda x: x[1:] * x[:-1], mode="sparse"))
    >>> f(np.arange(3.0)).toarray()
    array([[1., 0., 0.],
           [0., 2., 1.]])
    """

    data: Any
    layout: Layout

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.layout.shape

    @property
    def indices(self) -> np.ndarray:
        """The column of each entry."""
        return self.layout.indices

    @property
    def indptr(self) -> np.ndarray:
        """Where each row begins."""
        return self.layout.indptr

    @property
    def nnz(self) -> int:
        """The number of entries."""
        return len(self.layout.indices)

    def toarray(self) -> Any:
        """Return the matrix with its zeros."""
        height, width = self.shape
        rows = np.repeat(np.arange(height), np.diff(self.indptr))
        empty = np.zeros(height * width, self.data.dtype)
        places = rows * width + self.indices.astype(np.int64)
        return reshape(scatter_add(empty, self.data, places, axes=(0,)), shape=self.shape)

    def __matmul__(self, other: Any) -> Any:
        """Multiply with a vector, or with the columns of a matrix."""
        rows = np.repeat(np.arange(self.shape[0]), np.diff(self.indptr))
        data = self.data if other.ndim == 1 else self.data[:, None]
        products = data * other[self.indices]
        total = np.zeros((self.shape[0], *other.shape[1:]), products.dtype)
        return scatter_add(total, products, rows, axes=(0,))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise DerivativeError(
            f"a sparse matrix that is being traced has no {name!r}",
            "use its data, indices, indptr, toarray() or @, or return it from the trace",
        )


def matrix(data: np.ndarray, layout: Layout, shared: bool = False) -> Any:
    """Return a ``scipy.sparse.csr_array``; if ``shared``, with the layout's own arrays."""
    found = copy.copy(layout.pattern) if shared else layout.pattern.copy()
    found.data = data
    return found


def _joined(node: CompressedRows) -> Any:
    """Make a matrix of a row of data; in other hands (of ``vmap``, say) it stays as it is."""
    data = node.data
    plain = isinstance(data, np.ndarray) and data.ndim == 1
    return matrix(data, node.layout, shared=True) if plain else node


pytree.register(CompressedRows, static=("layout",), finish=_joined)
