"""Every traced form gives NumPy's values, dtypes and shapes, and a right derivative."""

from __future__ import annotations

import functools
import itertools
import warnings

import numpy as np
import pytest

import clew
import clew.numpy as cnp
from clew.core import pytree
from clew.core.primitive import PRIMITIVES
from clew.core.verify import verify
from clew.trace.protocols import HANDLERS

GENERATOR = np.random.default_rng(7)
A = GENERATOR.uniform(0.2, 2.0, (3, 4))
B = GENERATOR.uniform(0.2, 2.0, (3, 4))
V = GENERATOR.uniform(0.2, 2.0, 5)
W = GENERATOR.uniform(0.2, 2.0, 3)
M = GENERATOR.normal(size=(4, 4)) + 4 * np.eye(4)
T = GENERATOR.normal(size=(2, 3, 4))
Z = GENERATOR.normal(size=(3,)) + 1j * GENERATOR.normal(size=(3,))
N = np.array([1.0, np.nan, 3.0])
MASK = A > 1.0


def mutate(x, change):
    y = np.array(x) if isinstance(x, np.ndarray) else x.copy()
    change(y)
    return y


CASES = {
    "sum": [(np.sum, A), (lambda a: np.sum(a, axis=0, keepdims=True), A),
            (lambda a: np.sum(a, axis=(0, -1), initial=2.0), T), (lambda a: a.sum(1), A),
            (lambda a: np.sum(a, axis=1, where=MASK), A), (lambda a: np.add.reduce(a), A)],
    "prod": [(np.prod, W), (lambda a: a.prod(axis=1), A), (lambda a: np.multiply.reduce(a, axis=1), A)],
    "max": [(np.max, A), (lambda a: a.max(axis=0), A), (lambda a: np.maximum.reduce(a), A),
            (lambda a: np.max(a, axis=1, where=MASK, initial=0.0), A), (np.amax, A)],
    "min": [(np.min, A), (lambda a: a.min(axis=(0, 1), keepdims=True), A), (np.amin, A)],
    "any": [(lambda a: np.any(a > 1, axis=0), A)],
    "all": [(lambda a: np.all(a > 1, axis=0), A)],
    "argmax": [(np.argmax, A), (lambda a: a.argmax(axis=1, keepdims=True), A)],
    "argmin": [(np.argmin, A), (lambda a: a.argmin(axis=0), A)],
    "count_nonzero": [(lambda a: np.count_nonzero(a > 1, axis=0), A)],
    "mean": [(np.mean, A), (lambda a: a.mean(axis=-1, keepdims=True), A),
             (lambda a: np.mean(a, where=MASK), A)],
    "average": [(np.average, A), (lambda a: np.average(a, axis=0, weights=W), A)],
    "var": [(np.var, A), (lambda a: np.var(a, axis=0, ddof=1), A), (lambda a: a.var(), Z.real)],
    "std": [(np.std, A), (lambda a: a.std(axis=1, ddof=1), A)],
    "ptp": [(np.ptp, A)],
    "nansum": [(np.nansum, N)], "nanmean": [(np.nanmean, N)], "nanvar": [(np.nanvar, N)],
    "nanstd": [(np.nanstd, N)], "nanmax": [(np.nanmax, N)], "nanmin": [(np.nanmin, N)],
    "nanprod": [(np.nanprod, N)],
    "cumsum": [(np.cumsum, A), (lambda a: np.cumsum(a, axis=1), A), (lambda a: np.add.accumulate(a), A)],
    "accumulate": [(np.maximum.accumulate, A), (lambda a: np.minimum.accumulate(a, axis=1), A),
                   (lambda a: mutate(a[0], lambda y: np.add.reduce(a, axis=0, out=y)), A)],
    "cumprod": [(lambda a: np.cumprod(a, axis=1), A), (np.cumprod, A * MASK)],
    "cumulative_sum": [(lambda a: np.cumulative_sum(a, axis=1, include_initial=True), A)],
    "cumulative_prod": [(lambda a: np.cumulative_prod(a, include_initial=True), V)],
    "reshape": [(lambda a: np.reshape(a, (4, 3)), A), (lambda a: a.reshape(2, -1), A),
                (lambda a: np.reshape(a, (4, 3), order="F"), A)],
    "ravel": [(np.ravel, A), (lambda a: a.ravel(), A), (lambda a: np.ravel(a, order="F"), A)],
    "transpose": [(np.transpose, T), (lambda a: a.transpose(2, 0, 1), T), (lambda a: a.T, A)],
    "matrix_transpose": [(np.matrix_transpose, T), (lambda a: a.mT, T)],
    "swapaxes": [(lambda a: a.swapaxes(0, 2), T)],
    "moveaxis": [(lambda a: np.moveaxis(a, 0, -1), T), (lambda a: np.moveaxis(a, (0, 1), (2, 0)), T)],
    "rollaxis": [(lambda a: np.rollaxis(a, 2), T), (lambda a: np.rollaxis(a, 0, 3), T)],
    "expand_dims": [(lambda a: np.expand_dims(a, (0, 2)), A)],
    "squeeze": [(lambda a: np.squeeze(a[:1]), A), (lambda a: np.squeeze(a[:1], axis=0), A)],
    "broadcast_to": [(lambda a: np.broadcast_to(a, (2, 3)), W)],
    "broadcast_arrays": [(lambda a: np.broadcast_arrays(a, A), V[:4])],
    "atleast_1d": [(np.atleast_1d, 2.0)], "atleast_2d": [(np.atleast_2d, V)],
    "atleast_3d": [(np.atleast_3d, V), (np.atleast_3d, A)],
    "flip": [(np.flip, A), (lambda a: np.flip(a, 1), A)], "flipud": [(np.flipud, A)],
    "fliplr": [(np.fliplr, A)],
    "rot90": [(np.rot90, A), (lambda a: np.rot90(a, 3), A), (lambda a: np.rot90(a, 2), A)],
    "copy": [(np.copy, A)], "astype": [(lambda a: np.astype(a, np.float32), A)],
    "real": [(np.real, Z)], "imag": [(np.imag, Z)],
    "concatenate": [(lambda a: np.concatenate([a, B], axis=1), A),
                    (lambda a: np.concatenate([a, B], axis=None), A), (lambda a: np.concat([a, a]), A)],
    "stack": [(lambda a: np.stack([a, B, a], axis=-1), A)],
    "vstack": [(lambda a: np.vstack([a, a]), V)], "hstack": [(lambda a: np.hstack([a, a]), V)],
    "dstack": [(lambda a: np.dstack([a, B]), A)],
    "column_stack": [(lambda a: np.column_stack([a, a]), V)],
    "append": [(lambda a: np.append(a, V), A)],
    "block": [(lambda a: np.block([[a, B], [B, a]]), A)],
    "array_split": [(lambda a: np.array_split(a, 3), V)], "split": [(lambda a: np.split(a, [1, 3]), V)],
    "hsplit": [(lambda a: np.hsplit(a, 2), A)], "vsplit": [(lambda a: np.vsplit(a, 3), A)],
    "dsplit": [(lambda a: np.dsplit(a, 2), T)], "unstack": [(lambda a: np.unstack(a, axis=1), A)],
    "repeat": [(lambda a: np.repeat(a, 2, axis=1), A), (lambda a: np.repeat(a, [1, 0, 2]), W)],
    "tile": [(lambda a: np.tile(a, (2, 3)), A), (lambda a: np.tile(a, 2), V)],
    "roll": [(lambda a: np.roll(a, 2), A), (lambda a: np.roll(a, (1, -1), axis=(0, 1)), A)],
    "pad": [(lambda a: np.pad(a, 1), A), (lambda a: np.pad(a, ((1, 2), (0, 1)), mode="reflect"), A),
            (lambda a: np.pad(a, 2, mode="edge"), V), (lambda a: np.pad(a, 1, constant_values=3.0), V),
            (lambda a: np.pad(a, 2, mode="wrap"), V), (lambda a: np.pad(a, 2, mode="symmetric"), V)],
    "diff": [(np.diff, A), (lambda a: np.diff(a, n=2, axis=0), A), (lambda a: np.diff(a, prepend=0.0), V)],
    "ediff1d": [(np.ediff1d, A)], "trapezoid": [(np.trapezoid, V), (lambda a: np.trapezoid(a, V), V)],
    "gradient": [(np.gradient, V), (lambda a: np.gradient(a, 0.5, axis=1), A)],
    "where": [(lambda a: np.where(a > 1, a, 0.0), A), (lambda a: np.where(MASK, a, B), A)],
    "select": [(lambda a: np.select([a > 1.5, a > 1], [a, a * a], 7.0), A)],
    "piecewise": [(lambda a: np.piecewise(a, [a < 1, a >= 1], [lambda t: t * t, 2.0]), V)],
    "clip": [(lambda a: np.clip(a, 0.5, 1.5), A), (lambda a: a.clip(max=1.0), A)],
    "choose": [(lambda a: np.choose(np.array([0, 1, 1]), [a, 2 * a]), W)],
    "nonzero": [(lambda a: a[np.nonzero(a > 1)], A)], "flatnonzero": [(lambda a: np.flatnonzero(a > 1), A)],
    "argwhere": [(lambda a: np.argwhere(a > 1), A)],
    "compress": [(lambda a: np.compress([True, False, True], a, axis=0), A)],
    "extract": [(lambda a: np.extract(MASK, a), A)],
    "take": [(lambda a: np.take(a, [2, 0, 2], axis=1), A), (lambda a: a.take([5, 1]), A)],
    "take_along_axis": [(lambda a: np.take_along_axis(a, np.argsort(B, axis=1), axis=1), A)],
    "put_along_axis": [(lambda a: mutate(a, lambda y: np.put_along_axis(y, np.array([[1], [0], [2]]), 9.0, 1)), A)],
    "put": [(lambda a: mutate(a, lambda y: np.put(y, [0, 5], [7.0, 8.0])), A)],
    "putmask": [(lambda a: mutate(a, lambda y: np.putmask(y, MASK, 0.0)), A)],
    "copyto": [(lambda a: mutate(a, lambda y: np.copyto(y, 2.0, where=MASK)), A)],
    "diagonal": [(np.diagonal, A), (lambda a: np.diagonal(a, 1, 1, 2), T)],
    "trace": [(np.trace, M), (lambda a: np.trace(a, offset=-1), M)],
    "diag": [(np.diag, V), (lambda a: np.diag(a, 1), M)], "diagflat": [(lambda a: np.diagflat(a, -1), V)],
    "tril": [(np.tril, M), (lambda a: np.tril(a, -1), T)], "triu": [(lambda a: np.triu(a, 1), M)],
    "fill_diagonal": [(lambda a: mutate(a, lambda y: np.fill_diagonal(y, 5.0)), M)],
    "vander": [(lambda a: np.vander(a, 3), V)],
    "zeros_like": [(np.zeros_like, A)], "ones_like": [(lambda a: np.ones_like(a) * a, A)],
    "full_like": [(lambda a: np.full_like(a, 3.0), A)],
    "empty_like": [(lambda a: np.empty_like(a) * 0 + a, A)],
    "linspace": [(lambda a: np.linspace(a, 3.0, 7), 1.0), (lambda a: np.linspace(0, a, 4, endpoint=False, axis=1), W)],
    "logspace": [(lambda a: np.logspace(a, 2.0, 4), 1.0)],
    "meshgrid": [(lambda a: np.meshgrid(a, V), W), (lambda a: np.meshgrid(a, V, indexing="ij", sparse=True), W)],
    "array": [(lambda a: np.sin([a[0], a[1]]) if isinstance(a, np.ndarray) else cnp.array([np.sin(a[0]), np.sin(a[1])]), W)],
    "power": [(lambda a: a**2, A), (lambda a: a**-1.5, A), (lambda a: 2.0**a, A), (lambda a: np.power(a, 3), A)],
    "conjugate": [(np.conj, Z)], "arctan2": [(lambda a: np.arctan2(a, B), A)],
    "float_power": [(lambda a: np.float_power(a, 2), A)], "fabs": [(np.fabs, A)],
    "divmod": [(lambda a: np.divmod(a, 0.3), A)], "modf": [(np.modf, A)],
    "ldexp": [(lambda a: np.ldexp(a, np.array([1, 2, 3])), W)],
    "radians": [(np.deg2rad, A), (np.radians, A)], "degrees": [(np.rad2deg, A), (np.degrees, A)],
    "logaddexp2": [(lambda a: np.logaddexp2(a, B), A)], "sinc": [(np.sinc, A), (np.sinc, np.array([0.0, 1e-5]))],
    "round": [(lambda a: np.round(a, 1), A), (np.rint, A)], "fix": [(np.fix, A)],
    "nan_to_num": [(np.nan_to_num, np.array([1.0, np.nan, np.inf]))],
    "isclose": [(lambda a: np.isclose(a, A + 1e-9), A)], "allclose": [(lambda a: np.allclose(a, A), A)],
    "array_equal": [(lambda a: np.array_equal(a, A), A)], "angle": [(np.angle, Z)],
    "unwrap": [(np.unwrap, np.array([0.0, 3.0, 6.2, 0.1]))],
    "interp": [(lambda a: np.interp(a, np.arange(4.0), np.array([0.0, 1.0, 4.0, 9.0])), V)],
    "heaviside": [(lambda a: np.heaviside(a - 1.0, 0.5), A)],
    "real_if_close": [(np.real_if_close, Z), (np.real_if_close, Z.real + 0j)], "isreal": [(np.isreal, Z)],
    "matmul": [(lambda a: a @ M, A), (lambda a: T @ a, M), (lambda a: a @ V[:4], A), (lambda a: V[:4] @ a, M),
               (lambda a: np.matmul(a, GENERATOR_T), T)],
    "dot": [(lambda a: np.dot(a, M), A), (lambda a: a.dot(V[:4]), T), (lambda a: np.dot(a, 2.0), V)],
    "tensordot": [(lambda a: np.tensordot(a, B, ((0,), (0,))), A)],
    "einsum": [(lambda a: np.einsum(a, [0, 1], B, [2, 1], [2, 0]), A), (lambda a: np.einsum("ij->i", a, dtype=complex), A),
               (lambda a: np.einsum("ij,kj->ik", a, B), A), (lambda a: np.einsum("ii->i", a), M),
               (lambda a: np.einsum("ij,jk,k", A, a, V[:4]), M), (lambda a: np.einsum("...j,j->...", a, V[:4]), T),
               (lambda a: np.einsum("ij->ji", a), A), (lambda a: np.einsum("ii", a), M)],
    "inner": [(lambda a: np.inner(a, B), A)], "outer": [(lambda a: np.outer(a, V), W), (lambda a: np.multiply.outer(a, V), W)],
    "vdot": [(lambda a: np.vdot(a, Z), Z)], "vecdot": [(lambda a: np.vecdot(a, B), A)],
    "kron": [(lambda a: np.kron(a, B), A), (lambda a: np.kron(a, V), W)],
    "cross": [(lambda a: np.cross(a, W[::-1]), W)],
    "convolve": [(lambda a: np.convolve(a, W), V), (lambda a: np.convolve(a, W, "same"), V),
                 (lambda a: np.convolve(a, V, "valid"), W)],
    "correlate": [(lambda a: np.correlate(a, W, "full"), V), (lambda a: np.correlate(a, W), V),
                  (lambda a: np.correlate(a, V, "same"), W)],
    "polyval": [(lambda a: np.polyval(a, 1.3), V), (lambda a: np.polyval(V, a), A)],
    "apply_along_axis": [(lambda a: np.apply_along_axis(np.cumsum, 0, a), A)],
    "sort": [(np.sort, A), (lambda a: np.sort(a, axis=None), A), (lambda a: np.sort(a, axis=0), A)],
    "argsort": [(lambda a: np.argsort(a, axis=0), A)], "partition": [(lambda a: np.partition(a, 2)[2], V)],
    "searchsorted": [(lambda a: np.searchsorted(np.array([0.5, 1.0]), a), A)],
    "digitize": [(lambda a: np.digitize(a, np.array([0.5, 1.0])), A)],
    "median": [(np.median, A), (lambda a: np.median(a, axis=1, keepdims=True), A)],
    "quantile": [(lambda a: np.quantile(a, [0.1, 0.9]), A), (lambda a: np.quantile(a, 0.3, axis=1, keepdims=True), A)],
    "percentile": [(lambda a: np.percentile(a, 25.0, axis=0), A)],
    "isin": [(lambda a: np.isin(a, A[0]), A)], "unique": [(np.unique, A), (lambda a: np.unique(a, return_counts=True), A)],
    "bincount": [(lambda a: np.bincount(np.array([0, 2, 2]), a), W)],
    "histogram": [(lambda a: np.histogram(a, 3), A)],
    "solve": [(lambda a: np.linalg.solve(a, V[:4]), M), (lambda a: np.linalg.solve(M, a), M),
              (lambda a: np.linalg.solve(np.stack([M, M.T]), a), M)],
    "inv": [(np.linalg.inv, M)],
    "tensorinv": [(lambda a: np.linalg.tensorinv(np.reshape(a, (2, 2, 4))), M),
                  (lambda a: np.linalg.tensorinv(np.reshape(a, (4, 2, 2)), ind=1), M)],
    "tensorsolve": [(lambda a: np.linalg.tensorsolve(np.reshape(a, (2, 2, 2, 2)), A[:2, :2]), M),
                    (lambda a: np.linalg.tensorsolve(np.reshape(a, (2, 2, 4)), A[:2, :2]), M),
                    (lambda a: np.linalg.tensorsolve(np.reshape(a, (4, 2, 2)), A[:2, :2], (0,)), M)],
    "pinv": [(np.linalg.pinv, A), (np.linalg.pinv, A.T), (lambda a: np.linalg.pinv(a, rtol=None), A),
             (lambda a: np.linalg.pinv(np.outer(a, W), rtol=1e-9), V)], "det": [(np.linalg.det, M)],
    "slogdet": [(np.linalg.slogdet, M), (np.linalg.slogdet, M + 1j * M.T)],
    "cholesky": [(lambda a: np.linalg.cholesky(a @ a.T), M), (np.linalg.cholesky, M @ M.T),
                 (lambda a: np.linalg.cholesky(a @ a.T, upper=True), M),
                 (lambda a: np.linalg.cholesky(a @ a.conj().T), M + 1j * M.T)],
    "qr": [(np.linalg.qr, M), (lambda a: np.linalg.qr(a, "complete")[0][:, :3], A.T),
           (lambda a: np.linalg.qr(a, "complete"), A), (np.linalg.qr, A.T), (np.linalg.qr, A), (lambda a: np.linalg.qr(a, mode="r"), M)],
    "eigh": [(np.linalg.eigh, M @ M.T), (lambda a: np.linalg.eigh(a, "U"), M @ M.T)],
    "eigvalsh": [(np.linalg.eigvalsh, M + M.T), (np.linalg.eigvalsh, M + 1j * np.triu(M, 1))],
    "eig": [(lambda a: np.sum(np.linalg.eig(a)[0] ** 3), M.astype(complex))], "eigvals": [(lambda a: np.prod(np.linalg.eigvals(a)), M + 1j * M.T)],
    "matrix_rank": [(np.linalg.matrix_rank, A), (np.linalg.matrix_rank, np.outer(V, W)),
                    (lambda a: np.linalg.matrix_rank(a, tol=100.0), M), (lambda a: np.linalg.matrix_rank(a, rtol=0.9), T)],
    "svd": [(lambda a: np.linalg.svd(a)[0], A), (lambda a: np.linalg.svd(a)[2], A.T),
            (lambda a: np.linalg.svd(a, full_matrices=False), A), (lambda a: np.linalg.svd(a, full_matrices=False), A.T),
            (np.linalg.svd, M), (lambda a: np.linalg.svd(a, compute_uv=False), A)],
    "svdvals": [(np.linalg.svdvals, A)], "lstsq": [(lambda a: np.linalg.lstsq(a, V[:4]), A.T), (lambda a: np.linalg.lstsq(a, A.T), M[:, :2]),
              (lambda a: np.linalg.lstsq(np.outer(a, W), V)[0], V), (lambda a: np.linalg.lstsq(np.outer(a, W), V)[2], V)],
    "matrix_power": [(lambda a: np.linalg.matrix_power(a, 5), M), (lambda a: np.linalg.matrix_power(a, -2), M)],
    "multi_dot": [(lambda a: np.linalg.multi_dot([a, M, A.T]), A)],
    "norm": [(np.linalg.norm, A), (lambda a: np.linalg.norm(a, axis=1), A), (lambda a: np.linalg.norm(a, 3), V),
             (lambda a: np.linalg.norm(a, 1), A), (lambda a: np.linalg.norm(a, "nuc"), A), (lambda a: np.linalg.norm(a, np.inf), V)],
    "vector_norm": [(lambda a: np.linalg.vector_norm(a, axis=0, ord=1), A)],
    "matrix_norm": [(np.linalg.matrix_norm, T), (lambda a: np.linalg.matrix_norm(a, ord=2, keepdims=True), T)],
    "cond": [(np.linalg.cond, M)],
    "fft": [(np.fft.fft, V), (lambda a: np.fft.fft(a, 8, axis=0, norm="ortho"), A), (np.fft.fft, Z)],
    "ifft": [(np.fft.ifft, Z), (lambda a: np.fft.ifft(a, norm="forward"), Z)],
    "rfft": [(np.fft.rfft, V), (np.fft.rfft, V[:4]), (lambda a: np.fft.rfft(a, 3), V)],
    "irfft": [(np.fft.irfft, Z), (lambda a: np.fft.irfft(a, 5), Z), (lambda a: np.fft.irfft(a, 9, norm="ortho"), Z)],
    "fftn": [(np.fft.fftn, T)], "ifftn": [(lambda a: np.fft.ifftn(a, axes=(0, 2)), T)],
    "rfftn": [(np.fft.rfftn, T)], "irfftn": [(lambda a: np.fft.irfftn(np.fft.rfftn(a)), T)],
    "fft2": [(np.fft.fft2, T)], "ifft2": [(np.fft.ifft2, T)], "rfft2": [(np.fft.rfft2, T)],
    "irfft2": [(np.fft.irfft2, T)], "hfft": [(np.fft.hfft, Z)], "ihfft": [(np.fft.ihfft, V)],
    "fftshift": [(np.fft.fftshift, A)], "ifftshift": [(lambda a: np.fft.ifftshift(a, 1), A)],
    "reduce": [(np.logaddexp.reduce, A), (lambda a: np.logaddexp.reduce(a, axis=(0, 1), keepdims=True), 400.0 * A),
               (lambda a: np.logaddexp.reduce(np.where(a < 1, -np.inf, a), axis=1, initial=0.5), A),
               (lambda a: np.logaddexp.reduce(a, axis=1, where=MASK), A)],
    "i0": [(np.i0, A)],
    "cov": [(np.cov, A)], "corrcoef": [(np.corrcoef, A)],
}  # fmt: skip
GENERATOR_T = np.random.default_rng(1).normal(size=(2, 4, 2))
# With jumps or ties at the values tested, or a dtype too narrow for differences.
KINKED = {"max", "min", "heaviside", "round", "fix", "astype", "nan_to_num", "real_if_close"}
# Predicates and helpers without arithmetic of their own.
UNTESTED = {
    "asarray", "asanyarray", "ascontiguousarray", "shape", "ndim", "size", "result_type",
    "can_cast", "iscomplexobj", "isrealobj", "permute_dims", "concat", "amax", "amin", "radians",
    "around", "invert", "deg2rad", "rad2deg",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "number"), [(name, i) for name, rows in CASES.items() for i in range(len(rows))]
)
def test_traced_form_agrees_with_numpy(name, number):
    function, argument = CASES[name][number]
    with np.errstate(all="ignore"):
        expected = function(np.array(argument) if isinstance(argument, np.ndarray) else argument)
    graph = verify(clew.trace(function)(argument))
    found = clew.evaluate(graph, argument)
    found = found if isinstance(found, tuple) else (found,)
    for mine, theirs in zip(found, pytree.flatten(expected)[0], strict=True):
        theirs = np.asarray(theirs)
        assert np.asarray(mine).dtype == theirs.dtype
        assert np.asarray(mine).shape == theirs.shape
        np.testing.assert_allclose(mine, theirs, rtol=1e-13, atol=1e-14)
    smooth = all(np.asarray(y).dtype.kind in "fc" for y in pytree.flatten(expected)[0])
    smooth = smooth and np.asarray(argument).dtype.kind in "fc" and not np.isnan(argument).any()
    if smooth and name not in KINKED:
        clew.testing.check_derivatives(function, argument)


DTYPES = ("bool", "int8", "uint16", "int32", "int64", "float16", "float32", "complex64")


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_traced_form_has_numpys_dtype_whatever_it_is_given(name, dtype):
    for function, argument in CASES[name]:
        kind = getattr(argument, "dtype", np.dtype(object)).kind
        if kind not in "fc" or (kind == "c" and dtype != "complex64"):
            continue
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
                given = argument.astype(dtype)
                expected = function(given.copy())
        except (TypeError, ValueError, np.linalg.LinAlgError):
            continue  # NumPy does not take that dtype
        if name == "putmask" and given.dtype.kind not in "fc":
            with pytest.raises(clew.DtypeError, match="would cut the gradient"):
                clew.trace(function)(given)
            continue
        with warnings.catch_warnings(action="ignore"):
            graph = clew.trace(function)(given)
        found = [output.type.dtype for output in graph.outputs]
        assert found == [np.asarray(y).dtype for y in pytree.flatten(expected)[0]]


NUMBERS = (2, 2.0, *(np.dtype(name) for name in ("bool", *"bBhHiIlLefdFD")))
UFUNCS = sorted(
    {np.true_divide, np.float_power, np.degrees, np.radians, np.fabs, np.heaviside, np.logaddexp2}
    | {getattr(np, name) for name in PRIMITIVES if isinstance(getattr(np, name, None), np.ufunc)},
    key=lambda ufunc: ufunc.__name__,
)


@pytest.mark.parametrize("ufunc", UFUNCS)
def test_ufuncs_have_numpys_dtype_whatever_they_are_given(ufunc):
    for kinds in itertools.product(NUMBERS, repeat=ufunc.nin):
        given = [np.ones(2, kind) if isinstance(kind, np.dtype) else kind for kind in kinds]
        traced = [x for x in given if isinstance(x, np.ndarray)]
        if not traced:
            continue
        function = functools.partial(_applied, ufunc, given)
        try:
            with np.errstate(all="ignore"):
                expected = ufunc(*given)
        except TypeError:
            with pytest.raises(TypeError):
                clew.trace(function)(*traced)
            continue
        graph = clew.trace(function)(*traced)
        assert graph.outputs[0].type.dtype == expected.dtype, kinds


def test_a_truth_value_squared_by_the_operator_is_numpys():
    given = np.array([True, False])
    assert clew.trace(lambda x: x**2)(given).outputs[0].type.dtype == (given**2).dtype == np.int8


def _applied(ufunc, given, *arrays):
    """Put traced arrays where arrays are, numbers where numbers are."""
    traced = iter(arrays)
    return ufunc(*(next(traced) if isinstance(x, np.ndarray) else x for x in given))


@pytest.mark.parametrize("axis", [None, 0, (0, 1)])
def test_the_norm_of_nothing_has_slope_zero(axis):
    gradient = clew.grad(lambda a: np.sum(np.linalg.norm(a, axis=axis)))(np.zeros((2, 2)))
    assert np.array_equal(gradient, np.zeros((2, 2)))


def test_every_registered_form_is_tested():
    names = {getattr(function, "__name__", "") for function in HANDLERS}
    assert sorted(names - set(CASES) - UNTESTED) == []
