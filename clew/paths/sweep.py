"""``sweep``: the chain rule over a semiring of your own, on a flow or a graph."""

from __future__ import annotations

from typing import Any

from clew.core.graph import Graph
from clew.paths.ends import End
from clew.paths.flow import Flow
from clew.paths.net import Net
from clew.paths.semiring import Semiring, back_from, total
from clew.paths.writing import written_out


def sweep(
    graph: Flow | Graph, semiring: Semiring[Any], source: End = None, sink: End = None
) -> Any:
    """Return the sum over all gradient paths of the products of their edges.

    Parameters
    ----------
    graph : Flow or Graph
        Of a traced graph the nodes are its equations, with loops of known length written out.
    semiring : Semiring
    source, sink : optional
        As in :class:`Flow`; of a graph, the numbers of an input and an output, the first ones if
        not given.

    Raises
    ------
    InputError
        For a graph with a branch, or a loop whose length is not known.

    Examples
    --------
    The entropy over paths. Give every edge a weight; a path has the product of its weights. How
    evenly is the sum spread over the paths? With ``p`` a path's part of the sum ``Z``, the
    entropy is ``-sum p log p = log Z - (1/Z) sum w log w``. The *expectation semiring*
    (Li and Eisner 2009) carries pairs (sum of w, sum of w log w), so that one sweep gives both:

    >>> import clew, math
    >>> import numpy as np
    >>> def stack(x):
    ...     for _ in range(10):
    ...         x = x + np.tanh(x)
    ...     return x
    >>> entropy = Semiring(
    ...     zero=(0.0, 0.0),
    ...     one=(1.0, 0.0),
    ...     add=lambda a, b: (a[0] + b[0], a[1] + b[1]),
    ...     mul=lambda a, b: (a[0] * b[0], a[0] * b[1] + a[1] * b[0]),
    ...     edge=lambda edge: (0.5, 0.5 * math.log(0.5)),
    ... )
    >>> weight, weighted_log = sweep(clew.flow(stack)(1.0), entropy)
    >>> nats = math.log(weight) - weighted_log / weight

    Each of the ten blocks is passed by one edge or two, so a third of the weight takes the detour
    through tanh; the choices are independent and their entropies add up:

    >>> detour = 0.25 / 0.75
    >>> choice = -detour * math.log(detour) - (1 - detour) * math.log(1 - detour)
    >>> bool(np.isclose(nats, 10 * choice))
    True
    """
    if isinstance(graph, Flow):
        return graph.sweep(semiring, source, sink)
    run = written_out(graph, None, range(len(graph.inputs)))
    start = run.outputs[int(sink or 0)]
    found = back_from(Net(run, []), semiring, [start])
    return total(semiring, found, [run.inputs[int(source or 0)]])
