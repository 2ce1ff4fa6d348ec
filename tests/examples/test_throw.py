"""The throw example."""

from __future__ import annotations

import numpy as np


def test_it_runs(run):
    status, printed = run()
    assert status == 0, printed
    assert "the ball hits, with the least effort" in printed


def test_both_integrators_agree(example):
    ends = np.asarray(example.trajectory(example.START))[-1], example.integrated(example.START)
    np.testing.assert_allclose(*ends, rtol=1e-6)


def test_shooting_hits(example):
    # the effort found by shooting, thrown through the model, passes the target
    angle = np.radians(44.0)
    strength = np.sqrt(example.shooting_effort(angle)) * 9.80665
    push = np.tile(strength * np.array([np.cos(angle), np.sin(angle)]), (example.PUSHES, 1))
    states = np.asarray(example.trajectory({"push": push, "flight": 2.5}))
    gap = np.linalg.norm(states[:, :2] - example.TARGET, axis=1)
    assert gap.min() < 0.4  # between two of the eighty steps of the flight
