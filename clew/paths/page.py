"""The gradient's paths as one HTML page that needs nothing else: no network, no other file."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from clew.paths.nesting import nest
from clew.paths.scale import NO_PATH, NOT_FINITE, NOT_WEIGHED, ON_DARK, ON_LIGHT, Scale
from clew.paths.view import carrying

ASSETS = Path(__file__).parent / "page_assets"
SCRIPTS = ("vendor/d3.min.js", "vendor/dagre.min.js")
PAGE_SCRIPTS = ("graph", "lengths", "layers", "drawing", "charts", "details", "search", "page")
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def write_page(picture: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a picture, as `Flow.picture()` gives it, as one self-contained HTML file.

    The graph is laid out in layers by dagre and drawn by D3, both in the file with their licences.
    At most 300 nodes are shown at once: scopes are boxes that open and close, loops show one step.
    Edges that fall together between closed boxes are drawn as one, with the root of the sum of
    their squared norms. Names are text wherever they come from.

    Raises
    ------
    OSError
        If the file cannot be written.

    >>> import tempfile, pathlib
    >>> picture = {"title": "f", "sink": {"node": 0, "name": "x", "value": 2.0}, "boxes": [],
    ...            "nodes": [{"id": 0, "name": "x", "kind": "source", "boxes": [], "type": "f64",
    ...                       "where": "", "steps": [], "norm": 1.0, "paths": "1"}],
    ...            "edges": [], "lengths": {}, "table": []}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "f.html")
    ...     write_page(picture, file)
    ...     file.read_text(encoding="utf-8")[:15]
    '<!DOCTYPE html>'
    """
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(ASSETS), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"norm": _norm, "count": _count}
    page = environment.get_template("page.html.jinja").render(
        picture=picture,
        rows=_rows(picture),
        written=time.strftime("%Y-%m-%d %H:%M"),
        style=Markup(_asset("page.css")),
        libraries=[Markup(_asset(name)) for name in SCRIPTS],
        licences=[(name, _asset(f"vendor/{name}.LICENSE.txt")) for name in ("d3", "dagre")],
        script=Markup("\n".join(_asset(f"{name}.js") for name in PAGE_SCRIPTS)),
        data=Markup(_as_json(_page_data(picture))),
    )
    Path(path).write_text(page, encoding="utf-8")


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _page_data(picture: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page's script reads; nodes are known by their place in the list."""
    nesting = nest(picture)
    nodes, edges = picture["nodes"], picture["edges"]
    place = {node["id"]: number for number, node in enumerate(nodes)}
    scale = Scale.of([part["norm"] for part in (*nodes, *edges)])
    lengths = {
        place[row["node"]]: picture["lengths"][row["source"]]
        for row in picture["table"]
        if row["source"] in picture["lengths"]
    }
    return {
        "sink": place[picture["sink"]["node"]],
        "nodes": [
            {key: value for key, value in node.items() if key not in ("id", "boxes")}
            | {"group": group}
            for node, group in zip(nodes, nesting.inside, strict=True)
        ],
        "groups": [asdict(group) for group in nesting.groups],
        "loops": nesting.loops,
        "weighed": picture["sink"]["value"] is not None,
        "edges": [
            [
                *(place[edge["from"]], place[edge["to"]], carries),
                *(edge["norm"], edge["gain"], edge["type"]),
            ]
            for edge, carries in zip(edges, carrying(picture), strict=True)
        ],
        "lengths": lengths,
        "scale": asdict(scale)
        | {"light": ON_LIGHT, "dark": ON_DARK}
        | {"noPath": NO_PATH, "notFinite": NOT_FINITE, "notWeighed": NOT_WEIGHED},
    }


def _rows(picture: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the table's rows with the places of their nodes and a key to sort numbers of paths."""
    place = {node["id"]: number for number, node in enumerate(picture["nodes"])}
    return [
        {**row, "place": place[row["node"]], "order": f"{len(row['paths']):09}{row['paths']}"}
        for row in picture["table"]
    ]


def _norm(number: float | None) -> str:
    """Return a norm in three digits, as the page's script writes it."""
    if number is None or not math.isfinite(number):
        return "" if number is None else str(number)
    if number == 0 or 1e-3 <= abs(number) < 1e5:
        return f"{float(f'{number:.3g}'):g}"
    digits, power = f"{number:.2e}".split("e")
    return f"{float(digits):g} × 10{str(int(power)).translate(SUPERSCRIPT)}"


def _count(digits: str) -> str:
    """Return a whole number, however long, in few characters."""
    if len(digits) <= 7:
        return f"{int(digits):,}"
    first, power = f"{Decimal(digits):.2e}".split("e")
    return f"{first} × 10{str(int(power)).translate(SUPERSCRIPT)}"


def _as_json(value: Any) -> str:
    """Return JSON that ends no script element: infinities as text, ``<`` as ``\\u003c``."""
    text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character, code in UNSAFE.items():
        text = text.replace(character, code)
    return text


def _finite(value: Any) -> Any:
    """Return the value with each number that JSON lacks as text that ``Number()`` understands."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return value
