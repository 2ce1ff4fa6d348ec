"""Products that sum: one bilinear primitive, and matmul, tensordot, outer spelled with it.

``contract`` names the axes of its two operands and of the result by integers, as
``numpy.einsum`` does with letters: an axis named in both operands and not in the result is
summed over, one named in all three is a batch axis. Exchanging the names of the result and
of an operand gives the transpose in that operand, which is the whole derivative.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from clew.core.errors import ShapeError
from clew.core.kinds import bilinear
from clew.core.types import Type, type_of
from clew.ops.elementwise import convert, multiply
from clew.ops.shape import reshape

Array = Any
Labels = tuple[int, ...]

# --- the primitive -----------------------------------------------------------------------


class _Plan(NamedTuple):
    """How to bring the axes into the order of a (stacked) matrix product, and back."""

    swapped: bool
    first: Labels
    second: Labels
    batch: int
    rows: int
    summed: int
    back: Labels


@functools.lru_cache(maxsize=4096)
def _plan(left: Labels, right: Labels, out: Labels) -> _Plan:
    outer = [i for i in out if i not in left or i not in right]
    swapped = bool(outer) and outer[0] in right
    if swapped:
        left, right = right, left
    batch = [i for i in out if i in left and i in right]
    rows = [i for i in left if i in out and i not in right]
    columns = [i for i in right if i in out and i not in left]
    summed = [i for i in left if i in right and i not in out]
    made = [*batch, *rows, *columns]
    return _Plan(
        swapped,
        tuple(left.index(i) for i in (*batch, *rows, *summed)),
        tuple(right.index(i) for i in (*batch, *summed, *columns)),
        len(batch),
        len(rows),
        len(summed),
        tuple(made.index(i) for i in out),
    )


def _contract_eval(xp: Any, x: Any, y: Any, *, left: Labels, right: Labels, out: Labels) -> Any:
    """Line the axes up as (batch, rows, summed) and (batch, summed, columns) for BLAS."""
    plan = _plan(left, right, out)
    if plan.swapped:
        x, y = y, x
    x = _ordered(xp, xp.asarray(x), plan.first)
    y = _ordered(xp, xp.asarray(y), plan.second)
    batch, outer = plan.batch, plan.batch + plan.rows
    lead, rows, columns = x.shape[:batch], x.shape[batch:outer], y.shape[batch + plan.summed :]
    if not plan.summed:
        x = xp.reshape(x, (*lead, *rows, *(1,) * len(columns)))
        product = xp.multiply(x, xp.reshape(y, (*lead, *(1,) * len(rows), *columns)))
    elif len(rows) == len(columns) == plan.summed == 1:
        product = xp.matmul(x, y)
    elif batch and not rows and not columns:
        product = xp.einsum(x, [..., *range(plan.summed)], y, [..., *range(plan.summed)], [...])
    else:
        inner = math.prod(x.shape[outer:])
        x = xp.reshape(x, (*lead, math.prod(rows), inner))
        product = xp.matmul(x, xp.reshape(y, (*lead, inner, math.prod(columns))))
        product = xp.reshape(product, (*lead, *rows, *columns))
    return _ordered(xp, product, plan.back)


def _ordered(xp: Any, x: Any, axes: Labels) -> Any:
    return x if axes == tuple(range(len(axes))) else xp.transpose(x, axes)


def _contract_type(x: Type, y: Type, *, left: Labels, right: Labels, out: Labels) -> Type:
    size = lengths_of_names("contract", (x, y), (left, right))
    return Type(tuple(size[label] for label in out), np.result_type(x.dtype, y.dtype))


def lengths_of_names(
    name: str, operands: Sequence[Any], labels: Sequence[Sequence[int]]
) -> dict[int, int]:
    """Return the length of each named axis; 1 gives way to any other in einsum only.

    >>> lengths_of_names("einsum", (np.ones((2, 3)), np.ones((3, 1))), ((0, 1), (1, 0)))
    {0: 2, 1: 3}
    """
    size: dict[int, int] = {}
    for operand, names in zip(operands, labels, strict=True):
        for label, length in zip(names, type_of(operand).shape, strict=True):
            before = size.setdefault(label, length)
            if name == "einsum" and 1 in (before, length):
                size[label] = max(before, length) if before and length else 0
            elif before != length:
                shapes = " and ".join(str(type_of(each).shape) for each in operands)
                raise ShapeError(
                    f"{name}: shapes {shapes}; axes of lengths {before} and {length} are "
                    "multiplied with each other",
                    "make them equal; transpose an operand if the axes are the wrong ones",
                )
    return size


def _contract_batch(
    size: int, operands: Any, batched: Any, *, left: Labels, right: Labels, out: Labels
) -> Array:
    new = max((*left, *right), default=-1) + 1
    return contract(
        *operands,
        left=(new, *left) if batched[0] else left,
        right=(new, *right) if batched[1] else right,
        out=(new, *out),
    )


contract = bilinear(
    "contract",
    eval=_contract_eval,
    type=_contract_type,
    transposes=(
        lambda t, x, y, *, left, right, out: contract(t, y, left=out, right=right, out=left),
        lambda t, x, y, *, left, right, out: contract(t, x, left=out, right=left, out=right),
    ),
    batch=_contract_batch,
)


def promoted(*operands: Array) -> list[Array]:
    """Return the operands in one dtype.

    >>> [x.dtype.name for x in promoted(np.ones(1, int), np.ones(1, np.complex64))]
    ['complex128', 'complex128']
    """
    dtype = np.result_type(*(type_of(x).dtype for x in operands))
    return [x if type_of(x).dtype == dtype else convert(x, dtype=dtype) for x in operands]


# --- products of two ---------------------------------------------------------------------


def matmul(x: Array, y: Array) -> Array:
    """Return the matrix product over the last two axes, as ``numpy.matmul``.

    Leading axes broadcast; a vector is a row on the left and a column on the right.

    Raises
    ------
    ShapeError
        If an operand is a scalar, or the summed or leading axes do not fit.

    >>> matmul(np.ones((5, 2, 3)), np.ones((3, 4))).shape
    (5, 2, 4)
    """
    x, y = promoted(x, y)
    a, b = type_of(x).shape, type_of(y).shape
    lead = _leading(a, b)
    inner, row, column, first = 0, 1, 2, 3
    left = [inner] if len(a) == 1 else [row, inner]
    right = [inner] if len(b) == 1 else [inner, column]
    out = [first + i for i in range(len(lead))]
    out += [row] if len(a) > 1 else []
    out += [column] if len(b) > 1 else []
    x, stacked_x = _unrepeated(x, lead)
    y, stacked_y = _unrepeated(y, lead)
    return contract(
        x,
        y,
        left=(*(first + i for i in stacked_x), *left),
        right=(*(first + i for i in stacked_y), *right),
        out=tuple(out),
    )


def _leading(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """Return the broadcast leading axes of two stacks of matrices that can be multiplied."""
    if not a or not b:
        raise ShapeError(
            f"matmul: shapes {a} and {b}; an operand is a scalar", "multiply with * instead"
        )
    if a[-1] != b[-2:][0]:
        raise ShapeError(
            f"matmul: shapes {a} and {b}; the first has {a[-1]} columns, "
            f"the second {b[-2:][0]} rows",
            "make them equal; transpose an operand if the axes are the wrong ones",
        )
    try:
        return np.broadcast_shapes(a[:-2], b[:-2])
    except ValueError:
        raise ShapeError(
            f"matmul: shapes {a} and {b}; the leading axes {a[:-2]} and {b[:-2]} do not broadcast",
            "make them equal or 1",
        ) from None


def _unrepeated(x: Array, lead: tuple[int, ...]) -> tuple[Array, list[int]]:
    """Drop the leading axes of length 1 that are only there to be repeated."""
    shape = type_of(x).shape
    missing = len(lead) - len(shape[:-2])
    kept = [i for i in range(missing, len(lead)) if shape[i - missing] == lead[i]]
    if len(kept) + missing < len(lead):
        x = reshape(x, shape=(*(lead[i] for i in kept), *shape[-2:]))
    return x, kept


def dot(x: Array, y: Array) -> Array:
    """Return the sum over the last axis of x and the second-to-last of y, as ``numpy.dot``.

    >>> float(dot(np.array([1.0, 2.0]), np.array([3.0, 4.0])))
    11.0
    """
    x, y = promoted(x, y)
    a, b = type_of(x).ndim, type_of(y).ndim
    if a == 0 or b == 0:
        return multiply(x, y)
    return tensordot(x, y, ((a - 1,), (max(b - 2, 0),)))


def tensordot(x: Array, y: Array, axes: Any = 2) -> Array:
    """Return the sum of products over pairs of axes, as ``numpy.tensordot``.

    Parameters
    ----------
    axes : int or (axes of x, axes of y)
        How many axes, last of x with first of y; or which.

    >>> tensordot(np.ones((2, 3, 4)), np.ones((3, 4, 5)), 2).shape
    (2, 5)
    """
    x, y = promoted(x, y)
    a, b = type_of(x).ndim, type_of(y).ndim
    if isinstance(axes, (int, np.integer)):
        axes = (tuple(range(a - axes, a)), tuple(range(axes)))
    of_x, of_y = (np.atleast_1d(each).astype(int).tolist() for each in axes)
    if len(of_x) != len(of_y):
        raise ShapeError(
            f"tensordot: {len(of_x)} axes of the first and {len(of_y)} of the second operand",
            "name as many axes of one as of the other",
        )
    for axis, ndim in (*((i, a) for i in of_x), *((i, b) for i in of_y)):
        if not -ndim <= axis < ndim:
            raise ShapeError(
                f"tensordot: shapes {type_of(x).shape} and {type_of(y).shape} have no axes {axes}",
                "name axes that the operands have",
            )
    left = list(range(a))
    right = list(range(a, a + b))
    for i, j in zip(of_x, of_y, strict=True):
        right[j % b] = left[i % a]
    lengths_of_names("tensordot", (x, y), (left, right))
    summed = {left[i % a] for i in of_x}
    out = [i for i in (*left, *right) if i not in summed]
    return contract(x, y, left=tuple(left), right=tuple(right), out=tuple(out))


def outer(x: Array, y: Array) -> Array:
    """Return all products of an element of x and one of y, both flattened.

    >>> outer(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    array([[3., 4.],
           [6., 8.]])
    """
    x, y = promoted(x, y)
    x = reshape(x, shape=(type_of(x).size,))
    y = reshape(y, shape=(type_of(y).size,))
    return contract(x, y, left=(0,), right=(1,), out=(0, 1))
