"""Draw ``out/benchmarks.json``: how many times our time each peer takes.

python -m benchmarks.chart [out/benchmarks.json] [docs/_static/benchmarks.png]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SOURCE = Path("out/benchmarks.json")
PICTURE = Path("docs/_static/benchmarks.png")
COLOURS = {"JAX": "tab:blue", "PyTorch": "tab:orange", "NumPy": "tab:green"}
OURS = "Clew"


def colour_of(peer: str) -> str:
    """Return the colour of a peer's family."""
    family = "PyTorch" if peer.startswith("torch") else peer.split(" ", 1)[0]
    return COLOURS.get(family, "tab:gray")


def marker_of(peer: str) -> str:
    """Return a marker that tells the members of a family apart."""
    if peer.startswith("torch.compile"):
        return "D" if peer == "torch.compile" else "d"
    return "o" if peer in COLOURS else "v" if "C " in peer else "^"


def draw(rows: list[dict[str, Any]], axes: Any, title: str) -> None:
    """Draw rows from the top down: a mark for each peer, a tick for each aim."""
    for place, row in enumerate(reversed(rows)):
        ours = row["seconds"][OURS]
        for peer, seconds in row["seconds"].items():
            if peer != OURS:
                style = {"color": colour_of(peer), "marker": marker_of(peer)}
                axes.plot(seconds / ours, place, linestyle="", label=peer, **style)
        for aim in row["aims"]:
            axes.plot(aim["at_least"], place, "|", color="black", markersize=12, label="aim")
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), [short(row["title"]) for row in reversed(rows)])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_title(title, fontsize="medium")
    axes.set_xlabel("peer's time / Clew's (right of 1: Clew is faster)")
    axes.grid(axis="x", alpha=0.3)


def short(title: str) -> str:
    """Return a title without what the panel says already.

    >>> short("compile: throw, 1000 steps, f64")
    'throw, 1000 steps, f64'
    """
    return title.removeprefix("compile: ").removesuffix(", training step")


def chart(found: dict[str, Any], path: Path) -> None:
    """Draw works and compile times side by side into a file."""
    from matplotlib.figure import Figure

    works = [row for row in found["works"] if row["kind"] == "work"]
    compiles = [row for row in found["works"] if row["kind"] == "compile"]
    compiles = [row for row in compiles if len(row["seconds"]) > 1]
    height = 1.6 + 0.28 * max(len(works), 3)
    figure = Figure(figsize=(13, height), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    draw(works, left, "value and gradient, or one step")
    draw(compiles, right, "compiling")
    right.set_yticklabels([])
    if [row["name"] for row in works] != [row["name"][8:] for row in compiles]:
        right.set_yticks(range(len(compiles)), [short(row["title"]) for row in reversed(compiles)])
    marks: dict[str, Any] = {}
    for axes in (left, right):
        handles, labels = axes.get_legend_handles_labels()
        marks |= dict(zip(labels, handles, strict=True))
    marks = dict(sorted(marks.items(), key=lambda mark: (mark[0] == "aim", mark[0])))
    figure.legend(
        marks.values(), marks.keys(), loc="outside lower center", ncols=min(6, len(marks))
    )
    figure.suptitle(f"{found['processor']}, {found['threads']} threads", fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Read, draw, and say where."""
    given = [Path(each) for each in sys.argv[1:]]
    source, picture = [*given, *(SOURCE, PICTURE)[len(given) :]]
    chart(json.loads(source.read_text()), picture)
    print(f"picture: {picture}")


if __name__ == "__main__":
    main()
