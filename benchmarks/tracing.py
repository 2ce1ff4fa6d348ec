"""How long it takes to import, to trace, and to transpose."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np

REPEATS = 9


def chain(x: Any) -> Any:
    """A function of 1,000 equations."""
    for _ in range(250):
        x = np.sin(x) * x + 0.5 * x
    return x


def trace_and_transpose() -> float:
    """Seconds to trace 1,000 equations and make the graph of value and gradient."""
    from clew.calculus.reverse import pull_graph
    from clew.trace import record

    start = time.perf_counter()
    recording = record(chain, [1.0])
    pull_graph(recording.graph, (0,))
    seconds = time.perf_counter() - start
    if len(recording.graph.equations) != 1000:
        raise AssertionError(len(recording.graph.equations))
    return seconds


def import_time() -> float:
    """Seconds that ``import clew`` takes in a fresh process, NumPy's own import left out."""
    code = (
        "import numpy, time; t = time.perf_counter(); import clew; print(time.perf_counter() - t)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def import_time_with_numpy() -> float:
    """Seconds that ``import clew`` takes in a fresh process."""
    code = "import time; t = time.perf_counter(); import clew; print(time.perf_counter() - t)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def measure() -> list[dict[str, Any]]:
    """Return the medians over repeats."""
    cases = [
        ("trace and transpose 1,000 equations", trace_and_transpose, 0.1),
        ("import clew (NumPy's import included)", import_time_with_numpy, 0.3),
        ("import clew (NumPy already there)", import_time, 0.3),
    ]
    rows = []
    for what, function, limit in cases:
        function()
        seconds = statistics.median(function() for _ in range(REPEATS))
        rows.append({"what": what, "seconds": seconds, "limit": limit, "repeats": REPEATS})
    return rows
