"""The residual example."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import clew
from clew.paths import Flow, count_paths


def test_it_runs(run):
    status, printed = run()
    assert status == 0, printed
    assert "536870912" in printed
    assert "MISSED" not in printed
    assert "first layer, plain: vanishing" in printed
    assert "first layer, residual: healthy" in printed
    for name in ("plain.html", "residual.html"):
        assert f"out/{name}" in printed.replace("\\", "/")


def test_wrong_counts_and_parts_are_seen(example, monkeypatch, capsys):
    exact = Flow.gradient_by_length

    def off(flow, source):
        split = exact(flow, source)
        return replace(split, parts=split.parts * (1 + 1e-9))

    monkeypatch.setattr(Flow, "gradient_by_length", off)
    monkeypatch.setattr(example, "paths_walked", lambda graph: 0)
    monkeypatch.setattr(example, "draw", lambda *arguments: None)
    assert example.main() == 1
    printed = capsys.readouterr().out
    assert printed.count("MISSED") == 2
    assert "MISSED: path counts disagree" in printed
    assert "MISSED: parts are off by 1.0e-09" in printed


def test_both_ways_to_count_agree_on_any_graph(example):
    def model(x):
        a = np.sin(x)
        b = a * x + a
        return np.exp(b) * b * a

    graph = clew.trace(model)(1.0)
    # by hand: a 1, b = 1 + 1 + 1 = 3, result = 3 + 3 + 1 = 7
    assert count_paths(graph) == example.paths_walked(graph) == 7
    square = clew.trace(lambda x: x * x)(1.0)
    assert count_paths(square) == example.paths_walked(square) == 2
