"""What nodes and values of a net are called when people read of them."""

from __future__ import annotations

from typing import NamedTuple

from clew.core.source import Where
from clew.paths.net import Net
from clew.paths.scopes import depth_of


class NodeName(NamedTuple):
    """A node as people know it: its name, source line, and the steps of the loops around it.

    >>> print(NodeName("tanh", Where("/home/ada/model.py", 12), (3,)))
    tanh at model.py:12, step 3
    """

    name: str
    where: Where
    steps: tuple[int, ...]

    def __str__(self) -> str:
        at = f" at {self.where}" if self.where else ""
        step = f", step {' of '.join(map(str, self.steps))}" if self.steps else ""
        return f"{self.name}{at}{step}"


def node_name(net: Net, number: int) -> str:
    """Return the short name of a node: its scope's last name, or its operation.

    >>> import clew
    >>> import numpy as np
    >>> from clew.paths.writing import written_out
    >>> run = written_out(clew.trace(np.tanh)(1.0), [1.0], [0])
    >>> node_name(Net(run, []), 0)
    'tanh'
    """
    node = net.nodes[number]
    if node.instance is not None:
        own = node.instance.name
        return own if node.instance.number == 1 else f"{own} ({node.instance.number})"
    equation = net.run.equations[node.start]
    return str(equation.params.get("name") or equation.primitive.name)


def steps_of(net: Net, number: int) -> tuple[int, ...]:
    """Return the step of each loop around a node, outermost first."""
    node = net.nodes[number]
    frame = net.run.frames[node.start]
    if node.instance is None:
        return frame.steps
    depth = depth_of(node.instance.path)
    return tuple(step for step, at in zip(*frame, strict=True) if at < depth)


def named_node(net: Net, number: int) -> NodeName:
    """Return all that people know a node by."""
    where = net.run.equations[net.nodes[number].start].where
    return NodeName(node_name(net, number), where, steps_of(net, number))
