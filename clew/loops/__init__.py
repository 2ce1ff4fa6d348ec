"""Loops, branches and memory: reverse mode through processes of any length."""

from clew.loops import replay  # noqa: F401  (registers its primitive)
from clew.loops.branch import cond, switch
from clew.loops.check import check
from clew.loops.remat import checkpoint
from clew.loops.spellings import fori_loop, scan, while_loop

__all__ = ["check", "checkpoint", "cond", "fori_loop", "scan", "switch", "while_loop"]
