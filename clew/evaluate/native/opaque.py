"""Equations that are not loops over elements: joins, products, factorisations, control."""

from __future__ import annotations

from typing import Any

from clew.core.graph import Equation
from clew.evaluate.native import control, moving, multiply


def write_opaque(program: Any, frame: Any, equation: Equation) -> None:
    """Write an equation by the rule for its primitive; without one, Python evaluates it."""
    rule = _RULES.get(equation.primitive.name)
    if rule is None or not rule(program, frame, equation):
        program.call_out(frame, equation)


_RULES: dict[str, Any] = {
    "loop": control.write_loop,
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
    "contract": multiply.write_contract,
}
