"""A stand-in for HIPS autograd's package, on Clew: lets its own gradient tests run against us.

Loaded as a pytest plugin (``-p autograd_adapter``), it puts modules named ``autograd...`` in
place. Conventions agree: for complex arguments both give ``df/dx - i df/dy``. autograd gives
zeros where Clew gives ``NoPath``; both behave as zeros.
"""

from __future__ import annotations

import builtins
import importlib
import itertools
import operator
import sys
import types

import numpy as np

import clew
import clew.numpy as cnp
from clew.core import pytree


def module(name, **contents):
    made = types.ModuleType(name)
    made.__dict__.update(contents)
    made.__path__ = []
    sys.modules[name] = made
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, made)
    return made


def plain(tree):
    return pytree.map(lambda x: np.asarray(x) if isinstance(x, clew.NoPath) else x, tree)


def grad(f, argnum=0):
    return lambda *args, **kwargs: plain(clew.grad(f, argnums=argnum)(*floats(args), **kwargs))


def floats(args):
    return tuple(float(x) if isinstance(x, int) and not isinstance(x, bool) else x for x in args)


def value_and_grad(f, argnum=0):
    def both(*args, **kwargs):
        value, gradient = clew.value_and_grad(f, argnums=argnum)(*floats(args), **kwargs)
        return value, plain(gradient)

    return both


def elementwise_grad(f, argnum=0):
    def gradient(*args, **kwargs):
        args = floats(args)

        def of_one(x):
            return f(*args[:argnum], x, *args[argnum + 1 :], **kwargs)

        value, pull = clew.vjp(of_one, args[argnum])
        return plain(pull(pytree.map(np.ones_like, value))[0])

    return gradient


def make_vjp(f, x):
    value, pull = clew.vjp(f, x)
    return (lambda cotangent: plain(pull(cotangent)[0])), value


def make_jvp(f, x):
    return lambda v: clew.jvp(f, (x,), (v,))


def jacobian(f, argnum=0):
    return lambda *args, **kwargs: plain(clew.jacobian(f, argnums=argnum)(*args, **kwargs))


def hessian(f, argnum=0):
    return lambda *args: plain(clew.hessian(f, argnums=argnum)(*args))


def hessian_tensor_product(f, argnum=0):
    def product(*args):
        *rest, tensor = args
        inner = grad(f, argnum)
        dims = np.ndim(tensor)
        return grad(lambda *a: np.tensordot(inner(*a), tensor, dims), argnum)(*rest)

    return product


def tensor_jacobian_product(f, argnum=0):
    def product(*args):
        *rest, vector = args
        dims = np.ndim(vector)
        return jacobian(lambda *a: np.tensordot(vector, f(*a), dims), argnum)(*rest)

    return product


def check_grads(f, argnum=0, modes=None, order=2):
    """Their check, by ours: forward against differences, reverse against forward, to order."""

    def check(*args, **kwargs):
        numbers = argnum if isinstance(argnum, (tuple, list)) else (argnum,)

        def of_chosen(*chosen):
            full = list(args)
            for number, value in zip(numbers, chosen, strict=True):
                full[number] = value
            return f(*full, **kwargs)

        chosen = floats([args[number] for number in numbers])
        clew.testing.check_derivatives(of_chosen, *chosen, order=order, tolerance=1e-5, step=1e-4)

    return check


def combo_check(fun, *args, **kwargs):
    def combinations(*choices, **keywords):
        pairs = [[(key, value) for value in values] for key, values in keywords.items()]
        for chosen in itertools.product(*choices):
            for named in itertools.product(*pairs):
                check_grads(fun, *args, **kwargs)(*chosen, **dict(named))

    return combinations


def scalar_close(a, b):
    return abs(a - b) < 1e-6 or abs(a - b) / abs(a + b) < 1e-6


def check_equivalent(x, y):
    left, right = pytree.flatten(plain(x))[0], pytree.flatten(plain(y))[0]
    for a, b in zip(left, right, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def install():
    module(
        "autograd",
        grad=grad,
        deriv=elementwise_grad,
        elementwise_grad=elementwise_grad,
        value_and_grad=value_and_grad,
        holomorphic_grad=lambda f, argnum=0: lambda x: clew.jvp(f, (x,), (np.ones_like(x),))[1],
        make_vjp=lambda f, argnum=0: lambda *a: make_vjp(f, *a),
        make_jvp=lambda f, argnum=0: lambda *a: make_jvp(f, *a),
        jacobian=jacobian,
        hessian=hessian,
        hessian_tensor_product=hessian_tensor_product,
        hessian_vector_product=hessian_tensor_product,
        make_hvp=lambda f, argnum=0: lambda x: ((lambda v: clew.hvp(f, (x,), (v,))), None),
        tensor_jacobian_product=tensor_jacobian_product,
        vector_jacobian_product=tensor_jacobian_product,
        checkpoint=lambda f: f,
        multigrad_dict=None,
        grad_named=lambda f, name: lambda *a, **k: clew.grad(f, argnames=name)(*a, **k),
        tuple=builtins.tuple,
        list=builtins.list,
        dict=builtins.dict,
        isinstance=builtins.isinstance,
    )
    module("autograd.builtins", tuple=tuple, list=list, dict=dict, isinstance=isinstance)
    numpy_ = module("autograd.numpy", **{n: getattr(cnp, n) for n in dir(cnp)})
    numpy_.random = np.random
    numpy_.linalg, numpy_.fft = np.linalg, np.fft
    for name in ("random", "linalg", "fft"):
        sys.modules[f"autograd.numpy.{name}"] = getattr(np, name)
    module("autograd.scipy")
    for name in ("special", "stats", "linalg", "signal", "integrate"):
        try:
            found = importlib.import_module(f"scipy.{name}")
        except ImportError:
            continue
        sys.modules[f"autograd.scipy.{name}"] = found
        setattr(sys.modules["autograd.scipy"], name, found)
    module(
        "autograd.test_util",
        check_grads=check_grads,
        combo_check=combo_check,
        scalar_close=scalar_close,
        check_equivalent=check_equivalent,
    )
    module("autograd.core", make_vjp=make_vjp, operator=operator)


def pytest_configure(config):
    """Put the modules in place before the tests are collected."""
    install()
