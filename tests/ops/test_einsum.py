"""Einsum against NumPy; its derivatives against differences."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew import InputError, ShapeError
from clew.ops.einsum import einsum
from clew.testing import check_derivatives


def draw(*shape, dtype="float64", seed=0):
    generator = np.random.default_rng([seed, *shape])
    x = generator.normal(size=shape)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * generator.normal(size=shape)
    return (x * (5 if np.dtype(dtype).kind == "i" else 1)).astype(dtype)


def close(found, expected, tolerance=1e-13):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    scale = np.max(np.abs(expected), initial=0)
    assert np.max(np.abs(found - expected), initial=0) <= tolerance * scale


EINSUM = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk", (2, 3), (3, 4)),
    ("ij,kj->ki", (2, 3), (4, 3)),
    ("i,i", (3,), (3,)),
    ("i,j->ji", (3,), (2,)),
    ("ii", (3, 3)),
    ("ii->i", (3, 3)),
    ("ijii->j", (3, 2, 3, 3)),
    ("ij->ji", (2, 3)),
    ("ij->", (2, 3)),
    ("ijk->ki", (2, 3, 4)),
    ("bij,bjk->bik", (5, 2, 3), (5, 3, 4)),
    ("bi,bi->b", (5, 3), (5, 3)),
    ("ib,ib->b", (3, 5), (3, 5)),
    ("bij,bij->b", (5, 2, 3), (5, 2, 3)),
    ("bi,bj->bij", (5, 3), (5, 2)),
    ("bi,bi->ib", (5, 3), (5, 3)),
    ("...ij,...jk->...ik", (5, 2, 3), (3, 4)),
    ("...ij,...jk", (6, 1, 2, 3), (5, 3, 4)),
    ("i...,i...->...", (3, 2), (3, 2)),
    ("...i->...", (2, 3)),
    ("i...->...i", (2, 3)),
    ("ij,jk,kl->il", (2, 3), (3, 4), (4, 5)),
    ("ij,ij,ij->ij", (2, 3), (2, 3), (2, 3)),
    ("...i,...i,...i->...", (2, 3), (2, 3), (3,)),
    ("abc,cd,def,fa->be", (2, 3, 4), (4, 5), (5, 3, 2), (2, 2)),
    ("i,j,k,l->ljki", (2,), (3,), (2,), (3,)),
    ("ij,jk->ik", (2, 1), (3, 4)),
    ("ij,k->k", (2, 3), (4,)),
    ("ii,jj->", (2, 2), (3, 3)),
    ("iij,jk->ik", (2, 2, 3), (3, 4)),
    ("ba,cb", (2, 3), (4, 2)),
    ("zB,Ba", (2, 3), (3, 4)),
    (",i->i", (), (3,)),
]


@pytest.mark.parametrize("case", EINSUM, ids=lambda case: case[0])
@pytest.mark.parametrize("dtype", ["float64", "complex128", "int64"])
def test_einsum_is_numpys(case, dtype):
    subscripts, *shapes = case
    operands = [draw(*shape, dtype=dtype, seed=i) for i, shape in enumerate(shapes)]
    expected = np.asarray(np.einsum(subscripts, *operands))
    close(einsum(subscripts, *operands), expected, 1e-12)
    if dtype != "int64":
        check_derivatives(lambda *x: einsum(subscripts, *x), *operands)


def test_einsum_takes_integer_lists():
    x, y = draw(2, 3), draw(3, 4)
    close(einsum(x, [0, 1], y, [1, 2], [2, 0]), np.einsum(x, [0, 1], y, [1, 2], [2, 0]))
    close(einsum(x, [0, 1], y, [1, 2]), np.einsum(x, [0, 1], y, [1, 2]))
    close(einsum(x, [..., 1], y, [1, 2], [..., 2]), x @ y)


def test_einsum_second_order():
    x, y, z = draw(2, 3), draw(3, 4), draw(4, 2)
    check_derivatives(lambda *a: einsum("ij,jk,ki->", *a) ** 2, x, y, z, order=2)


def test_long_chains_are_contracted_in_pairs():
    graph = clew.trace(lambda *a: einsum("ij,jk,kl,l->i", *a))(
        draw(40, 40), draw(40, 40), draw(40, 40), draw(40)
    )
    sizes = [equation.outputs[0].type.size for equation in graph.equations]
    assert sizes == [40, 40, 40]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: einsum("ij,jk", np.ones((2, 3)), np.ones((4, 5))), ShapeError, "lengths 3 an"),
        (lambda: einsum("ij", np.ones((2, 3, 4))), ShapeError, "names 2 axes"),
        (lambda: einsum("ii", np.ones((2, 3))), ShapeError, "one name for axes"),
        (lambda: einsum("i,j", np.ones(2)), InputError, "for 1 operands"),
        (lambda: einsum("i?", np.ones((2, 2))), InputError, "for 1 operands"),
        (lambda: einsum("i->ii", np.ones(2)), InputError, "does not follow"),
        (lambda: einsum("i->j", np.ones(2)), InputError, "does not follow"),
    ],
)
def test_errors_say_what_does_not_fit(call, error, words):
    with pytest.raises(error, match=words) as caught:
        call()
    assert caught.value.fix
