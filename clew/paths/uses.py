"""A gradient taken apart: by the length of its paths, by the uses of a value, by the edges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.core.source import Where
from clew.paths.ends import Place
from clew.paths.naming import node_name, steps_of
from clew.paths.net import Edge, Net
from clew.paths.pull import Pull, careful

Array = np.ndarray
Mark = Callable[[Edge], int]


@dataclass(frozen=True, eq=False)
class ByLength:
    """A gradient split by the length of the paths that it came along.

    ``parts[i]`` is what came along the paths of length ``lengths[i]``; the parts sum to
    ``gradient``. For a source of several arrays both are dicts, by name. ``norms`` are the parts'
    Euclidean norms, ``shares`` are ``<part, gradient> / <gradient, gradient>``: they sum to 1, and
    are negative or above 1 where parts cancel.
    """

    lengths: tuple[int, ...]
    parts: Any
    gradient: Any
    norms: Array
    shares: Array

    def __str__(self) -> str:
        rows = zip(self.lengths, self.norms, self.shares, strict=True)
        lines = [f"{length:6}  {norm:10.4g}  {share:8.2%}" for length, norm, share in rows]
        return "\n".join(["length        norm     share", *lines])


@dataclass(frozen=True, eq=False)
class Use:
    """What one use of a value contributes to its gradient.

    ``node`` is the equation or scope that reads the value, ``steps`` the step of each loop
    around it, outermost first. ``share`` is ``<contribution, gradient> / <gradient, gradient>``.
    """

    source: str
    node: str
    where: Where
    steps: tuple[int, ...]
    contribution: Array
    norm: float
    share: float


def norm_of(*arrays: Any) -> float:
    """Return the Euclidean norm of arrays together.

    >>> norm_of(np.array([3.0]), np.array([[4.0]]))
    5.0
    """
    return float(np.sqrt(sum(np.vdot(a, a).real for a in map(np.asarray, arrays))))


def share_of(parts: Sequence[Any], wholes: Sequence[Any]) -> float:
    """Return ``<part, whole> / <whole, whole>`` of some arrays together; 0 for a whole of zeros.

    >>> share_of([np.array([1.0, 0.0])], [np.array([1.0, 1.0])])
    0.5
    """
    square = sum(float(np.vdot(each, each).real) for each in wholes)
    along = sum(float(np.vdot(a, b).real) for a, b in zip(parts, wholes, strict=True))
    return along / square if square else 0.0


# --- plain and by length -------------------------------------------------------------------------


def gradients(net: Net, sink: int, sources: Sequence[int]) -> dict[int, Array]:
    """Return the gradient of a scalar value in each source that a path leads to."""
    seed = net.run.types[sink].dtype.type(1)
    return careful(lambda masked: Pull(net, {sink: seed}, sources, masked=masked)).found


def parts_by_length(
    net: Net, sink: int, sources: Sequence[int], lanes: int, mark: Mark
) -> dict[int, Array]:
    """Return the gradient in each source that a path leads to, by length on axis 0."""
    one = np.ones(1, net.run.types[sink].dtype)
    pull = careful(lambda masked: Pull(net, {sink: one}, sources, lanes, mark, masked))
    return pull.found


def by_length(net: Net, sink: int, source: Place, lengths: Sequence[int], mark: Mark) -> ByLength:
    """Return the gradient in a source split by length; ``lengths`` are those that paths have."""
    found = parts_by_length(net, sink, source.values, max(lengths) + 1, mark)
    parts = {
        name: _chosen(found[value], lengths)
        for name, value in zip(source.names, source.values, strict=True)
        if value in found
    }
    whole = {name: each.sum(axis=0) for name, each in parts.items()}
    norms, shares = [], []
    for place in range(len(lengths)):
        along = [each[place] for each in parts.values()]
        norms.append(norm_of(*along))
        shares.append(share_of(along, list(whole.values())))
    single = len(source.values) == 1
    return ByLength(
        tuple(lengths),
        next(iter(parts.values())) if single else parts,
        next(iter(whole.values())) if single else whole,
        np.array(norms),
        np.array(shares),
    )


def _chosen(polynomial: Array, powers: Sequence[int]) -> Array:
    """Return some coefficients of a polynomial; those beyond its end are zero."""
    found = np.zeros((len(powers), *polynomial.shape[1:]), polynomial.dtype)
    for place, power in enumerate(powers):
        if power < len(polynomial):
            found[place] = polynomial[power]
    return found


# --- by use --------------------------------------------------------------------------------------


class _Uses(Pull):
    """Keeps what arrives at the sources, by the node that it comes from."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.uses: dict[tuple[int, int, int], Array] = {}

    def contributed(
        self, node: int, operand: int, value: int, contribution: Any, index: Any = None
    ) -> None:
        if value not in self._sources:
            return
        number = self.net.node_of[node]
        scope = self.net.nodes[number].instance is not None
        if index is not None:
            kind = self._run.types[value]
            whole = np.zeros(kind.shape, kind.dtype)
            whole[index] = contribution
            contribution = whole
        key = (value, number, 0 if scope else operand)
        before = self.uses.get(key)
        self.uses[key] = contribution if before is None else before + contribution


def by_use(net: Net, sink: int, source: Place) -> list[Use]:
    """Return what each use of the sources contributes, in the order in which they ran."""
    seed = net.run.types[sink].dtype.type(1)
    pull = careful(lambda masked: _Uses(net, {sink: seed}, source.values, masked=masked))
    assert isinstance(pull, _Uses)
    names = dict(zip(source.values, source.names, strict=True))
    made = []
    for (value, number, _), part in sorted(pull.uses.items(), key=lambda item: item[0][1:]):
        node = net.nodes[number]
        made.append(
            Use(
                names[value],
                node_name(net, number),
                net.run.equations[node.start].where,
                steps_of(net, number),
                np.asarray(part),
                norm_of(part),
                share_of([part], [pull.found[value]]),
            )
        )
    return made


# --- by edge -------------------------------------------------------------------------------------


class EdgeNorms(Pull):
    """The norm of what flows back along every edge, and of the gradient at every value.

    ``edges`` is by node and by operand (of a scope: by value), ``values`` by value. At what a
    scope gives, the gradient is that which comes from outside the scope.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.edges: dict[tuple[int, int], float] = {}
        self.values: dict[int, float] = {}
        self._open = self._entered = -1
        self._sums: dict[int, Any] = {}

    def swept(self, start: int = 0, stop: int | None = None) -> Pull:
        super().swept(start, stop)
        self._close()
        self.values.update({value: norm_of(found) for value, found in self.found.items()})
        return self

    @property
    def finite(self) -> bool:
        return super().finite and bool(np.isfinite(list(self.edges.values())).all())

    def of(self, edge: Edge) -> float | None:
        """Return the norm along an edge; None where no path comes along it."""
        return self.edges.get((edge.node, edge.value if edge.in_scope else edge.operand))

    def gain(self, edge: Edge) -> float | None:
        """Return the norm along an edge over that of the gradient at its reader's results."""
        norm = self.of(edge)
        before = float(np.hypot.reduce([self.values.get(each, 0.0) for each in edge.results]))
        return None if norm is None else norm / before if before else 0.0

    def arrived(self, node: int, cotangents: Sequence[Any]) -> None:
        number = self.net.node_of[node]
        here = dict(zip(self._run.results[node], cotangents, strict=True))
        if self.net.nodes[number].instance is not None:
            if number == self._entered:
                return
            # Nothing inside has been swept: what is there has come from outside.
            self._entered = number
            results = {each for edge in self.net.nodes[number].edges for each in edge.results}
            here = {each: here.get(each, self._flowing.values.get(each)) for each in results}
        for result, each in here.items():
            if each is not None:
                self.values[result] = norm_of(each)

    def contributed(
        self, node: int, operand: int, value: int, contribution: Any, index: Any = None
    ) -> None:
        number = self.net.node_of[node]
        if self.net.nodes[number].instance is None:
            self.edges[number, operand] = norm_of(contribution)
            return
        if number != self._open:
            self._close()
            self._open = number
        if self.net.owner(value) == number:
            return
        before = self._sums.get(value)
        if index is not None:
            kind = self._run.types[value]
            whole = np.zeros(kind.shape, kind.dtype) if before is None else np.array(before)
            whole[index] += contribution
            self._sums[value] = whole
        else:
            self._sums[value] = contribution if before is None else before + contribution

    def _close(self) -> None:
        """Take the norms of what came out of the scope that was just swept."""
        for value, each in self._sums.items():
            self.edges[self._open, value] = norm_of(each)
        self._sums = {}


def edge_norms(net: Net, sink: int) -> EdgeNorms:
    """Return the norms along all edges, of the gradient of a scalar value."""
    seed = net.run.types[sink].dtype.type(1)
    sources = [value for value in range(len(net.run.values)) if _from_outside(net, value)]
    pull = careful(lambda masked: EdgeNorms(net, {sink: seed}, sources, masked=masked))
    assert isinstance(pull, EdgeNorms)
    return pull


def _from_outside(net: Net, value: int) -> bool:
    return net.run.active[value] and net.owner(value) < 0
