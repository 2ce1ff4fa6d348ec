"""The dense-connections example."""

from __future__ import annotations

from dataclasses import replace

from clew.paths import Flow


def test_it_runs(run):
    status, printed = run()
    assert status == 0, printed
    assert "524288" in printed
    assert "the gradient survives" in printed
    assert "paths agree" in printed
    assert "parts sum to the gradient" in printed


def test_dead_gradients_and_wrong_paths_are_seen(example, monkeypatch, capsys):
    exact = Flow.gradient_by_length

    def off(flow, source):
        split = exact(flow, source)
        return replace(split, parts=split.parts * (1 + 1e-9))

    monkeypatch.setattr(Flow, "gradient_by_length", off)
    monkeypatch.setattr(example, "ways_out", lambda flow: ([1] * example.LAYERS,) * 2)
    monkeypatch.setattr(example.nn, "gradient_norms", lambda net, layers: [1.0] * example.LAYERS)
    monkeypatch.setattr(example, "draw", lambda *arguments: None)
    assert example.main() == 1
    assert capsys.readouterr().out.count("MISSED") == 3


def test_paths_of_both_networks(example):
    loss = example.make_loss()
    plain = example.flow_of(loss, example.plain_network())
    far, one = example.ways_out(plain)
    assert far == list(range(1, example.LAYERS + 1))[::-1]
    assert set(one) == {1}
    assert not example.ways_between(plain)
    assert example.ways_between(example.flow_of(loss, example.dense_network()))
