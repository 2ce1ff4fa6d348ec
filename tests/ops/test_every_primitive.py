"""Every record in the registry: type, push-forward, transpose, batching, second order."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import clew
from clew.core.kinds import elementwise
from clew.core.primitive import PRIMITIVES
from clew.core.types import Type, type_of
from clew.core.verify import verify
from clew.testing import check_derivatives
from tests.ops.samples import ALL, ELSEWHERE, SMOOTH, samples_of


def close(found, expected, tolerance=1e-12):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    scale = np.max(np.abs(expected), initial=0) if expected.dtype.kind in "fc" else 0
    same = (found == expected) | ((found != found) & (expected != expected))
    assert np.all(same | (np.abs(np.subtract(found, expected, dtype=complex)) <= tolerance * scale))


def call_of(name, sample):
    """The primitive as a function of its inexact operands alone."""
    record = PRIMITIVES[name]
    places = [i for i, x in enumerate(sample.operands) if np.asarray(x).dtype.kind in "fc"]
    if name == "polygamma":
        places = [1]

    def function(*chosen):
        full = list(sample.operands)
        for place, value in zip(places, chosen, strict=True):
            full[place] = value
        return record(*full, **sample.params)

    function.__name__ = name
    return function, [sample.operands[place] for place in places]


def test_every_primitive_has_a_sample():
    without = [n for n in PRIMITIVES if not samples_of(n) and n not in ELSEWHERE]
    assert without == []


@pytest.mark.parametrize(("name", "number"), ALL)
def test_type_is_that_of_the_result(name, number):
    record, sample = PRIMITIVES[name], samples_of(name)[number]
    result = record(*sample.operands, **sample.params)
    types = [type_of(x) for x in sample.operands]
    stated = record.result_type(types, sample.params)
    results = result if record.multiple else (result,)
    assert [type_of(y) for y in results] == list(stated if record.multiple else (stated,))


@pytest.mark.parametrize(("name", "number"), SMOOTH)
def test_derivatives_to_second_order(name, number):
    function, args = call_of(name, samples_of(name)[number])
    check_derivatives(function, *args, order=2, tolerance=1e-7)


@pytest.mark.parametrize(("name", "number"), ALL)
def test_batching_is_a_loop(name, number):
    record, sample = PRIMITIVES[name], samples_of(name)[number]
    size = 3
    generator = np.random.default_rng(1)
    for flags in itertools.product((False, True), repeat=len(sample.operands)):
        if not any(flags):
            continue
        operands = [
            np.stack([x, *(_varied(x, generator) for _ in range(size - 1))]) if flag else x
            for x, flag in zip(sample.operands, flags, strict=True)
        ]
        found = record.batched(size, operands, list(flags), sample.params)
        found = found if record.multiple else (found,)
        for example in range(size):
            own = [x[example] if f else x for x, f in zip(operands, flags, strict=True)]
            expected = record(*own, **sample.params)
            expected = expected if record.multiple else (expected,)
            for mine, theirs in zip(found, expected, strict=True):
                close(np.asarray(mine)[example], theirs)


def _varied(x, generator):
    """Another operand of the same kind: the same values in another order, or nearly."""
    x = np.asarray(x)
    if x.dtype.kind in "fc" and x.ndim >= 2 and x.shape[-1] == x.shape[-2]:
        return x * generator.uniform(0.9, 1.1)
    return generator.permutation(x.ravel()).reshape(x.shape)


@pytest.mark.parametrize(("name", "number"), ALL)
def test_strided_operands_give_the_same(name, number):
    record, sample = PRIMITIVES[name], samples_of(name)[number]
    spread = [np.repeat(np.asarray(x), 2, axis=-1)[..., ::2] for x in sample.operands]
    found, expected = (record(*x, **sample.params) for x in (spread, sample.operands))
    pairs = zip(found, expected, strict=True) if record.multiple else [(found, expected)]
    for mine, theirs in pairs:
        close(mine, theirs)


ELEMENTWISE = [name for name, _ in ALL if type(PRIMITIVES[name]).__name__ == "Elementwise"]


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_on_empty_scalar_and_broadcast(name):
    record, sample = PRIMITIVES[name], samples_of(name)[0]
    for cut in (lambda x: x[:0], lambda x: x[0, 0], lambda x: x[0]):
        operands = [cut(np.asarray(x)) for x in sample.operands]
        graph = verify(clew.trace(lambda *x: record(*x, **sample.params))(*operands))
        close(clew.evaluate(graph, *operands), record(*operands, **sample.params))
    if len(sample.operands) == 2 and (name, 0) in SMOOTH and name != "polygamma":
        x, y = sample.operands
        for pair in ((x[:1], y), (x, y[:, :1]), (x[0], y), (x, y[0, 0])):
            check_derivatives(record, *pair)


SPECIAL_VALUES = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0])
REAL_UNARY = [
    name
    for name in ELEMENTWISE
    if len(samples_of(name)[0].operands) == 1
    and samples_of(name)[0].operands[0].dtype == float
    and name != "convert"
]


@pytest.mark.parametrize("name", REAL_UNARY)
def test_special_values_are_numpys(name):
    record = PRIMITIVES[name]
    with np.errstate(all="ignore"):
        expected = record.eval(np, SPECIAL_VALUES)
        found = clew.evaluate(clew.trace(record)(SPECIAL_VALUES), SPECIAL_VALUES)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


def test_a_new_elementwise_primitive_is_one_record():
    toy = elementwise(
        "toy_bump",
        eval=lambda xp, x: xp.exp(-xp.square(x)),
        partials=lambda y, x: -2 * x * y,
    )
    try:
        x = np.linspace(-1.0, 1.0, 5)
        check_derivatives(toy, x, order=3)
        close(clew.vmap(clew.grad(toy))(x), -2 * x * np.exp(-(x**2)))
        assert "toy_bump x" in str(clew.trace(lambda x: toy(x))(x))
        assert toy.result_type([Type((2,), np.float32)], {}) == Type((2,), np.float32)
    finally:
        del PRIMITIVES["toy_bump"]
