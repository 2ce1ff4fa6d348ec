"""Every primitive's local rule in the written run: gradients, polynomials, Jacobians both ways."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew.core import pytree
from clew.core.types import type_of
from clew.paths.singular import edge_operator
from tests.ops.samples import SMOOTH, samples_of
from tests.ops.test_every_primitive import call_of


def weighed(function):
    """Return a real number made of all results, different for each."""

    def total(args):
        found = pytree.flatten(function(*args), shared=False)[0]
        parts = []
        for number, each in enumerate(found):
            if type_of(each).dtype.kind not in "fc":
                continue
            weights = np.cos(np.arange(np.size(each)).reshape(np.shape(each)) + number)
            parts.append(np.sum(np.real(each) * weights + 0.5 * np.imag(each) * weights))
        return sum(parts)

    return total


@pytest.mark.parametrize(("name", "number"), SMOOTH)
def test_rule(name, number):
    function, args = call_of(name, samples_of(name)[number])
    loss = weighed(function)
    flow = clew.flow(loss)(tuple(args))
    expected = clew.grad(loss)(tuple(args))
    if not flow.count():
        assert all(isinstance(each, clew.NoPath) for each in expected)
        return
    parts = flow.gradient_by_length(length="edges").parts
    parts = parts if isinstance(parts, dict) else {flow.ends.differentiated[0].label: parts}
    for each, found, leaf in zip(expected, flow.gradient(), flow.ends.differentiated, strict=True):
        if isinstance(each, clew.NoPath):
            assert isinstance(found, clew.NoPath)
            continue
        scale = np.max(np.abs(each), initial=0)
        tolerance = 1e-5 if np.asarray(each).dtype.itemsize in (2, 4) else 1e-12
        assert np.all(np.abs(found - each) <= tolerance * scale)
        assert np.all(np.abs(parts[leaf.label].sum(axis=0) - each) <= tolerance * scale)


@pytest.mark.parametrize(("name", "number"), SMOOTH)
def test_the_two_ways_are_transposes(name, number):
    function, args = call_of(name, samples_of(name)[number])
    net = clew.flow(weighed(function))(tuple(args)).net
    generator = np.random.default_rng(0)
    for node in net.nodes:
        for edge in node.edges:
            kinds = [net.run.types[each] for each in (edge.value, *edge.results)]
            if any(kind.dtype != np.float64 for kind in kinds):
                continue
            operator = edge_operator(net, edge)
            x, y = generator.normal(size=operator.columns), generator.normal(size=operator.rows)
            there, back = operator.forward(x) @ y, x @ operator.backward(y)
            scale = np.abs(operator.forward(x)) @ np.abs(y)
            assert there == pytest.approx(back, abs=1e-11 * scale + 1e-300)
