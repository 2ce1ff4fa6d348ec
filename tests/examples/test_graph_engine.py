"""The graph engine's example."""

from __future__ import annotations

import numpy as np
import pytest


def test_it_runs(run):
    status, printed = run()
    assert status == 0, printed
    assert "tan a" in printed
    assert printed.count(" ok") == 6


def test_the_derivative_by_hand_is_right(example):
    for name in example.LIGHTHOUSE:
        moved = {**example.LIGHTHOUSE, name: example.LIGHTHOUSE[name] + 1e-200j}
        slope = example.lighthouse(moved).imag / 1e-200
        assert example.lighthouse_by_hand(example.LIGHTHOUSE)[name] == pytest.approx(
            slope, rel=1e-13
        )


def test_a_wrong_gradient_is_seen(example, monkeypatch, capsys):
    by_hand = example.lighthouse_by_hand
    monkeypatch.setattr(
        example, "lighthouse_by_hand", lambda p: {**by_hand(p), "t": by_hand(p)["t"] * (1 + 1e-9)}
    )
    assert example.main() == 1
    assert "MISSED" in capsys.readouterr().out


def test_a_wrong_use_is_seen(example, monkeypatch, capsys):
    grad = example.clew.grad

    def wrong(f, argnums=0):
        gradient = grad(f, argnums)
        if argnums == (1, 0, 2):
            return lambda *matrices: gradient(*matrices)[::-1]
        return gradient

    monkeypatch.setattr(example.clew, "grad", wrong)
    assert example.main() == 1
    missed = [line for line in capsys.readouterr().out.splitlines() if "MISSED" in line]
    assert len(missed) == 1
    assert "each use" in missed[0]


def test_complex_step(example):
    x = np.array([0.3, 1.1])
    found = example.complex_step(lambda x: np.sum(np.exp(x)), x)
    np.testing.assert_allclose(found, np.exp(x), rtol=1e-15)
