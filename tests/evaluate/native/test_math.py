"""Inline math functions: accuracy, special values, and the same bits however they are compiled."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import mpmath
import numpy as np
import pytest
import scipy.special

from clew.evaluate.native.emitter import FLOAT32, FLOAT64, Emitter, Module, Value
from clew.evaluate.native.host import host
from clew.evaluate.native.math import MATH, emit_math, has_math
from tests.evaluate.native.compiling import Library, Loops

mp = mpmath.mp
FLOAT16 = np.dtype(np.float16)
INF, NAN = float("inf"), float("nan")
BINARY = {"arctan2", "hypot", "logaddexp", "power", "xlogy"}
WIDE, NARROW = (1074.0, 1023.999), (149.0, 127.999)  # binary orders below and above 1


class Sampler:
    """Draws numbers of a dtype; every method takes the count from the instance."""

    def __init__(self, dtype: Any, count: int, seed: int) -> None:
        self.dtype = np.dtype(dtype)
        self.count = count
        self.random = np.random.default_rng(seed)
        self.low, self.high = WIDE if self.dtype == FLOAT64 else NARROW
        self.digits = np.finfo(self.dtype).nmant
        self.largest = 745.0 if self.dtype == FLOAT64 else 104.0  # beyond, e^-x is 0

    def uniform(self, low: float, high: float) -> np.ndarray:
        return self.random.uniform(low, high, self.count).astype(self.dtype)

    def sizes(self, low: float | None = None, high: float | None = None) -> np.ndarray:
        """Positive, all binary orders (from low to high) alike."""
        low, high = -self.low if low is None else low, self.high if high is None else high
        orders = self.random.uniform(low, high, self.count).astype(np.longdouble)
        return np.exp2(orders).astype(self.dtype)

    def signed(self, low: float | None = None, high: float | None = None) -> np.ndarray:
        return self.sizes(low, high) * self.random.choice([-1.0, 1.0], self.count).astype(
            self.dtype
        )

    def near(self, centre: float) -> np.ndarray:
        """Numbers about one, down to the last place."""
        return (centre + self.signed(-self.digits - 1, -3)).astype(self.dtype)


def _multiples(s: Sampler) -> np.ndarray:
    """The numbers nearest to multiples of pi/4."""
    return (np.arange(1, s.count) * (np.pi / 4)).astype(s.dtype)


def _powers(s: Sampler) -> tuple[np.ndarray, np.ndarray]:
    """Bases and exponents whose power is neither 0 nor infinite."""
    x = np.concatenate([s.sizes(), abs(s.near(1.0)), s.sizes(-3, 3)])
    x[x == 1.0] = 2.0
    logs = np.log(x.astype(np.float64))
    y = s.random.uniform(-s.largest, 0.95 * s.largest, x.size) / logs
    return x, np.clip(y, -1e37, 1e37).astype(s.dtype)


def _pairs(s: Sampler) -> tuple[np.ndarray, np.ndarray]:
    x, y = s.signed(), s.signed()
    a, b = s.uniform(-3, 3), s.signed(-4, 4)
    return np.concatenate([x, a, b, s.uniform(-30, 30)]), np.concatenate(
        [y, b, a, s.uniform(-3, 3)]
    )


def _cat(*parts: Callable[[Sampler], np.ndarray]) -> Callable[[Sampler], Any]:
    return lambda s: (np.concatenate([part(s) for part in parts]).astype(s.dtype),)


class Case(NamedTuple):
    """A function: what it should be, where it is tried, and how far off it may be.

    ``bounds`` are in units in the last place, float64 and float32, of the value, or of what
    ``scale`` makes of value and operands where the problem itself is ill-conditioned.
    """

    exact: Callable[..., Any]
    points: Callable[[Sampler], Any]
    bounds: tuple[float, float]
    scale: Callable[..., Any] | None = None
    bits: int = 130


_UNIT = _cat(lambda s: s.uniform(-1, 1), lambda s: s.signed(None, -0.001), lambda s: s.near(0.5))
_ALL = _cat(lambda s: s.signed(), lambda s: s.uniform(-10, 10), lambda s: s.uniform(-1, 1))
_HALF_LINE = _cat(lambda s: s.sizes(), lambda s: s.uniform(0.5, 2), lambda s: s.near(1.0))
_EXPONENTS = _cat(
    lambda s: s.uniform(-s.largest, 0.95 * s.largest),
    lambda s: s.uniform(-2, 2),
    lambda s: s.signed(None, 6),
)
_ANGLES = _cat(lambda s: s.signed(), lambda s: s.uniform(-10, 10), _multiples)
_TAILS = _cat(
    lambda s: s.uniform(-6, 0.036 * s.largest if s.digits > 30 else 10.0),
    lambda s: s.uniform(-2, 2),
    lambda s: s.signed(None, 2),
)

# The one table of accuracies. The reasons for scales: logaddexp is a sum, which cancels where the
# larger operand is negative and small; gammaln and psi of negative arguments have a zero between
# any two poles. psi passes 2 only beside the negative poles, for the errors of pi / tan(pi x).
CASES: dict[str, Case] = {
    "exp": Case(mp.exp, _EXPONENTS, (1.1, 1.1)),
    "exp2": Case(lambda x: mp.mpf(2) ** x, _EXPONENTS, (1.1, 1.1)),
    "expm1": Case(mp.expm1, _EXPONENTS, (1.3, 1.3)),
    "log": Case(mp.log, _HALF_LINE, (1.0, 1.0)),
    "log2": Case(lambda x: mp.log(x) / mp.ln2, _HALF_LINE, (1.0, 1.0)),
    "log10": Case(mp.log10, _HALF_LINE, (1.0, 1.0)),
    "log1p": Case(
        mp.log1p,
        _cat(lambda s: s.sizes(), lambda s: -s.sizes(None, -0.01), lambda s: s.uniform(-0.9, 3)),
        (1.0, 1.0),
        bits=1200,
    ),
    "sin": Case(mp.sin, _ANGLES, (1.0, 1.0), bits=1200),
    "cos": Case(mp.cos, _ANGLES, (1.0, 1.0), bits=1200),
    "tan": Case(mp.tan, _ANGLES, (1.3, 1.3), bits=1200),
    "arcsin": Case(mp.asin, _UNIT, (1.5, 1.5)),
    "arccos": Case(mp.acos, _UNIT, (1.5, 1.5)),
    "arctan": Case(mp.atan, _ALL, (1.9, 1.9)),
    "arctan2": Case(mp.atan2, _pairs, (2.0, 2.0), bits=1200),
    "sinh": Case(mp.sinh, _EXPONENTS, (1.7, 1.7)),
    "cosh": Case(mp.cosh, _EXPONENTS, (1.7, 1.7)),
    "tanh": Case(mp.tanh, _EXPONENTS, (1.2, 1.2)),
    "arcsinh": Case(mp.asinh, _ALL, (1.4, 1.4), bits=1200),
    "arccosh": Case(
        mp.acosh,
        _cat(lambda s: s.sizes(0.0), lambda s: s.uniform(1, 3), lambda s: abs(s.near(0)) + 1),
        (1.9, 1.9),
        bits=1200,
    ),
    "arctanh": Case(mp.atanh, _UNIT, (1.2, 1.2), bits=1200),
    "power": Case(mp.power, _powers, (1.4, 1.4), bits=200),
    "cbrt": Case(lambda x: mp.sign(x) * mp.cbrt(abs(x)), _ALL, (0.6, 0.6)),
    "hypot": Case(mp.hypot, _pairs, (1.2, 1.2), bits=1200),
    "logaddexp": Case(
        lambda x, y: max(x, y) + mp.log1p(mp.exp(-abs(x - y))) if abs(x - y) < 800 else max(x, y),
        _pairs,
        (2.0, 2.0),
        scale=lambda value, x, y: max(abs(value), abs(max(x, y)), abs(value - max(x, y))),
        bits=1200,
    ),
    "xlogy": Case(
        lambda x, y: x * mp.log(y), lambda s: (_pairs(s)[0], abs(_pairs(s)[1])), (2.0, 2.0)
    ),
    "expit": Case(lambda x: 1 / (1 + mp.exp(-x)), _EXPONENTS, (1.6, 1.6)),
    "logit": Case(
        lambda x: mp.log(x / (1 - x)),
        _cat(lambda s: s.uniform(0, 1), lambda s: s.near(0.5), lambda s: s.sizes(None, -0.01)),
        (1.2, 1.2),
        bits=1200,
    ),
    "erf": Case(mp.erf, _TAILS, (1.7, 1.7)),
    "erfc": Case(mp.erfc, _TAILS, (1.8, 1.8)),
    "ndtr": Case(
        lambda x: mp.erfc(-x / mp.sqrt(2)) / 2,
        _cat(
            lambda s: s.uniform(-0.05 * s.largest if s.digits > 30 else -14, 9),
            lambda s: s.uniform(-2, 2),
            lambda s: s.signed(None, 2),
        ),
        (2.0, 2.0),
    ),
    "gammaln": Case(
        lambda x: mp.loggamma(x).real,
        _cat(
            lambda s: s.sizes(None, s.high - 8),
            lambda s: s.uniform(0.1, 10),
            lambda s: s.near(1.0),
            lambda s: s.near(2.0),
            lambda s: -s.uniform(0.1, 40),
        ),
        (2.0, 2.0),
        scale=lambda value, x: abs(value) if x > 0 else max(abs(value), 2 + abs(x)),
    ),
    "psi": Case(
        lambda x: mp.psi(0, x),
        _cat(
            lambda s: s.sizes(-100.0),
            lambda s: s.uniform(0.1, 10),
            lambda s: s.near(1.4616321449683622),
            lambda s: -s.uniform(0.1, 40),
        ),
        (2.5, 2.0),
        scale=lambda value, x: abs(value) if x > 0 else max(abs(value), 2 + abs(x)),
    ),
}
DTYPES = [FLOAT64, FLOAT32]


@cache
def library(dtype: np.dtype, vectorise: bool = True) -> Library:
    """Every function as a loop."""
    loops = Loops()
    for name in sorted(MATH):
        count = 2 if name in BINARY else 1
        loops.add(name, dtype, count, lambda e, *x, name=name: emit_math(e, name, x))
    return loops.compiled(vectorise)


def reference(name: str) -> Callable[..., np.ndarray]:
    if name == "expit":  # SciPy's underflows at -709 already
        return lambda x: np.where(x < -40, np.exp(x), scipy.special.expit(x))
    return getattr(np, name, None) or getattr(scipy.special, name)


def test_every_function_has_a_case() -> None:
    assert set(CASES) == MATH


def units_off(got: float, exact: Any, scale: Any, dtype: np.dtype) -> float:
    """The error in units in the last place of ``scale``, subnormal numbers included."""
    info = np.finfo(dtype)
    if abs(exact) >= mp.mpf(float(info.max)):
        # The largest number is right until the rounding boundary to infinity.
        return 0.0 if abs(got) >= info.max and (got > 0) == (exact > 0) else INF
    order = max(mp.frexp(scale)[1] - 1 if scale else -5000, info.minexp)
    return float(abs(mp.mpf(float(got)) - exact) / mp.mpf(2) ** (int(order) - info.nmant))


@pytest.mark.parametrize("name", sorted(CASES))
def test_accuracy_of_float64_against_mpmath(name: str) -> None:
    case = CASES[name]
    points = case.points(Sampler(FLOAT64, 600, 3))
    got = library(FLOAT64)(name, *points)
    with mp.workprec(case.bits):
        for value, *operands in zip(got, *points, strict=True):
            given = [mp.mpf(float(x)) for x in operands]
            exact = case.exact(*given)
            scale = case.scale(exact, *given) if case.scale else exact
            assert units_off(value, exact, scale, FLOAT64) <= case.bounds[0], (operands, value)


@pytest.mark.parametrize("name", sorted(CASES))
def test_accuracy_of_float32_against_float64(name: str) -> None:
    """NumPy's and SciPy's doubles are exact to 10^-6 of float32's last place: many points."""
    case = CASES[name]
    points = case.points(Sampler(FLOAT32, 20_000, 4))
    got = library(FLOAT32)(name, *points).astype(np.float64)
    wider = [x.astype(np.float64) for x in points]
    with np.errstate(all="ignore"):
        exact = reference(name)(*wider)
    scale = abs(exact)
    if case.scale:
        if name == "logaddexp":
            larger = np.maximum(*wider)
            scale = np.maximum(scale, np.maximum(abs(larger), abs(exact - larger)))
        else:
            scale = np.maximum(scale, np.where(wider[0] > 0, 0, 2 - wider[0]))
    largest = float(np.finfo(np.float32).max)
    over = abs(exact) >= largest
    assert np.all(abs(got[over]) >= largest)
    unit = np.exp2(np.maximum(np.frexp(scale)[1] - 1, -126) - 23.0)
    with np.errstate(invalid="ignore"):
        error = np.where(over, 0.0, abs(got - exact) / unit)
    worst = int(np.argmax(error))
    assert error[worst] <= case.bounds[1], [float(x[worst]) for x in points]


_EDGES = [
    0.0,
    1.0,
    2.0,
    3.0,
    0.5,
    1.5,
    INF,
    5e-324,
    1e-310,
    1e-40,
    1e300,
    3e38,
    2.0**53,
    2.0**53 + 2,
]
_EDGES += [0.25, 1e-5, 30.0, 89.0, 710.0, 746.0, 1e9, 1e22, 4.0, 2.0**40, 2.0**-60, 2.5, 0.75]
EDGES = np.array([*_EDGES, *(-x for x in _EDGES), NAN])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", sorted(CASES))
def test_special_values(name: str, dtype: np.dtype) -> None:
    """Zeros, infinities, NaN, subnormals and thresholds: NumPy's and SciPy's answers."""
    with np.errstate(all="ignore"):
        edges = EDGES.astype(dtype)
        operands = [edges]
        if name in BINARY:
            operands = [x.ravel() for x in np.meshgrid(edges, edges)]
        wanted = reference(name)(*(x.astype(np.float64) for x in operands)).astype(dtype)
    info = np.finfo(dtype)
    got = library(dtype)(name, *operands)
    for value, want, *given in zip(got, wanted, *operands, strict=True):
        if np.isnan(want):
            assert np.isnan(value), (given, value)
            continue
        assert np.signbit(value) == np.signbit(want), (given, value, want)
        # SciPy's own errors are above 4 units for some.
        rough = {"gammaln": 40, "logaddexp": 40, "ndtr": 400, "psi": 100}.get(name, 4)
        with np.errstate(over="ignore", under="ignore"):
            allowed = abs(want) * rough * info.eps + 2 * info.smallest_subnormal
            assert value == want or abs(value - want) <= allowed, (given, value, want)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", sorted(CASES))
def test_vector_and_scalar_loops_give_the_same_bits(name: str, dtype: np.dtype) -> None:
    points = CASES[name].points(Sampler(dtype, 501, 5))
    bits = np.dtype(f"u{dtype.itemsize}")
    vector, scalar = library(dtype)(name, *points), library(dtype, False)(name, *points)
    assert np.array_equal(vector.view(bits), scalar.view(bits))


@pytest.mark.parametrize("name", sorted(MATH))
def test_loops_are_vectorised(name: str) -> None:
    features = llvm.get_host_cpu_features()
    if not (features.get("fma") or features.get("neon")):
        pytest.skip("without a fused multiply-add there is nothing to vectorise with")
    text = str(library(FLOAT64).parsed.get_function(name))
    assert re.search(r"call <\d+ x double> @llvm\.fma", text)


@pytest.mark.parametrize("name", ["sin", "cos", "tan", "gammaln"])
def test_rare_cases_are_one_masked_call(name: str) -> None:
    features = llvm.get_host_cpu_features()
    if not features.get("avx2"):
        pytest.skip("the cost model may choose another number of lanes")
    text = str(library(FLOAT64).parsed.get_function(name))
    assert re.search(rf"@clew_math_{name}_double\.v[248]", text)


def test_powers_of_the_base_have_exact_logarithms() -> None:
    tens = np.array([float(f"1e{k}") for k in range(-22, 23)])
    assert np.array_equal(library(FLOAT64)("log10", tens)[22:], np.arange(0.0, 23.0))
    orders = np.arange(-1074.0, 1024.0)
    twos = np.ldexp(np.ones(orders.size), orders.astype(int))
    assert np.array_equal(library(FLOAT64)("log2", twos), orders)
    assert np.array_equal(library(FLOAT64)("exp2", orders), twos)


def emitted(*names: str, dtype: np.dtype = FLOAT64) -> str:
    """The text of a module with one function that computes these of one argument."""
    module = Module()
    e = Emitter(module, "f", [("double", "x", ""), ("ptr", "out", "")], flags="fast")
    for k, name in enumerate(names):
        x = e.convert(Value(FLOAT64, "%x"), dtype)
        e.store("%out", emit_math(e, name, [x, x] if name in BINARY else [x]), k)
    assert e.flags == "fast"
    e.ret()
    module.add(e)
    return module.text()


@pytest.mark.parametrize("name", sorted(MATH))
def test_no_fast_math_flags(name: str) -> None:
    assert not re.search(r"\b(fast|contract|reassoc|nnan|ninf|nsz|arcp|afn)\b", emitted(name))


def test_sine_and_cosine_share_their_work() -> None:
    def multiplications(*names: str) -> int:
        loops = Loops()
        loops.add(
            "f",
            FLOAT64,
            1,
            lambda e, x: e.add(*(emit_math(e, name, [x]) for name in names)),
        )
        compiled = loops.compiled(vectorise=False)
        text = str(compiled.parsed.get_function("f"))
        return text.count("@llvm.fma") + text.count("fmul")

    assert multiplications("sin", "cos") < 1.2 * multiplications("sin", "sin")


@pytest.mark.skipif(
    host().vector == 16 and host().registers == 16, reason="converts by a function of the compiler"
)
def test_half_precision_is_computed_in_single() -> None:
    x = np.linspace(-4, 4, 101).astype(np.float16)
    loops = Loops()
    loops.add("exp", FLOAT16, 1, lambda e, x: emit_math(e, "exp", [x]))
    assert np.array_equal(
        loops.compiled()("exp", x), np.exp(x.astype(np.float32)).astype(np.float16)
    )


def test_has_math() -> None:
    assert has_math("sin", FLOAT64)
    assert not has_math("sin", np.dtype(np.complex128))
    assert not has_math("sin", np.dtype(np.int64))
    assert not has_math("no such function", FLOAT64)
