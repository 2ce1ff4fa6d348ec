"""What a benchmark is, and how it is measured: outputs compared, then repeats that take turns."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

OURS = "Clew"
SHORTEST = 2e-3
"""Calls are repeated within one sample until it takes about this many seconds."""
PAUSE = 5e-3
"""Seconds before a sample: OpenMP's threads spin for a while after their work."""


class Missing(Exception):
    """A peer that is not here; the message says what is missing."""


def _same(result: Any) -> Any:
    return result


@dataclass(frozen=True)
class Side:
    """One contestant, inputs prepared: ``run()`` does the work and waits for its result.

    ``outputs`` turns that result into arrays (or a tree of them) in the order that all sides of
    a work have in common; it is not timed.
    """

    run: Callable[[], Any]
    outputs: Callable[[Any], Any] = _same


Maker = Callable[[], Side]
"""Prepares a side afresh, so that its first call compiles; raises :class:`Missing`."""


@dataclass(frozen=True)
class Aim:
    """How many times our time the fastest of some peers should take, at least."""

    ratio: float
    against: tuple[str, ...]


@dataclass(frozen=True)
class Work:
    """One thing to do, with everyone who can do it.

    Parameters
    ----------
    name, title : str
        For the command line, and for the table.
    ours : Maker
    peers : dict of Makers
    aims : sequence of Aim
    tolerance : float
        Relative to the largest entry of each output.
    differentiated : callable, optional
        Returns ``(f, args)``: the scalar function whose gradient the work takes.
    flops : float, optional
        Floating-point operations, where a share of the machine's peak is to be printed.
    """

    name: str
    title: str
    ours: Maker
    peers: Mapping[str, Maker]
    aims: Sequence[Aim] = ()
    tolerance: float = 1e-9
    differentiated: Callable[[], tuple[Callable[..., Any], tuple[Any, ...]]] | None = None
    flops: float | None = None


@dataclass(frozen=True)
class Budget:
    """How long to measure: seconds for each side, and bounds on the number of samples."""

    seconds: float = 2.0
    least: int = 3
    most: int = 60


QUICK = Budget(seconds=0.4, least=2, most=11)


@dataclass
class Measurement:
    """What was found for one work, by side: seconds (median, least, first call), who is out."""

    work: Work
    steady: dict[str, float] = field(default_factory=dict)
    least: dict[str, float] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    samples: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)


def arrays(result: Any) -> list[np.ndarray]:
    """Return the arrays of a tree of NumPy, JAX or PyTorch arrays, copied, dictionaries by key.

    >>> [float(each) for each in arrays({"b": 2.0, "a": (1.0, [3.0])})]
    [1.0, 3.0, 2.0]
    """
    if isinstance(result, Mapping):
        result = [result[key] for key in sorted(result)]
    if isinstance(result, (tuple, list)):
        return [leaf for each in result for leaf in arrays(each)]
    if hasattr(result, "detach"):
        result = result.detach()
    return [np.array(result)]


def difference(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """Return the largest error of any output, relative to that output's largest entry.

    Infinite where numbers or shapes of outputs differ, or a value is not finite.

    >>> difference([np.array([1.0, 4.5])], [np.array([1.0, 4.0])])
    0.125
    """
    if len(found) != len(expected):
        return float("inf")
    worst = 0.0
    for one, other in zip(found, expected, strict=True):
        if one.shape != other.shape or not np.all(np.isfinite(one)):
            return float("inf")
        if one.size:
            scale = float(np.max(np.abs(other))) or 1.0
            error = np.max(np.abs(one.astype(float) - other.astype(float)))
            worst = max(worst, float(error) / scale)
    return worst


def _seconds(run: Callable[[], Any], times: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(times):
        run()
    return (time.perf_counter() - start) / times


def _start(work: Work, name: str, make: Maker, found: Measurement) -> tuple[Side, Any] | None:
    """Make a side and call it once; return its outputs too."""
    try:
        side = make()
        start = time.perf_counter()
        result = side.run()
        found.first[name] = time.perf_counter() - start
    except Missing as missing:
        found.skipped[name] = str(missing)
        return None
    return side, arrays(side.outputs(result))


def forget_compiled() -> None:
    """Make peers that are loaded forget what they have compiled, so that first calls compile."""
    jax, dynamo = sys.modules.get("jax"), sys.modules.get("torch._dynamo")
    if jax is not None:
        jax.clear_caches()
    if dynamo is not None:
        dynamo.reset()


def measure(work: Work, budget: Budget, only: Collection[str] = ()) -> Measurement:
    """Compare the outputs of all sides with ours, then time them in turns.

    ``only`` names the peers to measure; all if it is empty.
    """
    forget_compiled()
    found = Measurement(work)
    sides: dict[str, Side] = {}
    expected: Any = None
    for name, make in {OURS: work.ours, **work.peers}.items():
        if only and name not in (OURS, *only):
            continue
        started = _start(work, name, make, found)
        if started is None:
            continue
        sides[name], outputs = started
        if name == OURS:
            expected = outputs
        elif (error := difference(outputs, expected)) > work.tolerance:
            found.wrong[name] = f"differs by {error:.1e}, more than {work.tolerance:.0e}"
    take_turns(sides, budget, found)
    return found


def take_turns(sides: Mapping[str, Side], budget: Budget, found: Measurement) -> None:
    """Fill in the median and the least time of each side; slow sides sit out rounds, evenly."""
    inner: dict[str, int] = {}
    times: dict[str, list[float]] = {}
    for name, side in sides.items():
        once = _seconds(side.run)
        if once < budget.seconds / budget.least:
            once = min(once, _seconds(side.run, 3 if once < SHORTEST else 1))
        inner[name] = max(1, int(SHORTEST / once))
        wanted = int(budget.seconds / (once * inner[name]))
        least = budget.least if once < budget.seconds else 1
        found.samples[name] = min(budget.most, max(least, wanted))
        times[name] = []
    rounds = max(found.samples.values())
    for turn in range(rounds):
        for name, side in sides.items():
            own = found.samples[name]
            if (turn + 1) * own // rounds > turn * own // rounds:
                times[name].append(_sample(side.run, inner[name]))
    found.steady = {name: statistics.median(each) for name, each in times.items()}
    found.least = {name: min(each) for name, each in times.items()}


def _sample(run: Callable[[], Any], times: int) -> float:
    """Time some calls, after a pause in which the threads of the side before go to sleep.

    Short works are called once before, so that their data and threads are ready.
    """
    time.sleep(PAUSE)
    if times > 1:
        run()
    return _seconds(run, times)
