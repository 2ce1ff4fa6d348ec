"""Every path walked one by one, and what each carries: the slow truth."""

from __future__ import annotations

import numpy as np

import clew


def all_paths(net, sink, sources):
    """Yield every path from a sink back to the sources, as a tuple of edges."""
    waiting = [(sink, ())]
    while waiting:
        value, path = waiting.pop()
        if value in sources:
            yield path
        owner = net.owner(value)
        if owner >= 0:
            for edge in net.nodes[owner].edges:
                if value in edge.results:
                    waiting.append((edge.value, (*path, edge)))


def jacobian_of(net, edge, result):
    """Return the matrix d result / d value of one edge, from clew.jacobian of what it runs."""
    run = net.run
    node = net.nodes[edge.node]
    at = run.values[edge.value]

    def rerun(moved):
        values = dict(enumerate(run.values))
        values[edge.value] = moved
        for written in range(node.start, node.stop):
            equation = run.equations[written]
            operands = [values[each] for each in run.operands[written]]
            if not edge.in_scope:
                operands = [run.values[each] for each in run.operands[written]]
                operands[edge.operand] = moved
            if equation.primitive.name == "stack":
                found = np.stack(operands)
            else:
                found = equation.primitive(*operands, **equation.params)
            found = found if equation.primitive.multiple else (found,)
            values.update(zip(run.results[written], found, strict=True))
        return values[result] * 1.0

    found = np.asarray(clew.jacobian(rerun)(at))
    return found.reshape(run.types[result].size, run.types[edge.value].size)


def carried(net, sink, path):
    """Return what flows back along one path alone, as a flat vector."""
    row = np.ones(1)
    value = sink
    for edge in path:
        row = row @ jacobian_of(net, edge, value)
        value = edge.value
    return row
