"""Small drawings for reports: line charts and error bars as SVG that follows the page's colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT = 640, 220
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 12, 30


@dataclass(frozen=True)
class Chart:
    """A curve over step numbers on a logarithmic axis, ready for the template.

    Attributes
    ----------
    title : str
    path : str
        The SVG path of the curve, in a box of 640 x 220.
    ticks_x, ticks_y : list of (float, str)
        Places and labels.
    """

    title: str
    path: str
    ticks_x: list[tuple[float, str]]
    ticks_y: list[tuple[float, str]]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def line_chart(title: str, values: np.ndarray) -> Chart | None:
    """Draw positive values over their index; None when there are fewer than two to draw.

    >>> chart = line_chart("loss", np.array([1.0, 0.1, 0.01]))
    >>> [label for _, label in chart.ticks_y]
    ['1e-2', '1e-1', '1']
    """
    steps = np.arange(values.size)
    drawn = np.isfinite(values) & (values > 0)
    if drawn.sum() < 2:
        return None
    steps, logs = steps[drawn], np.log10(values[drawn])
    low, high = float(np.floor(logs.min())), float(np.ceil(logs.max()))
    high = max(high, low + 1)
    last = max(int(steps[-1]), 1)
    xs = LEFT + (WIDTH - LEFT - RIGHT) * steps / last
    ys = TOP + (HEIGHT - TOP - BOTTOM) * (high - logs) / (high - low)
    keep = _thinned(xs.size)
    path = "M" + " L".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs[keep], ys[keep], strict=True))
    stride = max(1, int(np.ceil((high - low) / 6)))
    ticks_y = [
        (TOP + (HEIGHT - TOP - BOTTOM) * (high - power) / (high - low), _power(power))
        for power in range(int(low), int(high) + 1, stride)
    ]
    ticks_x = [
        (LEFT + (WIDTH - LEFT - RIGHT) * step / last, str(step)) for step in _round_steps(last)
    ]
    return Chart(title, path, ticks_x, ticks_y)


@dataclass(frozen=True)
class ErrorBar:
    """A value with its error and the truth, as places along a strip 160 wide."""

    low: float
    high: float
    value: float
    truth: float | None


def error_bar(value: float, deviation: float, truth: float) -> ErrorBar | None:
    """Place a value with two standard errors either way, and the truth, on a strip.

    >>> error_bar(1.0, 0.1, 1.1).value
    80.0
    """
    if not (np.isfinite(deviation) and deviation > 0):
        return None
    off = abs(truth - value) if np.isfinite(truth) else 0.0
    reach = 1.15 * max(3 * deviation, off)

    def place(number: float) -> float:
        return 80 + 80 * (number - value) / reach

    return ErrorBar(
        place(value - 2 * deviation),
        place(value + 2 * deviation),
        place(value),
        place(truth) if np.isfinite(truth) else None,
    )


def _thinned(count: int, most: int = 1500) -> np.ndarray:
    if count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, most).astype(int))


def _power(power: int) -> str:
    return {0: "1", 1: "10"}.get(power, f"1e{power}")


def _round_steps(last: int) -> Sequence[int]:
    raw = last / 6
    unit = 10 ** int(np.floor(np.log10(max(raw, 1))))
    stride = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= raw or factor == 10)
    return range(0, last + 1, max(1, int(stride)))
