"""Run a graph."""

from clew.evaluate.cost import Costs, cost
from clew.evaluate.diagnose import NanReport, explain_nan
from clew.evaluate.explain import explain
from clew.evaluate.jit import jit
from clew.evaluate.reference import evaluate, trace

__all__ = ["Costs", "NanReport", "cost", "evaluate", "explain", "explain_nan", "jit", "trace"]
