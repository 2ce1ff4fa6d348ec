"""Bad input: what each message says."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew.loops import check

STEP = lambda c, x: (c, x)


def message(error, call):
    with pytest.raises(error) as caught:
        call()
    text = str(caught.value)
    assert "test_errors.py" in text  # the user's line
    assert "fix:" in text
    return text


def test_carry_changes_shape():
    text = message(
        clew.ShapeError,
        lambda: clew.scan(lambda c, _: (np.append(c, 1.0), None), np.ones(2), length=3),
    )
    assert "the carry begins with shape (2,), and the body returns it with shape (3,)" in text


def test_carry_changes_dtype():
    text = message(clew.DtypeError, lambda: clew.fori_loop(0, 3, lambda i, c: c * 0.5, 1))
    assert "the carry begins as int64, and the body returns float64" in text


def test_a_leaf_of_the_carry_is_named():
    text = message(
        clew.DtypeError,
        lambda: clew.while_loop(
            lambda c: c["n"] < 3, lambda c: {"n": c["n"] + 1, "x": 1}, {"n": 0, "x": 1.0}
        ),
    )
    assert "carry x begins as float64, and the body returns int64" in text


def test_carry_changes_structure():
    text = message(clew.InputError, lambda: clew.scan(lambda c, _: ((c, c), None), 1.0, length=3))
    assert "another structure: [0], [1], it began as one value" in text
    text = message(clew.InputError, lambda: clew.scan(lambda c, _: (None, None), 1.0, length=3))
    assert "another structure: nothing, it began as one value" in text


def test_condition_is_not_one_truth():
    for condition in (lambda c: c < 3, lambda c: c, lambda c: None):
        text = message(
            clew.ShapeError, lambda f=condition: clew.while_loop(f, lambda c: c + 1.0, np.ones(2))
        )
        assert "not one true or false" in text


def test_condition_is_not_a_number():
    text = message(clew.ShapeError, lambda: clew.while_loop(lambda c: "go", lambda c: c, 1.0))
    assert "the condition returned a str, not one true or false" in text


def test_step_returns_no_pair():
    text = message(clew.InputError, lambda: clew.scan(lambda c, _: c, 1.0, length=3))
    assert "not a pair" in text


@pytest.mark.parametrize(
    ("xs", "length", "words"),
    [
        (None, None, "neither xs nor length"),
        ((np.ones(2), np.ones(3)), None, "lengths differ: [0] has 2, [1] has 3"),
        (np.ones(2), 3, "lengths differ: xs has 2, length has 3"),
        (1.0, None, "is a scalar"),
        (None, -1, "length=-1"),
        (None, 2.5, "length=2.5"),
    ],
)
def test_lengths(xs, length, words):
    assert words in message(clew.InputError, lambda: clew.scan(STEP, 0.0, xs, length))


def test_carry_that_is_no_array():
    assert "is a str" in message(clew.DtypeError, lambda: clew.scan(STEP, "a", length=2))


def test_bounds_of_a_count():
    text = message(clew.DtypeError, lambda: clew.fori_loop(0, 2.5, lambda i, c: c, 1.0))
    assert "upper is f64, not a whole number" in text


@pytest.mark.parametrize(
    ("memory", "words"),
    [
        ({"checkpoint": 0}, "checkpoint=0"),
        ({"checkpoint": "some"}, "checkpoint='some'"),
        ({"checkpoint": True}, "checkpoint=True"),
        ({"memory": 0}, "memory=0"),
        ({"memory": "64 MB"}, "memory='64 MB'"),
    ],
)
def test_policies(memory, words):
    assert words in message(clew.InputError, lambda: clew.scan(STEP, 0.0, np.ones(2), **memory))


def test_policies_as_numpy_gives_numbers():
    limits = {"checkpoint": np.int64(2), "memory": np.float64(1e6)}
    assert float(clew.scan(STEP, 1.0, np.ones(2), **limits)[0]) == 1.0


def test_python_condition_on_a_carry():
    step = lambda c, _: (c if c > 0 else -c, None)
    text = message(clew.TraceError, lambda: clew.scan(step, 1.0, length=3))
    assert "clew.cond" in text


def test_python_condition_on_what_stays_the_same():
    def f(x):
        step = lambda c, _: (c * x if x > 0 else c - x, None)
        return clew.scan(step, 1.0, length=3)[0]

    assert float(clew.grad(f)(2.0)) == 12.0
    assert float(clew.grad(f)(-2.0)) == -3.0
    both = clew.jit(f)
    assert (float(both(2.0)), float(both(-2.0)), float(both(3.0))) == (8.0, 7.0, 27.0)


def test_branches_that_differ():
    identity = lambda x: x
    text = message(
        clew.ShapeError,
        lambda: clew.grad(lambda x: clew.cond(x > 0, identity, lambda x: 1, x))(1.0),
    )
    assert "f64 from branch 1" in text
    text = message(
        clew.InputError,
        lambda: clew.grad(lambda x: clew.cond(x > 0, identity, lambda x: (x, x), x))(1.0),
    )
    assert "different structures" in text


def test_predicates_and_indices():
    identity = lambda x: x
    text = message(clew.ShapeError, lambda: clew.cond(np.ones(2), identity, identity, 1.0))
    assert "the predicate is f64[2]" in text
    assert "index is f64" in message(clew.DtypeError, lambda: clew.switch(1.0, [identity], 1.0))
    assert "no branches" in message(clew.InputError, lambda: clew.switch(0, [], 1.0))


def test_index_outside_takes_the_nearest():
    branches = [lambda x: x, lambda x: 2.0 * x]
    assert [float(clew.switch(i, branches, 1.0)) for i in (-5, 0, 1, 7)] == [1.0, 1.0, 2.0, 2.0]
    found = clew.vmap(lambda i: clew.switch(i, branches, 1.0))(np.array([-5, 0, 1, 7]))
    assert found.tolist() == [1.0, 1.0, 2.0, 2.0]


def test_check_inside_a_loop():
    def f(x):
        def step(c):
            check(c < 50.0, "the state {0} left the domain", "shorten the run", c)
            return c * x

        return clew.while_loop(lambda c: c < 1000.0, step, 1.0)

    text = message(clew.RunError, lambda: clew.grad(f)(3.0))
    assert "the state 81.0 left the domain" in text


def test_a_value_of_a_loop_that_leaks():
    kept = []

    def step(c, x):
        kept.append(c)
        return c + x, None

    clew.scan(step, 0.0, np.ones(3))
    with pytest.raises(clew.GraphError, match="after its function returned"):
        kept[0] + 1.0


def test_a_step_that_writes_into_an_outer_array():
    """Tracing a step records one write, whatever the number of steps: it would give 6, not 14."""

    def f(a):
        def step(c, _):
            a[0] = a[0] * 2
            return c + a[0], None

        return clew.scan(step, 0.0, length=3)[0]

    with pytest.raises(clew.TraceError, match="writes into an array") as caught:
        clew.grad(f)(np.array([1.0, 2.0]))
    assert caught.value.where.file == __file__
