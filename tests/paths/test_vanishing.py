"""The table: what became of the gradient on its way, in words, and what would help."""

from __future__ import annotations

import json

import numpy as np
import pytest

import clew
from clew import nn


def chain(factors):
    """A stack of scopes, each of which scales the signal by a factor."""

    def f(params, x):
        for number, factor in enumerate(factors):
            with clew.scope(f"block{number}"):
                x = (x + params[f"w{number}"]) * factor
        return np.sum(x)

    params = {f"w{number}": np.full(3, 0.5) for number in range(len(factors))}
    return clew.flow(f, level="scope:1")(params, np.ones(3))


def rows(flow):
    return {row.source: row for row in flow.vanishing().rows}


def test_healthy():
    found = rows(chain([1.0, 0.9, 1.1, 1.0]))
    assert {row.verdict for row in found.values()} == {"healthy"}
    assert found["w0"].paths == 1
    assert found["w0"].shortest == 4
    assert found["w0"].shares == {4: pytest.approx(1.0)}
    assert found["w0"].gradient == pytest.approx(0.99 * 3**0.5)
    assert found["w0"].ratio == pytest.approx(0.99 * 2)


def test_a_signal_that_dies_in_one_place():
    found = rows(chain([1.0, 1.0, 1e-4, 1.0]))
    for name in ("w0", "w1"):
        assert found[name].verdict == (
            "vanishing: 99.99 % of the signal dies between block2 and block1"
        )
        assert found[name].advice.startswith("scale or normalise: no direction passes block2")
    assert found["w2"].verdict == found["w3"].verdict == "healthy"


def test_a_signal_that_meets_the_wrong_direction_is_not_told_to_be_scaled():
    """The block passes some directions well, the one that the signal has it does not."""
    turn = np.array([[1.0, -1.0], [1.0, -1.0]])

    def f(params):
        x = params
        with clew.scope("first"):
            x = x * 1.0
        with clew.scope("turn"):
            x = (turn.T + 1e-5) @ x
        with clew.scope("last"):
            x = x * 1.0
        return np.sum(x) + 1.0

    (row,) = clew.flow(f, level="scope:1")(np.ones(2)).vanishing().rows
    assert "dies between turn and first" in row.verdict
    assert row.advice == "a skip connection past turn"


def test_a_signal_that_dies_a_little_everywhere():
    found = rows(chain([0.5] * 12))
    assert found["w0"].verdict == (
        "vanishing: 0.0005 of the signal arrives, 50 % dies in each of 11 steps"
    )
    assert found["w0"].advice == "skip connections: even the shortest path has length 12"
    assert found["w5"].verdict == "healthy"


def test_a_mean_over_many_numbers_is_no_loss_of_signal():
    many = np.full(2_000_000, 0.5)
    (row,) = clew.flow(lambda w: np.mean(np.sin(w)))(many).vanishing().rows
    assert row.gradient < 1e-3
    assert row.verdict == "healthy"


def test_a_signal_that_grows():
    found = rows(chain([1.0, 20.0, 100.0, 1.0]))
    assert found["w0"].verdict == "exploding: the signal grows 2e+03-fold, 1e+02-fold in block2"
    assert found["w0"].advice == "normalise or scale down what block2 multiplies by"
    assert found["w2"].verdict == "healthy"


def test_cut_off_dead_and_not_finite():
    def f(p):
        kept = np.sum(p["stopped"] * 0.0 + clew.stop_gradient(p["stopped"] * 2.0))
        return kept + np.sum(np.maximum(p["dead"], 0.0)) + np.sum(np.sqrt(p["infinite"]))

    def g(p):
        return f({**p, "stopped": clew.stop_gradient(p["stopped"])}) + np.sum(np.floor(p["steps"]))

    params = {"stopped": 1.0, "dead": -np.ones(2), "infinite": np.zeros(2), "steps": np.ones(2)}
    params["unused"] = 1.0
    found = rows(clew.flow(g)(params))
    assert found["stopped"].verdict.startswith("cut off: stopped by stop_gradient at test_vanish")
    assert found["steps"].verdict.startswith("cut off: floor at test_vanishing.py")
    assert found["unused"].verdict.startswith("cut off: unused")
    assert found["dead"].verdict.startswith("dead: every path carries zero behind maximum at test_")
    assert found["infinite"].verdict.startswith("exploding: the gradient is not finite behind sqrt")
    assert found["stopped"].paths == 0
    assert found["stopped"].shortest is None


def test_plain_layers_vanish_and_residual_ones_do_not():
    generator = np.random.default_rng(0)
    drawn = [nn.Dense.create(generator, 8, 8, np.tanh) for _ in range(30)]
    layers = [nn.Dense(0.5 * each.weight, each.bias, activation=np.tanh) for each in drawn]
    x = generator.normal(size=(4, 8))
    plain = nn.Sequential(layers)
    residual = nn.Sequential([nn.Residual(each) for each in layers])
    loss = lambda net: np.sum((net(x) - 1.0) ** 2)
    first = clew.flow(loss, level="scope:2")(plain).vanishing().rows[0]
    assert first.verdict.startswith("vanishing: ")
    assert "skip connections" in first.advice
    table = clew.flow(loss, level=["dense"])(residual).vanishing()
    assert {row.verdict for row in table.rows} == {"healthy"}
    assert table.rows[0].paths == 2**29
    assert sum(table.rows[0].shares.values()) == pytest.approx(1.0)
    assert len(str(table).splitlines()) == 61


def test_a_sink_that_is_no_number_is_counted_only():
    (row,) = clew.flow(lambda x: x * x)(np.ones(2)).vanishing().rows
    assert (row.paths, row.gradient, row.verdict) == (2, None, "the sink is not one number")


# --- the picture ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictured():
    def network(params, x, count):
        for _ in range(2):
            with clew.scope("block"), clew.scope("body"):
                y = np.tanh(params["w"] @ x)
            x = x + y

        def step(c, _):
            with clew.scope("cell"):
                c = np.sin(c * params["k"])
            return c, None

        return np.sum(clew.scan(step, x * count, length=3)[0])

    params = {"k": 0.7, "w": np.array([[0.2, 0.1], [0.4, -0.3]])}
    flow = clew.flow(network, level=["body", "cell"])(params, np.ones(2), 2)
    return flow, flow.picture()


def test_the_picture_is_plain_data(pictured):
    picture = pictured[1]
    assert json.loads(json.dumps(picture, allow_nan=False)) == picture
    assert picture["title"] == "network"


def test_the_picture_hangs_together(pictured):
    flow, picture = pictured
    ids = {node["id"]: node for node in picture["nodes"]}
    assert len(ids) == len(picture["nodes"])
    assert all(edge["from"] in ids and edge["to"] in ids for edge in picture["edges"])
    keys = {box["key"]: box for box in picture["boxes"]}
    assert all(box["parent"] in keys or box["parent"] is None for box in picture["boxes"])
    assert all(key in keys for node in picture["nodes"] for key in node["boxes"])
    kinds = {node["name"]: node["kind"] for node in picture["nodes"]}
    assert kinds["w"] == kinds["k"] == "source"
    assert kinds["x"] == kinds["count"] == "constant"
    assert kinds["body (2)"] == kinds["cell"] == "scope"
    assert ids[picture["sink"]["node"]]["kind"] == "sink"
    assert picture["sink"]["value"] == float(flow.run.values[flow.run.outputs[0]])


def test_the_pictures_boxes_are_enterings(pictured):
    picture = pictured[1]
    assert [box["key"] for box in picture["boxes"]] == ["block", "block#2"]
    around = {node["name"]: node["boxes"] for node in picture["nodes"]}
    assert around["body"] == ["block"]
    assert around["body (2)"] == ["block#2"]
    steps = {node["name"]: node["steps"] for node in picture["nodes"]}
    assert [steps["cell"], steps["cell (2)"], steps["cell (3)"]] == [[0], [1], [2]]


def test_the_pictures_numbers(pictured):
    flow, picture = pictured
    gradient = flow.gradient()
    table = {row["source"]: row for row in picture["table"]}
    for name in ("w", "k"):
        norm = np.linalg.norm(gradient[name])
        node = next(node for node in picture["nodes"] if node["name"] == name)
        assert table[name]["node"] == node["id"]
        assert node["norm"] == pytest.approx(norm)
        assert table[name]["gradient"] == pytest.approx(norm)
        assert node["paths"] == table[name]["paths"] == str(flow.count(name))
        lengths = picture["lengths"][name]
        assert lengths["count"] == [[n, str(c)] for n, c in flow.lengths(name).items()]
        split = flow.gradient_by_length(name)
        for (length, size, share), own in zip(lengths["share"], split.lengths, strict=True):
            assert length == own
            place = split.lengths.index(own)
            assert size == pytest.approx(split.norms[place])
            assert share == pytest.approx(split.shares[place])
    uses = {(use.node): use.norm for use in flow.by_use("w")}
    names = {node["id"]: node["name"] for node in picture["nodes"]}
    along = {
        names[edge["to"]]: edge["norm"] for edge in picture["edges"] if names[edge["from"]] == "w"
    }
    assert along == pytest.approx(uses)


def test_names_of_users_are_left_as_they_are():
    def f(x):
        with clew.scope("<script>"):
            return x * x

    picture = clew.flow(f)(1.0).picture()
    assert picture["boxes"][0]["name"] == "<script>"


def test_a_small_gradient_in_a_large_parameter_has_not_vanished():
    """A lamp of 30,000 units far away: the loss changes with it as much as with anything."""

    def f(lamp, other):
        with clew.scope("lamp"):
            light = lamp * np.ones(3)
        with clew.scope("distance"):
            light = light / 1e5
        with clew.scope("surface"):
            seen = light * np.arange(1.0, 4.0)
        return np.sum((seen - other) ** 2)

    (row,) = clew.flow(f, level="scope:1")(3e4, 1.0).vanishing().rows
    assert row.gradient < 1e-4
    assert row.verdict == "healthy"
    (row,) = clew.flow(f, level="scope:1")(1e-3, 1.0).vanishing().rows
    assert row.verdict.startswith("vanishing")
