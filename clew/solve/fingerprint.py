"""What makes two runs the same run: compared before a resume file is continued."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from clew.core import pytree
from clew.solve.checkpoint import ResumeError
from clew.solve.methods.base import Method
from clew.solve.problem import Problem

PLURAL = ("parameters", "fixed parameters", "bounds", "data", "weights", "constraints")
LOSS_AGREES = 1e-9  # relative: the same model on another machine may round differently


def fingerprint(problem: Problem, method: Method, **settings: Any) -> dict[str, Any]:
    """Return a JSON description of all that decides a run; one entry per cause."""
    space = problem.space
    return {
        "parameters": [[leaf.name, list(leaf.shape), str(leaf.dtype)] for leaf in space.leaves],
        "fixed parameters": _digest(space.free),
        "start": _digest(space.full_start),
        "bounds": _digest([space.lower, space.upper]),
        "goal": problem.goal,
        "target": _digest(problem.target),
        "data": _digest(problem.data),
        "weights": _digest(problem.weights),
        "robust loss": [problem.robust.name, problem.robust.scale] if problem.robust else None,
        "constraints": [[_digest(c.lower), _digest(c.upper)] for c in problem.constraints],
        "method": described(method),
        **settings,
    }


def described(method: Method) -> dict[str, Any]:
    """Return a method's name and options; the tolerance only says when to end, and is left out."""
    options = {
        field.name: _plain(getattr(method, field.name))
        for field in dataclasses.fields(method)
        if field.name != "tolerance"
    }
    return {"name": method.name, **options}


def check_same(
    path: str, written: Mapping[str, Any], now: Mapping[str, Any], first_loss: float
) -> None:
    """Make sure that a resume file belongs to this run.

    Raises
    ------
    ResumeError
        Naming what differs.
    """
    for cause, value in now.items():
        if written.get(cause) == value:
            continue
        detail = ""
        if cause in ("parameters", "goal", "method", "batch", "seed"):
            detail = f" (the file: {_short(written.get(cause))}; now: {_short(value)})"
        raise ResumeError(
            f"resume: {path} was written for another problem: its {cause} "
            f"{'differ' if cause in PLURAL else 'differs'}{detail}",
            "resume with the problem and method that wrote it, or give another path",
        )
    before = written["first loss"]
    if not abs(before - first_loss) <= LOSS_AGREES * max(abs(before), abs(first_loss)):
        raise ResumeError(
            f"resume: {path} was written by another model: the loss at the start is "
            f"{first_loss!r}, in the file it is {before!r}",
            "resume with the model that wrote it, or give another path",
        )


def _plain(value: Any) -> Any:
    if isinstance(value, Method):
        return described(value)
    if dataclasses.is_dataclass(value):
        return repr(value)
    if callable(value):
        return getattr(value, "__qualname__", type(value).__name__)
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value


def _digest(tree: Any) -> str | None:
    if tree is None:
        return None
    digest = hashlib.sha256()
    leaves, structure = pytree.flatten(tree)
    digest.update(repr(structure.names).encode())
    for leaf in leaves:
        if isinstance(leaf, (np.ndarray, np.generic, float, int, complex, bool)):
            array = np.asarray(leaf)
            digest.update(f"{array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        else:
            digest.update(repr(leaf).encode())
    return digest.hexdigest()


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 160 else text[:157] + "..."
