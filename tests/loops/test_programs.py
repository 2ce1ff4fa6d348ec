"""Every transform of every looped program against the same program in plain Python."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew.core.verify import verify
from tests.loops.programs import PROGRAMS, X

MEMORY = [{}, {"checkpoint": 1}, {"checkpoint": 2}, {"checkpoint": 3}, {"checkpoint": "auto"}]
OTHERS = np.array([[0.4, -0.3, 0.8], [0.9, 0.2, -0.5], [-0.25, 0.6, 0.3], [0.65, -0.7, 1.1]])


def same(found, expected, tolerance=1e-11):
    np.testing.assert_allclose(
        np.asarray(found), np.asarray(expected), rtol=tolerance, atol=tolerance
    )


@pytest.fixture(params=PROGRAMS, ids=lambda program: program.name)
def program(request):
    return request.param


@pytest.fixture(params=MEMORY, ids=str)
def memory(request):
    return request.param


def test_value_gradient_and_tangent(program, memory):
    looped = lambda x: program.looped(x, **memory)
    v = np.array([0.3, -1.1, 0.7])
    same(looped(X), program.plain(X))
    same(clew.grad(looped)(X), clew.grad(program.plain)(X))
    same(clew.jvp(looped, (X,), (v,))[1], clew.jvp(program.plain, (X,), (v,))[1])


def test_second_order_in_every_mixture(program, memory):
    looped = lambda x: program.looped(x, **memory)
    v = np.array([0.3, -1.1, 0.7])
    expected = clew.hvp(program.plain, (X,), (v,))
    same(clew.hvp(looped, (X,), (v,)), expected, 1e-10)
    slope = lambda f: lambda x: clew.jvp(f, (x,), (v,))[1]
    same(clew.grad(slope(looped))(X), expected, 1e-10)
    same(clew.grad(lambda x: clew.grad(looped)(x) @ v)(X), expected, 1e-10)
    same(slope(slope(looped))(X), expected @ v, 1e-10)


def test_third_derivative(program):
    v = np.array([0.3, -1.1, 0.7])
    third = lambda f: clew.grad(lambda x: clew.grad(lambda y: clew.grad(f)(y) @ v)(x) @ v)(X)
    same(third(program.looped), third(program.plain), 1e-9)


def test_vmap_of_value_and_of_gradient(program, memory):
    looped = lambda x: program.looped(x, **memory)
    same(clew.vmap(looped)(OTHERS), [program.plain(x) for x in OTHERS])
    gradients = [clew.grad(program.plain)(x) for x in OTHERS]
    same(clew.vmap(clew.grad(looped))(OTHERS), gradients)
    same(clew.grad(lambda xs: np.sum(clew.vmap(looped)(xs)))(OTHERS), gradients)


def test_jacobian_and_hessian(program):
    same(clew.jacobian(program.looped, mode="forward")(X), clew.grad(program.plain)(X))
    same(clew.hessian(program.looped)(X), clew.hessian(program.plain)(X), 1e-10)


def test_linearize_and_vjp_run_more_than_once(program, memory):
    looped = lambda x: program.looped(x, **memory)
    gradient = clew.grad(program.plain)(X)
    _, linear = clew.linearize(looped, X)
    _, pull = clew.vjp(looped, X)
    for scale in (1.0, -2.0):
        same(linear(scale * np.array([1.0, 2.0, 3.0])), scale * gradient @ [1.0, 2.0, 3.0])
        same(pull(scale)[0], scale * gradient)


def test_jit_and_the_verifier(program, memory):
    looped = lambda x: program.looped(x, **memory)
    same(clew.jit(clew.grad(looped))(X), clew.grad(program.plain)(X))
    graph = clew.trace(looped)(X)
    verify(graph)
    verify(clew.trace(lambda x: clew.grad(looped)(x))(X))
