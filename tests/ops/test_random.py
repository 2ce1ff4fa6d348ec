"""Keys and distributions: known answers, reproducibility, moments, gradients."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew import InputError, ShapeError, random
from clew.ops.random import philox

KEY = random.key(2024)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_known_answers_of_random123(counter, key, expected):
    words = philox(
        np,
        tuple(np.array([c], np.uint64) for c in counter),
        tuple(np.array([k], np.uint64) for k in key),
    )
    assert tuple(int(word[0]) for word in words) == expected


def test_the_same_key_gives_the_same_numbers_and_a_prefix():
    long = random.uniform(KEY, 101)
    np.testing.assert_array_equal(random.uniform(KEY, 50), long[:50])
    np.testing.assert_array_equal(random.uniform(KEY, (50, 2)).ravel()[:99], long[:99])
    assert np.all((long >= 0) & (long < 1))


def test_keys_are_independent():
    keys = random.split(KEY, 4)
    draws = np.stack([random.normal(k, 20_000) for k in (*keys, KEY, random.fold_in(KEY, 3))])
    correlation = np.corrcoef(draws)
    assert np.max(np.abs(correlation - np.eye(6))) < 0.03


def test_vmap_over_keys_is_a_loop():
    keys = random.split(KEY, 5)
    mapped = clew.vmap(lambda key: random.normal(key, (3, 2)))(keys)
    np.testing.assert_array_equal(mapped, np.stack([random.normal(k, (3, 2)) for k in keys]))


@pytest.mark.parametrize(
    ("draws", "mean", "variance"),
    [
        (lambda n: random.uniform(KEY, n, -1.0, 3.0), 1.0, 16 / 12),
        (lambda n: random.normal(KEY, n, 2.0, 0.5), 2.0, 0.25),
        (lambda n: random.exponential(KEY, n, 3.0), 3.0, 9.0),
        (lambda n: random.bernoulli(KEY, 0.3, n) * 1.0, 0.3, 0.21),
        (lambda n: random.integers(KEY, -2, 3, n) * 1.0, 0.0, 2.0),
    ],
)
def test_moments(draws, mean, variance):
    count = 200_000
    x = draws(count)
    assert abs(np.mean(x) - mean) < 5 * np.sqrt(variance / count)
    assert abs(np.var(x) / variance - 1.0) < 0.03


def test_normal_passes_a_goodness_of_fit_test():
    from scipy.stats import kstest

    assert kstest(random.normal(KEY, 50_000), "norm").pvalue > 0.01


def test_permutation_and_categorical():
    np.testing.assert_array_equal(np.sort(random.permutation(KEY, 100)), np.arange(100))
    drawn = random.categorical(KEY, np.log(np.array([0.2, 0.5, 0.3])), 100_000)
    np.testing.assert_allclose(np.bincount(drawn) / 1e5, [0.2, 0.5, 0.3], atol=0.01)


def test_samples_are_differentiable_in_the_parameters():
    def mean_square(mean, scale):
        return np.mean(random.normal(KEY, 1000, mean, scale) ** 2)

    clew.testing.check_derivatives(mean_square, 0.5, 2.0)
    clew.testing.check_derivatives(lambda s: np.mean(random.exponential(KEY, 100, s)), 2.0)


def test_bad_input():
    with pytest.raises(InputError, match="seed -1"):
        random.key(-1)
    with pytest.raises(InputError, match="from 3 to 3"):
        random.integers(KEY, 3, 3)
    with pytest.raises(ShapeError, match="is not a key"):
        clew.trace(lambda k: random.uniform(k))(np.ones(2))
