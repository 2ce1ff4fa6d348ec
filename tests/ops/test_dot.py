"""Products that sum, against NumPy; their derivatives against differences."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew import ShapeError
from clew.core.types import Type
from clew.ops import dot
from clew.testing import check_derivatives


def draw(*shape, dtype="float64", seed=0):
    generator = np.random.default_rng([seed, *shape])
    x = generator.normal(size=shape)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * generator.normal(size=shape)
    return (x * (5 if np.dtype(dtype).kind == "i" else 1)).astype(dtype)


def close(found, expected, tolerance=1e-13):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    scale = np.max(np.abs(expected), initial=0)
    assert np.max(np.abs(found - expected), initial=0) <= tolerance * scale


MATMUL_SHAPES = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (5, 3, 4)),
    ((6, 1, 2, 3), (5, 3, 4)),
    ((1, 2, 3), (5, 3, 4)),
    ((3,), (5, 3, 4)),
    ((5, 2, 3), (3,)),
    ((1, 1), (1, 1)),
    ((0, 3), (3, 2)),
    ((2, 0), (0, 3)),
    ((0, 2, 3), (3, 4)),
]


@pytest.mark.parametrize(("a", "b"), MATMUL_SHAPES)
@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128", "int64", "bool"])
def test_matmul_is_numpys(a, b, dtype):
    x, y = draw(*a, dtype=dtype), draw(*b, dtype=dtype)
    expected = x @ y
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    if dtype == "bool":
        assert np.array_equal(dot.matmul(x, y), expected)
        return
    close(dot.matmul(x, y), expected, tolerance)
    graph = clew.trace(dot.matmul)(x, y)
    assert graph.outputs[0].type == Type(expected.shape, expected.dtype)
    close(clew.evaluate(graph, x, y), expected, tolerance)


@pytest.mark.parametrize(("a", "b"), [pair for pair in MATMUL_SHAPES if 0 not in sum(pair, ())])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_matmul_derivatives(a, b, dtype):
    x, y = draw(*a, dtype=dtype), draw(*b, dtype=dtype, seed=1)
    check_derivatives(dot.matmul, x, y, order=2)


def test_mixed_dtypes_have_gradients_of_their_own_dtype():
    x, y = draw(2, 3), draw(3, 2, dtype="complex128")
    value, pull = clew.vjp(dot.matmul, x, y)
    gx, gy = pull(np.ones_like(value))
    assert (gx.dtype, gy.dtype) == (np.float64, np.complex128)
    check_derivatives(dot.matmul, x, y)


def test_gradient_of_an_empty_product_is_empty():
    x, y = np.ones((2, 0)), np.ones((0, 3))
    gx, gy = clew.grad(lambda x, y: dot.matmul(x, y).sum(), argnums=(0, 1))(x, y)
    assert (gx.shape, gy.shape) == ((2, 0), (0, 3))


@pytest.mark.parametrize("in_axes", [(0, 0), (0, None), (None, 1), (1, 0)])
def test_vmap_is_a_loop(in_axes):
    shapes = [(4, 2, 3), (4, 3, 5)]
    shapes = [
        shape[1:] if axis is None else tuple(np.insert(shape[1:], axis, 4).tolist())
        for shape, axis in zip(shapes, in_axes, strict=True)
    ]
    x, y = draw(*shapes[0]), draw(*shapes[1])
    take = [
        (lambda i, z=z, axis=axis: z if axis is None else np.take(z, i, axis))
        for z, axis in zip((x, y), in_axes, strict=True)
    ]
    expected = np.stack([take[0](i) @ take[1](i) for i in range(4)])
    close(clew.vmap(dot.matmul, in_axes)(x, y), expected)


TENSORDOT = [
    ((2, 3, 4), (3, 4, 5), 2),
    ((2, 3), (4, 5), 0),
    ((2, 3, 4), (4, 3, 5), ([1, 2], [1, 0])),
    ((3, 2), (3, 4), (0, 0)),
    ((2, 3, 4), (2, 3, 4), 3),
    ((2, 3), (3, 4), (-1, -2)),
]


@pytest.mark.parametrize(("a", "b", "axes"), TENSORDOT)
def test_tensordot_is_numpys(a, b, axes):
    x, y = draw(*a), draw(*b)
    close(dot.tensordot(x, y, axes), np.tensordot(x, y, axes))
    check_derivatives(lambda x, y: dot.tensordot(x, y, axes), x, y)


@pytest.mark.parametrize(
    ("a", "b"), [((3,), (3,)), ((), (2, 3)), ((2, 3), (3,)), ((2, 3), (4, 3, 5)), ((2, 3), (3, 4))]
)
def test_dot_is_numpys(a, b):
    x, y = draw(*a), draw(*b)
    close(np.asarray(dot.dot(x, y)), np.asarray(np.dot(x, y)))


def test_outer_is_numpys():
    x, y = draw(2, 3), draw(4)
    close(dot.outer(x, y), np.outer(x, y))


def test_a_matrix_product_is_one_call_of_blas():
    x, y = draw(3, 4), draw(4, 5)
    graph = clew.trace(dot.matmul)(x, y)
    assert [equation.primitive.name for equation in graph.equations] == ["contract"]
    assert np.array_equal(clew.evaluate(graph, x, y), np.matmul(x, y))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: dot.matmul(np.ones((2, 3)), np.ones((4, 5))), ShapeError, "3 columns"),
        (lambda: dot.matmul(np.ones(()), np.ones((4, 5))), ShapeError, "scalar"),
        (lambda: dot.matmul(np.ones((2, 3, 3)), np.ones((4, 3, 3))), ShapeError, "leading axes"),
        (lambda: dot.tensordot(np.ones((2, 3)), np.ones((2, 3)), 1), ShapeError, "lengths 3 and 2"),
        (lambda: dot.tensordot(np.ones(2), np.ones(2), ([0], [1])), ShapeError, "no axes"),
        (lambda: dot.tensordot(np.ones(2), np.ones(2), ([0], [])), ShapeError, "1 axes of the"),
    ],
)
def test_errors_say_what_does_not_fit(call, error, words):
    with pytest.raises(error, match=words) as caught:
        call()
    assert caught.value.fix
