"""The recurrent example."""

from __future__ import annotations

import numpy as np


def test_it_runs(run):
    status, printed = run()
    assert status == 0, printed
    assert "20365011074" in printed
    for claim in ("path counts agree", "the gradient survives", "it learns"):
        assert claim in printed


def test_fibonacci(example):
    numbers = [0, 1]
    while len(numbers) <= 70:
        numbers.append(numbers[-1] + numbers[-2])
    assert [example.fibonacci(n) for n in range(71)] == numbers


def test_labels_tell_the_order_of_the_pulses(example):
    inputs, label = example.sequences(np.random.default_rng(0), 200)
    first = inputs[:, :, 0].argmax(axis=0) < inputs[:, :, 1].argmax(axis=0)
    assert np.array_equal(first, label > 0)
    assert 0.4 < label.mean() < 0.6
