"""Take out of a transposed loop what only adds to the cotangents of held operands.

A weight used at every step receives a sum over the steps. Its terms feed no other step, so
they need not be computed one step at a time: the loop stacks what they are made of, and all
are computed and added at once after it. A sum of products becomes one product with the steps
as a further axis to sum over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clew.batch import batch
from clew.core.cost import bytes_of
from clew.core.graph import Equation, Graph, Var
from clew.core.kinds import Control
from clew.core.primitive import PRIMITIVES
from clew.core.tape import TapeType
from clew.loops.memory import AUTO_BYTES
from clew.loops.spec import Spec
from clew.trace import run


@dataclass(frozen=True)
class Fission:
    """A loop without its sums, and the graph of their terms.

    ``terms`` reads, for one step, the scanned inputs, what the loop stacks besides, and the
    held inputs; where ``products`` has labels, two outputs stand for one term, their product.
    """

    spec: Spec
    terms: Graph
    stacked: int
    products: list[dict[str, Any] | None]
    signs: list[int]


def fission(spec: Spec, count: int) -> Fission | None:
    """Divide a loop whose carries from number ``count`` on are sums; None if it does not pay."""
    if not spec.length or spec.carries == count:
        return None
    inputs = spec.inner(spec.body.inputs)
    made_by: dict[Any, Equation] = {
        var: each for each in spec.body.equations for var in each.outputs
    }
    sums = zip(inputs.carries[count:], spec.body_carries[count:], strict=True)
    added = [_added(made_by.get(atom), var) for var, atom in sums]
    if None in added:
        return None
    results = [each[0] for each in added]
    kept = [*spec.body_carries[:count], *spec.body_stacked]
    staying, going = _divided(spec.body, kept)
    there = {var for each in staying for var in each.outputs}
    products, wanted = _as_products(results, made_by, there)
    rest = Graph(spec.body.inputs, going, wanted, spec.body.constants).with_live_equations()
    if any(isinstance(each.primitive, Control) for each in rest.equations):
        return None
    read = {atom for each in rest.equations for atom in each.inputs} | {*rest.outputs}
    made = (var for each in staying for var in each.outputs)
    extra = [var for var in (*inputs.carries[:count], *made) if var in read]
    if any(isinstance(var.type, TapeType) for var in (*inputs.scanned, *extra)):
        return None
    if _needs(rest, extra) * spec.length > (spec.policy.memory or AUTO_BYTES):
        return None
    body = Graph(
        [*inputs.carries[:count], *inputs.scanned, *inputs.held],
        staying,
        [*kept, *extra],
        spec.body.constants,
    )
    terms = Graph(
        [*inputs.scanned, *extra, *inputs.held], rest.equations, rest.outputs, rest.constants
    )
    new = spec.with_(body=body, carries=count)
    return Fission(new, terms, len(spec.body_stacked), products, [each[1] for each in added])


def _divided(body: Graph, kept: Sequence[Any]) -> tuple[list[Equation], list[Equation]]:
    """Return the equations that these results need, whole, and the others."""
    live: set[Any] = {*kept}
    staying: list[Equation] = []
    going: list[Equation] = []
    for equation in reversed(body.equations):
        if not equation.outputs or any(var in live for var in equation.outputs):
            staying.append(equation)
            live.update(equation.inputs)
        else:
            going.append(equation)
    return staying[::-1], going[::-1]


def _added(equation: Equation | None, total: Var) -> Any:
    """Return what an equation adds to a sum, and with which sign."""
    if equation is None or equation.primitive.name not in ("add", "subtract"):
        return None
    left, right = equation.inputs
    if left is total:
        return right, 1 if equation.primitive.name == "add" else -1
    return (left, 1) if right is total and equation.primitive.name == "add" else None


def _as_products(
    terms: Sequence[Any], made_by: dict[Any, Equation], there: set[Any]
) -> tuple[list[dict[str, Any] | None], list[Any]]:
    """Let the operands of a product stand for it, unless the loop computes it anyway."""
    products: list[dict[str, Any] | None] = []
    wanted: list[Any] = []
    for term in terms:
        made = made_by.get(term)
        if made is not None and made.primitive.name == "contract" and term not in there:
            products.append(made.params)
            wanted += made.inputs
        else:
            products.append(None)
            wanted.append(term)
    return products, wanted


def _needs(rest: Graph, extra: Sequence[Var]) -> int:
    made = [var.type for each in rest.equations for var in each.outputs]
    return sum(bytes_of(kind) for kind in (*made, *(var.type for var in extra)))


def summed(
    made: Fission, scanned: Sequence[Any], stacked: Sequence[Any], held: Sequence[Any]
) -> list[Any]:
    """Return the sums over all steps."""
    steps = made.spec.length
    assert steps is not None
    flags = [True] * (len(scanned) + len(stacked)) + [False] * len(held)
    graph, found = batch(made.terms, steps, flags)
    values = iter(zip(run(graph, [*scanned, *stacked, *held]), found, strict=True))
    sums = []
    for labels in made.products:
        if labels is None:
            sums.append(_over_steps(*next(values), steps))
        else:
            sums.append(_product(*next(values), *next(values), labels, steps))
    negative = PRIMITIVES["negative"]
    return [x if sign == 1 else negative(x) for x, sign in zip(sums, made.signs, strict=True)]


def _over_steps(value: Any, has_steps: bool, steps: int) -> Any:
    if has_steps:
        return PRIMITIVES["sum"](value, axis=(0,))
    return PRIMITIVES["multiply"](value, float(steps))


def _product(
    left: Any, left_flag: bool, right: Any, right_flag: bool, labels: dict, steps: int
) -> Any:
    fresh = max((*labels["left"], *labels["right"], -1)) + 1
    value = PRIMITIVES["contract"](
        left,
        right,
        left=(fresh, *labels["left"]) if left_flag else labels["left"],
        right=(fresh, *labels["right"]) if right_flag else labels["right"],
        out=labels["out"],
    )
    return value if left_flag or right_flag else PRIMITIVES["multiply"](value, float(steps))
