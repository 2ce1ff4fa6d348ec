"""Sparse Jacobians and Hessians: patterns, colourings, compressed values, reuse, errors."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import clew
from benchmarks.sparse import bundle, heat_residual, plate_energy, reprojection
from clew.calculus import compressed, plans, reach
from clew.calculus.colouring import colour, colour_columns, colour_rows, colour_symmetric
from clew.calculus.sparsity import jacobian_pattern
from clew.core.errors import InputError, MemoryLimitError

RELATIVE = 1e-12


def agree(found, expected, relative=RELATIVE):
    """Equal up to rounding, measured against the largest entry."""
    found = found.toarray() if sparse.issparse(found) else np.asarray(found)
    expected = np.asarray(expected)
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    np.testing.assert_allclose(found, expected, rtol=relative, atol=relative * scale)


def dense(f, x):
    """The dense Jacobian as a matrix."""
    x = np.asarray(x)
    found = np.asarray(clew.jacobian(f)(x))
    return found.reshape(-1, x.size)


def passes(monkeypatch):
    """Count the directions that are pushed, and the batches they are pushed in."""
    seen = []
    run = compressed.over_directions

    def counted(stages, carried, total, directions):
        def each(start, size):
            seen[-1][1] += 1
            return directions(start, size)

        seen.append([total, 0])
        return run(stages, carried, total, each)

    monkeypatch.setattr(compressed, "over_directions", counted)
    # The function of that name hides the module.
    monkeypatch.setattr(sys.modules["clew.calculus.jacobian"], "over_directions", counted)
    return seen


# --- one operation at a time -----------------------------------------------------------------

KERNEL = np.array([0.5, -1.0, 0.25])
BANDS = np.diag(np.arange(1.0, 7.0)) + np.diag(np.arange(1.0, 6.0), 1)
FULL = np.random.default_rng(3).normal(size=(6, 6))
ROWS = np.array([3, 0, 0, 5])

EXACT = {
    "square": lambda x: x * x,
    "product of neighbours": lambda x: x[1:] * x[:-1],
    "one element for all": lambda x: x[1:] - x[0] ** 2,
    "reversed": lambda x: np.sin(x[::-1]) * x,
    "gather": lambda x: x[ROWS] ** 2,
    "gather in two axes": lambda x: x.reshape(2, 3)[[0, 1, 1], [2, 2, 0]],
    "mask": lambda x: np.where(np.arange(6) > 2, x, x[::-1] ** 2),
    "constant zeros": lambda x: x * np.array([1.0, 0.0, 2.0, 0.0, 0.0, 1.0]),
    "concatenate": lambda x: np.concatenate([x[4:] * x[0], x[:2], np.ones(2)]),
    "stack and transpose": lambda x: np.stack([x, x * x], axis=1).T * x,
    "sum of an axis": lambda x: np.sum(x.reshape(2, 3) ** 2, axis=1),
    "mean of all": lambda x: np.mean(x**2),
    "outer": lambda x: np.outer(x[:2], x[2:]),
    "full matrix": lambda x: FULL @ x,
    "banded matrix": lambda x: BANDS @ np.sin(x),
    "row times banded matrix": lambda x: np.tanh(x) @ BANDS,
    "stacked rows": lambda x: x.reshape(3, 2) @ np.ones((2, 2)),
    "product of two halves": lambda x: x.reshape(3, 2) @ x.reshape(2, 3),
    "cumsum": lambda x: np.cumsum(x**2),
    "cumsum of rows": lambda x: np.cumsum(x.reshape(2, 3), axis=0),
    "scatter": lambda x: _scattered(x),
    "written": lambda x: _written(x),
    "roll": lambda x: np.roll(x, 2) * x,
    "convolve": lambda x: np.convolve(x, KERNEL, mode="valid"),
    "convolve, both of x": lambda x: np.convolve(x[:4], x[4:]),
    "prod": lambda x: np.prod(x.reshape(3, 2), axis=1),
    "rows of a spectrum": lambda x: np.abs(np.fft.fft(x.reshape(2, 3) ** 2 + 1j, axis=1)),
    "solve, several columns": lambda x: np.linalg.solve(FULL, np.reshape(x, (6, 1)) * x),
    "empty": lambda x: x[:0] * 2.0,
    "unused part": lambda x: x[:3] * 0.5 + np.floor(x[3:]),
    "stopped": lambda x: x * clew.stop_gradient(x[::-1]),
}
CONSERVATIVE = {
    "sort": lambda x: np.sort(x**3),
    "max": lambda x: np.max(x.reshape(2, 3), axis=1),
    "abs of fft": lambda x: np.abs(np.fft.rfft(x)),
    "irfft": lambda x: np.fft.irfft(np.fft.rfft(x) ** 2),
    "determinants": lambda x: np.linalg.det(np.reshape(x[:4], (2, 2))),
    "inverse": lambda x: np.linalg.inv(np.reshape(x[:4], (2, 2)) + np.eye(2)),
    "eigenvalues": lambda x: np.linalg.eigh(_symmetric(x))[0],
    "norm of all": lambda x: x / np.sqrt(np.sum(x**2)),
    "softmax": lambda x: np.exp(x) / np.sum(np.exp(x)),
    "cumprod": lambda x: np.cumprod(x),
    "choice": lambda x: np.where(x > 0.0, x**2, x[::-1]),
    "index from a value": lambda x: x[np.argmax(x)] * x,
}


def _scattered(x):
    y = np.zeros(4) + 0.0 * x[:4]
    np.add.at(y, [0, 2, 2], x[:3] ** 2)
    return y


def _written(x):
    y = x * 1.0
    y[2:4] = x[:2] * x[5]
    y[[0, 0]] = x[3:5]
    return y


def _symmetric(x):
    a = np.reshape(x[:4], (2, 2))
    return a + a.T


@pytest.mark.parametrize("name", [*EXACT, *CONSERVATIVE])
def test_every_kind_of_record(name):
    f = {**EXACT, **CONSERVATIVE}[name]
    rng = np.random.default_rng(7)
    points = [rng.uniform(0.2, 1.7, 6) * rng.choice([-1, 1], 6) for _ in range(3)]
    differentiate = clew.jacobian(f, mode="sparse")
    ever = False
    for x in points:
        expected = dense(f, x)
        found = differentiate(x)
        assert isinstance(found, sparse.csr_array)
        agree(found, expected)
        pattern = jacobian_pattern(f)(x).toarray()
        assert pattern.dtype == bool
        assert not (expected != 0)[~pattern].any()
        ever = ever | (np.abs(expected) > 1e-14)
    if name in EXACT:
        np.testing.assert_array_equal(pattern, ever)


def test_the_pattern_holds_at_points_where_the_value_is_zero():
    pattern = jacobian_pattern(lambda x: x[0] * x[1:])(np.zeros(4))
    np.testing.assert_array_equal(pattern.toarray()[:, 1:], np.eye(3, dtype=bool))
    assert pattern.toarray()[:, 0].all()


def test_trees_of_arguments_and_results():
    def f(p, q):
        return {"a": p["x"] * q, "b": [np.sum(p["y"]), q[1:] - q[:-1]]}

    p = {"x": np.arange(3.0), "y": np.ones((2, 2))}
    q = np.array([1.0, 4.0, 9.0])
    found = clew.jacobian(f, argnums=(0, 1), mode="sparse")(p, q)
    expected = clew.jacobian(f, argnums=(0, 1))(p, q)
    agree(found["a"][0]["x"], expected["a"][0]["x"])
    agree(found["a"][1], expected["a"][1])
    agree(found["b"][0][0]["y"], np.ones((1, 4)))
    agree(found["b"][1][1], expected["b"][1][1])
    assert isinstance(found["a"][0]["y"], clew.NoPath) == isinstance(
        expected["a"][0]["y"], clew.NoPath
    )
    assert found["b"][1][0]["x"].shape == (2, 3)


def test_dtypes_are_kept():
    found = clew.jacobian(lambda x: x[1:] * x[:-1], mode="sparse")(np.ones(4, np.float32))
    assert found.dtype == np.float32
    z = np.array([1.0 + 2.0j, 3.0 - 1.0j])
    agree(clew.jacobian(lambda z: z**2, mode="sparse")(z), np.diag(2 * z))


def test_integers_and_what_is_unused_have_no_path():
    found = clew.jacobian(lambda x, y: x * 2.0, argnums=(0, 1), mode="sparse")(np.ones(3), 1.0)
    assert isinstance(found[1], clew.NoPath)
    assert found[1].shape == (3, 1)
    whole = clew.jacobian(lambda x: x * 2, mode="sparse")(np.arange(3))
    assert isinstance(whole, clew.NoPath)
    assert "integer" in whole.reason
    assert isinstance(clew.jacobian(np.floor, mode="sparse")(np.ones(3)), clew.NoPath)


# --- loops, branches, calls ------------------------------------------------------------------


def _diffuse(i, u):
    return np.concatenate([u[:1], u[1:-1] + 0.1 * (u[2:] - 2 * u[1:-1] + u[:-2]) ** 3, u[-1:]])


def _halved(x):
    return clew.while_loop(lambda c: np.sum(c**2) > 1.0, lambda c: c * c * 0.5, x)


@clew.composite
def _swish(x):
    return x / (1.0 + np.exp(-x))


@clew.custom_rule(pull=lambda t, y, x: t * 2.0 * x)
def _squared(x):
    return x**2


@clew.custom_rule(push=lambda primals, tangents, y: 2.0 * primals[0] * tangents[0])
def _squared_forward(x):
    return x**2


CONTROL = {
    "three steps": (lambda x: clew.fori_loop(0, 3, _diffuse, x), True),
    "many steps of a product": (
        lambda x: clew.fori_loop(0, 200, lambda i, c: c * (1.0 - 0.001 * x), x),
        True,
    ),
    "while": (_halved, True),
    "scan over x": (
        lambda x: clew.scan(lambda c, y: (c + y * y, c * y), np.float64(0.5), x)[1],
        True,
    ),
    "scan backwards": (
        lambda x: clew.scan(lambda c, y: (c + y * y, c * y), np.float64(0.5), x, reverse=True)[1],
        True,
    ),
    "carry turned round": (
        lambda x: clew.fori_loop(0, 2, lambda i, c: np.roll(c, 1) * x[::-1], x),
        True,
    ),
    "cond": (lambda x: clew.cond(x[0] > 0.0, lambda y: y**2, lambda y: y[::-1] ** 2, x), False),
    "checkpoint": (clew.checkpoint(lambda x: np.sin(x[1:]) * x[:-1]), True),
    "composite": (lambda x: _swish(x) + x, True),
    "rule by pull": (lambda x: _squared(x), True),
    "rule by push": (lambda x: _squared_forward(x), True),
}


@pytest.mark.parametrize("name", CONTROL)
def test_control_flow(name):
    f, exact = CONTROL[name]
    x = np.array([1.1, -0.7, 0.4, 1.9, -1.3, 0.6, 0.9])
    expected = dense(f, x)
    agree(clew.jacobian(f, mode="sparse")(x), expected)
    pattern = jacobian_pattern(f)(x).toarray()
    assert not (expected != 0)[~pattern].any()
    if exact:
        np.testing.assert_array_equal(pattern, expected != 0)
    else:
        assert pattern.sum() < 3 * x.size


def test_a_long_loop_over_all_steps_of_a_scanned_array():
    def f(x):
        step = lambda c, y: (0.5 * c + y * x[0], c[1:] * y)  # noqa: E731
        return clew.scan(step, x[:3], np.reshape(x, (-1, 1)))

    x = np.linspace(0.5, 1.5, 80)
    found = clew.jacobian(f, mode="sparse")(x)
    expected = clew.jacobian(f)(x)
    agree(found[0], expected[0])
    agree(found[1], np.reshape(expected[1], (160, 80)))


# --- random programs -----------------------------------------------------------------------------


def random_program(seed):
    """A function of a vector of 8 elements, of up to eight random steps."""
    rng = np.random.default_rng(seed)
    steps = [_step(rng) for _ in range(int(rng.integers(2, 9)))]

    def program(x):
        values = [x]
        for step in steps:
            values.append(step(values))
        return values[-1]

    return program


def _step(rng):
    kind = int(rng.integers(11))
    pick, other = (int(i) for i in rng.integers(0, 100, 2))
    places = rng.integers(0, 100, int(rng.integers(1, 9)))
    matrix = rng.normal(size=(100, 3)) * (rng.random((100, 3)) < 0.5)
    start, step = int(rng.integers(0, 3)), int(rng.choice([-1, 1, 2]))

    def apply(values):
        a, b = values[pick % len(values)], values[other % len(values)]
        n = min(len(a), len(b))
        return [
            lambda: np.sin(a),
            lambda: a[:n] * b[:n],
            lambda: a[:n] + np.tanh(b[:n]),
            lambda: a[::step],
            lambda: np.concatenate([a[start:], b[:1]]),
            lambda: a[places % len(a)],
            lambda: a * b[start % len(b)],
            lambda: a @ matrix[: len(a)],
            lambda: np.sum(np.outer(a, b)[:, :4] ** 2, axis=int(start > 1)),
            lambda: np.cumsum(a) - a[-1],
            lambda: np.where(np.arange(n) % 2 == 0, a[:n], b[:n] ** 2),
        ][kind]()

    return apply


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_random_programs(seed):
    program = random_program(seed)
    rng = np.random.default_rng(seed + 1)
    x = rng.uniform(0.3, 1.2, 8)
    whole = clew.jacobian(program)(x)
    found = clew.jacobian(program, mode="sparse")(x)
    if isinstance(whole, clew.NoPath):
        assert isinstance(found, clew.NoPath)
        return
    pattern = jacobian_pattern(program)(x).toarray()
    assert not (whole != 0)[~pattern].any()
    agree(found, whole)
    again = rng.uniform(-1.2, 1.2, 8)
    assert not (clew.jacobian(program)(again) != 0)[~pattern].any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_random_hessians(seed):
    program = random_program(seed)

    def energy(x):
        return np.sum(np.cos(program(x)))

    x = np.random.default_rng(seed + 1).uniform(0.3, 1.2, 8)
    whole = clew.hessian(energy)(x)
    found = clew.hessian(energy, mode="sparse")(x)
    if isinstance(whole, clew.NoPath):
        assert isinstance(found, clew.NoPath)
        return
    agree(found, whole)


# --- colourings ----------------------------------------------------------------------------------


def random_pattern(seed, height, width, density):
    rng = np.random.default_rng(seed)
    return sparse.csr_array(rng.random((height, width)) < density)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 30), st.floats(0.0, 0.6))
def test_no_row_meets_a_colour_twice(seed, height, width, density):
    pattern = random_pattern(seed, height, width, density)
    found = colour_columns(pattern)
    chosen = colour(pattern)
    assert chosen.count <= found.count
    for row in pattern.toarray():
        own = found.colours[row]
        assert (own >= 0).all()
        assert len(set(own)) == len(own)
    most = int(pattern.sum(axis=1).max())
    assert most <= found.count <= max(1, width)
    if chosen.by == "rows":
        for column in pattern.toarray().T:
            assert len(set(chosen.colours[column])) == column.sum()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 25), st.floats(0.0, 0.5))
def test_symmetric_matrices_are_read_back(seed, size, density):
    half = random_pattern(seed, size, size, density).toarray()
    pattern = sparse.csr_array(half | half.T)
    values = np.random.default_rng(seed).normal(size=(size, size))
    values = np.where(pattern.toarray(), values + values.T, 0.0)
    pattern.sort_indices()
    chosen = colour_symmetric(pattern)
    assert chosen.count <= max(1, colour_columns(pattern).count)
    found = (values @ (chosen.colours[:, None] == np.arange(max(1, chosen.count)))).T
    data = found[plans.readings(pattern, chosen)]
    agree(sparse.csr_array((data, pattern.indices, pattern.indptr), shape=pattern.shape), values)


def test_bands_take_as_many_colours_as_they_are_wide():
    for width in (3, 5, 9):
        offsets = range(-(width // 2), width // 2 + 1)
        bands = sparse.diags_array([1.0] * width, offsets=offsets, shape=(99, 99))
        pattern = sparse.csr_array(bands)
        assert colour_columns(pattern).count == width


def test_blocks_take_as_many_colours_as_they_are_wide():
    rng = np.random.default_rng(0)
    for height, width in ((2, 3), (4, 1), (1, 5)):
        blocks = sparse.block_diag([np.ones((height, width))] * 20, format="csr")
        own = sparse.csr_array(blocks)[rng.permutation(20 * height)]
        assert colour_columns(own).count == width
        assert colour_rows(own).count == height
    # A column that begins a short row, and stands further on in a longer one.
    uneven = sparse.csr_array(np.array([[1, 1, 0], [0, 1, 0], [0, 1, 1]]))
    assert colour_columns(uneven).count == 2


def test_arrows_take_few_colours():
    arrow = np.eye(50)
    arrow[0] = arrow[:, 0] = 1.0
    assert colour_symmetric(sparse.csr_array(arrow)).count == 2
    assert colour(sparse.csr_array(arrow[:1])).by == "rows"
    assert colour(sparse.csr_array(arrow[:, :1])).by == "columns"


# --- Hessians ----------------------------------------------------------------------------


def test_second_derivatives_tell_products_from_sums():
    x = np.array([1.0, 2.0, 3.0, 4.0])
    found = clew.hessian(lambda x: x[0] * x[1] + 3.0 * x[2] + x[3], mode="sparse")(x)
    assert found.nnz == 2
    agree(found, clew.hessian(lambda x: x[0] * x[1] + 3.0 * x[2] + x[3])(x))
    assert isinstance(clew.hessian(np.sum, mode="sparse")(x), clew.NoPath)


def test_a_chain_of_springs(monkeypatch):
    def energy(x):
        return np.sum((x[1:] - x[:-1]) ** 4) + np.sum(x**2)

    x = np.random.default_rng(0).normal(size=40)
    expected = clew.hessian(energy)(x)
    seen = passes(monkeypatch)
    found = clew.hessian(energy, mode="sparse")(x)
    assert found.nnz == 3 * 40 - 2
    assert seen == [[3, 1]]
    agree(found, expected)


def test_an_arrow_of_many_variables_takes_two_passes(monkeypatch):
    seen = passes(monkeypatch)
    x = np.linspace(1.0, 2.0, 500)
    found = clew.hessian(lambda x: np.sum(x[0] ** 2 * x[1:] ** 2), mode="sparse")(x)
    assert seen == [[2, 1]]
    assert found.nnz == 3 * 499 + 1
    np.testing.assert_allclose(found[[0], :].toarray()[0, 1:], 4 * x[0] * x[1:], rtol=1e-15)
    assert np.abs((found - found.T).toarray()).max() == 0.0


def test_blocks_of_a_hessian():
    def energy(p, scale):
        return scale * np.sum(p["a"] ** 2 * p["b"]) + p["c"]

    p = {"a": np.arange(1.0, 4.0), "b": np.ones(3), "c": 2.0}
    found = clew.hessian(energy, argnums=(0, 1), mode="sparse")(p, 3.0)
    expected = clew.hessian(energy, argnums=(0, 1))(p, 3.0)
    agree(found[0]["a"][0]["b"], expected[0]["a"][0]["b"])
    agree(found[0]["a"][0]["a"], expected[0]["a"][0]["a"])
    agree(found[1][0]["a"], np.reshape(expected[1][0]["a"], (1, 3)))
    agree(found[0]["a"][1], np.reshape(expected[0]["a"][1], (3, 1)))
    assert isinstance(found[0]["c"][1], clew.NoPath)


def test_a_plate_on_a_grid():
    x = np.random.default_rng(1).normal(size=(7, 6))
    found = clew.hessian(plate_energy, mode="sparse")(x)
    agree(found, np.reshape(clew.hessian(plate_energy)(x), (42, 42)))


# --- at size -------------------------------------------------------------------------------------


def test_a_banded_residual_against_its_analytic_jacobian(monkeypatch):
    seen = passes(monkeypatch)
    for n in (50, 2000):
        u = np.sin(np.linspace(0.0, 3.0, n))
        found = clew.jacobian(heat_residual, mode="sparse")(u)
        h = 1.0 / (n + 1)
        k = 1.0 + u**2
        # d/du of the flux k(mean) (u_right - u_left) / h at each face, by hand.
        full = np.concatenate([[0.0], u, [0.0]])
        mean, jump = 0.5 * (full[1:] + full[:-1]), np.diff(full)
        right = (mean * jump + (1.0 + mean**2)) / h**2
        left = (mean * jump - (1.0 + mean**2)) / h**2
        middle = left[1:] - right[:-1] + 3.0 * u**2
        expected = sparse.diags_array(
            [-left[1:-1], middle, right[1:-1]], offsets=[-1, 0, 1], shape=(n, n)
        )
        agree(found, expected.toarray())
        assert k.shape == (n,)
        assert found.nnz == 3 * n - 2
    assert [each[0] for each in seen] == [3, 3]


def test_an_element_moved_to_two_places_of_a_row():
    places = np.array([[0, 1, 1, 3, 2, 0], [0, 2, 1, 0, 2, 4]])

    def f(x):
        left, right = x[places[0]], x[places[1]]
        return left * right + np.sin(left) * np.where(MASK, right, 1.0)

    x = np.linspace(0.5, 1.5, 5)
    found = clew.jacobian(f, mode="sparse")(x)
    agree(found, dense(f, x))
    assert found.nnz == int(sum(len({a, b}) for a, b in places.T))
    agree(clew.jit(clew.jacobian(f, mode="sparse"))(x), dense(f, x))


MASK = np.array([True, False, True, True, False, True])


def test_bundle_adjustment_takes_three_passes_at_any_size(monkeypatch):
    seen = passes(monkeypatch)
    for size in (30, 600):
        problem = bundle(cameras=5, points=size // 3, observations=size, seed=size)
        found = clew.jacobian(reprojection, argnums=(0, 1, 2), mode="sparse")(*problem)
        # Each coordinate depends on one of the two of the principal point.
        assert found[0][0].nnz == 2 * 10 * size
        assert found[0][1].nnz == 2 * 3 * size
        assert found[0][2].nnz == 2 * size
        assert found[1][2].nnz == size
    # Two rows of each observation go back to its own camera and point; weights are alone.
    assert [each[0] for each in seen] == [2, 1, 2, 1]


def test_bundle_adjustment_equals_the_dense_jacobian():
    problem = bundle(cameras=3, points=8, observations=20, seed=1)
    found = clew.jacobian(reprojection, argnums=(0, 1, 2), mode="sparse")(*problem)
    expected = clew.jacobian(reprojection, argnums=(0, 1, 2))(*problem)
    for number, size in ((0, 33), (1, 24), (2, 20)):
        agree(found[0][number], np.reshape(expected[0][number], (40, size)))
    agree(found[1][2], np.reshape(expected[1][2], (20, 20)))


def test_bundle_adjustment_against_finite_differences():
    cameras, points, weights, *rest = bundle(cameras=10, points=100, observations=400, seed=2)
    found = clew.jacobian(reprojection, mode="sparse")(cameras, points, weights, *rest)[0]
    rng = np.random.default_rng(0)
    for column in rng.choice(cameras.size, 12, replace=False):
        step = np.zeros(cameras.size)
        step[column] = 1e-6
        step = step.reshape(cameras.shape)
        above = reprojection(cameras + step, points, weights, *rest)[0]
        below = reprojection(cameras - step, points, weights, *rest)[0]
        difference = ((above - below) / 2e-6).ravel()
        own = found[:, [column]].toarray().ravel()
        # Central differences of step 1e-6 round at 1e-16 / 1e-6 of the residual.
        np.testing.assert_allclose(own, difference, rtol=1e-6, atol=1e-7 * np.abs(own).max())


def test_few_inputs_and_many_outputs_go_forward_in_one_batch(monkeypatch):
    seen = passes(monkeypatch)
    time = np.linspace(0.0, 1.0, 40_000)
    found = clew.jacobian(lambda p: p[0] * np.exp(-p[1] * time) + p[2])(np.array([1.0, 2.0, 3.0]))
    assert found.shape == (40_000, 3)
    assert seen == [[3, 1]]
    np.testing.assert_allclose(found[:, 0], np.exp(-2.0 * time), rtol=1e-14)


def test_few_inputs_are_not_split_however_many_outputs(monkeypatch):
    monkeypatch.setattr(compressed, "_CHUNK_ELEMENTS", 1000)
    seen = passes(monkeypatch)
    clew.jacobian(lambda p: p[0] * np.arange(600.0) + p[1])(np.ones(3))
    assert seen == [[3, 1]]
    clew.jacobian(lambda p: p[0] * np.arange(600.0) + p[1:] @ np.ones(99))(np.ones(100))
    assert seen[1] == [100, 13]


def test_auto_does_not_count_outputs_without_derivative(monkeypatch):
    seen = passes(monkeypatch)
    clew.jacobian(lambda x: (np.sum(x**2), np.argsort(x)))(np.arange(5.0))
    assert seen[0][0] == 1


# --- reuse ---------------------------------------------------------------------------------------


@pytest.fixture
def patterns(monkeypatch):
    """Count the patterns that are found anew."""
    seen = []
    find = compressed.planned

    def counted(*args):
        seen.append(args)
        return find(*args)

    monkeypatch.setattr(compressed, "planned", counted)
    return seen


def test_patterns_are_reused(patterns):
    differentiate = clew.jacobian(heat_residual, mode="sparse")
    for shift in (0.0, 1.0, 2.0):
        differentiate(np.arange(9.0) + shift)
    assert len(patterns) == 1
    differentiate(np.arange(10.0))
    differentiate(np.arange(9.0))
    assert len(patterns) == 2


def test_other_indices_are_another_pattern(patterns):
    differentiate = clew.jacobian(lambda x, places: x[places] ** 2, mode="sparse")
    x = np.arange(1.0, 5.0)
    for places in ([0, 1, 1], [0, 1, 1], [3, 2, 0]):
        found = differentiate(x, np.array(places))
        expected = np.zeros((3, 4))
        expected[np.arange(3), places] = 2 * x[places]
        agree(found, expected)
    assert len(patterns) == 2


def test_indices_that_come_from_values_are_looked_at_each_time(patterns):
    differentiate = clew.jacobian(lambda x: np.sort(x) ** 2, mode="sparse")
    for x in ([1.0, 2.0, 3.0], [1.5, 2.5, 3.5], [3.0, 1.0, 2.0]):
        x = np.array(x)
        expected = np.zeros((3, 3))
        expected[np.arange(3), np.argsort(x)] = 2 * np.sort(x)
        agree(differentiate(x), expected)
    assert len(patterns) == 2


def test_constants_may_change_if_their_zeros_do_not(patterns):
    differentiate = clew.jacobian(lambda x, a: (a @ x) ** 2, mode="sparse")
    x = np.array([1.0, 2.0, 3.0])
    for a in (np.eye(3), 2.0 * np.eye(3), np.ones((3, 3)), np.tri(3)):
        agree(differentiate(x, a), 2 * (a @ x)[:, None] * a)
    assert len(patterns) < 4  # twice the identity reuses the identity's


def test_other_branches_are_other_graphs(patterns):
    def f(x):
        return x[1:] * x[:-1] if x[0] > 0 else x[1:] ** 2

    differentiate = clew.jacobian(f, mode="sparse")
    for x in (np.arange(1.0, 4.0), -np.arange(1.0, 4.0), np.arange(2.0, 5.0)):
        agree(differentiate(x), dense(f, x))
    assert len(patterns) == 2


# --- what cannot be ----------------------------------------------------------------------------


def test_a_pattern_that_is_not_sparse_is_refused(monkeypatch):
    monkeypatch.setattr(reach, "LARGEST_PATTERN", 1000)
    x = np.ones(50)
    with pytest.raises(MemoryLimitError) as caught:
        clew.jacobian(lambda x: x / np.sum(x), mode="sparse")(x)
    assert "not sparse" in str(caught.value)
    assert "clew.jvp" in caught.value.fix


def test_a_hundred_thousand_dense_columns_are_refused_at_once():
    with pytest.raises(MemoryLimitError) as caught:
        clew.jacobian(lambda x: x / np.sum(x), mode="sparse")(np.ones(100_000))
    assert "not sparse" in str(caught.value)


def test_unknown_modes():
    with pytest.raises(InputError, match="sparse"):
        clew.jacobian(np.sin, mode="colour")
    with pytest.raises(InputError, match="'auto' or 'sparse'"):
        clew.hessian(np.sin, mode="forward")
