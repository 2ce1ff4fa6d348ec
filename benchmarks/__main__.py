"""Run benchmarks, print one table, write ``out/benchmarks.json``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import traceback
from contextlib import suppress
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

THREADS = 2
MODULES = (
    "throw",
    "shading",
    "gmm",
    "characters",
    "kmeans",
    "bundle",
    "siamese",
    "lstm",
    "resnet",
    "matmul",
    "overhead",
)
OTHERS = ("start", "tracing", "loops", "sparse")
PEERS = ("numpy", "jax", "torch", "casadi", "pytensor", "llvmlite")
ORDER = ("work", "compile", "gradient cost", "share of peak", "failed")
OUT = Path("out/benchmarks.json")


def prepare() -> None:
    """Hold the process to two cores, and compilers to fresh compilations; before any import."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) > THREADS:
        os.sched_setaffinity(0, cores[:THREADS])
    os.environ["CLEW_CACHE"] = "0"
    os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"


def warm_up(peers: list[str]) -> None:
    """Compile something else first, so that no work pays for starting a compiler.

    It has a loop and a product, and is large enough for threads: parts of Clew are imported when
    first used, all of JAX at once.
    """
    import numpy as np

    import clew
    from benchmarks.measure import Missing
    from benchmarks.peers import jax_side

    def function(x: Any) -> Any:
        last, _ = clew.scan(lambda carry, _: (np.tanh(carry @ x), None), x, length=3)
        return np.sum(np.sin(last))

    x = np.full((400, 400), 1e-3)
    clew.jit(clew.value_and_grad(function))(x)
    if not peers or "JAX" in peers:
        with suppress(Missing):
            jax_side(lambda x: x + 1.0, 1.0).run()


def works_of(names: list[str]) -> dict[str, Any]:
    """Return what makes each work: all, or those named, themselves or by their module."""
    return {
        name: make
        for module in MODULES
        for name, make in import_module(f"benchmarks.{module}").WORKS.items()
        if not names or module in names or name in names
    }


def run_works(makers: dict[str, Any], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure works one by one, print what is found, and return the rows in the table's order."""
    from benchmarks import report
    from benchmarks.measure import QUICK, Budget, measure

    budget = QUICK if arguments.quick else Budget()
    rows = []
    for name, make in makers.items():
        try:
            found = measure(make(), budget, arguments.peers)
        except Exception:
            print(f"{name} failed:\n{traceback.format_exc()}", file=sys.stderr)
            rows.append({"kind": "failed", "name": name, "error": traceback.format_exc()})
            continue
        new = [row for row in (report.work_row(found), report.compile_row(found)) if row]
        print(report.table(new), flush=True)
        cost = report.gradient_row(found)
        rows += [*new, *([cost] if cost else []), *shares_of_peak(found)]
    return sorted(rows, key=lambda row: ORDER.index(row["kind"]))


def shares_of_peak(found: Any) -> list[dict[str, Any]]:
    """Return the row of shares of the machine's peak, where the work states its operations."""
    from benchmarks import matmul, report
    from benchmarks.measure import Missing

    if found.work.flops is None:
        return []
    try:
        return [report.peak_row(found, matmul.peak(), matmul.least_share(found.work.flops))]
    except Missing as missing:
        print(f"share of the peak: {missing}")
        return []


def run_others(names: list[str]) -> dict[str, Any]:
    """Run the benchmarks that are not against peers; return what goes into the file."""
    found: dict[str, Any] = {}
    if not names or "tracing" in names:
        from benchmarks import tracing

        found["rows"] = rows = tracing.measure()
        print(f"{'what':52}{'median':>12}{'limit':>10}")
        for row in rows:
            print(f"{row['what']:52}{row['seconds'] * 1e3:9.1f} ms{row['limit'] * 1e3:7.0f} ms")
    if not names or "loops" in names:
        from benchmarks import loops

        found["long simulations"] = loops.measure()
        print(f"\n{loops.table(found['long simulations'])}")
    if not names or "sparse" in names:
        from benchmarks import sparse

        print()
        sparse.main()
    return found


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    versions = {}
    for name in PEERS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    return {
        "processor": model,
        "cpus": os.cpu_count(),
        "threads": THREADS,
        "python": platform.python_version(),
        "versions": versions,
    }


def main() -> int:
    """Measure and print; return 1 if a work fails, or a peer's outputs differ from ours."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help="works, or modules of them; all by default")
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--peers", nargs="+", default=[], help="only these peers")
    parser.add_argument("--list", action="store_true", help="list the names")
    parser.add_argument("--out", type=Path, default=OUT, help=f"the file; {OUT} by default")
    arguments = parser.parse_args()
    names = arguments.names or os.environ.get("CLEW_BENCHMARKS", "").split()
    prepare()
    works = works_of(names)
    if arguments.list:
        for module in MODULES:
            print(f"{module}: {', '.join(import_module(f'benchmarks.{module}').WORKS)}")
        print("\n".join(OTHERS))
        return 0
    from benchmarks import report, start

    warm_up(arguments.peers)
    rows = run_works(works, arguments)
    if not names or "start" in names:
        rows.append(start.measure())
    if rows:
        print(f"\n{report.table(rows)}\n")
    found = {**machine(), "works": rows, **run_others(names)}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(found, indent=2) + "\n")
    print(f"written: {arguments.out}")
    return 1 if any(row.get("wrong") or row["kind"] == "failed" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
