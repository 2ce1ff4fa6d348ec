"""The residual example."""

from __future__ import annotations

import numpy as np

import clew
from clew.paths import count_paths


def test_it_runs(run):
    status, printed = run()
    assert status == 0, printed
    assert "1073741824" in printed
    assert "the gradient survives" in printed
    assert "path counts agree" in printed


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
