"""Pieces that the rules of linear algebra are written with, on stacks of matrices.

The last two axes are rows and columns; any axes before them number the matrices.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.errors import DtypeError, ShapeError
from clew.core.types import Type, type_of
from clew.ops.elementwise import add, conjugate, convert, real, where
from clew.ops.index import basic_slice, gather
from clew.ops.shape import reshape, transpose

Array = Any


def swap(a: Array) -> Array:
    """Return the transposed matrices.

    >>> swap(np.ones((5, 2, 3))).shape
    (5, 3, 2)
    """
    ndim = type_of(a).ndim
    return transpose(a, axes=(*range(ndim - 2), ndim - 1, ndim - 2))


def adjoint(a: Array) -> Array:
    """Return the conjugate-transposed matrices.

    >>> adjoint(np.array([[1j, 2.0]]))
    array([[0.-1.j],
           [2.-0.j]])
    """
    return conjugate(swap(a)) if is_complex(a) else swap(a)


def diagonal(a: Array) -> Array:
    """Return the diagonals, on the last axis.

    >>> diagonal(np.eye(2))
    array([1., 1.])
    """
    shape = type_of(a).shape
    index = np.arange(min(shape[-2:]))
    ndim = len(shape)
    picked = gather(a, index, index, axes=(ndim - 2, ndim - 1))
    return transpose(picked, axes=(*range(1, ndim - 1), 0))


def as_row(v: Array) -> Array:
    """Return vectors (last axis) as matrices of one row.

    >>> as_row(np.ones((5, 3))).shape
    (5, 1, 3)
    """
    shape = type_of(v).shape
    return reshape(v, shape=(*shape[:-1], 1, shape[-1]))


def as_column(v: Array) -> Array:
    """Return vectors (last axis) as matrices of one column.

    >>> as_column(np.ones((5, 3))).shape
    (5, 3, 1)
    """
    return reshape(v, shape=(*type_of(v).shape, 1))


def block(a: Array, rows: slice, columns: slice) -> Array:
    """Return some rows and columns of each matrix.

    >>> block(np.ones((5, 3, 4)), slice(0, 2, 1), slice(1, 4, 1)).shape
    (5, 2, 3)
    """
    return basic_slice(a, index=(*(slice(None),) * (type_of(a).ndim - 2), rows, columns))


def lower(a: Array, k: int = 0) -> Array:
    """Return the matrices with zeros above the k-th diagonal.

    >>> lower(np.ones((2, 2)))
    array([[1., 0.],
           [1., 1.]])
    """
    return where(np.tri(*type_of(a).shape[-2:], k=k, dtype=bool), a, 0)


def upper(a: Array, k: int = 0) -> Array:
    """Return the matrices with zeros below the k-th diagonal.

    >>> upper(np.ones((2, 2)), 1)
    array([[0., 1.],
           [0., 0.]])
    """
    return where(np.tri(*type_of(a).shape[-2:], k=k - 1, dtype=bool), 0, a)


def on_diagonal(v: Array) -> Array:
    """Return matrices with the vectors (last axis) on their diagonals.

    >>> on_diagonal(np.array([1.0, 2.0]))
    array([[1., 0.],
           [0., 2.]])
    """
    return where(np.eye(type_of(v).shape[-1], dtype=bool), as_row(v), 0)


def hermitian_of_lower(a: Array) -> Array:
    """Return the Hermitian matrices that LAPACK makes of a lower triangle.

    >>> hermitian_of_lower(np.array([[1.0, 7.0], [2.0, 3.0]]))
    array([[1., 2.],
           [2., 3.]])
    """
    below = lower(a, -1)
    middle = diagonal(a)
    if is_complex(a):
        middle = convert(real(middle), dtype=type_of(a).dtype)
    return add(add(below, adjoint(below)), on_diagonal(middle))


def is_complex(a: Array) -> bool:
    """Return whether the values are complex.

    >>> is_complex(np.ones(2))
    False
    """
    return type_of(a).dtype.kind == "c"


def real_type(a: Type, shape: tuple[int, ...]) -> Type:
    """Return the type of the real numbers that go with a type.

    >>> real_type(Type((), np.complex64), (3,))
    f32[3]
    """
    return Type(shape, np.finfo(a.dtype).dtype)


def matrices(name: str, a: Type) -> Type:
    """Return the type if it is one of matrices that LAPACK takes, else raise.

    >>> matrices("svd", Type((2, 3), np.float64))
    f64[2,3]
    """
    if a.ndim < 2:
        raise ShapeError(
            f"{name}: shape {a.shape} is not a matrix or a stack of matrices",
            "give an array of at least two axes",
        )
    if a.dtype.char not in "fdFD":
        raise DtypeError(
            f"{name}: not defined for {a.dtype.name}",
            "convert to single or double precision first, with x.astype(float)",
        )
    return a


def square(name: str, a: Type) -> Type:
    """Return the type if it is one of square matrices, else raise.

    >>> square("det", Type((5, 2, 2), np.float64))
    f64[5,2,2]
    """
    matrices(name, a)
    if a.shape[-1] != a.shape[-2]:
        raise ShapeError(
            f"{name}: shape {a.shape} is not a square matrix or a stack of them",
            "make the last two axes equal",
        )
    return a
