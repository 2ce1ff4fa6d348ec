"""From measurements to rows, and from rows to the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.measure import OURS, Aim, Measurement

COLUMNS = ("JAX", "PyTorch", "torch.compile", "NumPy")
COMPILERS = ("JAX", "torch.compile")
COMPILE_AIM = Aim(2.0, ("JAX",))
GRADIENT_LIMIT = 4.0
RESOLVED = 1.05
"""A first call must be this many times a steady one to tell how long compiling took."""
NOISE = 1.5
"""A median this many times the least time is pointed out."""

Row = dict[str, Any]


def _ratios(seconds: dict[str, float], aims: Sequence[Aim]) -> Row:
    """Return the ratio to the fastest peer, and how far each aim is met."""
    ours = seconds[OURS]
    peers = {name: each for name, each in seconds.items() if name != OURS}
    best = min(peers, key=peers.__getitem__) if peers else None
    found = []
    for aim in aims:
        times = [peers[name] for name in aim.against if name in peers]
        ratio = min(times) / ours if times else None
        met = None if ratio is None else ratio >= aim.ratio
        found.append(
            {"against": list(aim.against), "at_least": aim.ratio, "ratio": ratio, "met": met}
        )
    ratio_to_best = None if best is None else peers[best] / ours
    return {"best_peer": best, "ratio_to_best": ratio_to_best, "aims": found}


def work_row(found: Measurement) -> Row:
    """Return the row of steady times; sides whose outputs differ do not count."""
    seconds = {name: each for name, each in found.steady.items() if name not in found.wrong}
    least = {name: found.least[name] for name in seconds}
    return {
        "kind": "work",
        "name": found.work.name,
        "title": found.work.title,
        "seconds": seconds,
        **_ratios(seconds, found.work.aims),
        "least": least,
        "ratio_of_least": _ratios(least, ())["ratio_to_best"],
        "samples": found.samples,
        "skipped": found.skipped,
        "wrong": found.wrong,
    }


def compile_row(found: Measurement) -> Row | None:
    """Return the row of compile times: the first call, less a steady one.

    Sides whose first call is hardly longer than the others are left out: the difference is
    noise. There is no row without ours.
    """
    seconds = {
        name: found.first[name] - found.steady[name]
        for name in (OURS, *COMPILERS)
        if name in found.steady and found.first[name] > RESOLVED * found.steady[name]
    }
    if OURS not in seconds:
        return None
    return {
        "kind": "compile",
        "name": f"compile-{found.work.name}",
        "title": f"compile: {found.work.title}",
        "seconds": seconds,
        **_ratios(seconds, (COMPILE_AIM,)),
    }


def gradient_row(found: Measurement) -> Row | None:
    """Return the row that compares operations of value and gradient with the value's."""
    import clew

    if found.work.differentiated is None:
        return None
    function, arguments = found.work.differentiated()
    costs = clew.cost(function)(*arguments)
    if costs.gradient is None:
        raise AssertionError(f"{found.work.name}: not a scalar function")
    ratio = costs.gradient.operations / costs.value.operations
    return {
        "kind": "gradient cost",
        "name": f"gradient-{found.work.name}",
        "title": found.work.title,
        "operations": {"value": costs.value.operations, "both": costs.gradient.operations},
        "ratio": ratio,
        "limit": GRADIENT_LIMIT,
        "met": ratio <= GRADIENT_LIMIT,
    }


def peak_row(found: Measurement, peak: float, least: float) -> Row:
    """Return the row of rates as shares of the machine's peak, operations per second."""
    flops = found.work.flops
    assert flops is not None
    shares = {name: flops / seconds / peak for name, seconds in found.steady.items()}
    return {
        "kind": "share of peak",
        "name": f"peak-{found.work.name}",
        "title": found.work.title,
        "peak": peak,
        "shares": shares,
        "limit": least,
        "met": shares[OURS] >= least,
    }


# --- text ------------------------------------------------------------------------------------


def table(rows: Sequence[Row]) -> str:
    """Return the rows of times as one table, in milliseconds; then the other kinds.

    >>> seconds = {"Clew": 0.001, "JAX": 0.004}
    >>> aims = (Aim(3.0, ("JAX",)),)
    >>> row = {"kind": "work", "title": "toy", "seconds": seconds, **_ratios(seconds, aims)}
    >>> print(table([row]).splitlines()[1].split())
    ['toy', '1.000', '4.000', '4.00', 'JAX', '>=', '3:', '4.00', 'yes']
    """
    timed = [row for row in rows if row["kind"] in ("work", "compile")]
    lines = _aligned([_HEAD, *map(_cells, timed)]) if timed else []
    for row in rows:
        lines += [f"  {row['title']}: {name}: {why}" for name, why in _notes(row)]
    others = [_OTHERS[row["kind"]](row) for row in rows if row["kind"] in _OTHERS]
    if others:
        lines += ["", *_aligned([("what", "found", "limit", "met"), *others])]
    return "\n".join(lines)


_HEAD = ("work, ms", OURS, *COLUMNS, "others", "best peer / ours", "by least", "aims", "met")


def _cells(row: Row) -> tuple[str, ...]:
    seconds = row["seconds"]
    others = [
        f"{name} {_ms(each)}" for name, each in seconds.items() if name not in (OURS, *COLUMNS)
    ]
    aims = [_aim_text(aim) for aim in row["aims"]]
    met = [_yes(aim["met"]) for aim in row["aims"]]
    ratio = row["ratio_to_best"]
    return (
        row["title"],
        _ms(seconds[OURS]),
        *(_ms(seconds[name]) if name in seconds else "-" for name in COLUMNS),
        ", ".join(others),
        _plain(ratio),
        _plain(row.get("ratio_of_least")),
        "; ".join(aims),
        ", ".join(met),
    )


def _aim_text(aim: Row) -> str:
    return f"{'/'.join(aim['against'])} >= {aim['at_least']:.3g}: {_plain(aim['ratio'])}"


def _notes(row: Row) -> list[tuple[str, str]]:
    noisy = {
        name: f"noisy: the median is {row['seconds'][name] / least:.1f} times the least"
        for name, least in row.get("least", {}).items()
        if row["seconds"].get(name, 0.0) > NOISE * least
    }
    return [*row.get("wrong", {}).items(), *row.get("skipped", {}).items(), *noisy.items()]


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.4g}" if seconds >= 1.0 else f"{seconds * 1e3:.3f}"


def _plain(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"


def _yes(met: bool | None) -> str:
    return "-" if met is None else "yes" if met else "NO"


_OTHERS = {
    "gradient cost": lambda row: (
        f"gradient cost / function cost: {row['title']}",
        f"{row['ratio']:.2f}",
        f"<= {row['limit']:.0f}",
        _yes(row["met"]),
    ),
    "share of peak": lambda row: (
        f"share of {row['peak'] / 1e9:.0f} GFLOP/s: {row['title']}",
        ", ".join(f"{name} {100 * each:.0f} %" for name, each in row["shares"].items()),
        f">= {100 * row['limit']:.0f} %" if row["limit"] else "",
        _yes(row["met"]) if row["limit"] else "",
    ),
    "process": lambda row: (
        row["title"],
        f"{row['seconds'] * 1e3:.0f} ms",
        f"<= {row['limit'] * 1e3:.0f} ms",
        _yes(row["met"]),
    ),
}


def _aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    """Return lines with columns of even width, leaving out empty columns; numbers to the right."""
    columns = [
        column
        for column in zip(*cells, strict=True)
        if any(each not in ("", "-") for each in column[1:])
    ]
    texts = []
    for number, column in enumerate(columns):
        width = max(map(len, column))
        left = number == 0 or not column[1][:1].isdigit()
        texts.append([each.ljust(width) if left else each.rjust(width) for each in column])
    return ["  ".join(line).rstrip() for line in zip(*texts, strict=True)]
