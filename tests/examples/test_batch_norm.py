"""The batch norm example."""

from __future__ import annotations

import numpy as np
import pytest

from clew import nn
from clew.testing import directional_difference


def test_it_runs(run):
    status, printed = run()
    assert status == 0, printed
    assert printed.count(" ok") == 11
    assert "batch norm helps" in printed


def test_the_closed_forms_are_right(example):
    generator = np.random.default_rng(3)
    x, slope = generator.normal(size=(2, 7, 3))
    gamma, beta, mu = generator.normal(size=(3, 3))
    layers = [
        (nn.BatchNorm(gamma, beta), example.batch_norm_by_hand),
        (nn.Standardise(gamma, beta, mu, np.array([0.5, 1.0, 2.0])), example.standardise_by_hand),
    ]
    direction = generator.normal(size=x.shape)
    for layer, by_hand in layers:
        expected = directional_difference(
            lambda x, layer=layer: np.sum(slope * layer(x)), [x], [direction]
        )[0]
        found = np.sum(by_hand(layer, x, slope)["x"] * direction)
        assert found == pytest.approx(float(expected), rel=1e-8)


def test_uses_of_x_that_are_not_the_terms_are_seen(example, monkeypatch):
    assert max(example.check_gradients().values()) <= example.TOLERANCE
    terms = example.terms_by_hand

    def mixed(layer, x, slope):
        mean, variance, itself = terms(layer, x, slope).values()
        return {"mean": mean, "variance": itself, "x itself": variance}

    monkeypatch.setattr(example, "terms_by_hand", mixed)
    errors = example.check_gradients()
    missed = {name for name, error in errors.items() if error > example.TOLERANCE}
    assert missed == {"batchnorm: by x, use in variance", "batchnorm: by x, use in x itself"}
