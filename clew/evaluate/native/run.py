"""Native code for a graph if it can be had, and otherwise the reference evaluator."""

from __future__ import annotations

import contextlib
import gc
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from clew.core.graph import Graph, bodies_of
from clew.evaluate.native.calling import Native
from clew.evaluate.native.clocks import Clock, Clocked, Session, current_session
from clew.evaluate.native.program import NoNativeForm
from clew.evaluate.native.schedule import length_of
from clew.evaluate.native.toolchain import ToolchainError

if TYPE_CHECKING:
    from clew.evaluate.native.notes import Notes

_LONGEST_PART = 50_000
"""Instructions of the longest body, or program with clocks: LLVM takes minutes for longer ones."""
_LONGEST = 200_000
"""Instructions of the longest program, which is cut into sections: they take 10 seconds."""
_warned: set[str] = set()


def native(graph: Graph) -> Callable[..., Sequence[Any]] | None:
    """Return the compiled graph, made once; None if it has to be evaluated by reference.

    ``CLEW_NATIVE=0`` in the environment turns compilation off.

    Warns
    -----
    RuntimeWarning
        Once, if no machine code can be made on this machine.
    """
    session = current_session()
    if session is not None:
        return _with_clocks(graph, session)
    if "native" not in graph.programs:
        graph.programs["native"] = _compiled(graph)
    return graph.programs["native"]


def _with_clocks(graph: Graph, session: Session) -> Native | None:
    from clew.evaluate.native.notes import Notes

    known = session.programs.get(id(graph))
    if known is None:
        notes = Notes(Clock())
        found = _compiled(graph, notes)
        known = Clocked(graph, notes if found is not None else None, found)
        session.programs[id(graph)] = known
    return known.program


def _compiled(graph: Graph, notes: Notes | None = None) -> Native | None:
    if os.environ.get("CLEW_NATIVE", "1") == "0":
        graph.programs["why not native"] = "CLEW_NATIVE=0"
        return None
    try:
        _check_length(graph, clocked=notes is not None and notes.clock is not None)
        with _without_collecting():
            return Native(graph, notes=notes)
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


@contextlib.contextmanager
def _without_collecting() -> Iterator[None]:
    """Let no garbage be looked for: a program being written has many objects, all in use."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _check_length(graph: Graph, clocked: bool) -> None:
    """Raise if compiling would take longer than it is likely to be worth."""
    length = length_of(graph)
    if length <= _LONGEST_PART:
        return
    if length > _LONGEST or clocked:
        raise NoNativeForm(f"too long to be worth compiling: about {length:,} instructions")
    bodies = [body for equation in graph.equations for body in bodies_of(equation)]
    longest = max(map(length_of, bodies), default=0)
    if longest > _LONGEST_PART:
        raise NoNativeForm(
            f"a body is too long to be worth compiling: about {longest:,} instructions"
        )
