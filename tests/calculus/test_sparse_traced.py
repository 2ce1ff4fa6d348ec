"""Sparse Jacobians and Hessians inside traces: compiled, guarded, differentiated again, batched."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import clew
from benchmarks.sparse import bundle, heat_residual, plate_energy, reprojection
from clew.calculus.rows import CompressedRows
from clew.core.errors import DerivativeError


def same(found, expected, relative=1e-12):
    assert isinstance(found, sparse.csr_array)
    assert found.has_sorted_indices
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.indptr, expected.indptr)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    scale = np.abs(expected.data).max(initial=0.0)
    np.testing.assert_allclose(found.data, expected.data, rtol=relative, atol=relative * scale)


ROWS = np.array([3, 0, 0, 5])
FUNCTIONS = {
    "three colours": heat_residual,
    "one element for all": lambda x: x[1:] - x[0] ** 2,
    "gather": lambda x: np.sin(x[ROWS]) * x[:4],
    "gather, both sides of one element": lambda x: x[ROWS] * x[ROWS[::-1]] + x[[1, 1, 1, 1]],
    "few rows": lambda x: np.sum(x.reshape(2, 3) ** 2, axis=1),
    "empty": lambda x: x[:0] * 2.0,
    "linear": lambda x: x[::-1] * 2.0,
    "a loop": lambda x: clew.fori_loop(0, 3, lambda i, u: u * u[i], x),
    "scalar": lambda x: x[2] ** 2,
    "single precision": lambda x: x.astype(np.float32) ** 2,
    "complex": lambda x: np.abs(np.fft.fft(x.reshape(2, 3) ** 2 + 1j, axis=1)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_compiled_equals_eager(name):
    eager = clew.jacobian(FUNCTIONS[name], mode="sparse")
    compiled = clew.jit(eager)
    for shift in (0.0, 1.0, 2.5):
        x = np.linspace(0.3, 1.7, 6) + shift
        precision = 1e-6 if name == "single precision" else 1e-12
        same(compiled(x), eager(x), precision)
    assert len(paths(compiled)) == 1


def paths(compiled):
    return [path for each in compiled.paths.signatures.values() for path in each.paths]


def test_a_compiled_hessian():
    eager = clew.hessian(plate_energy, mode="sparse")
    compiled = clew.jit(eager)
    for seed in range(2):
        u = np.random.default_rng(seed).normal(size=(7, 5))
        same(compiled(u), eager(u))


def test_a_compiled_bundle_adjustment_finds_other_observations():
    dense = clew.jacobian(reprojection, argnums=(0, 1, 2))
    compiled = clew.jit(clew.jacobian(reprojection, argnums=(0, 1, 2), mode="sparse"))
    for seed in (0, 1, 0):
        problem = bundle(cameras=3, points=8, observations=20, seed=seed)
        for _ in range(2):
            found, expected = compiled(*problem), dense(*problem)
            for row, rows in zip(found, expected, strict=True):
                for block, each in zip(row, rows, strict=True):
                    whole = np.reshape(np.asarray(each), block.shape)
                    np.testing.assert_allclose(block.toarray(), whole, rtol=1e-10, atol=1e-12)
    assert len(paths(compiled)) == 2


def test_one_camera_in_view_twice_adds_up():
    places = np.array([[0, 1], [1, 1], [2, 0]])

    def f(x):
        own = x[places]
        return np.sin(own[:, 0]) * own[:, 1]

    x = np.array([0.3, 0.7, 1.1])
    differentiate = clew.jacobian(f, mode="sparse")
    np.testing.assert_allclose(differentiate(x).toarray(), clew.jacobian(f)(x), rtol=1e-14)
    same(clew.jit(differentiate)(x), differentiate(x))


def test_constants_may_change_if_their_zeros_do_not():
    compiled = clew.jit(clew.jacobian(lambda x, a: (a @ x) ** 2, mode="sparse"))
    x = np.array([1.0, 2.0, 3.0])
    for a in (np.eye(3), 2.0 * np.eye(3), np.ones((3, 3)), np.tri(3)):
        np.testing.assert_allclose(compiled(x, a).toarray(), 2 * (a @ x)[:, None] * a)


def test_results_do_not_share_what_can_be_changed():
    compiled = clew.jit(clew.jacobian(lambda x: x[1:] * x[:-1], mode="sparse"))
    first = compiled(np.arange(4.0))
    with pytest.raises(ValueError, match="read-only"):
        first.indices[0] = 2
    own = first.copy()
    own.eliminate_zeros()
    assert (own.nnz, first.nnz) == (5, 6)
    first.data[:] = 7.0
    np.testing.assert_array_equal(compiled(np.arange(4.0)).toarray()[0], [1.0, 0.0, 0.0, 0.0])
    eager = clew.jacobian(lambda x: x[1:] * x[:-1], mode="sparse")
    found = eager(np.arange(4.0))
    found.eliminate_zeros()
    assert (found.nnz, eager(np.arange(4.0)).nnz) == (5, 6)


def test_blocks_without_a_path_are_empty():
    compiled = clew.jit(
        clew.jacobian(lambda x, y: (x * 2.0, np.argsort(y)), argnums=(0, 1), mode="sparse")
    )
    (xx, xy), (nx, ny) = compiled(np.arange(3.0), np.arange(2.0))
    assert [each.nnz for each in (xx, xy, nx, ny)] == [3, 0, 0, 0]
    assert [each.shape for each in (xx, xy, nx, ny)] == [(3, 3), (3, 2), (2, 3), (2, 2)]


def test_a_trace_goes_on_with_a_matrix():
    def f(x):
        return x[1:] * x[:-1]

    def step(x, v, w):
        j = clew.jacobian(f, mode="sparse")(x)
        assert isinstance(j, CompressedRows)
        return j @ v, j @ w, j.toarray(), np.sum(j.data**2)

    x, v = np.arange(1.0, 5.0), np.arange(4.0)
    w = np.arange(8.0).reshape(4, 2)
    dense = clew.jacobian(f)(x)
    expected = (dense @ v, dense @ w, dense, np.sum(dense**2))
    for found, each in zip(clew.jit(step)(x, v, w), expected, strict=True):
        np.testing.assert_allclose(found, each, rtol=1e-14)
    slope = clew.grad(lambda x: step(x, v, w)[3])(x)
    np.testing.assert_allclose(slope, [2.0, 8.0, 12.0, 8.0])


def test_what_a_stand_in_cannot_do_is_said():
    def f(x):
        return clew.jacobian(np.sin, mode="sparse")(x).tocsc()

    with pytest.raises(DerivativeError, match="'tocsc'") as caught:
        clew.jit(f)(np.ones(3))
    assert "toarray()" in caught.value.fix


def test_a_batch_has_one_pattern():
    found = clew.vmap(clew.jacobian(lambda y: y[1:] * y[:-1], mode="sparse"))(
        np.arange(6.0).reshape(2, 3)
    )
    assert isinstance(found, CompressedRows)
    np.testing.assert_array_equal(found.data, [[1, 0, 2, 1], [4, 3, 5, 4]])
    np.testing.assert_array_equal(found.indices, [0, 1, 1, 2])


def test_a_batch_whose_indices_disagree_is_full():
    def blocks(x, places):
        return clew.jacobian(lambda y: y[places] ** 2, mode="sparse")(x)

    x = np.arange(1.0, 7.0).reshape(2, 3)
    places = np.array([[0, 2], [1, 1]])
    found = clew.vmap(blocks)(x, places)
    for number in range(2):
        expected = np.zeros((2, 3))
        expected[np.arange(2), places[number]] = 2 * x[number][places[number]]
        own = sparse.csr_array((found.data[number], found.indices, found.indptr), shape=(2, 3))
        np.testing.assert_array_equal(own.toarray(), expected)
