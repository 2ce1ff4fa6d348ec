"""Factorisations, linear systems and determinants in native code, against the reference."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import clew
from clew.core.primitive import PRIMITIVES
from clew.evaluate.native import lapack
from clew.evaluate.native.program import Program
from clew.evaluate.native.run import Native
from tests.evaluate.native.comparing import as_tuple, assert_same, mismatches

DTYPES = ["f4", "f8", "c8", "c16"]
LEADS = [(), (3,), (2, 2)]
INF, NAN = float("inf"), float("nan")


def drawn(dtype, shape, seed=1):
    generator = np.random.default_rng(seed)
    values = generator.standard_normal(shape)
    if dtype[0] == "c":
        values = values + 1j * generator.standard_normal(shape)
    return values.astype(dtype)


def regular(dtype, lead, n):
    return drawn(dtype, (*lead, n, n)) + 2 * np.sqrt(n) * np.eye(n, dtype=dtype)


def positive(dtype, lead, n):
    a = drawn(dtype, (*lead, n, n))
    return (a @ np.conj(np.swapaxes(a, -1, -2)) + n * np.eye(n)).astype(dtype)


def calls(dtype, lead, n):
    """Return a label, the primitive, operands and parameters of every call for a size."""
    a, b = regular(dtype, lead, n), drawn(dtype, (*lead, n, 2))
    tall, wide = drawn(dtype, (*lead, n + 2, n)), drawn(dtype, (*lead, n, n + 3))
    turned = np.swapaxes(a, -1, -2)
    for form in ("general", "lower", "upper"):
        for operands in ((a, b), (turned, b[..., :1]), (a, drawn(dtype, (n, 3)))):
            yield "solve", operands, {"form": form}
    for name in ("det", "slogdet", "eig", "adjugate"):
        yield name, (a,), {}
    for name in ("cholesky", "eigh"):
        yield name, (positive(dtype, lead, n),), {}
    yield "eigh", (positive(dtype, lead, n),), {"lower": False}
    for shaped in (tall, wide):
        for name, option in (("qr", "complete"), ("svd", "full_matrices")):
            yield name, (shaped,), {option: True}
            yield name, (shaped,), {}
        yield "pinv", (shaped,), {}
        yield "pinv", (shaped,), {"rcond": 0.3}


def upright(vectors):
    """Turn eigenvectors, whose sign may depend on rounding in the library at hand."""
    n = vectors.shape[-1]
    along = np.sum(vectors * (1.0 + np.arange(n))[:, None] ** 0.5, axis=-2, keepdims=True)
    return vectors * np.conj(along) / np.abs(along)


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_routine(dtype, lead):
    sizes = (1, 2, 5, 33) if not lead else (1, 4)
    chosen = [call for n in sizes for call in calls(dtype, lead, n)]

    def build(given):
        rest, found = iter(given), []
        for name, operands, params in chosen:
            values = as_tuple(PRIMITIVES[name](*(next(rest) for _ in operands), **params))
            if name == "eig":
                values = values[0], upright(values[1])
            for number, value in enumerate(values):
                label = f"{name} {params} {[x.shape for x in operands]}, output {number}"
                found.append((label, value))
        return found

    wrong = mismatches(build, [x for _, operands, _ in chosen for x in operands], lambda _: True)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("shape", [(0, 0), (0, 3, 3), (2, 0, 0)])
def test_empty_stacks_and_matrices(shape):
    for name in ("cholesky", "det", "slogdet", "eigh", "qr", "svd", "adjugate"):
        assert_same(lambda a, name=name: PRIMITIVES[name](a), np.ones(shape))
    b = np.ones((*shape[:-1], 2))
    assert_same(lambda a, b: PRIMITIVES["solve"](a, b, form="general"), np.ones(shape), b)


def strange():
    """Return matrices that factorisations fail on, or that are not finite."""
    for n in (1, 3, 20):
        unit = np.eye(n)
        yield np.zeros((n, n))
        yield np.ones((n, n))
        yield np.arange(n * n).reshape(n, n) * 1.0
        yield np.stack([2 * unit, unit - 1, unit])
        for value in (NAN, INF, -1.0):
            for place in {(n - 1, n - 1), (n - 1, 0), (0, n - 1)}:
                a = 2 * unit
                a[place] = value
                yield a


VALUES = {"eig": 0, "svd": 1}
"""Outputs that are determined though values are equal, when any vectors will do."""


def all_rounding(a):
    """Say whether a matrix is singular but for rounding, which is another in each library."""
    with np.errstate(all="ignore"):
        try:
            size = np.linalg.norm(a) * np.linalg.norm(np.linalg.inv(a))
        except np.linalg.LinAlgError:
            return False
    return 1e12 < size < INF


def outcome(run):
    try:
        with np.errstate(all="ignore"):
            found = run()
            return found if isinstance(found, list) else as_tuple(found)
    except np.linalg.LinAlgError as error:
        return str(error)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        *(("solve", {"form": form}) for form in ("general", "lower", "upper")),
        *((name, {}) for name in ("cholesky", "det", "slogdet", "eigh", "eig", "qr", "svd")),
    ],
)
def test_what_fails_fails_as_in_the_reference(name, params):
    for a in strange():
        if name == "svd" and np.isinf(a).any():
            continue  # the routine itself may never end
        operands = (a, np.arange(2.0 * a.shape[-1]).reshape(-1, 2)) if name == "solve" else (a,)
        graph = clew.trace(lambda *x: PRIMITIVES[name](*x, **params))(*operands)
        found = outcome(lambda: Native(graph)(*operands))  # noqa: B023
        expected = outcome(lambda: clew.evaluate(graph, *operands))  # noqa: B023
        if isinstance(found, str) or isinstance(expected, str):
            assert found == expected, f"{name} of\n{a}"
            continue
        for number, (mine, theirs) in enumerate(zip(found, expected, strict=True)):
            assert mine.shape == theirs.shape
            if not all_rounding(a) and number == VALUES.get(name, number):
                np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12, err_msg=f"{a}")


def test_errors_name_no_matrix_that_another_call_failed_on():
    native = clew.jit(np.linalg.cholesky)
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        native(-np.eye(3))
    np.testing.assert_array_equal(native(4 * np.eye(3)), 2 * np.eye(3))


def loss(a, b):
    spd = a @ a.T + 3 * np.eye(4)
    factor = np.linalg.cholesky(spd)
    w, v = np.linalg.eigh(spd)
    q, r = np.linalg.qr(a)
    s = np.linalg.svd(a)[1]
    x = np.linalg.solve(a, b) + np.linalg.solve(np.tril(factor), b)
    spread = np.sum(w * (v[0] ** 2)) + np.sum(np.abs(q) @ r) + np.linalg.slogdet(a)[1]
    return np.sum(x * x) + spread + np.sum(s**3) + np.linalg.det(a) + np.sum(np.linalg.pinv(a))


def test_gradients():
    a, b = regular("f8", (), 4), drawn("f8", (4,))
    gradient = clew.grad(loss, argnums=(0, 1))
    for mine, theirs in zip(clew.jit(gradient)(a, b), gradient(a, b), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-11)
    assert "call-out" not in str(clew.explain(gradient)(a, b))


def test_complex_gradients():
    def phase(a):
        x = np.linalg.solve(a, np.conj(a[:, 0]))
        return np.abs(np.linalg.det(a)) + np.real(np.sum(x * np.linalg.slogdet(a)[0]))

    a = regular("c16", (), 3)
    np.testing.assert_allclose(
        clew.jit(clew.grad(phase))(a), clew.grad(phase)(a), rtol=1e-11, atol=1e-13
    )


def test_inside_loops_with_gradients():
    """A Kalman filter's covariances, and Newton's method while it moves."""
    a, q = np.array([[1.0, 0.1], [-0.1, 0.9]]), 0.1 * np.eye(2)

    def filtered(p, z):
        p = a @ p @ a.T + q
        gain = np.linalg.solve(p + np.eye(2), p)
        return p - p @ gain + z, np.linalg.slogdet(p)[1]

    def total(p, zs):
        last, logs = clew.scan(filtered, p, zs)
        return np.sum(last) + np.sum(logs)

    def root(a):
        def step(x):
            return x - np.linalg.solve(2 * np.diag(x), x * x - np.diag(a))

        return np.sum(clew.while_loop(lambda x: np.max(x * x - np.diag(a)) > 1e-14, step, a[0] + 2))

    zs = 0.01 * drawn("f8", (20, 2, 2))
    for function, operands in ((total, (np.eye(2), zs)), (root, (regular("f8", (), 3),))):
        for each in (function, clew.grad(function)):
            np.testing.assert_allclose(clew.jit(each)(*operands), each(*operands), rtol=1e-11)
            assert "call-out" not in str(clew.explain(each)(*operands))


def test_an_error_inside_a_loop():
    def shrink(p, x):
        return p - x * np.eye(3), np.linalg.cholesky(p)

    run = clew.jit(lambda p, xs: clew.scan(shrink, p, xs))
    run(4 * np.eye(3), np.ones(3))
    with pytest.raises(np.linalg.LinAlgError):
        run(4 * np.eye(3), np.ones(6))


def test_two_threads_at_once_give_the_same_bits():
    native = clew.jit(lambda a, b: (np.linalg.solve(a, b), np.linalg.eigh(a @ a.T)))
    operands = [(regular("f8", (8,), 12), drawn("f8", (8, 12, 2), seed)) for seed in range(2)]
    operands = [(a[0] + seed, b[0]) for seed, (a, b) in enumerate(operands)]

    def bits(number):
        x, (w, v) = native(*operands[number % 2])
        return x.tobytes() + w.tobytes() + v.tobytes()

    alone = [bits(0), bits(1)]
    with ThreadPoolExecutor(2) as pool:
        for number, found in enumerate(pool.map(bits, range(200))):
            assert found == alone[number % 2]


@pytest.mark.parametrize("axis", [0, 1])
def test_results_that_are_parts_of_a_larger_array(axis):
    a = positive("f8", (), 20)
    assert_same(lambda a: np.concatenate([np.linalg.cholesky(a), a * 2], axis=axis), a)
    # What Python evaluates as well.
    assert_same(lambda a: np.concatenate([PRIMITIVES["expm"](a / 30), a * 2], axis=axis), a)


def test_memory_of_a_kept_graph_is_given_back_only_when_its_results_are_not_there():
    def sorted_twice(a):
        rows = clew.checkpoint(lambda a: np.sort(a, axis=0))(a)
        return np.sort(rows, axis=1) + np.sort(a * 3, axis=1)

    assert_same(sorted_twice, drawn("f8", (4, 4)))


def test_operands_that_are_views():
    a, b = regular("f8", (3,), 6), drawn("f8", (6, 4))

    def views(a, b):
        odd, turned = a[1, ::2, ::2], np.transpose(a, (1, 2, 0))
        spread = np.broadcast_to(a[0], (2, 6, 6))
        solve = PRIMITIVES["solve"]
        lower = [solve(x, b[:3], form="lower") for x in (odd, odd.T, a[0, :3, 1:4])]
        return np.linalg.det(turned[:, :3] + 1), solve(spread, b, form="upper"), *lower

    assert_same(views, a, b)


def test_one_number_for_all_elements():
    assert_same(lambda x: np.linalg.qr(np.full((3, 2), 2.0))[1] * x, np.array(2.0))


def test_code_holds_symbols_but_no_addresses():
    graph = clew.trace(np.linalg.solve)(np.eye(40), np.ones(40))
    text = Program(graph).module.text()
    found = lapack.routine("gesv", np.dtype(np.float64))
    assert found is not None
    assert f"@{found.symbol}(" in text
    assert str(found.address) not in text


def test_routines_with_other_integers_are_left_to_python(monkeypatch):
    real = lapack.signature
    monkeypatch.setattr(lapack, "signature", lambda x: real(x).replace("int *", "long *"))
    lapack.routine.cache_clear()
    try:
        assert lapack.routine("potrf", np.dtype(np.float64)) is None
        a = positive("f8", (), 30)
        names = ["cholesky", "qr", "eigh", "eig", "svd", "det", "slogdet"]
        assert_same(lambda a: [PRIMITIVES[name](a) for name in names], a)
        forms = ["general", "lower", "upper"]
        assert_same(lambda a: [PRIMITIVES["solve"](a, a, form=form) for form in forms], a)
        assert "call-out" in str(clew.explain(np.linalg.cholesky)(a))
    finally:
        lapack.routine.cache_clear()


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("void (char *, int *, double *)", "cip"),
        ("void (__pyx_t_5scipy_6linalg_13cython_lapack_s *, __pyx_t_float_complex *)", "pp"),
        ("void (npy_int64 *)", "?"),
        ("double (int *)", ""),
    ],
)
def test_signatures(text, letters):
    assert lapack.letters_of(text) == letters
