"""Equations that are not loops over elements: joins, products, factorisations, control."""

from __future__ import annotations

from typing import Any

from clew.core.graph import Equation
from clew.evaluate.native import (
    checkpoints,
    composing,
    control,
    factoring,
    fourier,
    moving,
    multiply,
    solving,
    sorting,
    tape_rules,
)


def write_opaque(program: Any, frame: Any, equation: Equation) -> None:
    """Write an equation by the rule for its primitive; without one, Python evaluates it."""
    rule = _RULES.get(equation.primitive.name)
    if rule is None or not rule(program, frame, equation):
        program.call_out(frame, equation)


_RULES: dict[str, Any] = {
    "loop": control.write_loop,
    "replay": checkpoints.write_replay,
    "switch": control.write_switch,
    "remat": control.write_remat,
    "add_tapes": tape_rules.write_by_element,
    "widen_tape": tape_rules.write_by_element,
    "narrow_tape": tape_rules.write_by_element,
    "join_tapes": tape_rules.write_join,
    "pick_tape": tape_rules.write_pick,
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
    "cholesky": factoring.write_cholesky,
    "qr": factoring.write_qr,
    "eigh": factoring.write_eigh,
    "eig": factoring.write_eig,
    "svd": factoring.write_svd,
    "solve": solving.write_solve,
    "det": solving.write_det,
    "slogdet": solving.write_slogdet,
    "pinv": composing.write_composed,
    "adjugate": composing.write_composed,
    "fft": fourier.write_fft,
    "rfft": fourier.write_rfft,
    "irfft": fourier.write_irfft,
}
