"""What a process costs: importing, and `clew solve` of the demo up to its first step."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

DEMO = Path(__file__).resolve().parent.parent / "examples" / "unrender" / "matte_ball.py"
LIMIT = 1.0
REPEATS = 3


def seconds_of_solve() -> float:
    """Return the seconds of a process that solves the demo with no step, start to exit.

    That is more than what comes before the first step: it reports too.
    """
    environment = {key: value for key, value in os.environ.items() if key != "CLEW_CACHE"}
    command = [sys.executable, "-m", "clew.cli", "solve", str(DEMO), "--steps", "0"]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    seconds = time.perf_counter() - start
    if "light.position" not in done.stdout:  # exit code 1 is right: no step, no convergence
        raise RuntimeError(f"clew solve: {done.stdout}{done.stderr}")
    return seconds


def measure(repeats: int = REPEATS) -> dict[str, Any]:
    """Return the row: the first process, which may fill caches, does not count."""
    seconds_of_solve()
    seconds = min(seconds_of_solve() for _ in range(repeats))
    return {
        "kind": "process",
        "name": "start",
        "title": "clew solve, the demo, no step, a later process",
        "seconds": seconds,
        "limit": LIMIT,
        "met": seconds <= LIMIT,
    }
