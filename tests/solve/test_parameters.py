"""Parameters to a vector and back; names, bounds, fixed ones."""

from __future__ import annotations

import re
from collections import namedtuple

import numpy as np
import pytest

from clew.core.errors import DtypeError, InputError, ShapeError
from clew.solve.parameters import ParameterSpace

START = {
    "light": {"position": np.array([1.0, 2.0, 3.0]), "intensity": 5.0},
    "albedo": np.full((2, 2), 0.5, dtype=np.float32),
    "wave": np.array([1 + 2j, 3 - 1j]),
}


def test_names_of_every_number() -> None:
    space = ParameterSpace(START)
    names = [space.coordinate(number) for number in range(space.size)]
    assert names == [
        "albedo[0,0]",
        "albedo[0,1]",
        "albedo[1,0]",
        "albedo[1,1]",
        "light.intensity",
        "light.position[0]",
        "light.position[1]",
        "light.position[2]",
        "wave[0].real",
        "wave[0].imag",
        "wave[1].real",
        "wave[1].imag",
    ]
    assert ParameterSpace(np.ones(2)).coordinate(1) == "params[1]"
    assert ParameterSpace([1.0, {"a": 2.0}]).coordinate(1) == "[1].a"


def test_there_and_back() -> None:
    space = ParameterSpace(START)
    tree = space.tree(space.start)
    assert isinstance(tree["light"]["intensity"], np.float64)
    assert tree["albedo"].dtype == np.float32
    for key in ("albedo", "wave"):
        np.testing.assert_array_equal(tree[key], START[key])
        assert tree[key].dtype == START[key].dtype
    np.testing.assert_array_equal(space.flat(tree), space.start)


def test_a_shared_array_is_one_parameter() -> None:
    weight = np.ones(3)
    space = ParameterSpace({"encoder": weight, "decoder": weight}, {"encoder": (0, 2)})
    assert space.size == 3
    np.testing.assert_array_equal(space.upper, [2, 2, 2])
    tree = space.tree(space.start + 1)
    assert tree["encoder"] is tree["decoder"]


def test_fixed_parameters_are_left_out() -> None:
    for fixed in (
        ["light", "albedo[0,1]"],
        {"light": True, "albedo": np.array([[False, True], [False, False]])},
        {"light": True, "albedo[0,1]": True},
    ):
        space = ParameterSpace(START, fixed=fixed)
        assert space.size == 7
        tree = space.tree(np.zeros(7))
        np.testing.assert_array_equal(tree["light"]["position"], [1, 2, 3])
        np.testing.assert_array_equal(tree["albedo"], [[0, 0.5], [0, 0]])
        traced = space.traced_tree(np.zeros(7))
        np.testing.assert_array_equal(traced["albedo"], tree["albedo"])
        assert traced["wave"].dtype == np.complex128


Pair = namedtuple("Pair", "low high")


@pytest.mark.parametrize(
    ("start", "bounds", "lower", "upper"),
    [
        ({"a": 1.0, "b": 1.0}, {"a": (0, 2)}, [0, -np.inf], [2, np.inf]),
        ({"a": 1.0, "b": 1.0}, (0, 2), [0, 0], [2, 2]),
        ({"a": 1.0}, {"a": (None, 2)}, [-np.inf], [2]),
        ({"a": 1.0}, {"a": None}, [-np.inf], [np.inf]),
        ((1.0, 2.0), ((0, 3), (1, 4)), [0, 1], [3, 4]),
        ([1.0, 2.0], [(0, 3), None], [0, -np.inf], [3, np.inf]),
        (np.ones(2), (np.zeros(2), np.array([2.0, 3.0])), [0, 0], [2, 3]),
        (np.ones(2), ([0, 0], [2, 3]), [0, 0], [2, 3]),
        ({"a": np.ones(2)}, {"a[1]": (0, 2)}, [-np.inf, 0], [np.inf, 2]),
        ({"a": {"b": 1.0, "c": 1.0}}, {"a.c": (0, 2)}, [-np.inf, 0], [np.inf, 2]),
        ({"a": {"b": 1.0, "c": 1.0}}, {"a": (0, 2)}, [0, 0], [2, 2]),
        (Pair(1.0, 2.0), Pair((0, 3), None), [0, -np.inf], [3, np.inf]),
    ],
)
def test_bounds_follow_the_structure(start, bounds, lower, upper) -> None:
    space = ParameterSpace(start, bounds)
    np.testing.assert_array_equal(space.lower, lower)
    np.testing.assert_array_equal(space.upper, upper)


@pytest.mark.parametrize(
    ("make", "kind", "message", "fix"),
    [
        (lambda: ParameterSpace({}), InputError, "an empty tree", "give at least one float"),
        (lambda: ParameterSpace({"a": np.zeros(0)}), InputError, "without elements", "one number"),
        (lambda: ParameterSpace({"n": 3}), DtypeError, "start of n has dtype int64", "write 1.0"),
        (
            lambda: ParameterSpace({"n": np.arange(3)}),
            DtypeError,
            "start of n has dtype int64",
            ".astype(float)",
        ),
        (
            lambda: ParameterSpace({"n": np.array([None])}),
            DtypeError,
            "start of n has dtype object",
            "give numbers",
        ),
        (
            lambda: ParameterSpace({"a": np.array([1.0, np.nan])}),
            InputError,
            "start is nan at a[1]",
            "finite",
        ),
        (
            lambda: ParameterSpace({"a": 2.0}, {"a": (0, 1)}),
            InputError,
            "start of a is 2, above its upper bound 1",
            "start inside the bounds",
        ),
        (
            lambda: ParameterSpace({"a": np.array([0.5, -1.0])}, {"a": (0, 1)}),
            InputError,
            "start of a[1] is -1, below its lower bound 0",
            "widen",
        ),
        (
            lambda: ParameterSpace({"a": 2.0}, {"a": (3, 1)}),
            InputError,
            "a has low 3 and high 1",
            "write (1, 3)",
        ),
        (
            lambda: ParameterSpace({"a": 2.0}, {"a": (2, 2)}),
            InputError,
            "low must be below high",
            "list a in fixed=",
        ),
        (
            lambda: ParameterSpace({"a": 2.0}, {"a": (np.nan, 2)}),
            InputError,
            "NaN bound",
            "None for no bound",
        ),
        (
            lambda: ParameterSpace({"albedo": 0.5}, {"albdo": (0, 1)}),
            InputError,
            "no parameter named 'albdo'",
            "did you mean albedo?",
        ),
        (
            lambda: ParameterSpace({"a": np.ones(2)}, {"a[5]": (0, 1)}),
            InputError,
            "no parameter named 'a[5]'",
            "a",
        ),
        (
            lambda: ParameterSpace({"a": np.ones(2)}, {"a": (np.zeros(3), None)}),
            ShapeError,
            "a has shape (2,)",
            "shape (2,)",
        ),
        (
            lambda: ParameterSpace({"z": 1j}, {"z": (0, 1)}),
            DtypeError,
            "complex numbers have no order",
            "two real parameters",
        ),
        (
            lambda: ParameterSpace({"a": 1.0}, fixed=["a"]),
            InputError,
            "every parameter is fixed",
            "fixed=",
        ),
        (lambda: ParameterSpace({"a": 1.0}, fixed=["b"]), InputError, "fixed: there is no", "a"),
        (lambda: ParameterSpace({"a": 1.0}, units={"b": "m"}), InputError, "units: there", "a"),
        (lambda: ParameterSpace({"a": 1.0}, {"a": "wide"}), InputError, "'wide'", "name them"),
    ],
)
def test_bad_input_is_explained(make, kind, message: str, fix: str) -> None:
    with pytest.raises(kind, match=re.escape(message)) as caught:
        make()
    assert fix in caught.value.fix
    assert "test_parameters.py" in str(caught.value)


def test_known_values_may_be_partial() -> None:
    space = ParameterSpace(START)
    known = space.known({"light": {"position": [1, 2, 3]}, "wave": np.array([1 + 2j, 3j])})
    np.testing.assert_array_equal(known[:5], [np.nan] * 5)
    np.testing.assert_array_equal(known[5:], [1, 2, 3, 1, 2, 0, 3])
    with pytest.raises(ShapeError, match=r"truth: light.position has shape \(3,\)"):
        space.known({"light": {"position": np.ones(2)}})
