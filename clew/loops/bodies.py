"""From a user's step function to a loop's graph, with errors that name what does not fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.core import pytree
from clew.core.errors import DtypeError, InputError, ShapeError
from clew.core.graph import Equation, Graph, Var
from clew.core.kinds import Bilinear, Elementwise, Linear
from clew.core.primitive import PRIMITIVES
from clew.core.types import Type, type_of
from clew.loops.closures import outer_traces, with_own_work
from clew.loops.spec import Policy, Spec
from clew.simplify import simplify
from clew.trace import record


@dataclass(frozen=True)
class Carry:
    """The leaves of a carry, with what puts them together."""

    leaves: list[Any]
    types: list[Type]
    structure: pytree.Structure

    @classmethod
    def of(cls, tree: Any, what: str) -> Carry:
        """Flatten a tree whose leaves are all values of their own, shared or not."""
        leaves, structure = pytree.flatten(tree, shared=False)
        for name, leaf in zip(structure.names, leaves, strict=True):
            try:
                numeric = type_of(leaf).dtype.kind in "biufc"
            except (TypeError, ValueError):
                numeric = False
            if not numeric:
                raise DtypeError(
                    f"{what}: {name or 'the value'} is a {type(leaf).__name__}, not an array",
                    "carry arrays and numbers; close over anything else",
                )
        return cls(leaves, [type_of(leaf) for leaf in leaves], structure)

    def abstract(self) -> Any:
        """Return the tree of types."""
        return self.structure.unflatten([Type(kind.shape, kind.dtype) for kind in self.types])


@dataclass(frozen=True)
class Body:
    """A traced step: its graph, the outer values it reads, and the structure it returns."""

    graph: Graph
    captured: list[Any]
    structure: pytree.Structure


def body_of(
    function: Callable[..., Any], arguments: Sequence[Any], may_be_skipped: bool = False
) -> Body:
    """Trace a function on trees of types.

    What may be skipped (a branch, the step of a loop that may take none) keeps inside what it
    computes from outer values.
    """
    before = outer_traces()
    recording = record(function, arguments, abstract=True)
    if may_be_skipped:
        recording = with_own_work(recording, before)
    return Body(simplify(recording.graph), recording.captured, recording.structure)


def fitting(what: str, carry: Carry, result: Any) -> list[Any]:
    """Return the leaves of the next carry; raise if it is not like the carry."""
    leaves, structure = pytree.flatten(result, shared=False)
    if structure != carry.structure:
        raise InputError(
            f"{what}: the body returned a carry of another structure: "
            f"{described(structure)}, it began as {described(carry.structure)}",
            "return the carry in the structure that it came in",
        )
    for name, leaf, kind in zip(structure.names, leaves, carry.types, strict=True):
        its = type_of(leaf)
        label = f"carry {name}" if name else "the carry"
        if its.shape != kind.shape:
            raise ShapeError(
                f"{what}: {label} begins with shape {kind.shape}, "
                f"and the body returns it with shape {its.shape}",
                "keep the shape from step to step: start with the final shape, "
                "or return what changes as a stacked output of clew.scan",
            )
        if its.dtype != kind.dtype:
            raise DtypeError(
                f"{what}: {label} begins as {kind.dtype}, and the body returns {its.dtype}",
                f"start with a value of dtype {its.dtype}, or convert in the body: "
                f"x.astype(np.{kind.dtype})",
            )
    return leaves


def described(structure: pytree.Structure) -> str:
    """Return the leaves of a tree in words.

    >>> [described(pytree.flatten(tree)[1]) for tree in (None, 1.0, {"a": 1.0, "b": 2.0})]
    ['nothing', 'one value', 'a, b']
    """
    if not structure.names:
        return "nothing"
    return ", ".join(structure.names) or "one value"


def single_truth(what: str, result: Any) -> Any:
    """Return a condition's answer; raise if it is not one true or false."""
    try:
        kind = type_of(result)
    except (TypeError, ValueError):
        kind = None
    if kind is None or kind.shape != () or kind.dtype.kind not in "biu":
        numeric = kind is not None and kind.dtype.kind in "biufc"
        found = str(kind) if numeric else f"a {type(result).__name__}"
        raise ShapeError(
            f"{what}: the condition returned {found}, not one true or false",
            "compare single numbers, or reduce with np.all or np.any",
        )
    return PRIMITIVES["not_equal"](result, 0) if kind.dtype.kind != "b" else result


# --- what does not change from step to step ------------------------------------------------------

_NEVER_FAIL = frozenset(
    [
        "prod",
        "max",
        "min",
        "any",
        "all",
        "argmax",
        "argmin",
        "cumprod",
        "cummax",
        "cummin",
        "sort",
        "argsort",
        "searchsorted",
    ]
)
"""General primitives that take any numbers."""


def may_fail(equation: Equation) -> bool:
    """Whether an equation may raise, or never end, on values that it was not meant for.

    >>> import clew, numpy as np
    >>> [may_fail(e) for e in clew.trace(lambda x: np.linalg.inv(x @ x))(np.eye(2)).equations]
    [False, True]
    """
    primitive = equation.primitive
    whole = [atom.type.dtype.kind in "iu" for atom in equation.inputs]
    if isinstance(primitive, Elementwise):
        return primitive.name == "power" and all(whole)
    indexed = any(whole)  # an index may lie outside
    sure = isinstance(primitive, Linear | Bilinear) or primitive.name in _NEVER_FAIL
    return indexed or not sure or not equation.outputs


def hoisted(spec: Spec) -> tuple[Graph, Spec]:
    """Move what depends on held values only out of the body.

    Returns a graph from the held values to what to hold besides, and the smaller loop. What
    might fail, or take long, goes out only if at least one step would have run it.
    """
    body = spec.body
    inputs = spec.inner(body.inputs)
    fixed: set[Any] = {*inputs.held, *body.constants}
    outside: list[Equation] = []
    inside: list[Equation] = []
    for equation in body.equations:
        steady = all(type(atom) is not Var or atom in fixed for atom in equation.inputs)
        wanted = steady and equation.outputs and spec.length != 0
        if wanted and (spec.length is not None or not may_fail(equation)):
            outside.append(equation)
            fixed.update(equation.outputs)
        else:
            inside.append(equation)
    made = [var for equation in outside for var in equation.outputs]
    read = {atom for equation in inside for atom in equation.inputs} | {*body.outputs}
    extra = [var for var in made if var in read]
    before = Graph(inputs.held, outside, extra, body.constants).with_live_equations()
    smaller = Graph([*body.inputs, *extra], inside, body.outputs, body.constants)
    condition = spec.condition
    if condition is not None:
        more = [Var(var.type) for var in extra]
        condition = Graph(
            [*condition.inputs, *more],
            condition.equations,
            condition.outputs,
            condition.constants,
        )
    return before, spec.with_(body=smaller.with_live_equations(), condition=condition)


def policy_of(spelling: str, checkpoint: Any, memory: Any, where: Any) -> Policy:
    """Check and keep what the user said about memory."""
    if isinstance(checkpoint, int | np.integer) and not isinstance(checkpoint, bool):
        checkpoint = int(checkpoint)
        if checkpoint < 1:
            raise InputError(f"{spelling}: checkpoint={checkpoint}", "keep at least 1 snapshot")
    elif checkpoint not in (None, "auto"):
        raise InputError(
            f"{spelling}: checkpoint={checkpoint!r}",
            'give None, "auto", or a number of snapshots',
        )
    if memory is None:
        return Policy(checkpoint, None, where, spelling)
    if not isinstance(memory, int | float | np.number) or not memory >= 1:
        raise InputError(f"{spelling}: memory={memory!r}", "give a number of bytes above 0")
    return Policy(checkpoint, int(memory), where, spelling)
