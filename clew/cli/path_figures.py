"""What ``clew paths`` says, as figures and as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from clew.core.errors import InputError
from clew.paths import Flow
from clew.paths.ends import End, is_scalar
from clew.paths.text import figure, in_digits, printable, short_count, table

_MOST = 10
"""Lengths, or uses, that are printed: of more, the largest. --json writes all."""


def figures_of(paths: Flow, source: End = None, sink: End = None) -> dict[str, Any]:
    """Return what is known of the paths from a sink back to a source, as plain data.

    Of a chosen source there are the ``uses``, and its ``lengths`` have norms and shares, if the
    sink is one number. ``lengths`` is None where there are too many to tell apart.

    Raises
    ------
    InputError
        If there is no such end, or no path to a chosen source.

    >>> import clew
    >>> found = figures_of(clew.flow(lambda x: x * x)(3.0), "x")
    >>> found["paths"], [use["norm"] for use in found["uses"]]
    (2, [3.0, 3.0])
    """
    count = paths.count(source, sink)
    known = count > 0 or source is not None  # of a chosen source, the error says why there is none
    found: dict[str, Any] = {
        "title": paths.title,
        "equations": len(paths.run),
        "nodes": len(paths.net.nodes),
        "source": paths.ends.source(source).name,
        "sink": paths.ends.sink(sink).name,
        "paths": count,
        "shortest": paths.shortest(source, sink) if known else None,
        "longest": paths.longest(source, sink) if known else None,
        "counted": "scopes" if paths.has_scopes else "equations",
        "lengths": _lengths(paths, source, sink),
    }
    chosen = paths.ends.source(source).names
    if source is not None and is_scalar(paths.net, paths.ends.sink(sink)):
        found |= _taken_apart(paths, source, sink, found["lengths"])
    found["parameters"] = [
        asdict(row) | {"shares": _by("share", row.shares)}
        for row in paths.vanishing(sink).rows
        if row.source in chosen
    ]
    return found


def _lengths(paths: Flow, source: End, sink: End) -> list[dict[str, Any]] | None:
    found = _unless_too_many(paths.lengths, source, sink)
    return None if found is None else _by("paths", found)


def _by(what: str, found: Mapping[int, Any]) -> list[dict[str, Any]]:
    return [{"length": length, what: each} for length, each in found.items()]


def _taken_apart(
    paths: Flow, source: End, sink: End, lengths: list[dict[str, Any]] | None
) -> dict[str, Any]:
    """Return the lengths with what their paths carry, and the uses."""
    uses = [
        {
            "source": use.source,
            "node": use.node,
            "at": str(use.where),
            "steps": list(use.steps),
            "norm": use.norm,
            "share": use.share,
        }
        for use in paths.by_use(source, sink)
    ]
    split = _unless_too_many(paths.gradient_by_length, source, sink)
    if split is None or lengths is None:
        return {"uses": uses}
    parts = zip(lengths, split.norms.tolist(), split.shares.tolist(), strict=True)
    weighed = [each | {"norm": norm, "share": share} for each, norm, share in parts]
    return {"lengths": weighed, "uses": uses}


def _unless_too_many(method: Callable[..., Any], *ends: End) -> Any:
    """Return what a method gives, or None: of ends that are right, it refuses only many lengths."""
    try:
        return method(*ends)
    except InputError:
        return None


# --- as text -------------------------------------------------------------------------------------


def told(figures: Mapping[str, Any]) -> str:
    """Return the figures as text for a terminal.

    >>> import clew
    >>> figures = figures_of(clew.flow(lambda x: x * x)(3.0), "x")
    >>> print(told(figures | {"title": "square"}))  # doctest: +ELLIPSIS
    square: 1 equation ran, 1 node
    2 paths from output back to x, of 1 equation
    <BLANKLINE>
      length        paths     gradient    share
           1            2            6  100.00%
    <BLANKLINE>
         gradient    share  used by
                3   50.00%  multiply at ...: x
                3   50.00%  multiply at ...: x
    <BLANKLINE>
    parameter  paths  shortest  gradient  ratio  verdict
    x              2         1         6      2  healthy
    """
    ran = f"{_number(figures['equations'], 'equation')} ran, {_number(figures['nodes'], 'node')}"
    lines = [f"{printable(figures['title'])}: {ran}", _between(figures)]
    if figures["lengths"] is None:
        lines.append("there are too many lengths to tell apart: contract scopes with --level")
    elif figures["lengths"]:
        lines += ["", *_by_length(figures["lengths"])]
    if figures.get("uses"):
        lines += ["", *_by_use(figures["uses"])]
    if figures["parameters"]:
        rows = [row | {"paths": in_digits(row["paths"])} for row in figures["parameters"]]
        lines += ["", table({"table": rows})]
    return "\n".join(lines)


def _between(figures: Mapping[str, Any]) -> str:
    ends = f"from {printable(figures['sink'])} back to {printable(figures['source'])}"
    if not figures["paths"]:
        return f"no path {ends}"
    reach = _number(figures["longest"], figures["counted"][:-1])
    if figures["shortest"] != figures["longest"]:
        reach = f"{figures['shortest']:,} to {reach}"
    return f"{_number(figures['paths'], 'path')} {ends}, of {reach}"


def _by_length(lengths: Sequence[Mapping[str, Any]]) -> list[str]:
    weighed = "norm" in lengths[0]
    shown = _largest(lengths, "norm" if weighed else "paths")
    lines = [f"{'length':>8}{'paths':>13}{'gradient':>13}{'share':>9}"[: None if weighed else 21]]
    for each in sorted(shown, key=lambda each: each["length"]):
        line = f"{each['length']:8}{_count(each['paths']):>13}"
        lines.append(line + _weight(each) if weighed else line)
    return lines + _rest(lengths)


def _by_use(uses: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [f"{'gradient':>13}{'share':>9}  used by"]
    for use in _largest(uses, "norm"):
        step = f", step {' of '.join(map(str, use['steps']))}" if use["steps"] else ""
        at = f" at {use['at']}" if use["at"] else ""
        lines.append(_weight(use) + printable(f"  {use['node']}{at}{step}: {use['source']}"))
    return lines + _rest(uses)


def _largest(parts: Sequence[Mapping[str, Any]], key: str) -> list[Mapping[str, Any]]:
    return sorted(parts, key=lambda part: -part[key])[:_MOST]


def _rest(parts: Sequence[Any]) -> list[str]:
    return [f"{'':8}and {len(parts) - _MOST:,} more"] if len(parts) > _MOST else []


def _weight(part: Mapping[str, Any]) -> str:
    return f"{figure(part['norm']):>13}{part['share']:>9.2%}"


def _number(count: int, noun: str) -> str:
    return f"{_count(count)} {noun}{'s' * (count != 1)}"


def _count(count: int) -> str:
    return short_count(in_digits(count))
