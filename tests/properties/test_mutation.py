"""The derivative checks notice a wrong rule: each is scaled and flipped, and must be caught."""

from __future__ import annotations

import numpy as np
import pytest

from clew.core.kinds import Elementwise
from clew.core.primitive import PRIMITIVES, NoDerivative
from clew.testing import DerivativeMismatch, check_derivatives
from tests.ops.samples import SMOOTH, samples_of
from tests.ops.test_every_primitive import call_of

FACTORS = (1.01, -1.0)
# Their derivative at the sample is exactly 0 in this operand or for these reals.
ZERO = {("sign", "push_rule", 0), ("copysign", "partials", 1)}


def scaled_partial(rule, factor):
    return lambda *args, **params: rule(*args, **params) * factor


def scaled_rule(rule, factor):
    def scaled(*args, **params):
        result = rule(*args, **params)
        if isinstance(result, (tuple, list)):
            return tuple(None if part is None else part * factor for part in result)
        return None if result is None else result * factor

    return scaled


def mutations():
    seen = set()
    for name, number in SMOOTH:
        record = PRIMITIVES[name]
        if name in seen:
            continue
        seen.add(name)
        for field in ("partials", "push_rule", "transpose", "transposes"):
            rule = getattr(record, field, None)
            if rule is None or isinstance(rule, NoDerivative):
                continue
            count = len(rule) if isinstance(rule, tuple) else 1
            for place in range(count):
                part = rule[place] if isinstance(rule, tuple) else rule
                if isinstance(part, NoDerivative) or (name, field, place) in ZERO:
                    continue
                yield name, number, field, place


@pytest.mark.parametrize(("name", "number", "field", "place"), list(mutations()))
def test_a_wrong_rule_is_noticed(name, number, field, place):
    record = PRIMITIVES[name]
    original = getattr(record, field)
    function, args = call_of(name, samples_of(name)[number])
    if isinstance(record, Elementwise) and field == "partials" and name == "polygamma":
        place = 1
    for factor in FACTORS:
        if isinstance(original, tuple):
            parts = list(original)
            make = scaled_partial if field == "partials" else scaled_rule
            parts[place] = make(parts[place], factor)
            changed = tuple(parts)
        else:
            changed = scaled_rule(original, factor)
        object.__setattr__(record, field, changed)
        try:
            with pytest.raises(DerivativeMismatch), np.errstate(all="ignore"):
                check_derivatives(function, *args, tolerance=1e-4)
        finally:
            object.__setattr__(record, field, original)
