"""Every message of the flow: what was asked, where, what to do."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import clew
from clew.core.errors import DerivativeError, GraphError, InputError
from clew.paths import Semiring, count_paths, sweep


def network(params, x):
    for number in range(3):
        with clew.scope(f"block{number}"):
            x = np.tanh(params["w"] @ x) * params["scale"]
    return np.sum(x) + 0.0 * np.sum(clew.stop_gradient(params["stopped"]))


PARAMS = {"w": np.eye(2), "scale": 0.5, "stopped": np.ones(2), "count": 3, "unused": 1.0}


@pytest.fixture(scope="module")
def flow():
    return clew.flow(network, level="scope:1")(PARAMS, np.ones(2))


def refused(asked, fix, call, kind=InputError):
    with pytest.raises(kind) as caught:
        call()
    assert asked in caught.value.asked
    assert fix in caught.value.fix
    return caught.value


def test_names_that_are_none(flow):
    refused("no source named 'scalee'", "did you mean 'scale'?", lambda: flow.count("scalee"))
    refused("no source named 'blok1'", "'block1'", lambda: flow.gradient("blok1"))
    refused("no scope named 'blok1'", "'block1'", lambda: flow.count(sink="blok1"))
    refused("no scope named 'head'", "block0, block1, block2", lambda: flow.spectrum("head"))
    refused("entered 1 times, so there is no #2", "#1", lambda: flow.count("block1#2"))
    make = clew.flow(network, level=["block9"])
    refused("no scope named 'block9'", "did you mean", lambda: make(PARAMS, np.ones(2)))


def test_levels_that_are_none():
    for level in ("scope", "scope:0", "scope:x", "blocks"):
        make = clew.flow(network, level=level)
        refused(f"level={level!r}", "'scope:1'", lambda make=make: make(PARAMS, np.ones(2)))
    make = clew.flow(lambda x: x * x, level="scope:1")
    refused("no scope was entered at level='scope:1'", "clew.scope", lambda: make(1.0))


def test_sources_without_a_gradient(flow):
    refused("source 'count' has dtype int64", "convert", lambda: flow.count("count"))
    refused("argument 1, which is not differentiated", "argnums=1", lambda: flow.count("x"))
    refused("source=4", "number of a positional argument", lambda: flow.count(4))


def test_sources_without_a_path_say_why(flow):
    assert flow.count("stopped") == 0
    assert flow.lengths("stopped") == {}
    at = "test_flow_errors.py"
    for ask in ("gradient", "gradient_by_length", "by_use", "shortest", "longest", "strongest"):
        method = getattr(flow, ask)
        refused(f"stopped: by stop_gradient at {at}", "remove", partial(method, "stopped"))
        refused("unused: no operation", "name a source", partial(method, "unused"))
    refused("unused: no operation", "name a source", partial(flow.bottlenecks, "unused"))


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: np.floor(x) * 2.0, "cut: floor at test_flow_errors.py"),
        (lambda x: (x > 0.0) * 2.0, "cut: greater at test_flow_errors.py"),
        (lambda x: x.astype(int) * 2.0, "integer: convert at test_flow_errors.py"),
        (lambda x: (x > 0.0) * np.ceil(x), "cut: ceil at test_flow_errors.py"),
        (lambda x: 0.0 * clew.stop_gradient(x) + (x > 0.0), "stopped: by stop_gradient"),
        (lambda x: clew.scan(lambda c, _: (c + np.rint(x), None), 0.0, length=3)[0], "cut: rint"),
    ],
)
def test_reasons(function, reason):
    refused(reason, "", lambda: clew.flow(function)(1.5).gradient())


def test_a_gradient_of_no_path_is_said_to_be_that(flow):
    found = flow.gradient()
    assert isinstance(found["stopped"], clew.NoPath)
    assert found["stopped"].reason.startswith("stopped: by stop_gradient")
    assert found["count"].reason.startswith("integer")
    assert found["unused"].reason.startswith("unused")


def test_sinks():
    flow = clew.flow(lambda x: (x * x, np.sum(x)))(np.ones(2))
    refused("returned 2 floating-point arrays", "sink=0", flow.count)
    refused("sink=2 of 2 outputs", "from 0 to 1", lambda: flow.count(sink=2))
    assert (flow.count(sink=0), flow.count(sink=1)) == (2, 1)
    wide = clew.flow(lambda x: x * x)(np.ones(2))
    for ask in (wide.gradient, wide.gradient_by_length, wide.by_use, wide.strongest, wide.gains):
        refused("is f64[2], but a gradient is of one real number", "sum", ask, DerivativeError)
    assert wide.count() == 2
    refused("returned 0 floating-point", "", clew.flow(lambda x: x > 0.0)(1.0).count)


def test_a_sink_may_be_chosen():
    def f(x):
        with clew.scope("inner"):
            y = np.sum(np.sin(x))
        return y * y, np.sum(x)

    at = np.array([0.3, 0.4])
    flow = clew.flow(f, level="scope:1")(at)
    np.testing.assert_allclose(flow.gradient(sink=1), 1.0)
    expected = 2 * np.sum(np.sin(at)) * np.cos(at)
    np.testing.assert_allclose(flow.gradient(sink=0), expected)
    np.testing.assert_allclose(flow.gradient_by_length(sink=0).parts, [expected])
    np.testing.assert_allclose(flow.gradient(sink="inner"), np.cos(at))
    assert [use.node for use in flow.by_use(sink=1)] == ["sum"]
    assert [path.nodes[0].name for path in flow.strongest(sink=0).paths] == ["multiply"] * 2
    assert len(flow.gains(sink="inner")) == 1
    assert flow.vanishing(sink=1).rows[0].paths == 1
    assert flow.picture(sink="inner")["sink"]["name"] == "inner"


def test_a_scope_entered_twice_is_named_with_a_number():
    def shared(x):
        for _ in range(2):
            with clew.scope("twin"):
                x = np.sin(x)
        return x

    flow = clew.flow(shared, level="scope:1")(1.0)
    refused("'twin' was entered 2 times", "twin#1 to twin#2", lambda: flow.count(sink="twin"))
    refused("'twin' was entered 2 times", "twin#1", lambda: flow.spectrum("twin"))
    assert flow.count("twin#1", sink="twin#2") == 1
    assert flow.count("twin") == 2  # to either


def test_a_scope_inside_a_node():
    def nested(x):
        with clew.scope("outer"), clew.scope("inner"):
            y = np.sin(x)
            z = np.exp(y)
        return z * z

    flow = clew.flow(lambda x: nested(x) + x, level=["outer"])(1.0)
    assert flow.count("inner") == 2  # what it gives is what the outer scope gives

    def deeper(x):
        with clew.scope("outer"):
            with clew.scope("inner"):
                y = np.sin(x)
            return y * 2.0

    flow = clew.flow(deeper, level=["outer"])(1.0)
    error = refused("'inner' is inside a scope contracted", "finer", lambda: flow.count("inner"))
    assert "test_flow_errors.py" in str(error.where)
    assert clew.flow(deeper, level=["inner"])(1.0).count("inner") == 1


def test_calls_that_make_no_sense():
    refused("argnums=2 of a call with 1", "by position", lambda: clew.flow(np.sin, argnums=2)(1.0))
    refused("argument 0 holds no floating", "convert", lambda: clew.flow(lambda x: x * 2.0)(1))
    refused("returned nothing", "return", lambda: clew.flow(lambda x: ())(1.0))
    refused("length='blocks'", "'scopes'", lambda: clew.flow(np.sin)(1.0).lengths(length="blocks"))
    outer = lambda y: clew.flow(lambda x: x * y)(1.0)
    refused("values of another trace", "arguments", lambda: clew.grad(outer)(2.0), GraphError)


def test_scopes_without_a_gradient():
    def f(x):
        with clew.scope("counting"):
            steps = np.floor(x)
        return x * steps

    flow = clew.flow(f)(2.5)
    refused("'counting' gives no gradient", "depends on", lambda: flow.count("counting"))
    refused("no gradient passes through the scope counting", "", lambda: flow.spectrum("counting"))


def test_complex_scopes_have_no_singular_values():
    def f(x):
        with clew.scope("turn"):
            y = x * np.exp(1j * x)
        return np.sum(np.abs(y))

    flow = clew.flow(f)(np.ones(2))
    refused("complex", "real", lambda: flow.spectrum("turn"), DerivativeError)
    assert any(gain.largest is None for gain in flow.gains())
    np.testing.assert_allclose(
        flow.gradient_by_length().parts.sum(axis=0), clew.grad(f)(np.ones(2))
    )


def test_too_many_lengths():
    def long(x):
        return clew.fori_loop(0, 2_000, lambda _, c: c + x * c, 1e-9)

    flow = clew.flow(long)(1e-9)
    refused("too many lengths", "level=", flow.lengths)
    row = flow.vanishing().rows[0]
    assert row.paths == flow.count()
    assert row.shares == {}


def test_too_many_gradients_by_length():
    def f(x):
        for number in range(60):
            with clew.scope(f"block{number}"):
                x = np.sin(x)
        return np.sum(np.broadcast_to(x, (5_000_000,)))

    flow = clew.flow(f, level="scope:1")(1.0)
    refused("would not fit into memory", "level=", flow.gradient_by_length)


def test_graphs_whose_paths_depend_on_values():
    counting = Semiring(0, 1, int.__add__, int.__mul__, lambda edge: 1)
    graph = clew.trace(lambda x: clew.cond(x > 0, np.sin, np.cos, x))(1.0)
    error = refused("takes one of several ways", "clew.flow", lambda: sweep(graph, counting))
    assert "test_flow_errors.py" in str(error.where)
    graph = clew.trace(lambda x: clew.while_loop(lambda c: c < 9, lambda c: c * 2, x))(1.0)
    refused("while_loop at test_flow_errors.py", "clew.flow", lambda: count_paths(graph))


def test_a_flow_with_several_outputs_can_be_printed():
    several = clew.flow(lambda x: (np.sin(x), np.cos(x) * x))(1.0)
    assert str(several) == repr(several) == "Flow(Gradient paths: 3 equations ran, 3 nodes)"
    assert several.count(sink=1) == 2
