"""Emitted convolutions against the reference ``conv``, forward and as its transposes use it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clew.evaluate.native.host import Host
from clew.evaluate.native.products import Convolution, emit_convolution
from clew.evaluate.native.products.convolution import Way, cheapest
from clew.ops.conv import conv
from tests.evaluate.native.test_products import HOSTS, NARROW, WIDE, Compiled


def reference(x: Any, w: Any, one: Convolution, padding: Any) -> Any:
    """What ``conv`` gives in double precision."""
    return conv.eval(
        np,
        x.astype(np.float64),
        w.astype(np.float64),
        stride=one.stride,
        padding=padding,
        spread=one.spread,
        dilation=one.dilation,
        groups=one.groups,
    )


def places(one: dict[str, Any], padding: Any) -> tuple[int, ...]:
    return tuple(
        ((n - 1) * gap + 1 + before + after - ((k - 1) * apart + 1)) // step + 1
        for n, k, step, (before, after), gap, apart in zip(
            one["space"],
            one["lengths"],
            one["stride"],
            padding,
            one["spread"],
            one["dilation"],
            strict=True,
        )
    )


def laid(rng: Any, dtype: Any, shape: tuple[int, ...], order: Any) -> Any:
    """A random array whose axes lie in memory in the given order."""
    array = rng.standard_normal([shape[i] for i in order]).astype(dtype)
    return array.transpose(np.argsort(order))


def elements(array: Any) -> tuple[int, ...]:
    return tuple(step // array.itemsize for step in array.strides)


def check(rng: Any, on: Host, dtype: Any, one: dict[str, Any], padding: Any, orders: Any) -> None:
    """Compare one convolution; ``one`` lacks places, padding in front and strides."""
    out = places(one, padding)
    taken, made = one["groups"] * one["taken"], one["groups"] * one["made"]
    x = laid(rng, dtype, (one["batch"], taken, *one["space"]), orders[0])
    w = laid(rng, dtype, (made, one["taken"], *one["lengths"]), orders[1])
    y = laid(rng, dtype, (one["batch"], made, *out), orders[2])
    convolution = Convolution(
        dtype=np.dtype(dtype),
        places=out,
        before=tuple(before for before, _ in padding),
        signal=elements(x),
        kernel=elements(w),
        result=elements(y),
        **one,
    )
    compiled = Compiled(lambda module: emit_convolution(module, convolution, on))
    exact = reference(x, w, convolution, padding)
    scale = reference(abs(x), abs(w), convolution, padding)
    if convolution.accumulate:
        exact, scale = exact + y, scale + abs(y)
    else:
        y[...] = np.nan
    compiled(y, x, w, rng.permutation(compiled.emitted.chunks))
    error = np.max(np.abs(y - exact) / np.where(scale, scale, 1), initial=0.0)
    assert error <= 8 * np.finfo(dtype).eps


def drawn(rng: Any, rank: int) -> tuple[dict[str, Any], Any] | None:
    """A random convolution and its padding; None if nothing of it would be left."""

    def some(*choices: int) -> tuple[int, ...]:
        return tuple(int(n) for n in rng.choice(choices, rank))

    longest = {1: 40, 2: 11, 3: 6}[rank]
    one = {
        "batch": int(rng.integers(1, 5)),
        "groups": int(rng.choice([1, 1, 2, 3])),
        "taken": int(rng.choice([1, 2, 3, 5, 16, 20])),
        "made": int(rng.choice([1, 2, 7, 16, 33])),
        "space": tuple(int(n) for n in rng.integers(1, longest + 1, rank)),
        "lengths": some(1, 2, 3, 5) if rng.random() < 0.7 else some(*range(1, longest + 1)),
        "stride": some(1, 1, 2, 3),
        "dilation": some(1, 1, 2, 3),
        "spread": some(1, 1, 2, 3) if rng.random() < 0.5 else some(1),
        "accumulate": bool(rng.random() < 0.3),
    }
    padding = tuple((int(a), int(b)) for a, b in rng.integers(-2, 5, (rank, 2)))
    spans = [(n - 1) * gap + 1 for n, gap in zip(one["space"], one["spread"], strict=True)]
    cut_away = any(
        min(before, after) <= -span or before + after + span < 1
        for span, (before, after) in zip(spans, padding, strict=True)
    )
    return None if cut_away or min(places(one, padding)) < 1 else (one, padding)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("name", HOSTS)
def test_random_convolutions(rank, name):
    rng = np.random.default_rng(10 * rank + len(name))
    done = 0
    while done < 6:
        case = drawn(rng, rank)
        if case is None:
            continue
        axes = range(rank + 2)
        last = (0, *range(2, rank + 2), 1)
        orders = [
            (tuple(axes), last, tuple(rng.permutation(rank + 2)))[rng.choice(3, p=[0.4, 0.4, 0.2])]
            for _ in range(3)
        ]
        check(rng, HOSTS[name], rng.choice([np.float32, np.float64]), *case, orders)
        done += 1


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("on", [WIDE, NARROW])
@pytest.mark.parametrize("step", [1, 2])
def test_forward_and_gradients(last, on, step):
    """The three convolutions of a training step, on arrays as they lie there."""
    rng = np.random.default_rng(0)
    order = (0, 2, 3, 1) if last else (0, 1, 2, 3)
    swapped = (1, 0, 2, 3)
    n, k = (12, 16), (3, 3)
    out = tuple((size - 1) // step + 1 for size in n)
    common = {"batch": 3, "groups": 1, "taken": 8, "made": 18, "accumulate": False}
    forward = common | {
        "space": n,
        "lengths": k,
        "stride": (step, step),
        "dilation": (1, 1),
        "spread": (1, 1),
    }
    plain = (0, 1, 2, 3)
    check(rng, on, np.float32, forward, ((1, 1), (1, 1)), (order, plain, order))
    ends = tuple((1, n[i] + 2 - ((out[i] - 1) * step + 1) - 1) for i in range(2))
    to_signal = common | {
        "taken": 18,
        "made": 8,
        "space": out,
        "lengths": k,
        "stride": (1, 1),
        "dilation": (1, 1),
        "spread": (step, step),
    }
    check(rng, on, np.float32, to_signal, ends, (order, swapped, order))
    to_kernel = common | {
        "batch": 8,
        "taken": 3,
        "made": 18,
        "space": n,
        "lengths": out,
        "stride": (1, 1),
        "dilation": (step, step),
        "spread": (1, 1),
    }
    sides = tuple((1, (out[i] - 1) * step + 3 - n[i] - 1) for i in range(2))
    turned = tuple(swapped[i] for i in order)
    check(rng, on, np.float32, to_kernel, sides, (turned, turned, swapped))


@pytest.mark.parametrize("space", [(0, 4), (4, 4)])
@pytest.mark.parametrize("accumulate", [False, True])
def test_nothing_to_sum(space, accumulate):
    y = np.full((1, 2, 2, 3), 5.0)
    taken = 0 if all(space) else 3
    convolution = Convolution(
        dtype=y.dtype,
        batch=1,
        groups=1,
        taken=taken,
        made=2,
        space=space,
        lengths=(2, 2),
        places=(2, 3),
        stride=(1, 1),
        dilation=(1, 1),
        spread=(1, 1),
        before=(2, 0),
        signal=(1, 1, 1, 1),
        kernel=(1, 1, 1, 1),
        result=elements(y),
        accumulate=accumulate,
    )
    Compiled(lambda module: emit_convolution(module, convolution, WIDE))(y, y, y)
    assert (y == (5.0 if accumulate else 0.0)).all()


def resnet(last: bool, gradient: bool) -> Way:
    """How the convolution of a residual block, or the gradient of its kernels, is computed."""
    signal = (32768, 1, 1024, 32) if last else (32768, 1024, 32, 1)
    kernel = (288, 9, 3, 1)
    if gradient:
        signal = other = (signal[1], signal[0], *signal[2:])
        result = (kernel[1], kernel[0], *kernel[2:])
    else:
        other, result = kernel, signal
    long, short = (32, 32), (3, 3)
    return cheapest(
        Convolution(
            dtype=np.dtype("f4"),
            batch=32,
            groups=1,
            taken=32,
            made=32,
            space=long,
            lengths=long if gradient else short,
            places=short if gradient else long,
            stride=(1, 1),
            dilation=(1, 1),
            spread=(1, 1),
            before=(1, 1),
            signal=signal,
            kernel=other,
            result=result,
        ),
        WIDE,
    )


@pytest.mark.parametrize("last", [False, True])
def test_examples_are_framed_and_sums_over_them_are_not(last):
    assert resnet(last, gradient=False).frame is not None
    assert resnet(last, gradient=True).frame is None
