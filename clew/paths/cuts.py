"""Where all paths meet: nodes that every path passes, and the fewest nodes that cut all paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clew.paths.naming import NodeName, named_node
from clew.paths.net import Net
from clew.paths.semiring import back_from, counting, forth_from, total


@dataclass(frozen=True)
class Bottlenecks:
    """Where all paths meet, from the sink to the source.

    ``passed`` are the nodes that every path passes. ``cut`` are the fewest nodes that, taken away,
    leave no path; empty if the source is the sink itself.
    """

    passed: tuple[NodeName, ...]
    cut: tuple[NodeName, ...]


def bottlenecks_of(net: Net, sinks: Sequence[int], sources: Sequence[int]) -> Bottlenecks:
    """Return where all paths from the sinks to the sources meet.

    A node is on every path if as many paths pass it as there are: ``paths to its values x paths
    from its results``, exactly, without walking one.
    """
    semiring = counting()
    after, before = back_from(net, semiring, sinks), forth_from(net, semiring, sources)
    most = total(semiring, after, sources)
    through: dict[int, int] = {}
    for number, node in enumerate(net.nodes):
        passing = sum(
            before.get(edge.value, 0) * sum(after.get(result, 0) for result in edge.results)
            for edge in node.edges
        )
        if passing:
            through[number] = passing
    passed = [number for number, passing in through.items() if passing == most]
    # Two ways that pass one node are cut most simply there.
    cut = [passed[-1]] if passed else _fewest(net, sinks, sources, list(through))
    return Bottlenecks(
        tuple(named_node(net, number) for number in reversed(passed)),
        tuple(named_node(net, number) for number in reversed(cut)),
    )


def _fewest(
    net: Net, sinks: Sequence[int], sources: Sequence[int], nodes: Sequence[int]
) -> list[int]:
    """Return a minimum vertex cut, by a maximum flow with one unit through each node.

    Every node is two: what comes in and what goes out. (Menger 1927; Even and Tarjan 1975.)
    """
    if set(sinks).intersection(sources) or not nodes:
        return []
    from scipy import sparse
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    place = {number: 2 * index for index, number in enumerate(nodes)}
    start, end = 2 * len(nodes), 2 * len(nodes) + 1
    arcs: dict[tuple[int, int], int] = {(at, at + 1): 1 for at in place.values()}
    unlimited = len(nodes) + 1
    ends = set(sinks)
    for number in nodes:
        for edge in net.nodes[number].edges:
            if edge.value in sources:
                arcs[start, place[number]] = unlimited
            owner = net.owner(edge.value)
            if owner in place:
                arcs[place[owner] + 1, place[number]] = unlimited
            if ends.intersection(edge.results):
                arcs[place[number] + 1, end] = unlimited
    rows, columns = np.array(list(arcs), dtype=np.int32).T
    capacity = np.array(list(arcs.values()), dtype=np.int32)
    graph = sparse.csr_array((capacity, (rows, columns)), shape=(end + 1, end + 1))
    flow = maximum_flow(sparse.csr_matrix(graph), start, end).flow
    left = graph - sparse.csr_array(flow)
    left.data[left.data < 0] = 0
    left.eliminate_zeros()
    reached = set(breadth_first_order(left, start, return_predecessors=False).tolist())
    return [number for number, at in place.items() if at in reached and at + 1 not in reached]
