"""For every primitive in the registry: calls to check it on.

Elementwise records need no entry: operands are drawn from their own domain. Others state their
operands and parameters; a record without a sample fails the suite.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from clew.core.kinds import Elementwise
from clew.core.primitive import PRIMITIVES, Interval, NoDerivative
from clew.core.types import Type

GENERATOR = np.random.default_rng(20)


@dataclass(frozen=True)
class Sample:
    """Operands and parameters of one call."""

    operands: tuple
    params: dict = field(default_factory=dict)


def uniform(*shape, low=0.3, high=2.0):
    return GENERATOR.uniform(low, high, shape)


def distinct(*shape):
    """Values far enough apart that differences do not cross a kink."""
    return (GENERATOR.permutation(int(np.prod(shape))).reshape(shape) + 1.0) / 7.0


def spd(*lead, n=3):
    a = GENERATOR.normal(size=(*lead, n, n))
    return a @ np.swapaxes(a, -1, -2) + n * np.eye(n)


def general(*lead, n=3):
    return GENERATOR.normal(size=(*lead, n, n)) + n * np.eye(n)


def complex_(*shape):
    return GENERATOR.normal(size=shape) + 1j * GENERATOR.normal(size=shape)


PART = (slice(0, 2), slice(None, None, -1))
ROWS, COLUMNS = np.array([2, 0, 2]), np.array([1, 1, 3])
X = uniform(3, 4)

TABLE = {
    "sum": [Sample((X,), {"axis": (0,)}), Sample((X,), {"axis": (0, 1)}), Sample((X,), {"axis": ()})],
    "prod": [Sample((X,), {"axis": (1,)}), Sample((np.array([[2.0, 0.0, 3.0]]),), {"axis": (1,)})],
    "max": [Sample((distinct(3, 4),), {"axis": (0,)})],
    "min": [Sample((distinct(3, 4),), {"axis": (0, 1)})],
    "any": [Sample((X > 1,), {"axis": (0,)})],
    "all": [Sample((X > 1,), {"axis": (1,)})],
    "argmax": [Sample((distinct(3, 4),), {"axis": 1})],
    "argmin": [Sample((distinct(3, 4),), {"axis": 0})],
    "reshape": [Sample((X,), {"shape": (2, 6)})],
    "transpose": [Sample((uniform(2, 3, 4),), {"axes": (2, 0, 1)})],
    "broadcast_to": [Sample((uniform(3, 1),), {"shape": (2, 3, 4)})],
    "concatenate": [Sample((X, uniform(3, 2)), {"axis": 1})],
    "basic_slice": [Sample((X,), {"index": PART}), Sample((X,), {"index": (1, slice(None))})],
    "update": [Sample((X, uniform(2, 4)), {"index": PART})],
    "gather": [Sample((X, ROWS, COLUMNS), {"axes": (0, 1)}), Sample((X, COLUMNS), {"axes": (1,)})],
    "scatter_add": [Sample((X, uniform(3), ROWS, COLUMNS), {"axes": (0, 1)}),
                    Sample((X, uniform(3, 3), COLUMNS), {"axes": (1,)})],
    "scatter_set": [Sample((X, uniform(3, 3), COLUMNS), {"axes": (1,)})],
    "contract": [Sample((X, uniform(4, 2)), {"left": (0, 1), "right": (1, 2), "out": (0, 2)}),
                 Sample((complex_(2, 3), complex_(2, 3)), {"left": (0, 1), "right": (0, 1), "out": (0,)})],
    "cumsum": [Sample((X,), {"axis": 1})],
    "cumprod": [Sample((X,), {"axis": 0}), Sample((np.array([2.0, 0.0, 3.0, 0.0]),), {"axis": 0})],
    "cummax": [Sample((distinct(3, 4),), {"axis": 1})],
    "cummin": [Sample((distinct(3, 4),), {"axis": 1})],
    "sort": [Sample((distinct(3, 4),), {"axis": 1})],
    "argsort": [Sample((distinct(3, 4),), {"axis": 0})],
    "searchsorted": [Sample((np.array([0.5, 1.0, 1.5]), X), {"side": "left"})],
    "pinv": [Sample((uniform(4, 2),)), Sample((uniform(2, 4),))],
    "det": [Sample((general(2),))],
    "adjugate": [Sample((general(),))],
    "slogdet": [Sample((general(2),)), Sample((general() + 1j * general(),))],
    "cholesky": [Sample((spd(2),))],
    "qr": [Sample((uniform(4, 3) + np.eye(4, 3),))],
    "eigh": [Sample((np.diag([1.0, 3.0, 6.0]) + 0.1 * spd(),)),
             Sample((np.diag([1.0, 3.0, 6.0]) + 0.1 * general(),), {"lower": False})],
    "svd": [Sample((np.eye(4, 3) * np.array([1.0, 3.0, 6.0]) + 0.2 * uniform(4, 3),))],
    "expm": [Sample((0.3 * general(),))],
    "random_bits": [Sample((np.array([1, 2], np.uint32),), {"shape": (3,)})],
}  # fmt: skip

# These have suites of their own that go through the functions calling them.
ELSEWHERE = {
    "guard": "tests/trace",
    "call": "tests/calculus",
    "check": "tests/loops",
    "loop": "tests/loops",
    "remat": "tests/loops",
    "replay": "tests/loops",
    "switch": "tests/loops",
    "root": "tests/implicit",
    "linear_solve": "tests/implicit",
    "add_tapes": "tests/loops/test_tapes.py",
    "join_tapes": "tests/loops/test_tapes.py",
    "narrow_tape": "tests/loops/test_tapes.py",
    "pick_tape": "tests/loops/test_tapes.py",
    "widen_tape": "tests/loops/test_tapes.py",
    "pulled": "tests/calculus",
    "conv": "tests/ops/test_conv.py",
    "fft": "tests/ops/test_fft.py",
    "rfft": "tests/ops/test_fft.py",
    "irfft": "tests/ops/test_fft.py",
    "solve": "tests/ops/test_linalg.py",
    "eig": "tests/ops/test_linalg.py",
    "expm_derivative": "tests/ops/test_linalg.py",
}
INTEGER = {"bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_invert", "left_shift",
           "right_shift", "gcd", "lcm"}  # fmt: skip
SPECIAL = {
    "where": Sample((X > 1, X, uniform(3, 4))),
    "convert": Sample((X,), {"dtype": np.dtype(complex)}),
    "conjugate": Sample((complex_(3, 4),)),
    "real": Sample((complex_(3, 4),)),
    "imag": Sample((complex_(3, 4),)),
    "polygamma": Sample((np.full((3, 4), 1.0), X)),
}


def elementwise_sample(record):
    if record.name in SPECIAL:
        return SPECIAL[record.name]
    count = record.eval.__code__.co_argcount - 1
    if count == 0:  # written with *operands: as many as NumPy's ufunc takes
        count = getattr(np, record.name).nin
    if record.name in INTEGER:
        return Sample(tuple(GENERATOR.integers(1, 5, (3, 4)) for _ in range(count)))
    domains = record.domain if isinstance(record.domain, tuple) else (record.domain,) * count
    return Sample(tuple(draw(domain, (3, 4), i) for i, domain in enumerate(domains)))


def draw(domain: Interval, shape, place=0):
    """Values in a domain, away from 0 and from those of other places, where kinks may be."""
    inside = np.linspace(domain.low, domain.high, int(np.prod(shape)) + 2)[1:-1]
    inside = inside + 0.3 * place * (inside[1] - inside[0])
    inside = np.where(np.abs(inside) < 0.05, 0.05, inside)
    return GENERATOR.permutation(inside).reshape(shape)


def samples_of(name):
    record = PRIMITIVES[name]
    if isinstance(record, Elementwise):
        return [elementwise_sample(record)]
    return TABLE.get(name, [])


def differentiable(name, sample):
    record = PRIMITIVES[name]
    rules = (getattr(record, rule, None) for rule in ("partials", "push_rule"))
    if any(isinstance(rule, NoDerivative) for rule in rules):
        return False
    types = [Type(np.shape(x), np.asarray(x).dtype) for x in sample.operands]
    result = record.result_type(types, sample.params)
    result = result if record.multiple else (result,)
    return any(t.inexact for t in types) and any(t.inexact for t in result)


ALL = [(name, i) for name in PRIMITIVES for i in range(len(samples_of(name)))]
SMOOTH = [(name, i) for name, i in ALL if differentiable(name, samples_of(name)[i])]
