"""Loops, branches and memory: reverse mode through processes of any length."""

from clew.loops.branch import cond, switch
from clew.loops.check import check
from clew.loops.remat import checkpoint
from clew.loops.replay import replay
from clew.loops.spellings import fori_loop, scan, while_loop

__all__ = ["check", "checkpoint", "cond", "fori_loop", "replay", "scan", "switch", "while_loop"]
