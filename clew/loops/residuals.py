"""What a loop saves for its way back: the fewest bytes from which the rest can be recomputed.

The values that the linear part of a step reads can be computed again from what a step starts
with: its carries, which would have to be saved, and its scanned and held inputs, which are
there anyway. Which values to save is a minimum cut of the step's graph: between the carries
(and results too dear to compute twice) on one side and the values read on the other, where
cutting a value costs its bytes (Griewank and Walther, "Evaluating Derivatives", section 4;
as a cut: Jin et al. and Chen's functorch note on "min-cut rematerialization").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from clew.core.graph import Equation, Var
from clew.core.kinds import Elementwise, Linear
from clew.core.tape import TapeType

_ALL = 2**28
_UNBOUNDED = 2**30
"""More than everything, in units in which all values together cost about ``_ALL``."""
_TAPE_BYTES = 2**20
"""What a tape of an inner loop counts as; its length is not known."""
_PER_VALUE = 8
"""Bytes added for each value saved, so that few are preferred to many."""


_FEW = 8
"""Elements up to which a mathematical function counts as cheap."""
_FUNCTIONS = frozenset(
    [
        *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "logaddexp", "power"),
        *("sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2"),
        *("sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "cbrt"),
        *("erf", "erfc", "expit", "logit", "ndtr", "gammaln", "psi", "erfinv", "i0", "i1"),
    ]
)


def cheap(equation: Equation, widest: int = 0) -> bool:
    """Whether an equation may be computed twice: elementwise, or only moving elements.

    A mathematical function of many elements takes longer than reading its result from memory, so
    it is not, if it has no more elements than ``widest``, the largest carry. Of a few numbers it
    may be computed again, so that long simulations save little.

    >>> import clew, numpy as np
    >>> [cheap(e) for e in clew.trace(lambda x: np.sin(x @ x))(np.ones(2)).equations]
    [False, True]
    """
    primitive = equation.primitive
    if primitive.name == "contract":  # an outer product adds nothing up
        labels = equation.params
        return {*labels["left"], *labels["right"]} <= {*labels["out"]}
    if primitive.name in _FUNCTIONS and _FEW < equation.outputs[0].type.size <= widest:
        return False
    return isinstance(primitive, Elementwise) or (isinstance(primitive, Linear) and primitive.moves)


def saved_values(
    equations: Sequence[Equation], carries: Iterable[Var], read: Iterable[Var], kept: set[Var]
) -> list[Var]:
    """Return the variables to save, so that all in ``read`` follow from them and free inputs.

    ``equations`` are the step's; ``kept`` are variables saved in any case, at no further cost.
    """
    targets = set(read)
    carries = list(carries)
    widest = max((var.type.size for var in carries), default=0)
    relevant = _needed(equations, targets, widest)
    sources = [var for var in carries if var in relevant]
    dear = [
        var
        for equation in equations
        if not cheap(equation, widest)
        for var in equation.outputs
        if var in relevant
    ]
    if not sources and not dear:
        return []
    number = {var: i for i, var in enumerate(relevant)}
    total = sum(_bytes(var) for var in number)
    edges: dict[tuple[int, int], int] = {}
    for var, i in number.items():
        share = max(1, _bytes(var) * _ALL // total)
        edges[2 * i + 2, 2 * i + 3] = 0 if var in kept else share
        if var in targets:
            edges[2 * i + 3, 1] = _UNBOUNDED
    edges |= {(0, 2 * number[var] + 2): _UNBOUNDED for var in (*sources, *dear)}
    for equation in equations:
        if not cheap(equation, widest):
            continue
        for result in equation.outputs:
            if result in number:
                edges |= {
                    (2 * number[atom] + 3, 2 * number[result] + 2): _UNBOUNDED
                    for atom in equation.inputs
                    if type(atom) is Var and atom in number
                }
    reaches = _reaching_sink(edges, 2 * len(number) + 2)
    return [var for var, i in number.items() if reaches[2 * i + 3] and not reaches[2 * i + 2]]


def _needed(equations: Sequence[Equation], targets: set[Var], widest: int) -> dict[Var, None]:
    """Return what the targets are computed from by cheap equations, in order."""
    wanted = set(targets)
    for equation in reversed(equations):
        if cheap(equation, widest) and any(var in wanted for var in equation.outputs):
            wanted.update(atom for atom in equation.inputs if type(atom) is Var)
    ordered: dict[Var, None] = {}
    for equation in equations:
        for atom in (*equation.inputs, *equation.outputs):
            if type(atom) is Var and atom in wanted:
                ordered[atom] = None
    for var in targets:
        ordered[var] = None
    return ordered


def _bytes(var: Var) -> int:
    if type(var.type) is TapeType:
        return _TAPE_BYTES
    return var.type.size * var.type.dtype.itemsize + _PER_VALUE


def _reaching_sink(edges: Mapping[tuple[int, int], int], size: int) -> np.ndarray:
    """Return which nodes reach the sink (1) once a maximum flow from 0 has been subtracted.

    The cut nearest to the sink: of two that cost the same, the one that recomputes less.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    rows, columns = np.array(list(edges), np.int32).T
    capacities = np.array(list(edges.values()), np.int32)
    graph = csr_array((capacities, (rows, columns)), shape=(size, size))
    flow = maximum_flow(graph, 0, 1).flow
    residual = csr_array(graph - flow)
    residual.data = np.maximum(residual.data, 0)
    residual.eliminate_zeros()
    back = csr_array(residual.T)
    reaches = np.zeros(size, bool)
    reaches[breadth_first_order(back, 1, return_predecessors=False)] = True
    return reaches
