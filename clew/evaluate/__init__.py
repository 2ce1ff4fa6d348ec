"""Run a graph."""

from clew.evaluate.cost import Costs, cost
from clew.evaluate.jit import jit
from clew.evaluate.reference import evaluate, trace

__all__ = ["Costs", "cost", "evaluate", "jit", "trace"]
