"""Python function -> graph: tracer, NumPy protocols, mutation, guards."""

from clew.trace.builder import Builder, active_builder, run
from clew.trace.guards import GuardFailed
from clew.trace.protocols import implements
from clew.trace.recording import Recording, record
from clew.trace.tracer import Tracer
from clew.trace import methods as _methods  # gives Tracer its methods

__all__ = [
    "Builder",
    "GuardFailed",
    "Recording",
    "Tracer",
    "active_builder",
    "implements",
    "record",
    "run",
]
