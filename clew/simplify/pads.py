"""Sums of arrays that are zero but for a part each: the parts side by side.

The transpose of a slice is an update of zeros, and where an array was cut into pieces its cotangent
is the sum of such updates. If the parts do not overlap it is one array with all of them written
in; if they fill it, they are concatenated.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from clew.core.graph import Atom, Equation, Literal, Var
from clew.core.types import Type
from clew.simplify.rewriting import MadeBy, equation_of, repeated

Box = tuple[range, ...]
Part = tuple[Box, Atom, tuple]


def side_by_side(equation: Equation, made_by: MadeBy) -> list[Equation] | None:
    """Return equations for a sum of padded parts that do not overlap; None for any other sum.

    >>> import clew, numpy as np
    >>> graph = clew.trace(clew.grad(lambda x: np.sum(x[:2] * x[2:])))(np.ones(4))
    >>> [e.primitive.name for e in clew.simplify.simplify(graph).equations][-1]
    'concatenate'
    """
    left, right = (_parts(atom, made_by) for atom in equation.inputs)
    if left is None or right is None or equation.inputs[0].type != equation.inputs[1].type:
        return None
    parts = [*left, *right]
    boxes = [box for box, _, _ in parts]
    if any(_overlap(a, b) for a in left for b in right):
        return None
    kind = equation.outputs[0].type
    order = _along_one_axis(boxes, kind.shape)
    if order is not None and all(len(v.type.shape) == len(kind.shape) for _, v, _ in parts):
        axis, places = order
        inputs = tuple(parts[i][1] for i in places)
        return [equation_of(equation, "concatenate", inputs, {"axis": axis}, equation.outputs)]
    return _written(equation, parts, kind)


def _written(equation: Equation, parts: Sequence[Part], kind: Type) -> list[Equation]:
    """Write the parts into zeros one after the other."""
    base = Var(kind)
    zero = Literal(kind.dtype.type(0))
    made = [equation_of(equation, "broadcast_to", [zero], {"shape": kind.shape}, (base,))]
    for number, (_, value, index) in enumerate(parts):
        last = number == len(parts) - 1
        outputs = equation.outputs if last else (Var(kind),)
        inputs = [made[-1].outputs[0], value]
        made.append(equation_of(equation, "update", inputs, {"index": index}, outputs))
    return made


def _parts(atom: Atom, made_by: MadeBy) -> list[Part] | None:
    """Return what an array holds besides zeros, if that is written in part by part."""
    made = made_by(atom) if type(atom) is Var else None
    if made is None or made.primitive.name != "update":
        return None
    old, value = made.inputs
    box = _box(made.params["index"], atom.type.shape)
    if box is None or value.type.dtype != atom.type.dtype:
        return None
    own = [(box, value, made.params["index"])]
    if repeated(old, made_by) == 0:
        return own
    before = _parts(old, made_by)
    if before is None or any(_overlap(a, own[0]) for a in before):
        return None
    return [*before, *own]


def _box(index: tuple, shape: Sequence[int]) -> Box | None:
    found = []
    for axis, length in enumerate(shape):
        part = index[axis] if axis < len(index) else slice(None)
        if isinstance(part, slice):
            steps = range(*part.indices(length))
            if steps.step != 1:
                return None
        else:
            start = int(part) % length
            steps = range(start, start + 1)
        found.append(steps)
    return tuple(found)


def _overlap(left: Part, right: Part) -> bool:
    pairs = zip(left[0], right[0], strict=True)
    return all(max(a.start, b.start) < min(a.stop, b.stop) for a, b in pairs)


def _along_one_axis(boxes: Sequence[Box], shape: Sequence[int]) -> tuple[int, list[int]] | None:
    """Return the axis along which the boxes fill an array one after the other, and their order."""
    whole = tuple(range(length) for length in shape)
    for axis in range(len(shape)):
        if any(
            box[other] != whole[other]
            for box in boxes
            for other in range(len(shape))
            if other != axis
        ):
            continue
        order = sorted(range(len(boxes)), key=lambda i: boxes[i][axis].start)
        stops = [boxes[i][axis] for i in order]
        joined = all(a.stop == b.start for a, b in pairwise(stops))
        if joined and stops[0].start == 0 and stops[-1].stop == shape[axis]:
            return axis, order
    return None
