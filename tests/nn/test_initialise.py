"""Initialisers: variances as published, shapes, limits."""

from __future__ import annotations

import numpy as np
import pytest

from clew import nn
from clew.core.errors import ShapeError

SHAPE = (300, 200)
VARIANCES = {
    nn.glorot_uniform: 2 / 500,
    nn.glorot_normal: 2 / 500,
    nn.he_normal: 2 / 300,
    nn.he_uniform: 2 / 300,
}


@pytest.mark.parametrize("initialise", VARIANCES, ids=lambda f: f.__name__)
def test_variance(initialise):
    weight = initialise(np.random.default_rng(0), SHAPE)
    assert weight.shape == SHAPE
    assert weight.dtype == np.float64
    # 60,000 draws: the variance is known to better than 1 %
    assert np.var(weight) == pytest.approx(VARIANCES[initialise], rel=0.03)
    assert abs(np.mean(weight)) < 4 * np.sqrt(VARIANCES[initialise] / weight.size)


@pytest.mark.parametrize("initialise", [nn.glorot_uniform, nn.he_uniform])
def test_uniform_stays_inside_its_limit(initialise):
    weight = initialise(np.random.default_rng(0), SHAPE)
    limit = np.sqrt(3 * VARIANCES[initialise])
    assert 0.999 * limit < np.abs(weight).max() <= limit


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (2, 4, 3)])
def test_orthogonal(shape):
    q = nn.orthogonal(np.random.default_rng(0), shape)
    assert q.shape == shape
    small = min(shape[-2:])
    gram = np.swapaxes(q, -1, -2) @ q if shape[-2] >= shape[-1] else q @ np.swapaxes(q, -1, -2)
    np.testing.assert_allclose(gram, np.broadcast_to(np.eye(small), gram.shape), atol=1e-14)


def test_orthogonal_is_uniform_in_sign():
    generator = np.random.default_rng(0)
    corners = [nn.orthogonal(generator, (3, 3))[0, 0] for _ in range(2000)]
    # an entry of a Haar matrix has mean 0 and variance 1 / n
    assert abs(np.mean(corners)) < 4 * np.sqrt(1 / 3 / 2000)
    assert np.var(corners) == pytest.approx(1 / 3, rel=0.1)


@pytest.mark.parametrize("initialise", [*VARIANCES, nn.orthogonal], ids=lambda f: f.__name__)
def test_a_bias_is_not_a_weight(initialise):
    with pytest.raises(ShapeError, match=rf"{initialise.__name__}: shape \(3,\)"):
        initialise(np.random.default_rng(0), (3,))
