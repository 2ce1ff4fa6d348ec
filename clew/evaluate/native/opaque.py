"""Equations that are not loops over elements: joins, products, factorisations, control."""

from __future__ import annotations

from typing import Any

from clew.core.graph import Equation
from clew.evaluate.native import checkpoints, control, moving, multiply, sorting
from clew.loops.spec import spec_of


def write_opaque(program: Any, frame: Any, equation: Equation) -> None:
    """Write an equation by the rule for its primitive; without one, Python evaluates it."""
    rule = _RULES.get(equation.primitive.name)
    if rule is None or not rule(program, frame, equation):
        program.call_out(frame, equation)


def _write_loop(program: Any, frame: Any, equation: Equation) -> bool:
    spec = spec_of(equation)
    if spec.snapshots is None:
        return control.write_loop(program, frame, equation)
    return checkpoints.write_with_snapshots(program, frame, equation, spec)


_RULES: dict[str, Any] = {
    "loop": _write_loop,
    "replay": checkpoints.write_replay,
    "switch": control.write_switch,
    "remat": control.write_remat,
    "guard": control.write_guard,
    "check": control.write_check,
    "concatenate": moving.write_concatenate,
    "update": moving.write_update,
    "scatter_add": moving.write_scatter,
    "scatter_set": moving.write_scatter,
    "cumsum": moving.write_running,
    "cumprod": moving.write_running,
    "cummax": moving.write_running,
    "cummin": moving.write_running,
    "argmax": moving.write_position,
    "argmin": moving.write_position,
    "sort": sorting.write_sort,
    "argsort": sorting.write_sort,
    "searchsorted": sorting.write_searchsorted,
    "random_bits": sorting.write_random_bits,
    "contract": multiply.write_contract,
    "conv": multiply.write_conv,
}
