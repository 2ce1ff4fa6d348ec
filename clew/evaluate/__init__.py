"""Run a graph."""

from clew.evaluate.jit import jit
from clew.evaluate.reference import evaluate, trace

__all__ = ["evaluate", "jit", "trace"]
