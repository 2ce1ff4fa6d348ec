"""The reference evaluator: one call per equation, on any array namespace.

Every primitive's ``eval`` is written over a namespace ``xp``; with NumPy this is the oracle
that other evaluators are compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from clew.core import pytree
from clew.core.errors import GraphError, InputError
from clew.core.graph import Equation, Graph, interpret
from clew.trace import GuardFailed, record


def trace(f: Callable[..., Any]) -> Callable[..., Graph]:
    """Return a function that gives the graph of ``f`` for its arguments.

    Every leaf of the arguments is an input of the graph; its results, flattened, are the
    outputs. Python conditions are answered from the arguments and recorded as guards.

    >>> print(trace(lambda x: np.sin(x) * x)(2.0))  # doctest: +ELLIPSIS
    graph(x: f64) {
      a: f64 = sin x         # ...
      b: f64 = multiply a x  # ...
      return b
    }
    """

    def graph_of(*args: Any, **kwargs: Any) -> Graph:
        call = (lambda *inner: f(*inner, **kwargs)) if kwargs else f
        recording = record(call, args)
        if recording.captured:
            raise GraphError(
                "trace: the function reads values of another trace",
                "pass them as arguments",
            )
        return recording.graph.with_live_equations()

    return graph_of


def evaluate(graph: Graph, *args: Any, namespace: Any = np) -> Any:
    """Run a graph on arguments, with NumPy or another array namespace.

    Parameters
    ----------
    graph : Graph
        From :func:`trace`.
    *args
        The arguments it was traced with, other values allowed; shapes and dtypes the same.
    namespace : module
        The array library to run on: ``numpy``, ``jax.numpy``, ...

    Returns
    -------
    The output, or a tuple of the flattened outputs.

    Raises
    ------
    InputError
        If the arguments do not fit the graph's inputs.
    GraphError
        If the values would take another Python branch than the one traced.

    >>> graph = trace(lambda x, y: x * y)(1.0, 2.0)
    >>> evaluate(graph, 3.0, 4.0)
    np.float64(12.0)
    """
    leaves = [leaf for argument in args for leaf in pytree.flatten(argument)[0]]
    if len(leaves) != len(graph.inputs):
        raise InputError(
            f"evaluate: {len(leaves)} arrays were given, the graph has "
            f"{len(graph.inputs)} inputs ({', '.join(graph.names)})",
            "pass the arguments that the graph was traced with",
        )
    values = [namespace.asarray(leaf) for leaf in leaves]
    for name, var, value in zip(graph.names, graph.inputs, values, strict=True):
        if tuple(value.shape) != var.type.shape:
            raise InputError(
                f"evaluate: {name} has shape {tuple(value.shape)}, the graph was traced "
                f"for {var.type}",
                "trace again for this shape",
            )

    def apply(equation: Equation, operands: list[Any]) -> Any:
        return equation.primitive.eval(namespace, *operands, **equation.params)

    try:
        with np.errstate(all="ignore"):
            results = interpret(graph, values, apply)
    except GuardFailed as failure:
        raise GraphError(
            f"evaluate: the values take another Python branch than the one traced ({failure})",
            "trace again with these values, or use clew.jit, which does",
        ) from None
    return results[0] if len(results) == 1 else tuple(results)
