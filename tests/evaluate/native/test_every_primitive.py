"""Native code gives what the reference evaluator gives: every primitive, dtype and shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clew.core.errors import ClewError
from clew.core.kinds import Elementwise
from clew.core.primitive import PRIMITIVES
from tests.evaluate.native.comparing import WRAPS, assert_same, mismatches
from tests.evaluate.native.operands import DTYPES, SHAPES, ordinary, special
from tests.ops.samples import ALL, elementwise_sample, samples_of

ELEMENTWISE = [name for name, record in PRIMITIVES.items() if isinstance(record, Elementwise)]
COMPARISONS = ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"]
LOGIC = ["logical_and", "logical_or", "logical_xor"]
CASTS = {(f, i) for f in ("f4", "f8", "c8", "c16") for i in DTYPES if i[0] in "iu"}
"""Out of range, C leaves these open."""


@pytest.mark.parametrize(("name", "number"), ALL)
def test_a_sample_of_every_primitive(name, number):
    record, sample = PRIMITIVES[name], samples_of(name)[number]
    assert_same(lambda *x: record(*x, **sample.params), *sample.operands)


def admitted(record, dtypes):
    """Return the dtypes that a record computes with, None if it is not defined for them."""
    try:
        found = record._promotion([np.dtype(d) for d in dtypes])
        record._result_dtype(tuple(found), {})
    except (ClewError, TypeError):
        return None
    return found


def calls_of(record, count, shift):
    """Yield a label and operands: some shapes for each dtype, all shapes over all dtypes."""
    generator = np.random.default_rng(shift)
    domains = record.domain if isinstance(record.domain, tuple) else (record.domain,) * count
    for number, dtype in enumerate(DTYPES):
        dtypes = ["?", dtype, dtype] if record.name == "where" else [dtype] * count
        if record.name != "convert" and admitted(record, dtypes) is None:
            continue
        for shape in [*SHAPES[(number + shift) % 4 :: 4], (17,)]:
            drawn = [
                ordinary(generator, d, shape, domain)
                for d, domain in zip(dtypes, domains, strict=True)
            ]
            yield f"{dtype} {shape}", drawn
        values = [special(d) for d in dtypes]
        if record.name == "power" and dtype[0] == "i":
            values[1] = values[1][values[1] >= 0]  # others are an error
        ones = [1] * (count - 1)
        grid = [v.reshape([*ones[:i], -1, *ones[i:]]) for i, v in enumerate(values)]
        yield f"{dtype} special", grid


def alone_and_fused(label: str, record: Any, operands: Any, params: Any) -> list[tuple[str, Any]]:
    """Return a call alone, and one between other operations, summed."""
    found = [(label, record(*operands, **params))]
    if "special" not in label:
        chosen = [np.where(x == x, x, np.zeros((), x.dtype)) for x in operands]
        inner = record(*chosen, **params)
        found.append((f"{label} fused", np.where(inner == inner, inner, inner)))
        if inner.ndim and inner.dtype.kind != "b":
            sizes = np.abs(inner) if inner.dtype.kind in "fc" else inner  # nothing cancels
            total = PRIMITIVES["sum"](sizes, axis=tuple(range(inner.ndim)))
            found.append((f"{label} sum", total))
    return found


@pytest.mark.parametrize("name", [name for name in ELEMENTWISE if name != "convert"])
def test_elementwise(name):
    record = PRIMITIVES[name]
    count = len(elementwise_sample(record).operands)
    calls = list(calls_of(record, count, ELEMENTWISE.index(name)))

    def build(given):
        rest, found = iter(given), []
        for label, operands in calls:
            found += alone_and_fused(label, record, [next(rest) for _ in operands], {})
        return found

    flat = [x for _, operands in calls for x in operands]
    wrong = mismatches(build, flat, lambda label: "special" not in label)
    assert not wrong, "\n".join(wrong)


def test_convert():
    record = PRIMITIVES["convert"]
    calls = list(calls_of(record, 1, 0))

    def build(given):
        found = []
        for (label, _), x in zip(calls, given, strict=True):
            for dtype in DTYPES:
                kind = label.split()[0]
                if "special" in label and (kind, dtype) in CASTS:
                    continue
                if kind[0] in "fc" and dtype[0] == "u" and not WRAPS:
                    continue
                found += alone_and_fused(
                    f"{label} {dtype}", record, [x], {"dtype": np.dtype(dtype)}
                )
        return found

    wrong = mismatches(build, [x for _, (x,) in calls], lambda label: "special" not in label)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("names", [COMPARISONS, LOGIC])
def test_comparisons_of_two_dtypes(names):
    values = [special(dtype) for dtype in DTYPES]

    def build(given):
        found = []
        for i, x in enumerate(given):
            for j, y in enumerate(given):
                for name in names:
                    label = f"{DTYPES[i]} {name} {DTYPES[j]}"
                    found.append((label, PRIMITIVES[name](x[:, None], y)))
        return found

    wrong = mismatches(build, values, lambda label: False)
    assert not wrong, "\n".join(wrong)
