"""Python function -> graph: tracer, NumPy protocols, mutation, guards."""

from clew.trace.builder import Builder, active_builder, run
from clew.trace.guards import GuardFailed
from clew.trace.methods import install
from clew.trace.protocols import implements
from clew.trace.recording import Recording, record
from clew.trace.tracer import Tracer

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

install()
