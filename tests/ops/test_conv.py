"""Convolution against sums written out and SciPy; both transposes; batching."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.signal

import clew
from clew import DtypeError, InputError, ShapeError
from clew.core.types import Type
from clew.ops import conv
from clew.testing import check_derivatives


def draw(*shape, dtype="float64", seed=0):
    generator = np.random.default_rng([seed, *shape])
    x = generator.normal(size=shape)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * generator.normal(size=shape)
    return (x * (5 if np.dtype(dtype).kind == "i" else 1)).astype(dtype)


def near(found, expected, tolerance=1e-13):
    assert found.shape == expected.shape
    scale = np.max(np.abs(expected), initial=0)
    assert np.max(np.abs(found - expected), initial=0) <= tolerance * scale


def written_out(x, w, stride, padding, spread, dilation, groups):
    """The defining sum, one place and one sample of the kernel after another."""
    space, lengths = x.shape[2:], w.shape[2:]
    wide = np.zeros(
        (*x.shape[:2], *((n - 1) * s + 1 for n, s in zip(space, spread, strict=True))), x.dtype
    )
    wide[(..., *(slice(None, None, s) for s in spread))] = x
    around = 40
    wide = np.pad(wide, [(0, 0), (0, 0), *[(around, around)] * len(space)])
    out = tuple(
        ((n - 1) * s + 1 + sum(p) - (k - 1) * d - 1) // t + 1
        for n, s, p, k, d, t in zip(space, spread, padding, lengths, dilation, stride, strict=True)
    )
    made, taken = w.shape[:2]
    y = np.zeros((x.shape[0], made, *out), np.result_type(x, w))
    for o in range(made):
        first = o // (made // groups) * taken
        for t in itertools.product(*map(range, out)):
            for k in itertools.product(*map(range, lengths)):
                place = tuple(
                    around - p[0] + a * s + b * d
                    for p, a, s, b, d in zip(padding, t, stride, k, dilation, strict=True)
                )
                met = wide[(slice(None), slice(first, first + taken), *place)]
                y[(slice(None), o, *t)] += met @ w[(o, slice(None), *k)]
    return y


CASES = [
    # signal, kernel, stride, padding, spread, dilation, groups
    ((2, 3, 7), (4, 3, 3), (1,), ((0, 0),), (1,), (1,), 1),
    ((2, 3, 7), (4, 3, 3), (2,), ((1, 2),), (1,), (1,), 1),
    ((2, 3, 8), (4, 3, 3), (3,), ((0, 0),), (1,), (2,), 1),
    ((2, 3, 7), (4, 3, 3), (1,), ((-1, -2),), (1,), (1,), 1),
    ((2, 3, 4), (4, 3, 3), (2,), ((2, 1),), (3,), (2,), 1),
    ((2, 4, 7), (6, 2, 3), (2,), ((1, 0),), (1,), (1,), 2),
    ((2, 3, 7), (3, 1, 2), (1,), ((1, 0),), (2,), (1,), 3),
    ((1, 1, 1), (1, 1, 1), (1,), ((0, 0),), (1,), (1,), 1),
    ((2, 2, 5, 6), (3, 2, 2, 3), (1, 2), ((1, 0), (0, 1)), (1, 1), (2, 1), 1),
    ((1, 4, 4, 3), (4, 2, 3, 2), (2, 1), ((2, 1), (1, 1)), (2, 1), (1, 2), 2),
    ((1, 2, 3, 4, 3), (2, 2, 2, 2, 2), (1, 2, 1), ((0, 1), (1, 0), (0, 0)), (1,) * 3, (1,) * 3, 1),
    ((3, 1, 20), (1, 1, 18), (1,), ((0, 0),), (1,), (1,), 1),
]


def named(case):
    names = ("stride", "padding", "spread", "dilation", "groups")
    return dict(zip(names, case[2:], strict=True))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["float64", "complex128", "int64"])
def test_values_are_the_sum_written_out(case, dtype):
    x, w = draw(*case[0], dtype=dtype), draw(*case[1], dtype=dtype, seed=1)
    params = named(case)
    expected = written_out(x, w, **params)
    near(conv.conv(x, w, **params), expected)
    graph = clew.trace(lambda x, w: conv.conv(x, w, **params))(x, w)
    assert graph.outputs[0].type == Type(expected.shape, expected.dtype)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_both_transposes(case, dtype):
    x, w = draw(*case[0], dtype=dtype), draw(*case[1], dtype=dtype, seed=1)
    check_derivatives(lambda x, w: conv.conv(x, w, **named(case)), x, w, order=2)


@pytest.mark.parametrize("limit", [1, 500, 5000])
def test_work_in_pieces_gives_the_same(monkeypatch, limit):
    x, w = draw(3, 4, 12, 9), draw(6, 2, 3, 3)
    params = {"stride": (1, 1), "padding": ((1, 1), (0, 0)), "spread": (1, 1), "dilation": (1, 1)}
    whole = conv.conv(x, w, groups=2, **params)
    monkeypatch.setattr(conv, "_BYTES_AT_ONCE", limit)
    monkeypatch.setattr(conv, "_SMALL", 1)
    near(conv.conv(x, w, groups=2, **params), whole)


def test_other_array_namespaces_see_the_same_patches():
    """A namespace that is not NumPy has no sliding windows and gathers them."""

    class Other:
        def __getattr__(self, name):
            return getattr(np, name)

    for case in CASES:
        x, w = draw(*case[0]), draw(*case[1], seed=1)
        near(conv.conv.eval(Other(), x, w, **named(case)), conv.conv.eval(np, x, w, **named(case)))


@pytest.mark.parametrize("flags", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("case", [CASES[1], CASES[5], CASES[9]])
def test_batched_is_a_loop(case, flags):
    x = draw(*((5,) if flags[0] else ()), *case[0])
    w = draw(*((5,) if flags[1] else ()), *case[1], seed=1)
    expected = [
        written_out(x[i] if flags[0] else x, w[i] if flags[1] else w, **named(case))
        for i in range(5)
    ]
    axes = tuple(0 if flag else None for flag in flags)
    near(clew.vmap(lambda x, w: conv.conv(x, w, **named(case)), axes)(x, w), np.stack(expected))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_one_channel_is_scipys_correlation(rank):
    x, w = draw(*(6, 5, 7)[:rank]), draw(*(3, 2, 4)[:rank])
    near(
        conv.convolution(x[None, None], w[None, None])[0, 0], scipy.signal.correlate(x, w, "valid")
    )


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("length", [5, 6, 7])
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_padding_gives_one_place_for_each_stride(stride, length, dilation):
    x, w = draw(1, 1, length), draw(1, 1, 3)
    y = conv.convolution(x, w, padding="same", stride=stride, dilation=dilation)
    assert y.shape == (1, 1, -(-length // stride))
    if stride == dilation == 1:
        near(y[0, 0], np.correlate(x[0, 0], w[0, 0], "same"))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("padding", ["valid", 1, ((0, 1), (2, 1))])
def test_conv_transposed_is_the_transpose(groups, padding):
    options = {"stride": (2, 3), "padding": padding, "dilation": (2, 1), "groups": groups}
    x, w = draw(2, 4, 9, 10), draw(6, 4 // groups, 3, 3)
    y = conv.convolution(x, w, **options)
    back = conv.conv_transposed(y, w, **options)
    other = draw(*back.shape, seed=3)
    moved = conv.convolution(other, w, **options)
    assert np.isclose(np.sum(moved * y), np.sum(other * back), rtol=1e-12, atol=0)
    check_derivatives(lambda y, w: conv.conv_transposed(y, w, **options), y, w)


def test_mixed_dtypes():
    x, w = draw(1, 2, 5), draw(3, 2, 2, dtype="complex128")
    check_derivatives(conv.convolution, x, w)
    gradient = clew.grad(lambda x: np.sum(np.abs(conv.convolution(x, w))))(x)
    assert gradient.dtype == np.float64
    assert conv.convolution(draw(1, 2, 5, dtype="float32"), draw(3, 2, 2)).dtype == np.float64


def test_empty_batches_and_channels():
    assert conv.convolution(np.ones((0, 2, 5)), np.ones((3, 2, 2))).shape == (0, 3, 4)
    gx, gw = clew.grad(lambda x, w: np.sum(conv.convolution(x, w)), argnums=(0, 1))(
        np.ones((0, 2, 5)), np.ones((3, 2, 2))
    )
    assert gx.shape == (0, 2, 5)
    assert np.array_equal(gw, np.zeros((3, 2, 2)))


def test_samples_that_no_place_reaches_have_no_gradient():
    gradient = clew.grad(lambda x: np.sum(conv.convolution(x, np.ones((1, 1, 2)), stride=3)))(
        draw(1, 1, 7)
    )
    assert gradient.tolist() == [[[1, 1, 0, 1, 1, 0, 0]]]


@pytest.mark.parametrize("n", [1, 2, 3, 6])
@pytest.mark.parametrize("k", [1, 2, 3, 6])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("name", ["convolve", "correlate"])
def test_vectors_are_numpys(n, k, mode, name):
    x, w = draw(n, dtype="complex128"), draw(k, dtype="complex128", seed=1)
    function = getattr(conv, name)
    near(function(x, w, mode), getattr(np, name)(x, w, mode), 1e-12)
    check_derivatives(lambda x, w: function(x, w, mode), x, w)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("name", ["convolve", "correlate"])
def test_vectors_of_truth_values_are_numpys(mode, name):
    rng = np.random.default_rng(0)
    for x, w in [(rng.random(300) < 0.1, rng.random(4) < 0.5), (np.ones(600, bool),) * 2]:
        found, expected = (getattr(module, name)(x, w, mode) for module in (conv, np))
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: conv.convolution(np.ones((1, 3, 5)), np.ones((2, 2, 2))), ShapeError, "kernel"),
        (lambda: conv.convolution(np.ones((3, 5)), np.ones((2, 2))), ShapeError, "signal"),
        (lambda: conv.convolution(np.ones((1, 1, 2)), np.ones((1, 1, 3))), ShapeError, "longer"),
        (
            lambda: conv.convolution(np.ones((1, 1, 4), bool), np.ones((1, 1, 3), bool)),
            DtypeError,
            "truth values",
        ),
        (
            lambda: conv.convolution(np.ones((1, 1, 4)), np.ones((1, 1, 3)), stride=0),
            InputError,
            "stride=0",
        ),
        (
            lambda: conv.convolution(np.ones((1, 1, 4)), np.ones((1, 1, 3)), dilation=(1, 1)),
            InputError,
            "dilation",
        ),
        (
            lambda: conv.convolution(np.ones((1, 1, 4)), np.ones((1, 1, 3)), padding="most"),
            InputError,
            "padding='most'",
        ),
        (
            lambda: conv.conv_transposed(np.ones((1, 1, 2)), np.ones((1, 1, 2)), padding=4),
            ShapeError,
            "cuts off all",
        ),
        (lambda: conv.convolve(np.ones((2, 2)), np.ones(2)), ShapeError, "two vectors"),
        (lambda: conv.correlate(np.ones(2), np.ones(2), "all"), InputError, "mode='all'"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words) as caught:
        call()
    assert caught.value.fix
