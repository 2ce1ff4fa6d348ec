"""Filters designed by gradient, against the two classical algorithms.

An FIR low-pass of 47 taps passes frequencies up to 0.1 cycles per sample and stops them from 0.14
on; stop-band errors count ten times.

1. Least squares: the integral of the weighted squared error. The gradient's answer must be that
   of ``scipy.signal.firls``, which solves the normal equations: the same taps, the same error.
2. Minimax: the least possible largest error. The p-norm of the error with p growing to 512,
   each from the answer before, against ``scipy.signal.remez`` (Parks and McClellan 1972), whose
   error no filter of this length can beat.
3. Something neither algorithm can do, and the same two lines can: least squares with the taps'
   response forced to an exact zero at a given frequency, checked through the taps' FFT.

    python examples/filter_design/filter_design.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal

import clew
from clew import signal

TAPS = 47
PASS, STOP = 0.1, 0.14
BANDS = ((0.0, PASS), (STOP, 0.5))
WEIGHTS = (1.0, 10.0)
NOTCH = 0.25
TOLERANCE = 1e-6
MINIMAX_TOLERANCE = 0.01
HERE = Path(__file__).resolve().parent


def desired(frequency: np.ndarray) -> np.ndarray:
    """Return the wanted amplitude."""
    return (frequency <= PASS).astype(float)


def importance(frequency: np.ndarray) -> np.ndarray:
    """Return the weight of the error at each frequency."""
    return np.where(frequency <= PASS, *WEIGHTS)


def model(half: Any, frequency: np.ndarray) -> Any:
    """Return the amplitude of the filter with these first taps."""
    return signal.amplitude(half, TAPS, frequency)


def least_squares() -> clew.Problem:
    """Return the least-squares design; at Gauss-Legendre nodes its sum is the integral."""
    frequency, weight = signal.band_quadrature(BANDS, 2 * TAPS)
    return clew.Problem(
        lambda half: model(half, frequency),
        np.zeros(signal.half_count(TAPS)),
        target=desired(frequency),
        weights=weight * importance(frequency),
        name="least-squares low-pass",
    )


def with_notch(start: Any) -> clew.Problem:
    """Return the least-squares design with an exact zero at the notch."""
    problem = least_squares()
    return clew.Problem(
        problem.model,
        start,
        target=problem.target,
        weights=problem.weights,
        constraints=[clew.Constraint(lambda half: model(half, np.array([NOTCH])), 0.0, 0.0)],
        name="low-pass with a notch",
    )


def minimax(start: Any) -> np.ndarray:
    """Return the first taps whose largest weighted error is least, by p-norms of growing p."""
    grid = np.concatenate([np.linspace(*band, 400) for band in BANDS])
    goal, weight = desired(grid), importance(grid)
    half, power = start, 4

    def error(half: Any) -> Any:
        return np.abs(weight * (model(half, grid) - goal))

    while power <= 512:
        scale = np.max(error(half))

        def norm(half: Any, p: int = power, scale: float = scale) -> Any:
            return np.log(np.mean((error(half) / scale) ** p)) / p

        problem = clew.Problem(norm, half, name=f"{power}-norm")
        half = clew.solve(problem, "lbfgs", steps=400).params
        power *= 2
    return half


def largest_error(half: Any) -> float:
    """Return the largest weighted error on a fine grid, from the FFT of the taps."""
    taps = np.asarray(signal.linear_phase_taps(half, TAPS))
    size = 2**16
    frequency = np.arange(size // 2 + 1) / size
    shift = np.exp(2j * np.pi * frequency * (TAPS - 1) / 2)
    response = np.real(np.fft.rfft(taps, size) * shift)
    inside = (frequency <= PASS) | (frequency >= STOP)
    error = importance(frequency) * np.abs(response - desired(frequency))
    return float(np.max(error[inside]))


def criterion(half: Any) -> float:
    """Return the integral of the weighted squared error."""
    frequency, weight = signal.band_quadrature(BANDS, 400)
    error = model(half, frequency) - desired(frequency)
    return float(np.sum(weight * importance(frequency) * error**2))


def draw(designs: dict[str, Any], path: Path) -> None:
    """Draw the responses in decibels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axis = figure.add_subplot()
    frequency = np.linspace(0.0, 0.5, 2000)
    for name, half in designs.items():
        taps = signal.linear_phase_taps(half, TAPS)
        response = signal.frequency_response(taps, frequency)
        axis.plot(frequency, signal.decibels(response), label=name, linewidth=1)
    axis.set(xlabel="cycles per sample", ylabel="dB", ylim=(-110, 5), title=f"{TAPS} taps")
    axis.legend()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> int:
    """Design, compare, draw."""
    edges = [0.0, PASS, STOP, 0.5]
    count = signal.half_count(TAPS)
    firls = scipy.signal.firls(TAPS, edges, [1, 1, 0, 0], weight=WEIGHTS, fs=1.0)[:count]
    remez = scipy.signal.remez(TAPS, edges, [1, 0], weight=WEIGHTS, fs=1.0, grid_density=64)[:count]
    solution = clew.solve(least_squares())
    print(solution.status)
    squares, peaks = solution.params, minimax(solution.params)
    notched = clew.solve(with_notch(squares)).params
    taps = np.asarray(signal.linear_phase_taps(notched, TAPS))
    hole = abs(np.fft.fft(np.pad(taps, (0, 400 - TAPS)))[round(400 * NOTCH)])
    checks = {
        "taps against firls": (np.max(np.abs(squares - firls)) / np.max(np.abs(firls)), TOLERANCE),
        "squared error against firls": (criterion(squares) / criterion(firls) - 1.0, TOLERANCE),
        "largest error against remez": (
            largest_error(peaks) / largest_error(remez) - 1.0,
            MINIMAX_TOLERANCE,
        ),
        "response at the notch": (hole, 1e-9),
        "squared error the notch costs": (criterion(notched) / criterion(squares) - 1.0, 0.1),
    }
    print(f"{'':32}{'found':>12}{'allowed':>10}")
    missed = []
    for name, (found, allowed) in checks.items():
        good = abs(found) <= allowed
        missed += [] if good else [name]
        print(f"{name:32}{found:12.1e}{allowed:10.0e}  {'ok' if good else 'MISSED'}")
    path = HERE / "out" / "filter_design.png"
    draw({"least squares": squares, "minimax": peaks, "with a notch": notched}, path)
    print(f"picture: {path}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
