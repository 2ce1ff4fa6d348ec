"""The recurrent example."""

from __future__ import annotations

import numpy as np


def test_it_runs(run):
    status, printed = run()
    assert status == 0, printed
    assert "20365011074" in printed
    assert "1672959443" in printed
    assert "MISSED" not in printed
    for claim in ("path counts agree", "the gradient survives", "it learns", "sum to the gradient"):
        assert claim in printed


def test_fibonacci(example):
    numbers = [0, 1]
    while len(numbers) <= 70:
        numbers.append(numbers[-1] + numbers[-2])
    assert [example.fibonacci(n) for n in range(71)] == numbers


def test_grid_paths_by_walking_all(example, monkeypatch):
    monkeypatch.setattr(example, "LAYERS", 5)
    monkeypatch.setattr(example, "TIME", 4)

    def walk(layer, step, reach):
        if layer == 0:
            return 1 + (walk(0, step - 1, reach) if step else 0)
        back = walk(layer, step - 1, reach) if step else 0
        return back + sum(
            walk(layer - up, step, reach) for up in range(1, reach + 1) if up <= layer
        )

    for reach in (1, 2):
        assert example.grid_paths(reach) == walk(4, 3, reach)


def test_wrong_counts_and_sums_are_seen(example, monkeypatch):
    inputs, label = example.sequences(np.random.default_rng(1), 40)
    monkeypatch.setattr(example, "draw", lambda *arguments: None)
    monkeypatch.setattr(example, "grid_paths", lambda reach: 0)
    by_step = example.by_step
    monkeypatch.setattr(example, "by_step", lambda *given: (by_step(*given)[0], 1e-9))
    checks = example.compare(inputs, label)
    assert [claim for claim, good in checks.items() if not good] == [
        "path counts agree",
        "the steps' contributions sum to the gradient",
    ]


def test_labels_tell_the_order_of_the_pulses(example):
    inputs, label = example.sequences(np.random.default_rng(0), 200)
    first = inputs[:, :, 0].argmax(axis=0) < inputs[:, :, 1].argmax(axis=0)
    assert np.array_equal(first, label > 0)
    assert 0.4 < label.mean() < 0.6
