"""What a process costs: importing, and `clew solve` of the demo up to its first step."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

DEMO = Path(__file__).resolve().parent.parent / "examples" / "unrender" / "matte_ball.py"
LIMIT = 1.0
REPEATS = 3


PROGRAM = """
import sys, time
from importlib import import_module

begun = float(sys.argv.pop())
run = import_module("clew.solve.run")._Run
begin = run._begin

def timed(self):
    begin(self)
    print("seconds before the first step:", time.time() - begun, file=sys.stderr)

run._begin = timed
import_module("clew.cli.main").main()
"""
"""``clew solve``, which also says when the state to step from is ready."""


def seconds_of_solve() -> float:
    """Return the seconds from starting a process that solves the demo to its first step."""
    environment = {key: value for key, value in os.environ.items() if key != "CLEW_CACHE"}
    command = [sys.executable, "-c", PROGRAM, "solve", str(DEMO), "--steps", "0", str(time.time())]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    found = re.search(r"seconds before the first step: (\S+)", done.stderr)
    if found is None or "light.position" not in done.stdout:
        raise RuntimeError(f"clew solve: {done.stdout}{done.stderr}")
    return float(found[1])


def measure(repeats: int = REPEATS) -> dict[str, Any]:
    """Return the row: the first process, which may fill caches, does not count."""
    seconds_of_solve()
    seconds = min(seconds_of_solve() for _ in range(repeats))
    return {
        "kind": "process",
        "name": "start",
        "title": "clew solve, the demo, up to its first step, a later process",
        "seconds": seconds,
        "limit": LIMIT,
        "met": seconds <= LIMIT,
    }
