"""Index arithmetic agrees with NumPy's for every value of the loop counters."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from clew.evaluate.native.affine import ZERO, Affine, Term, linear, strides_of, unflattened


def valued(expression, values):
    """Return an affine expression's value for given counters."""
    return expression.constant + sum(c * values[term] for term, c in expression.terms)


def assignments(terms):
    for chosen in itertools.product(*(range(term.extent) for term in terms)):
        yield dict(zip(terms, chosen, strict=True))


def test_equal_expressions_are_one_key():
    i, j = Term(4, "i"), Term(3, "j")
    one = Affine.of(i).scaled(3) + Affine.of(j).plus(2)
    other = Affine.of(j) + Affine(2) + Affine.of(i).scaled(3)
    assert one == other
    assert len({one, other}) == 1
    assert one != one.plus(1)
    assert Affine.of(i) != Affine.of(Term(4, "i"))


def test_terms_that_cancel_or_have_one_value_vanish():
    i = Term(4)
    assert (Affine.of(i) + Affine.of(i).scaled(-1)).known
    assert Affine.of(Term(1)) == ZERO
    assert Affine.of(i).scaled(0) == ZERO


def test_bounds_are_reached():
    i, j = Term(4), Term(3)
    expression = Affine.of(i).scaled(-2) + Affine.of(j).scaled(5).plus(1)
    values = [valued(expression, each) for each in assignments([i, j])]
    assert expression.bounds() == (min(values), max(values))


@pytest.mark.parametrize("divisor", [1, 2, 3, 4, 6, 12])
@pytest.mark.parametrize(("a", "b", "constant"), [(12, 1, 0), (3, 1, 0), (6, 2, 1), (12, 4, -12),
                                                 (4, 4, 3), (-6, 1, 30)])  # fmt: skip
def test_quotient_and_remainder(divisor, a, b, constant):
    i, j = Term(4), Term(3)
    expression = Affine.of(i).scaled(a) + Affine.of(j).scaled(b).plus(constant)
    found = expression.divided(divisor)
    if found is None:
        return
    for values in assignments([i, j]):
        pair = tuple(valued(part, values) for part in found)
        assert pair == divmod(valued(expression, values), divisor)


def test_a_quotient_that_is_not_affine_is_none():
    i, j = Term(4), Term(3)
    assert Affine.of(i).divided(2) is None
    assert (Affine.of(i).scaled(2) + Affine.of(j)).divided(2) is None
    assert (Affine.of(i).scaled(3) + Affine.of(j)).divided(3) is not None


@pytest.mark.parametrize("shape", [(4, 3), (2, 6), (12,), (3, 2, 2), (1, 12, 1)])
def test_reshaped_indices(shape):
    terms = [Term(length) for length in shape]
    offset = linear(tuple(map(Affine.of, terms)), strides_of(shape))
    for other in [(12,), (4, 3), (2, 6), (2, 2, 3), (12, 1)]:
        index = unflattened(offset, other)
        if index is None:
            assert other != shape
            continue
        table = np.arange(12).reshape(other)
        for values in assignments(terms):
            place = tuple(valued(each, values) for each in index)
            assert table[place] == valued(offset, values)


def test_a_reshape_that_splits_no_loop_is_none():
    i = Term(12)
    assert unflattened(Affine.of(i), (4, 3)) is None
    assert unflattened(Affine.of(i), (1, 12)) == (ZERO, Affine.of(i))


@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4), (3, 1, 2)])
def test_strides_are_numpys(shape):
    array = np.zeros(shape, np.int8)
    assert strides_of(shape) == array.strides
