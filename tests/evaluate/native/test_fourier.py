"""Fourier transforms in native code, against their definition and the reference."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew.core.primitive import PRIMITIVES
from clew.evaluate.native.run import Native
from clew.evaluate.native.stockham import radices, unit_roots, working_length
from clew.evaluate.native.threads import set_threads
from tests.evaluate.native.comparing import assert_same
from tests.evaluate.native.holding import threads_as_before

__all__ = ["threads_as_before"]

LENGTHS = [1, 2, 3, 4, 5, 6, 7, 8, 11, 13, 15, 16, 17, 30, 34, 49, 60, 97, 128, 169, 210, 257, 1000]
COMPLEX = [np.complex128, np.complex64]


def drawn(shape, dtype, seed=1):
    generator = np.random.default_rng(seed)
    values = generator.standard_normal(shape) + 1j * generator.standard_normal(shape)
    return (values if np.dtype(dtype).kind == "c" else values.real).astype(dtype)


def off(found, exact):
    """The relative error in the 2-norm, in units of what one rounding does."""
    size = np.linalg.norm(np.ravel(exact))
    return np.linalg.norm(np.ravel(found - exact)) / size / np.finfo(found.dtype).eps


def by_definition(x, sign):
    n = len(x)
    powers = np.outer(np.arange(n), np.arange(n)) % n
    angles = 2 * np.pi * np.arange(n, dtype=np.longdouble) / n
    roots = np.cos(angles) + sign * 1j * np.sin(angles)
    return roots[powers] @ x.astype(np.clongdouble)


@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize("n", LENGTHS)
def test_against_the_definition(n, dtype):
    x = drawn(n, dtype)
    real = np.ascontiguousarray(x.real)

    def transforms(x, real):
        y = [PRIMITIVES["fft"](x, axes=(0,), sign=sign) for sign in (-1, 1)]
        z = PRIMITIVES["rfft"](real, axis=0)
        return *y, z, PRIMITIVES["irfft"](z, axis=0, length=n)

    native = Native(clew.trace(transforms)(x, real))
    assert not native.callouts
    forward, backward, half, again = native(x, real)
    bound = 2 + np.log2(n) * (1 if radices(n) else 3)
    assert off(forward, by_definition(x, -1)) < bound
    assert off(backward, by_definition(x, 1)) < bound
    assert off(half, by_definition(real, -1)[: n // 2 + 1]) < bound
    assert off(again, real) < 2 * bound
    assert half.dtype == dtype
    assert again.dtype == real.dtype


@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize("shape", [(9, 12), (12, 9), (3, 10, 17), (2, 17, 3, 4), (40, 1)])
def test_every_axis_of_a_stack(shape, dtype):
    x = drawn(shape, dtype)
    real = np.ascontiguousarray(x.real)

    def every(x, real):
        found = []
        for axis in range(x.ndim):
            length = 2 * shape[axis] - 1
            found.append(PRIMITIVES["fft"](x, axes=(axis,), sign=-1))
            found.append(PRIMITIVES["rfft"](real, axis=axis))
            found.append(PRIMITIVES["irfft"](x, axis=axis, length=length))
            if shape[axis] > 1:
                found.append(PRIMITIVES["irfft"](x, axis=axis, length=length - 1))
        found.append(PRIMITIVES["fft"](x, axes=tuple(range(x.ndim)), sign=1))
        return tuple(found)

    assert_same(every, x, real)


def test_functions_and_gradients():
    x, taps = drawn((2, 30), np.float64), drawn(7, np.float64)

    def filtered(x, taps):
        spectrum = np.fft.rfft(x, 64) * np.fft.rfft(taps, 64)
        y = np.fft.irfft(spectrum, 64)
        z = np.fft.fftshift(np.fft.ifft2(np.fft.fft2(y[:, ::2] * 1j, norm="ortho")))
        return np.sum(y**3) + np.sum(np.abs(z) ** 2)

    gradient = clew.grad(filtered, argnums=(0, 1))
    for mine, theirs in zip(clew.jit(gradient)(x, taps), gradient(x, taps), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-11, atol=1e-12)
    assert "call-out" not in str(clew.explain(gradient)(x, taps))


def test_inside_a_loop():
    """Heat on a ring, by its Fourier modes."""
    decay = np.exp(-0.1 * np.minimum(np.arange(12), 12 - np.arange(12)) ** 2)

    def heat(u):
        def step(u, _):
            u = np.fft.ifft(decay * np.fft.fft(u)).real
            return u, u[0]

        return np.sum(clew.scan(step, u, None, length=9)[1] ** 2)

    u = drawn(12, np.float64)
    np.testing.assert_allclose(clew.jit(clew.grad(heat))(u), clew.grad(heat)(u), rtol=1e-12)


def test_threads_give_the_same_bits():
    x = drawn((300, 128, 5), np.complex128)
    found = []
    for count in (1, 2):
        set_threads(count)
        native = Native(clew.trace(lambda x: np.fft.fftn(x))(x))
        found.append(native(x)[0].tobytes())
    assert found[0] == found[1]


def test_views_and_parts():
    x = drawn((20, 24), np.complex128)
    assert_same(lambda x: np.fft.fft(x[::2, 3:], axis=0), x)
    assert_same(lambda x: np.fft.fft(x.T), x)
    assert_same(lambda x: np.concatenate([np.fft.fft(x), x * 2], axis=1), x)
    assert_same(lambda s: np.fft.fft(np.full(12, 1.5) * s), np.array(2.0))


def test_empty_stacks():
    assert_same(lambda x: np.fft.fft(x), np.ones((0, 4), complex))
    assert_same(lambda x: np.fft.irfft(x), np.ones((0, 4), complex))


def test_what_is_not_finite_stays_in_its_line():
    x = drawn((4, 12), np.complex128)
    x[1, 3], x[2, 5] = np.nan, np.inf
    found = clew.jit(lambda x: np.fft.fft(x))(x)
    assert np.isfinite(found[[0, 3]]).all()
    assert np.isnan(found[1]).all()
    assert not np.isfinite(found[2]).any()


@pytest.mark.parametrize("n", [1, 3, 8, 12, 100, 1021])
def test_roots_are_rounded_once(n):
    k = np.arange(-n, 3 * n)
    found = unit_roots(k, n)
    angles = -2 * np.pi * np.longdouble(1) * (k % n) / n
    with_error = np.abs(found - (np.cos(angles) + 1j * np.sin(angles)))
    assert np.max(with_error) < 4e-16
    assert found[n] == 1


def test_lengths_that_are_worked_with():
    assert radices(1) == []
    assert radices(2**3 * 3 * 13) == [4, 2, 3, 13]
    assert radices(2 * 17) is None
    assert working_length(17) == 33
    assert radices(working_length(1009)) is not None
