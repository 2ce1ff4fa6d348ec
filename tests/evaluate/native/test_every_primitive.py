"""Native code gives what the reference evaluator gives: every primitive, dtype and shape."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import clew
from clew.core.primitive import PRIMITIVES
from clew.evaluate.native.program import Native
from clew.simplify import simplify
from tests.ops.samples import ALL, samples_of

RELATIVE = {"f4": 1e-5, "f8": 1e-12, "c8": 1e-5, "c16": 1e-12, "f2": 2e-3}


def close(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    if expected.dtype.kind not in "fc":
        np.testing.assert_array_equal(found, expected)
        return
    tolerance = RELATIVE[expected.dtype.str[1:]]
    finite = np.isfinite(expected)
    scale = np.max(np.abs(expected[finite]), initial=0)
    same = (found == expected) | ((found != found) & (expected != expected))
    with np.errstate(all="ignore"):
        near = np.abs(found - expected) <= tolerance * scale
    assert np.all(same | near)


def compare(function, *operands):
    graph = clew.trace(function)(*operands)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = clew.evaluate(graph, *operands)
        found = Native(graph)(*operands)
        close_all(found, expected)
        close_all(Native(simplify(graph))(*operands), expected)
    return found


def close_all(found, expected):
    expected = expected if isinstance(expected, tuple) else (expected,)
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        close(mine, theirs)


@pytest.mark.parametrize(("name", "number"), ALL)
def test_a_sample_of_every_primitive(name, number):
    record, sample = PRIMITIVES[name], samples_of(name)[number]
    compare(lambda *x: record(*x, **sample.params), *sample.operands)
