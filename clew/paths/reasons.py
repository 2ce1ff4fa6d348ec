"""Why no gradient path leads to a value: what it was read by, and where that was cut off."""

from __future__ import annotations

from collections.abc import Sequence

from clew.core.primitive import NoDerivative
from clew.paths.written import Written


def reason_for(run: Written, value: int, sinks: Sequence[int]) -> str:
    """Say why no gradient flows from sinks back to a value.

    >>> import clew
    >>> import numpy as np
    >>> from clew.paths.writing import written_out
    >>> run = written_out(clew.trace(lambda x, y: np.floor(x) * y)(1.5, 2.0), [1.5, 2.0], [0, 1])
    >>> reason_for(run, run.inputs[0], run.outputs)  # doctest: +ELLIPSIS
    'cut: floor at ... has no derivative (piecewise constant)'
    """
    if not run.types[value].inexact:
        return f"integer: a value of dtype {run.types[value].dtype} has no derivative"
    leads = _leading_to(run, sinks)
    reached = {value}
    cuts: list[int] = []
    for node, operands in enumerate(run.operands):
        rule = run.rules[node]
        for operand, each in enumerate(operands):
            if each not in reached:
                continue
            passes = rule.reaches[operand] if rule is not None and run.active[each] else ()
            results = run.results[node]
            reached.update([results[place] for place in passes])
            if not passes and leads.intersection(results):
                cuts.append(node)
    if not cuts:
        return "unused: no operation on the way to the output reads it"
    return _described(run, min(cuts, key=lambda node: _rank(run, node)))


def _leading_to(run: Written, sinks: Sequence[int]) -> set[int]:
    """Return the values that the sinks were computed from, whether by a gradient path or not."""
    found = set(sinks)
    for operands, results in zip(reversed(run.operands), reversed(run.results), strict=True):
        if found.intersection(results):
            found.update(operands)
    return found


def _rank(run: Written, node: int) -> int:
    """Put stops on purpose first; a comparison that also reads the value says least."""
    equation = run.equations[node]
    if equation.primitive.name == "stop_gradient":
        return 0
    return 1 if equation.outputs[0].type.inexact else 2


def _described(run: Written, node: int) -> str:
    equation = run.equations[node]
    name = equation.params.get("name") or equation.primitive.name
    at = f" at {equation.where}" if equation.where else ""
    if name == "stop_gradient":
        return f"stopped: by stop_gradient{at}"
    for field in ("partials", "push_rule"):
        rule = getattr(equation.primitive, field, None)
        if isinstance(rule, NoDerivative):
            return f"cut: {name}{at} has no derivative ({rule.reason})"
    kind = equation.outputs[0].type
    if not kind.inexact:
        return f"integer: {name}{at} gives dtype {kind.dtype}"
    return f"cut: {name}{at} has no derivative in that operand"
