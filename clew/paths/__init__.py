"""Gradient paths: the chain rule over any semiring, on a run that is written out."""

from clew.paths.count import count_paths
from clew.paths.flow import Flow, flow
from clew.paths.net import Edge
from clew.paths.semiring import Semiring
from clew.paths.sweep import sweep
from clew.paths.uses import ByLength, Use

__all__ = ["ByLength", "Edge", "Flow", "Semiring", "Use", "count_paths", "flow", "sweep"]
