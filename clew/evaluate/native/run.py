"""Native code for a graph if it can be had, and otherwise the reference evaluator."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from clew.core.graph import Graph
from clew.evaluate.native.program import Native, NoNativeForm
from clew.evaluate.native.toolchain import ToolchainError

_warned: set[str] = set()


def native(graph: Graph) -> Callable[..., Sequence[Any]] | None:
    """Return the compiled graph, made once; None if it has to be evaluated by reference.

    ``CLEW_NATIVE=0`` in the environment turns compilation off.

    Warns
    -----
    RuntimeWarning
        Once, if no machine code can be made on this machine.
    """
    if "native" not in graph.programs:
        graph.programs["native"] = _compiled(graph)
    return graph.programs["native"]


def _compiled(graph: Graph) -> Native | None:
    if os.environ.get("CLEW_NATIVE", "1") == "0":
        return None
    try:
        return Native(graph)
    except NoNativeForm as reason:
        graph.programs["why not native"] = str(reason)
    except ToolchainError as error:
        graph.programs["why not native"] = str(error)
        if error.asked not in _warned:
            _warned.add(error.asked)
            warnings.warn(
                f"no machine code can be made here, graphs are evaluated by reference: {error}",
                RuntimeWarning,
                stacklevel=2,
            )
    return None
