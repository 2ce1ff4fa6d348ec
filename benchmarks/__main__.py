"""Run every benchmark, print one table, write ``out/benchmarks.json``."""

from __future__ import annotations

import json
import os
from pathlib import Path

from benchmarks import loops, sparse, tracing


def main() -> None:
    """Measure and print."""
    rows = tracing.measure()
    print(f"{'what':52}{'median':>12}{'limit':>10}")
    for row in rows:
        print(f"{row['what']:52}{row['seconds'] * 1e3:9.1f} ms{row['limit'] * 1e3:7.0f} ms")
    long_runs = loops.measure()
    print(f"\n{loops.table(long_runs)}")
    print()
    sparse.main()
    out = Path("out/benchmarks.json")
    out.parent.mkdir(exist_ok=True)
    out.write_text(
        json.dumps({"cpus": os.cpu_count(), "rows": rows, "long simulations": long_runs}, indent=2)
        + "\n"
    )
    print(f"written: {out}")


main()
