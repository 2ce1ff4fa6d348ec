"""The dense-connections example."""

from __future__ import annotations


def test_it_runs(run):
    status, printed = run()
    assert status == 0, printed
    assert "524288" in printed
    assert "the gradient survives" in printed
    assert "ways agree" in printed


def test_a_shorter_network_is_told_apart(example, monkeypatch, capsys):
    plain, dense = example.plain_network(), example.dense_network()
    # the networks swapped: every one of the claims is wrong
    monkeypatch.setattr(example, "plain_network", lambda: dense)
    monkeypatch.setattr(example, "ways_out", lambda net: ([0] * example.LAYERS,) * 2)
    monkeypatch.setattr(example, "norms_by_layer", lambda net, layers: [1.0] * example.LAYERS)
    assert plain is not dense
    assert example.main() == 1
    assert capsys.readouterr().out.count("MISSED") == 2
