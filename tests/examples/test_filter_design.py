"""The filter design example."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

from clew import signal


def test_it_runs(run):
    status, printed = run()
    assert status == 0, printed
    assert printed.count(" ok") == 5


def test_the_criterion_is_the_one_that_firls_minimises(example):
    edges = [0.0, example.PASS, example.STOP, 0.5]
    taps = scipy.signal.firls(example.TAPS, edges, [1, 1, 0, 0], weight=example.WEIGHTS, fs=1.0)
    best = taps[: signal.half_count(example.TAPS)]
    least = example.criterion(best)
    generator = np.random.default_rng(0)
    for _ in range(20):
        assert example.criterion(best + 1e-3 * generator.normal(size=best.size)) > least


def test_largest_error(example):
    half = np.zeros(signal.half_count(example.TAPS))
    half[-1] = 1.0  # passes everything: wrong by 1 where it should stop, times ten
    assert example.largest_error(half) == pytest.approx(10.0, rel=1e-12)
