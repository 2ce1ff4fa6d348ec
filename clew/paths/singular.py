"""Singular values of a Jacobian that is never formed, only applied forwards and backwards.

Golub-Kahan-Lanczos bidiagonalisation from a random start, with full reorthogonalisation
(Golub and Kahan 1965; Golub and Van Loan 2013, section 10.4). Where a step breaks down, the
matrix having lower rank, it goes on with a new random direction and a zero on the bidiagonal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.paths.net import Edge, Net
from clew.paths.pull import Pull, pushed
from clew.paths.written import JOIN

Array = np.ndarray
STEPS = 32
_TINY = 1e-13


@dataclass(frozen=True)
class Operator:
    """A matrix of ``rows`` x ``columns``, as its product with a vector, and the transpose's."""

    rows: int
    columns: int
    forward: Callable[[Array], Array]
    backward: Callable[[Array], Array]


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Singular values in descending order.

    ``exact`` says that they are all of them, to rounding: then the smaller side of the matrix has
    no more than the steps taken. Otherwise the largest are accurate, the rest are estimates
    from within the spectrum.
    """

    values: Array
    exact: bool

    @property
    def largest(self) -> float:
        """The largest singular value: by how much a vector can grow."""
        return float(self.values[0]) if len(self.values) else 0.0

    @property
    def smallest(self) -> float:
        """The smallest singular value found."""
        return float(self.values[-1]) if len(self.values) else 0.0


def singular_values(operator: Operator, steps: int = STEPS, seed: int = 0) -> Spectrum:
    """Return the singular values found in so many steps, each one product each way.

    >>> matrix = np.array([[3.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    >>> operator = Operator(3, 2, lambda v: matrix @ v, lambda u: matrix.T @ u)
    >>> found = singular_values(operator)
    >>> found.values.round(12), found.exact
    (array([3., 2.]), True)
    """
    side = min(operator.rows, operator.columns)
    count = min(side, steps)
    if not count:
        return Spectrum(np.zeros(0), True)
    there, back, width, height = (
        operator.forward,
        operator.backward,
        operator.columns,
        operator.rows,
    )
    if operator.rows < operator.columns:
        there, back, width, height = back, there, height, width
    generator = np.random.default_rng(seed)
    right = np.zeros((count + 1, width))
    left = np.zeros((count, height))
    bidiagonal = np.zeros((count, count))
    right[0] = _direction(generator.normal(size=width), right[:0], generator)[0]
    beta = 0.0
    for step in range(count):
        made = there(right[step])
        if step:
            made = made - beta * left[step - 1]
        left[step], alpha = _direction(made, left[:step], generator)
        bidiagonal[step, step] = alpha
        if step + 1 < count:
            made = back(left[step]) - alpha * right[step]
            right[step + 1], beta = _direction(made, right[: step + 1], generator)
            bidiagonal[step, step + 1] = beta
    values = np.linalg.svd(bidiagonal, compute_uv=False)
    return Spectrum(values, count == side)


def _direction(vector: Array, others: Array, generator: Any) -> tuple[Array, float]:
    """Return a unit vector orthogonal to the others, and the length along it, 0 if any will do."""
    size = np.linalg.norm(vector)
    if not np.isfinite(size):
        return np.zeros_like(vector), float("nan")
    for _ in range(2):  # twice is enough (Parlett 1998, section 6.9)
        vector = vector - others.T @ (others @ vector)
    length = float(np.linalg.norm(vector))
    if length > _TINY * size:
        return vector / length, length
    drawn = generator.normal(size=vector.shape)
    for _ in range(2):
        drawn = drawn - others.T @ (others @ drawn)
    return drawn / np.linalg.norm(drawn), 0.0


# --- what it is applied to -----------------------------------------------------------------------


def stretch_operator(
    net: Net, inputs: Sequence[int], outputs: Sequence[int], start: int, stop: int
) -> Operator:
    """Return the Jacobian of values by others, along the nodes ``start`` to ``stop`` of the run."""
    types = net.run.types

    def forward(vector: Array) -> Array:
        tangents = dict(zip(inputs, _split(vector, [types[each] for each in inputs]), strict=True))
        found = pushed(net, tangents, outputs, start, stop)
        return _joined(found, [types[each] for each in outputs])

    def backward(vector: Array) -> Array:
        seeds = dict(zip(outputs, _split(vector, [types[each] for each in outputs]), strict=True))
        found = Pull(net, seeds, inputs).swept(start, stop).found
        return _joined([found.get(each) for each in inputs], [types[each] for each in inputs])

    rows, columns = (sum(types[each].size for each in some) for some in (outputs, inputs))
    return Operator(rows, columns, forward, backward)


def edge_operator(net: Net, edge: Edge) -> Operator:
    """Return the Jacobian of a node's results by one operand."""
    run = net.run
    node = net.nodes[edge.node]
    if edge.in_scope:
        return stretch_operator(net, [edge.value], edge.results, node.start, node.stop)
    if run.equations[node.start].primitive is JOIN:  # into its own place, unchanged
        size = run.types[edge.value].size
        return Operator(size, size, lambda vector: vector, lambda vector: vector)
    rule: Any = run.rules[node.start]
    operands = [run.values[each] for each in run.operands[node.start]]
    results = [run.values[each] for each in run.results[node.start]]
    wanted = tuple(number == edge.operand for number in range(len(operands)))
    given = [each in edge.results for each in run.results[node.start]]
    kinds = [run.types[each] for each in edge.results]
    kind = run.types[edge.value]

    def forward(vector: Array) -> Array:
        (tangent,) = _split(vector, [kind])
        with np.errstate(all="ignore"):
            found = rule.push(operands, results, [tangent if flag else None for flag in wanted])
        return _joined([each for each, flag in zip(found, given, strict=True) if flag], kinds)

    def backward(vector: Array) -> Array:
        rest = iter(_split(vector, kinds))
        with np.errstate(all="ignore"):
            cotangents = [next(rest) if flag else None for flag in given]
            found = rule.pull(operands, results, cotangents, wanted)
        return _joined([found[edge.operand]], [kind])

    return Operator(sum(each.size for each in kinds), kind.size, forward, backward)


def _split(vector: Array, kinds: Sequence[Any]) -> list[Any]:
    places = np.cumsum([kind.size for kind in kinds])[:-1]
    parts = np.split(vector, places)
    return [
        part.reshape(kind.shape).astype(kind.dtype)[()]
        for part, kind in zip(parts, kinds, strict=True)
    ]


def _joined(values: Sequence[Any], kinds: Sequence[Any]) -> Array:
    parts = [
        np.zeros(kind.size) if value is None else np.ravel(value).astype(float)
        for value, kind in zip(values, kinds, strict=True)
    ]
    return np.concatenate(parts)
