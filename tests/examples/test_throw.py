"""The throw example."""

from __future__ import annotations

from dataclasses import replace

import numpy as np


def test_it_runs(run):
    status, printed = run()
    assert status == 0, printed
    assert "the ball hits, with the least effort" in printed


def test_pushes_in_empty_space_have_their_lever(example, monkeypatch):
    # without air a push of one step h at t raises the end by h (T - t - h / 2), exactly
    monkeypatch.setattr(example, "BALL", replace(example.BALL, drag_coefficient=0.0))
    flow, _, push = example.through_time(example.START)
    step = example.PUSH_TIME / example.PUSHES
    left = example.PUSH_TIME + example.START["flight"] - step * (np.arange(example.PUSHES) + 0.5)
    np.testing.assert_allclose(push[:, 1], step * left, rtol=1e-12)
    assert np.max(np.abs(push[:, 0])) == 0.0
    steps, flight = example.PUSHES, example.FLIGHT_STEPS
    assert flow.longest("params.push") == steps + flight


def test_a_wrong_step_is_seen(example):
    _, drag, push = example.through_time(example.START)
    assert example.check_time(example.START, drag, push) <= 1e-12
    assert example.check_time(example.START, drag[::-1], push) > 0.1


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
