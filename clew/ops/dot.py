"""Products that sum: one bilinear primitive, and matmul, tensordot, einsum spelled with it.

``contract`` names the axes of its two operands and of the result by integers, as
``numpy.einsum`` does with letters: an axis named in both operands and not in the result is
summed over, one named in all three is a batch axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from string import ascii_letters
from typing import Any

import numpy as np

from clew.core.errors import InputError, ShapeError
from clew.core.kinds import bilinear
from clew.core.types import Type, type_of
from clew.ops.elementwise import convert, multiply
from clew.ops.index import gather
from clew.ops.reduce import sum
from clew.ops.shape import reshape, transpose

Array = Any
Labels = tuple[int, ...]


def _contract_eval(xp: Any, x: Any, y: Any, *, left: Labels, right: Labels, out: Labels) -> Any:
    """Line the axes up as (batch, rows, summed) and (batch, summed, columns) for BLAS."""
    batch = [i for i in out if i in left and i in right]
    rows = [i for i in left if i in out and i not in right]
    columns = [i for i in right if i in out and i not in left]
    summed = [i for i in left if i in right and i not in out]
    size = dict(zip(left, x.shape, strict=True)) | dict(zip(right, y.shape, strict=True))

    def arranged(value: Any, labels: Labels, *groups: list[int]) -> Any:
        order = [labels.index(i) for group in groups for i in group]
        shape = tuple(math.prod(size[i] for i in group) for group in groups)
        return xp.reshape(xp.transpose(value, order), shape)

    product = xp.matmul(
        arranged(x, left, batch, rows, summed), arranged(y, right, batch, summed, columns)
    )
    made = [*batch, *rows, *columns]
    product = xp.reshape(product, tuple(size[i] for i in made))
    return xp.transpose(product, [made.index(i) for i in out])


def _contract_type(x: Type, y: Type, *, left: Labels, right: Labels, out: Labels) -> Type:
    size = dict(zip(left, x.shape, strict=True))
    for label, length in zip(right, y.shape, strict=True):
        if size.setdefault(label, length) != length:
            raise ShapeError(
                f"product of shapes {x.shape} and {y.shape}: axes of lengths {size[label]} "
                f"and {length} are multiplied and summed",
                "make them equal; transpose one of the operands if the axes are the wrong ones",
            )
    return Type(tuple(size[label] for label in out), np.result_type(x.dtype, y.dtype))


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


def _promoted(*operands: Array) -> list[Array]:
    dtype = np.result_type(*(type_of(x).dtype for x in operands))
    if dtype.kind == "b":
        dtype = np.dtype(np.int64)
    return [x if type_of(x).dtype == dtype else convert(x, dtype=dtype) for x in operands]


def matmul(x: Array, y: Array) -> Array:
    """Return the matrix product over the last two axes, as ``numpy.matmul``.

    >>> matmul(np.ones((5, 2, 3)), np.ones((3, 4))).shape
    (5, 2, 4)
    """
    x, y = _promoted(x, y)
    a, b = type_of(x).shape, type_of(y).shape
    if not a or not b:
        raise ShapeError(
            f"matmul: shapes {a} and {b}; an operand is a scalar", "multiply with * instead"
        )
    inner, row, column, first = 0, 1, 2, 3
    left = [inner] if len(a) == 1 else [row, inner]
    right = [inner] if len(b) == 1 else [inner, column]
    lead_a, lead_b = a[:-2], b[:-2]
    count = max(len(lead_a), len(lead_b))
    lead_a = (1,) * (count - len(lead_a)) + lead_a
    lead_b = (1,) * (count - len(lead_b)) + lead_b
    try:
        lead = np.broadcast_shapes(lead_a, lead_b)
    except ValueError:
        raise ShapeError(
            f"matmul: the leading axes of {a} and {b} do not broadcast",
            "make them equal or 1",
        ) from None
    # An axis of length 1 that the other operand stretches is left out, not repeated.
    keep_a = [i for i in range(count) if lead_a[i] == lead[i]]
    keep_b = [i for i in range(count) if lead_b[i] == lead[i]]
    x = reshape(x, shape=(*(lead[i] for i in keep_a), *a[-2:]))
    y = reshape(y, shape=(*(lead[i] for i in keep_b), *b[-2:]))
    out = [first + i for i in range(count)]
    out += [row] if len(a) > 1 else []
    out += [column] if len(b) > 1 else []
    return contract(
        x,
        y,
        left=(*(first + i for i in keep_a), *left),
        right=(*(first + i for i in keep_b), *right),
        out=tuple(out),
    )


def dot(x: Array, y: Array) -> Array:
    """Return the sum over the last axis of x and the second-to-last of y, as ``numpy.dot``.

    >>> float(dot(np.array([1.0, 2.0]), np.array([3.0, 4.0])))
    11.0
    """
    x, y = _promoted(x, y)
    a, b = type_of(x).ndim, type_of(y).ndim
    if a == 0 or b == 0:
        return multiply(x, y)
    return tensordot(x, y, ((a - 1,), (max(b - 2, 0),)))


def tensordot(x: Array, y: Array, axes: Any = 2) -> Array:
    """Return the sum of products over pairs of axes, as ``numpy.tensordot``.

    >>> tensordot(np.ones((2, 3, 4)), np.ones((3, 4, 5)), 2).shape
    (2, 5)
    """
    x, y = _promoted(x, y)
    a, b = type_of(x).ndim, type_of(y).ndim
    if isinstance(axes, (int, np.integer)):
        axes = (tuple(range(a - axes, a)), tuple(range(axes)))
    of_x, of_y = (np.atleast_1d(each).tolist() for each in axes)
    if len(of_x) != len(of_y):
        raise ShapeError(
            f"tensordot: {len(of_x)} axes of the first and {len(of_y)} of the second operand",
            "name as many axes of one as of the other",
        )
    left = list(range(a))
    right = list(range(a, a + b))
    for i, j in zip(of_x, of_y, strict=True):
        right[j % b] = left[i % a]
    summed = {left[i % a] for i in of_x}
    out = [i for i in (*left, *right) if i not in summed]
    return contract(x, y, left=tuple(left), right=tuple(right), out=tuple(out))


# --- einsum --------------------------------------------------------------------------------


def einsum(subscripts: str, *operands: Array, optimize: Any = True) -> Array:
    """Return the sum of products that the subscripts describe, as ``numpy.einsum``.

    Operands are contracted in pairs, in the order that ``numpy.einsum_path`` finds.

    >>> einsum("ij,jk->ik", np.ones((2, 3)), np.ones((3, 4))).shape
    (2, 4)
    """
    values = _promoted(*operands)
    labels, out = _parse(subscripts, [type_of(x).ndim for x in values])
    terms = [_without_repeats(x, names) for x, names in zip(values, labels, strict=True)]
    shapes = [np.broadcast_to(0, type_of(x).shape) for x, _ in terms]
    letters = ",".join("".join(map(chr, names)) for _, names in terms)
    path = np.einsum_path(f"{letters}->{''.join(map(chr, out))}", *shapes, optimize="greedy")[0][1:]
    for pair in path:
        taken = [terms.pop(i) for i in sorted(pair, reverse=True)]
        needed = set(out).union(*(names for _, names in terms))
        while len(taken) > 1:
            second, first = taken.pop(), taken.pop()
            needed_here = needed.union(*(names for _, names in taken))
            taken.append(_contract_pair(first, second, needed_here))
        terms.append(taken[0])
    return _arranged(*terms[0], out)


def _parse(subscripts: str, ranks: Sequence[int]) -> tuple[list[list[int]], list[int]]:
    text = subscripts.replace(" ", "")
    given, arrow, result = text.partition("->")
    parts = given.split(",")
    if len(parts) != len(ranks):
        raise InputError(
            f"einsum: {subscripts!r} names {len(parts)} operands, {len(ranks)} were given",
            "give one group of letters for each operand",
        )
    dots = [
        rank - len(part.replace("...", "")) if "..." in part else 0
        for part, rank in zip(parts, ranks, strict=True)
    ]
    most = max(dots, default=0)
    extra = "".join([c for c in ascii_letters if c not in text][:most])
    full = [
        part.replace("...", extra[most - count :]) for part, count in zip(parts, dots, strict=True)
    ]
    for part, rank in zip(full, ranks, strict=True):
        if len(part) != rank:
            raise ShapeError(
                f"einsum: {subscripts!r} gives an operand {len(part)} axes, it has {rank}",
                "name each axis with one letter, or use ...",
            )
    if arrow:
        result = result.replace("...", extra)
    else:
        joined = "".join(full)
        single = sorted(c for c in set(joined) if joined.count(c) == 1 and c not in extra)
        result = extra + "".join(single)
    return [[ord(c) for c in part] for part in full], [ord(c) for c in result]


def _without_repeats(x: Array, names: list[int]) -> tuple[Array, list[int]]:
    """Take the diagonal of axes that have one name."""
    for name in dict.fromkeys(names):
        places = [i for i, other in enumerate(names) if other == name]
        if len(places) > 1:
            along = np.arange(type_of(x).shape[places[0]])
            x = gather(x, *[along] * len(places), axes=tuple(places))
            names = [name, *(other for other in names if other != name)]
    return x, names


def _contract_pair(
    first: tuple[Array, list[int]], second: tuple[Array, list[int]], needed: set[int]
) -> tuple[Array, list[int]]:
    (x, left), (y, right) = first, second
    x, left = _summed_alone(x, left, needed | set(right))
    y, right = _summed_alone(y, right, needed | set(left))
    x, left, y, right = _unstretched(x, left, y, right)
    out = [name for name in dict.fromkeys((*left, *right)) if name in needed]
    return contract(x, y, left=tuple(left), right=tuple(right), out=tuple(out)), out


def _unstretched(
    x: Array, left: list[int], y: Array, right: list[int]
) -> tuple[Array, list[int], Array, list[int]]:
    """Drop an axis of length 1 that the other operand stretches."""
    sizes_x = dict(zip(left, type_of(x).shape, strict=True))
    sizes_y = dict(zip(right, type_of(y).shape, strict=True))
    drop_x = {n for n in left if sizes_x[n] == 1 and sizes_y.get(n, 1) != 1}
    drop_y = {n for n in right if sizes_y[n] == 1 and sizes_x.get(n, 1) != 1}
    if drop_x:
        left = [n for n in left if n not in drop_x]
        x = reshape(x, shape=tuple(sizes_x[n] for n in left))
    if drop_y:
        right = [n for n in right if n not in drop_y]
        y = reshape(y, shape=tuple(sizes_y[n] for n in right))
    return x, left, y, right


def _summed_alone(x: Array, names: list[int], needed: set[int]) -> tuple[Array, list[int]]:
    axes = tuple(i for i, name in enumerate(names) if name not in needed)
    if axes:
        x = sum(x, axis=axes)
    return x, [name for name in names if name in needed]


def _arranged(x: Array, names: list[int], out: list[int]) -> Array:
    x, names = _summed_alone(x, names, set(out))
    order = tuple(names.index(name) for name in out)
    return x if order == tuple(range(len(order))) else transpose(x, axes=order)


def outer(x: Array, y: Array) -> Array:
    """Return all products of an element of x and one of y, both flattened.

    >>> outer(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    array([[3., 4.],
           [6., 8.]])
    """
    x, y = _promoted(x, y)
    x = reshape(x, shape=(type_of(x).size,))
    y = reshape(y, shape=(type_of(y).size,))
    return contract(x, y, left=(0,), right=(1,), out=(0, 1))
