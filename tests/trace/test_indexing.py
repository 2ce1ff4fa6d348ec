"""Every form of NumPy index, read and written, against NumPy itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import clew
from clew import IndexingError

A = np.arange(60.0).reshape(3, 4, 5) / 7.0
FIXED = settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def part(length):
    return st.one_of(
        st.integers(-length, length - 1),
        st.builds(
            slice,
            st.none() | st.integers(-length - 1, length + 1),
            st.none() | st.integers(-length - 1, length + 1),
            st.sampled_from([None, 1, 2, -1, -2]),
        ),
        st.lists(st.integers(-length, length - 1), min_size=2, max_size=2).map(np.array),
        st.lists(st.integers(-length, length - 1), min_size=1, max_size=1).map(np.array),
    )


@st.composite
def indices(draw):
    parts = [draw(part(length)) for length in A.shape[: draw(st.integers(1, 3))]]
    if len(parts) < 3 and draw(st.booleans()):
        kept = draw(st.integers(0, len(parts)))
        # An ellipsis moves the later parts to the last axes: draw those for them.
        later = [draw(part(length)) for length in A.shape[3 - (len(parts) - kept) :]]
        parts = [*parts[:kept], Ellipsis, *(later if len(parts) > kept else [])]
    for _ in range(draw(st.integers(0, 2))):
        parts.insert(draw(st.integers(0, len(parts))), None)
    return tuple(parts)


@FIXED
@given(indices())
def test_reading_is_numpys(index):
    expected = A[index]
    found = clew.evaluate(clew.trace(lambda a: a[index])(A), A)
    np.testing.assert_array_equal(found, expected)
    assert np.shape(found) == np.shape(expected)


@FIXED
@given(indices(), st.booleans())
def test_writing_is_numpys(index, scalar):
    shape = () if scalar else A[index].shape
    values = np.linspace(-1.0, 1.0, int(np.prod(shape))).reshape(shape)

    def write(a, v):
        b = a * 1.0
        b[index] = v
        return b

    expected = write(A, values)
    np.testing.assert_array_equal(clew.evaluate(clew.trace(write)(A, values), A, values), expected)
    gradient = clew.grad(lambda a, v: np.sum(write(a, v) * A), argnums=(0, 1))(A, values)
    untouched = write(A, np.full(shape, np.nan)) == A
    np.testing.assert_allclose(np.asarray(gradient[0]), np.where(untouched, A, 0.0))
    # Where a place is written twice only the last write counts, so the sums agree.
    np.testing.assert_allclose(np.sum(gradient[1]), np.sum(A[~untouched]), rtol=1e-12, atol=1e-12)


@FIXED
@given(indices())
def test_adding_at_accumulates_as_numpys(index):
    def add(a, v):
        b = a * 1.0
        np.add.at(b, index, v)
        return b

    values = np.ones(A[index].shape)
    expected = add(A, values)
    np.testing.assert_allclose(
        clew.evaluate(clew.trace(add)(A, values), A, values), expected, rtol=1e-15
    )


def test_masks_and_traced_indices():
    mask = A > 4.0
    np.testing.assert_array_equal(clew.evaluate(clew.trace(lambda a: a[mask])(A), A), A[mask])
    rows = np.array([2, 0])
    found = clew.evaluate(clew.trace(lambda a, i: a[i, 1:])(A, rows), A, np.array([1, 1]))
    np.testing.assert_array_equal(found, A[[1, 1], 1:])

    def halve(a):
        b = a.copy()
        b[a > 4.0] = 0.5
        b[:, 0][b[:, 0] > 1.0] *= 2.0
        return b

    np.testing.assert_array_equal(clew.evaluate(clew.trace(halve)(A), A), halve(A))


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (7, "index 7 is out of bounds for axis 0 with size 3"),
        ((0, -5), "index -5 is out of bounds for axis 1"),
        ((0, 0, 0, 0), "too many indices"),
        ((..., ...), "only one ellipsis"),
        (1.5, "not an integer, slice or array"),
        (np.array([0.5]), "integers or booleans"),
        ((np.array([0, 1]), np.array([0, 1, 2])), "do not broadcast"),
    ],
)
def test_bad_indices_say_why(index, words):
    with pytest.raises(IndexingError, match=words) as caught:
        clew.trace(lambda a: a[index])(A)
    assert "test_indexing.py" in str(caught.value)
