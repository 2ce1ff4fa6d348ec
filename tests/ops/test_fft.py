"""Fourier transforms against NumPy; transposes and derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew import DtypeError, InputError, ShapeError
from clew.core.types import Type
from clew.ops import fft
from clew.testing import check_derivatives

NORMS = [None, "backward", "ortho", "forward"]
ONE = ["fft", "ifft", "rfft", "irfft"]
MANY = ["fftn", "ifftn", "rfftn", "irfftn"]


def draw(*shape, dtype="float64", seed=0):
    generator = np.random.default_rng([seed, *shape])
    x = generator.normal(size=shape)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * generator.normal(size=shape)
    return x.astype(dtype)


def takes(name, dtype="float64"):
    return dtype if name.startswith("r") else np.result_type(dtype, np.complex64).name


def agrees(name, x, *args, **kwargs):
    expected = getattr(np.fft, name)(x, *args, **kwargs)
    function = getattr(fft, name)
    graph = clew.trace(lambda x: function(x, *args, **kwargs))(x)
    for found in (function(x, *args, **kwargs), clew.evaluate(graph, x)):
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        tolerance = 1e-5 if expected.dtype.itemsize <= 8 and expected.dtype.char != "d" else 1e-13
        assert np.max(np.abs(found - expected)) <= tolerance * np.max(np.abs(expected))
    assert graph.outputs[0].type == Type(expected.shape, expected.dtype)
    return lambda x: function(x, *args, **kwargs)


@pytest.mark.parametrize("name", ONE)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("length", [1, 2, 5, 6])
@pytest.mark.parametrize("n", [None, 1, 3, 4, 9])
def test_one_axis(name, norm, length, n):
    if name == "irfft" and length == 1 and n is None:
        pytest.skip("NumPy has no signal of length 0")
    function = agrees(name, draw(2, length, dtype=takes(name)), n, -1, norm)
    check_derivatives(function, draw(2, length, dtype=takes(name)))


@pytest.mark.parametrize("name", ONE)
@pytest.mark.parametrize("axis", [0, 1, -2, -1])
def test_any_axis(name, axis):
    x = draw(3, 4, 5, dtype=takes(name))
    check_derivatives(agrees(name, x, axis=axis), x)


@pytest.mark.parametrize("name", ONE)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "complex64", "complex128"])
def test_dtypes(name, dtype):
    if name == "rfft" and np.dtype(dtype).kind == "c":
        with pytest.raises(DtypeError, match="a real one is asked for"):
            fft.rfft(draw(4, dtype=dtype))
        return
    agrees(name, (3 * draw(4)).astype(dtype))


@pytest.mark.parametrize("name", MANY)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    ("s", "axes"),
    [
        (None, None),
        (None, (0, 1)),
        (None, (-1, 0)),
        ((4, 3), (0, 1)),
        ((2, -1), (2, 0)),
        ((6,), (1,)),
        (None, (0, 1, 0)),
        ((3, 5, 4), (1, 0, 1)),
    ],
)
def test_several_axes(name, norm, s, axes):
    x = draw(3, 4, 5, dtype=takes(name))
    check_derivatives(agrees(name, x, s, axes, norm), x)


def test_several_axes_are_one_equation():
    graph = clew.trace(lambda x: fft.fftn(x))(draw(3, 4, dtype="complex128"))
    assert [equation.primitive.name for equation in graph.equations] == ["fft"]


@pytest.mark.parametrize("name", ONE)
@pytest.mark.parametrize("axis", [0, 1])
def test_vmap_is_a_loop(name, axis):
    x = draw(3, 4, 5, dtype=takes(name))
    function = getattr(fft, name)
    expected = np.stack([function(np.take(x, i, axis)) for i in range(x.shape[axis])])
    assert np.allclose(clew.vmap(function, axis)(x), expected, rtol=1e-13, atol=0)


def test_second_order_of_a_power_spectrum():
    check_derivatives(lambda x: np.abs(fft.rfft(x)) ** 2, draw(6), order=2)
    check_derivatives(lambda x: fft.ifft(fft.fft(x) ** 3), draw(5, dtype="complex128"), order=2)


def test_gradient_of_the_energy_is_parsevals():
    """``sum |X_k|^2 = n sum x_j^2``, so the gradient is ``2 n x``."""
    x = draw(7)
    gradient = clew.grad(lambda x: np.sum(np.abs(fft.fft(x)) ** 2))(x)
    assert np.max(np.abs(gradient - 14 * x)) <= 1e-13 * np.max(np.abs(14 * x))


def test_the_mean_and_the_top_frequency_of_a_real_signal_have_no_imaginary_part():
    gradient = clew.grad(lambda y: np.sum(fft.irfft(1j * y) * draw(8)))(draw(5))
    assert gradient[0] == 0
    assert gradient[-1] == 0
    assert np.all(gradient[1:-1] != 0)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: fft.fft(np.ones(3), 0), InputError, "0 samples"),
        (lambda: fft.irfft(np.ones(1)), InputError, "0 samples"),
        (lambda: fft.fft(np.ones(3), norm="none"), InputError, "norm='none'"),
        (lambda: fft.fft(np.ones(3), axis=1), ShapeError, "has no axis 1"),
        (lambda: fft.fftn(np.ones((3, 3)), (2,), (0, 1)), InputError, "1 lengths and 2 axes"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words) as caught:
        call()
    assert caught.value.fix
