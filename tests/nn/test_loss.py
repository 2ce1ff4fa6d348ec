"""Losses against direct formulas, at their limits too."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_expit, log_softmax

import clew
from clew import nn
from clew.testing import check_derivatives

GENERATOR = np.random.default_rng(0)


def test_logistic_loss():
    logit = GENERATOR.normal(size=7)
    label = GENERATOR.integers(2, size=7).astype(float)
    expected = -np.mean(label * log_expit(logit) + (1 - label) * log_expit(-logit))
    assert float(nn.logistic_loss(logit, label)) == pytest.approx(expected, rel=1e-14)
    assert check_derivatives(lambda z: nn.logistic_loss(z, label), logit, order=2).forward < 1e-7


def test_logistic_loss_far_out():
    logit, label = np.array([-1e4, 1e4]), np.array([1.0, 1.0])
    assert float(nn.logistic_loss(logit, label)) == 5000.0
    slope = clew.grad(lambda z: nn.logistic_loss(z, label))(logit)
    np.testing.assert_array_equal(slope, [-0.5, 0.0])


def test_cross_entropy():
    logits = GENERATOR.normal(size=(6, 4))
    classes = GENERATOR.integers(4, size=6)
    expected = -np.mean(log_softmax(logits, axis=1)[np.arange(6), classes])
    assert float(nn.cross_entropy(logits, classes)) == pytest.approx(expected, rel=1e-14)
    assert check_derivatives(lambda z: nn.cross_entropy(z, classes), logits).forward < 1e-8


def test_contrastive_loss():
    squared, same = np.array([0.3, 0.3, 4.0, 0.0, 0.0]), np.array([1.0, 0.0, 0.0, 1.0, 0.0])
    distance = np.sqrt(squared)
    short = np.maximum(0.0, 1.5 - distance)
    expected = 0.5 * np.mean(same * squared + (1 - same) * short**2)
    found = nn.contrastive_loss(squared, same, margin=1.5)
    assert float(found) == pytest.approx(expected, rel=1e-14)


def test_contrastive_loss_at_distance_zero():
    code = np.array([[1.0, 2.0]])

    def loss(left):
        return nn.contrastive_loss(nn.squared_distance(left, code), np.zeros(1))

    np.testing.assert_array_equal(clew.grad(loss)(code), np.zeros((1, 2)))
    assert check_derivatives(loss, code + 0.3).forward < 1e-8
