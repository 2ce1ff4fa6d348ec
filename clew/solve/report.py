"""A run as one HTML page that needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import io
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clew.core.errors import InputError
from clew.core.source import Where
from clew.solve.charts import error_bar, line_chart
from clew.solve.solution import MOST_FOR_ERRORS, Solution
from clew.solve.table import parameter_rows

MOST_ROWS = 300  # parameters listed in the page
MOST_CORRELATED = 24  # parameters up to which their correlations are shown


@dataclass(frozen=True)
class Picture:
    """A picture of the problem, as a data address; or what went wrong in drawing it."""

    title: str
    source: str = ""
    problem: str = ""


def write_report(solution: Solution, path: str | os.PathLike[str]) -> None:
    """Write the page; see :meth:`Solution.report`."""
    from jinja2 import Environment, FileSystemLoader

    templates = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(loader=templates, autoescape=True, trim_blocks=True)
    page = environment.get_template("report.html.jinja").render(**_contents(solution))
    Path(path).write_text(page, encoding="utf-8")


def _contents(solution: Solution) -> dict[str, Any]:
    problem = solution.problem
    found = solution.uncertainty() if solution.has_errors(MOST_ROWS) else None
    rows = parameter_rows(solution, found)
    history = solution.history
    charts = [
        line_chart("loss", history.loss),
        line_chart("gradient", history.gradient_norm),
        line_chart("step length", history.step_length),
    ]
    return {
        "solution": solution,
        "problem": problem,
        "written": time.strftime("%Y-%m-%d %H:%M"),
        "facts": _facts(solution, found),
        "rows": rows[:MOST_ROWS],
        "more_rows": max(0, len(rows) - MOST_ROWS),
        "bars": [error_bar(row.number, row.deviation, row.known) for row in rows[:MOST_ROWS]],
        "has_truth": problem.truth is not None,
        "has_errors": found is not None,
        "has_units": any(row.unit for row in rows),
        "unidentified": found.unidentified if found is not None else [],
        "charts": [chart for chart in charts if chart is not None],
        "correlation": _correlation(found),
        "pictures": _pictures(solution),
    }


def _facts(solution: Solution, found: Any) -> list[tuple[str, str]]:
    problem = solution.problem
    goals = {
        "target": "prediction equal to the target (least squares)",
        "residual": "residuals as small as can be (least squares)",
        "loss": f"least {getattr(problem.loss, '__name__', 'loss')}".replace("<lambda>", "loss"),
        "model": "least value of the model",
    }
    code = getattr(problem.model, "__code__", None)
    place = str(Where(code.co_filename, code.co_firstlineno)) if code is not None else ""
    elapsed = solution.history.elapsed[-1] if len(solution.history) else 0.0
    facts = [
        ("Model", f"{getattr(problem.model, '__name__', 'model')} ({place})" if place else "model"),
        ("Goal", goals[problem.goal]),
        ("Free parameters", str(problem.space.size)),
        ("Method", solution.method.name),
        ("Loss", f"{solution.loss:.8g}"),
        ("Steps", f"{solution.steps} in {elapsed:.2f} s"),
    ]
    if problem.robust is not None:
        facts.append(("Robust loss", f"{problem.robust.name}, scale {problem.robust.scale:g}"))
    if problem.constraints:
        names = [each.name or f"constraint {n}" for n, each in enumerate(problem.constraints)]
        facts.append(("Constraints", ", ".join(names)))
    if found is not None:
        facts.append(("Degrees of freedom", str(found.degrees_of_freedom)))
        facts.append(("Residual deviation", f"{found.residual_deviation:.4g}"))
        if found.held:
            facts.append(("Held by a bound", ", ".join(found.held)))
    return facts


def _correlation(found: Any) -> list[tuple[str, list[tuple[str, float]]]]:
    if found is None or not 2 <= len(found.names) <= min(MOST_CORRELATED, MOST_FOR_ERRORS):
        return []
    table = []
    for name, row in zip(found.names, found.correlation, strict=True):
        cells = [(f"{v:+.2f}" if np.isfinite(v) else "", float(np.nan_to_num(v))) for v in row]
        table.append((name, cells))
    return table


def _pictures(solution: Solution) -> list[Picture]:
    show = solution.problem.show
    if show is None:
        return []
    try:
        found = dict(show(solution.params))
    except Exception as error:  # the run must not be lost to a fault in drawing it
        return [Picture("show", problem=f"show raised {type(error).__name__}: {error}")]
    return [_picture(str(title), content) for title, content in found.items()]


def _picture(title: str, content: Any) -> Picture:
    try:
        draw = _drawn if callable(content) else _image
        encoded = base64.b64encode(draw(content)).decode()
        return Picture(title, f"data:image/png;base64,{encoded}")
    except Exception as error:
        return Picture(title, problem=f"{type(error).__name__}: {error}")


def _drawn(draw: Callable[[Any], Any]) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure.add_subplot())
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()


def _image(content: Any) -> bytes:
    from matplotlib.image import imsave

    pixels = np.asarray(content)
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[-1] not in (3, 4)):
        raise InputError(
            f"show: a picture has shape {pixels.shape}",
            "give (height, width), (height, width, 3), or a function of a matplotlib axis",
        )
    file = io.BytesIO()
    pixels = np.ascontiguousarray(pixels)
    if pixels.ndim == 3:
        if pixels.dtype != np.uint8:
            pixels = np.clip(np.nan_to_num(pixels.astype(np.float64)), 0, 1)
        imsave(file, pixels, format="png")
        return file.getvalue()
    gray = pixels.astype(np.float64) / (255 if pixels.dtype == np.uint8 else 1)
    inside = bool(np.nanmin(gray) >= 0 and np.nanmax(gray) <= 1)
    low, high = (0.0, 1.0) if inside else (None, None)
    imsave(file, gray, format="png", cmap="gray", vmin=low, vmax=high)
    return file.getvalue()
