"""The dense-connections example."""

from __future__ import annotations


def test_it_runs(run):
    status, printed = run()
    assert status == 0, printed
    assert "524288" in printed
    assert "the gradient survives" in printed
    assert "ways agree" in printed


def test_dead_gradients_and_wrong_ways_are_seen(example, monkeypatch, capsys):
    monkeypatch.setattr(example, "ways_out", lambda net: ([0] * example.LAYERS,) * 2)
    monkeypatch.setattr(example, "norms_by_layer", lambda net, layers: [1.0] * example.LAYERS)
    monkeypatch.setattr(example, "draw", lambda *arguments: None)
    assert example.main() == 1
    assert capsys.readouterr().out.count("MISSED") == 2


def test_ways_of_a_plain_stack(example):
    far, one = example.ways_out(example.plain_network())
    assert far == list(range(example.LAYERS))[::-1]
    assert set(one) == {1}
