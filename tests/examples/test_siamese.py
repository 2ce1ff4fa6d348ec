"""The Siamese example."""

from __future__ import annotations

import numpy as np
import pytest


def test_it_runs(run):
    status, printed = run("--steps", "400")
    assert status == 0, printed
    assert "held-out pairs are told apart" in printed
    assert "the branches sum to the gradient" in printed


def test_an_untrained_network_misses(run):
    status, printed = run("--steps", "1")
    assert status == 1
    assert "MISSED" in printed


def test_a_branch_that_is_not_its_own_is_seen(example, monkeypatch):
    images, digits = example.read_digits()
    pairs = example.draw_pairs(images[:100], digits[:100], 20, np.random.default_rng(0))
    net = example.make_problem(pairs).start
    _, off = example.check_branches(net, pairs, "right")
    assert off <= 1e-12
    apart = example.by_two_encoders
    monkeypatch.setattr(
        example, "by_two_encoders", lambda *given: [each[::-1] for each in apart(*given)]
    )
    _, off = example.check_branches(net, pairs, "left and right exchanged")
    assert off > 0.1


def test_area_under_curve_against_scikit_learn(example):
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(0)
    label = generator.integers(2, size=200).astype(float)
    score = np.round(label + generator.normal(size=200), 1)  # with ties
    expected = metrics.roc_auc_score(label, score)
    assert example.area_under_curve(score, label) == pytest.approx(expected, rel=1e-12)


def test_area_under_curve_by_counting(example):
    score, label = np.array([3.0, 1.0, 2.0, 2.0]), np.array([1.0, 0.0, 1.0, 0.0])
    # of four comparisons: three won, one tied
    assert example.area_under_curve(score, label) == 3.5 / 4


def test_pairs(example):
    images, digits = example.read_digits()
    assert images.shape == (1797, 64)
    assert np.bincount(digits).min() > 170
    assert 0.0 <= images.min() < images.max() <= 1.0
    pairs = example.draw_pairs(images, digits, 300, np.random.default_rng(0))
    assert pairs.same.mean() == 0.5
    assert not np.any(np.all(pairs.left == pairs.right, axis=1))
    assert len(example.all_pairs(images[:50], digits[:50]).same) == 50 * 49 // 2
