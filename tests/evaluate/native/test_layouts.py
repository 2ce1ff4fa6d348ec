"""What a loop's products read is laid out once, and gives the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import clew
from clew.evaluate.native import layouts
from clew.evaluate.native.host import Host

RNG = np.random.default_rng(0)
HOST = Host(64, 32, True, 48 << 10, 2 << 20, 32 << 20, 2)


def laid(monkeypatch: pytest.MonkeyPatch, f: Any, *args: Any) -> tuple[Any, list[tuple[int, ...]]]:
    """Call a function, compiled; return its result and the strides of what was laid out anew."""
    found: list[tuple[int, ...]] = []
    inner = layouts._laid_out

    def watched(frame: Any, uses: Any, storage: Any) -> Any:
        result = inner(frame, uses, storage)
        if result is not storage:
            found.append(result.strides)
        return result

    monkeypatch.setattr(layouts, "_laid_out", watched)
    monkeypatch.setattr(layouts, "host", lambda: HOST)
    return clew.jit(f)(*args), found


def repeated(step: Any, length: int = 20) -> Any:
    def f(x: Any, *held: Any) -> Any:
        return clew.scan(lambda carry, _: (step(carry, *held), None), x, length=length)[0]

    return f


def close(one: Any, other: Any) -> None:
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-12 * np.max(np.abs(other)))


X, W = RNG.normal(size=(32, 128)), RNG.normal(size=(128, 128)) / 12


def test_columns_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(x, w):
        y = np.tanh(x @ w.T)
        return np.concatenate([y, 1.0 - y, y * y, -y], axis=1)

    x, w = RNG.normal(size=(32, 512)), RNG.normal(size=(128, 512)) / 24
    f = repeated(step)
    result, strides = laid(monkeypatch, f, x, w)
    # The 128 columns lie side by side, in rows that do not compete for the same sets of a cache.
    assert [sorted(each) for each in strides] == [[1, 136]]
    close(result, f(x, w))


@pytest.mark.parametrize(
    "step",
    [
        lambda x, w: np.tanh(x @ w.T + w[0]),  # something else reads it
        lambda x, w: np.tanh((x @ w.T) @ w),  # in both ways
        lambda x, w: np.tanh(x * np.sum(w)),
    ],
)
def test_what_others_read_stays(monkeypatch: pytest.MonkeyPatch, step: Any) -> None:
    f = repeated(step)
    result, strides = laid(monkeypatch, f, X, W)
    assert all(each[1] == 1 for each in strides)  # at most its rows are moved apart
    close(result, f(X, W))


def test_short_loops_copy_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    f = repeated(lambda x, w: np.tanh(x @ w.T), length=5)
    result, strides = laid(monkeypatch, f, X, W)
    assert not strides
    close(result, f(X, W))


def test_three_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    w = RNG.normal(size=(4, 32, 128)) / 12
    f = repeated(lambda x, w: np.tanh(np.reshape(np.einsum("bi,cji->bcj", x, w), (32, 128))))
    result, _ = laid(monkeypatch, f, X, w)
    close(result, f(X, w))


def test_of_a_loop_of_unknown_length(monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x, w):
        def step(state):
            x, count = state
            return np.tanh(x @ w.T), count + 1

        return clew.while_loop(lambda state: state[1] < 12, step, (x, 0))[0]

    result, strides = laid(monkeypatch, f, X, W)
    assert strides
    close(result, f(X, W))


def test_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    f = clew.grad(lambda x, w: np.sum(repeated(lambda x, w: np.tanh(x @ w))(x, w)), argnums=(0, 1))
    result, strides = laid(monkeypatch, f, X, W)
    assert strides
    for one, other in zip(result, f(X, W), strict=True):
        close(one, other)
