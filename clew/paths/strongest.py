"""The paths that carry most: found best first, not by walking all of them."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.paths.ends import Place
from clew.paths.gains import largest_gain
from clew.paths.naming import NodeName, named_node
from clew.paths.net import Edge, Net
from clew.paths.pull import Pull
from clew.paths.semiring import back_from, counting, forth_from, strongest
from clew.paths.uses import norm_of, share_of
from clew.paths.written import JOIN


@dataclass(frozen=True, eq=False)
class StrongPath:
    """One path, from the sink to the source, and what the gradient gets along it alone.

    ``gains[i]`` is the norm behind ``nodes[i]`` over that before it. ``share`` is
    ``<contribution, gradient> / <gradient, gradient>``.
    """

    source: str
    nodes: tuple[NodeName, ...]
    gains: tuple[float, ...]
    contribution: Any
    norm: float
    share: float

    def __str__(self) -> str:
        way = " <- ".join([*(node.name for node in self.nodes), self.source])
        return f"{self.norm:.4g} ({self.share:.1%}): {way}"


@dataclass(frozen=True)
class Strongest:
    """Paths by the norm of their contributions, largest first.

    ``exact`` says that no other path carries more. If false the search ended before it knew.
    """

    paths: tuple[StrongPath, ...]
    exact: bool

    def __str__(self) -> str:
        return "\n".join(map(str, self.paths))


@dataclass(frozen=True)
class _Step:
    """A path so far, as a chain: the value it has come to, with the cotangent there."""

    value: int
    cotangent: Any
    norm: float
    edge: Edge | None = None
    before: _Step | None = None


def strongest_paths(
    net: Net, sink: int, source: Place, gradients: dict[int, Any], count: int, budget: int
) -> Strongest:
    """Return the ``count`` paths with the largest contributions, opening at most ``budget`` values.

    A path that has come to a value with a cotangent of norm n contributes at most n times the
    strongest way on, which one (max, x) sweep over the edges' largest gains gives for all values.
    The path with the largest bound is followed first (Hart, Nilsson and Raphael 1968).
    """
    after = back_from(net, counting(), [sink])

    def gain(edge: Edge) -> float:
        return largest_gain(net, edge) if any(each in after for each in edge.results) else 0.0

    ahead = forth_from(net, strongest(gain), source.values)
    names = dict(zip(source.values, source.names, strict=True))
    order = itertools.count()
    first = _Step(sink, net.run.types[sink].dtype.type(1), 1.0)
    waiting: list[tuple[float, int, _Step, bool]] = []

    def wait(bound: float, step: _Step, arrived: bool) -> None:
        heapq.heappush(waiting, (-bound, next(order), step, arrived))

    def meet(step: _Step) -> None:
        if step.value in names:
            wait(step.norm, step, True)
        if net.owner(step.value) >= 0 and step.value in ahead:
            wait(step.norm * ahead[step.value], step, False)

    meet(first)
    found: list[_Step] = []
    opened = 0
    while waiting and len(found) < count and opened < budget:
        _, _, step, arrived = heapq.heappop(waiting)
        if arrived:
            found.append(step)
            continue
        opened += 1
        for edge in net.nodes[net.owner(step.value)].edges:
            if step.value in edge.results and edge.value in ahead:
                cotangent = _along(net, edge, step)
                meet(_Step(edge.value, cotangent, norm_of(cotangent), edge, step))
    exact = len(found) == count or not waiting
    if not exact:
        others = [step for _, _, step, arrived in waiting if arrived]
        found += heapq.nlargest(count - len(found), others, key=lambda step: step.norm)
    return Strongest(tuple(_path(net, step, names, gradients) for step in found), exact)


def _along(net: Net, edge: Edge, step: _Step) -> Any:
    """Pull a cotangent of one value back along one edge."""
    run = net.run
    node = net.nodes[edge.node]
    with np.errstate(all="ignore"):
        if edge.in_scope:
            pull = Pull(net, {step.value: step.cotangent}, [edge.value], masked=True)
            return pull.swept(node.start, node.stop).found[edge.value]
        if run.equations[node.start].primitive is JOIN:
            return step.cotangent[edge.operand]
        rule: Any = run.rules[node.start]
        operands = [run.values[each] for each in run.operands[node.start]]
        made = run.results[node.start]
        wanted = tuple(number == edge.operand for number in range(len(operands)))
        cotangents = [step.cotangent if each == step.value else None for each in made]
        results = [run.values[each] for each in made]
        return rule.pull(operands, results, cotangents, wanted, masked=True)[edge.operand]


def _path(net: Net, last: _Step, names: dict[int, str], gradients: dict[int, Any]) -> StrongPath:
    nodes: list[NodeName] = []
    gains: list[float] = []
    step: _Step = last
    while step.edge is not None and step.before is not None:
        nodes.append(named_node(net, step.edge.node))
        gains.append(step.norm / step.before.norm if step.before.norm else 0.0)
        step = step.before
    return StrongPath(
        names[last.value],
        tuple(reversed(nodes)),
        tuple(reversed(gains)),
        np.asarray(last.cotangent),
        last.norm,
        share_of([last.cotangent], [gradients[last.value]]),
    )
