"""The report: one page, whole, readable, and safe."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from clew.solve import Problem, solve
from clew.solve.charts import error_bar, line_chart
from clew.solve.table import written

X = np.linspace(0, 1, 20)


class _Page(HTMLParser):
    """Checks that every tag that opens also closes."""

    void = ("meta", "img", "link", "br", "input")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


def _page(problem: Problem, tmp_path) -> tuple[str, _Page]:
    solve(problem).report(tmp_path / "run.html")
    text = (tmp_path / "run.html").read_text(encoding="utf-8")
    page = _Page()
    page.feed(text)
    assert page.open == []
    return text, page


def _problem(**settings) -> Problem:
    return Problem(
        lambda p: p["slope"] * X + p["height"],
        {"slope": 1.0, "height": 0.0},
        target=2 * X + 0.5 + 0.01 * np.cos(9 * X),
        **settings,
    )


def test_everything_is_on_the_page(tmp_path) -> None:
    def show(params):
        return {
            "gray": np.outer(X, X),
            "colour": np.ones((4, 5, 3)) * params["slope"],
            "bytes": np.zeros((3, 3), np.uint8),
            "curve": lambda axis: axis.plot(X, params["slope"] * X),
        }

    problem = _problem(
        name="a line", units={"slope": "m/s"}, truth={"slope": 2.0, "height": 0.5}, show=show
    )
    text, page = _page(problem, tmp_path)
    for words in ("a line", "Converged after", "slope", "height", "m/s", "Truth", "Convergence"):
        assert words in text
    pictures = [attrs for tag, attrs in page.tags if tag == "img"]
    assert [each["alt"] for each in pictures] == ["gray", "colour", "bytes", "curve"]
    assert all(each["src"].startswith("data:image/png;base64,iVBOR") for each in pictures)
    assert sum(tag == "path" for tag, _ in page.tags) == 3  # loss, gradient, step length
    assert re.search(r"[+-]\d\.\d σ", text)


def test_the_page_needs_nothing_else(tmp_path) -> None:
    text, page = _page(_problem(), tmp_path)
    assert "http" not in text
    for _, attrs in page.tags:
        for name in ("src", "href"):
            assert (attrs.get(name) or "data:").startswith("data:")
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_names_cannot_inject_anything(tmp_path) -> None:
    text, _ = _page(_problem(name="<script>alert(1)</script>"), tmp_path)
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_a_fault_in_drawing_does_not_lose_the_report(tmp_path) -> None:
    def show(params):
        raise ValueError("no picture today")

    text, _ = _page(_problem(show=show), tmp_path)
    assert "show raised ValueError: no picture today" in text
    text, _ = _page(_problem(show=lambda p: {"odd": np.zeros((2, 2, 7))}), tmp_path)
    assert "a picture has shape (2, 2, 7)" in text


def test_what_is_not_identified_is_on_the_page(tmp_path) -> None:
    problem = Problem(lambda p: p["a"] * p["b"] * X, {"a": 1.0, "b": 2.0}, target=3 * X + 0.01)
    text, _ = _page(problem, tmp_path)
    assert "What the data do not determine" in text
    assert "only their product is seen" in text
    assert "not determined" in text


def test_a_scalar_loss_has_a_page_too(tmp_path) -> None:
    problem = Problem(lambda p: np.sum((p["w"] - X) ** 2), {"w": np.zeros(20)}, units={"w": "m"})
    text, _ = _page(problem, tmp_path)
    assert "w[19]" in text
    assert "± 1 σ" not in text


def test_long_arrays_are_cut_short(tmp_path) -> None:
    problem = Problem(lambda p: np.sum((p["w"] - 1) ** 2), {"w": np.zeros(1000)})
    text, _ = _page(problem, tmp_path)
    assert "and 700 more." in text
    assert "... and 960 more" in str(solve(problem))


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (3.14159, 0.0123, ("3.142", "0.012")),
        (1234.5, 20.0, ("1234", "20")),
        (0.001234, 0.0000056, ("0.0012340", "0.0000056")),
        (1.5, float("inf"), ("1.5", "not determined")),
        (1.5, float("nan"), ("1.5", "")),
        (2e8, 3e5, ("200000000", "3e+05")),
        (5e-12, 2e-13, ("5.000000e-12", "2e-13")),
    ],
)
def test_values_are_written_as_their_errors_deserve(value, error, words) -> None:
    assert written(value, error) == words


def test_charts_stay_in_their_box() -> None:
    chart = line_chart("loss", np.logspace(3, -12, 5000))
    assert chart is not None
    places = np.array([pair.split(",") for pair in chart.path[1:].split(" L")], float)
    assert len(places) <= 1500
    assert places[:, 0].min() >= chart.left
    assert places[:, 0].max() <= chart.right
    assert places[:, 1].min() >= chart.top
    assert places[:, 1].max() <= chart.bottom
    assert np.all(np.diff(places[:, 1]) >= 0)
    assert line_chart("loss", np.zeros(5)) is None


def test_error_bars_reach_to_the_truth() -> None:
    bar = error_bar(1.0, 0.1, 2.0)
    assert bar is not None
    assert 0 <= bar.low < bar.value < bar.high < bar.truth <= 160
    assert error_bar(1.0, float("inf"), 2.0) is None
