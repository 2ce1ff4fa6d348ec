"""The gradient's paths as one SVG drawing, closed as far as it needs to be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from clew.paths.layout import Point
from clew.paths.nested import MARGIN, nested
from clew.paths.nesting import Nesting, nest
from clew.paths.scale import ON_LIGHT, Scale
from clew.paths.text import columns, figure, printable, shorten
from clew.paths.view import Item, Link, view_of

MOST_ITEMS = 60  # that are drawn, but for a last level that is opened as a whole
LONGEST_LABEL = 22  # columns
COLUMN = 7.6  # pixels that a letter takes, about
HEIGHT = 28.0
HEADING = 44.0
LEGEND = 64.0
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1c2127; }
.quiet { fill: #5d6772; font-size: 12px; }
.heading { font-size: 18px; font-weight: 600; }
.frame { fill: #f6f8fa; stroke: #d9dee3; }
.shape { fill: #fff; stroke: #aab3bc; stroke-width: 1.2; }
.source { fill: #f6f8fa; stroke: #1c2127; }
.scope { stroke: #1c2127; stroke-width: 1.8; }
.constant { stroke-dasharray: 3 3; }
.group, .steps { fill: #f6f8fa; stroke: #5d6772; }
.sink { fill: #1c2127; stroke: #1c2127; }
.on-sink { fill: #fff; font-weight: 600; }
.line { fill: none; }
"""


def svg(picture: Mapping[str, Any]) -> str:
    """Return a picture, as `Flow.picture()` gives it, as the text of an SVG file.

    The drawing has layers from left to right and boxes for scopes. Large graphs are drawn at the
    level at which about sixty nodes are seen; of a loop, the last step. Widths and colours are
    those of the page.

    >>> node = {"id": 0, "name": "x", "kind": "source", "boxes": [], "type": "f64", "where": "",
    ...         "steps": [], "norm": 1.0, "paths": "1"}
    >>> text = svg({"title": "f", "sink": {"node": 0, "name": "x", "value": 2.0}, "boxes": [],
    ...             "nodes": [node], "edges": [], "lengths": {}, "table": []})
    >>> text[:4], text.count("<text")
    ('<svg', 5)
    """
    nesting = nest(picture)
    view = view_of(picture, nesting, MOST_ITEMS)
    labels = [shorten(item.name, LONGEST_LABEL) for item in view.items]
    counts = [
        f"{len(item.places):,}" if item.kind in ("group", "steps") else "" for item in view.items
    ]
    sizes = [
        (COLUMN * columns(label + count) + (34 if count else 24), HEIGHT)
        for label, count in zip(labels, counts, strict=True)
    ]
    placed = nested(view, nesting, sizes)
    scale = Scale.of([part["norm"] for part in (*picture["nodes"], *picture["edges"])])
    width = max(placed.size[0], 320.0, 11 * columns(picture["title"])) + 2 * MARGIN
    height = HEADING + placed.size[1] + LEGEND
    body = [
        *(_box(nesting, group, place) for group, place in sorted(placed.boxes.items(), key=_area)),
        *(_line(link, way, scale) for link, way in zip(view.links, placed.ways, strict=True)),
        *(
            _item(item, label, count, placed.items[number])
            for number, (item, label, count) in enumerate(
                zip(view.items, labels, counts, strict=True)
            )
        ),
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
            f'width="{width:.0f}" height="{height:.0f}" role="img">',
            f"<title>{_text(picture['title'])}</title>",
            f"<style>{STYLE}</style>",
            f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fff"/>',
            f'<text class="heading" x="{MARGIN}" y="28">{_text(picture["title"])}</text>',
            f'<g transform="translate({MARGIN},{HEADING})">',
            *body,
            "</g>",
            f'<g transform="translate({MARGIN},{height - LEGEND + 22:.0f})">{_legend(scale)}</g>',
            "</svg>\n",
        ]
    )


def _area(box: tuple[int, tuple[float, float, float, float]]) -> float:
    return -box[1][2] * box[1][3]


def _text(name: str) -> str:
    return escape(printable(name))


def _box(nesting: Nesting, group: int, place: tuple[float, float, float, float]) -> str:
    left, top, width, height = place
    label = shorten(nesting.groups[group].name, max(4, int(width / COLUMN) - 2))
    return (
        f'<rect class="frame" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}" rx="8"/>'
        f'<text class="quiet" x="{left + 8:.1f}" y="{top + 16:.1f}">{_text(label)}</text>'
    )


def _item(item: Item, label: str, count: str, place: tuple[float, float, float, float]) -> str:
    left, top, width, height = place
    round_ = HEIGHT / 2 if item.kind in ("source", "sink") else 5
    shape = f'width="{width:.1f}" height="{height:.1f}" rx="{round_}"'
    behind = f'<rect class="shape {item.kind}" x="3" y="3" {shape}/>' if count else ""
    on_sink = ' class="on-sink"' if item.kind == "sink" else ""
    number = f'<text class="quiet" x="{width - 10:.1f}" y="18.5" text-anchor="end">{count}</text>'
    return (
        f'<g transform="translate({left:.1f},{top:.1f})"><title>{_text(item.name)}</title>{behind}'
        f'<rect class="shape {item.kind}" {shape}/>'
        f'<text{on_sink} x="12" y="18.5">{_text(label)}</text>{number if count else ""}</g>'
    )


def _line(link: Link, way: list[Point], scale: Scale) -> str:
    """Draw a link with its arrow at the producer: gradients run from readers to producers."""
    colour, width = scale.colour(link.norm, link.carries), scale.width(link.norm)
    long, half = 6 + width, 2.5 + 0.75 * width
    (x, y), *rest = way
    head = f"M{x:.1f},{y:.1f}l{long:.1f},{-half:.1f}v{2 * half:.1f}Z"
    path = f"M{x + long - 1:.1f},{y:.1f}"
    at = x + long, y
    for to in rest:
        bend = (at[0] + to[0]) / 2
        path += f"C{bend:.1f},{at[1]:.1f} {bend:.1f},{to[1]:.1f} {to[0]:.1f},{to[1]:.1f}"
        at = to
    dashes = "" if link.carries else ' stroke-dasharray="4 4"'
    told = f"gradient {figure(link.norm)}" if link.norm is not None else "no norm"
    told = told if link.carries else "no path"
    uses = f", {link.count:,} uses" if link.count > 1 else ""
    return (
        f'<g><title>{told}{uses}</title><path class="line" d="{path}" stroke="{colour}" '
        f'stroke-width="{width:.2f}"{dashes}/><path d="{head}" fill="{colour}"/></g>'
    )


def _legend(scale: Scale) -> str:
    stops = "".join(
        f'<stop offset="{number / (len(ON_LIGHT) - 1):.3f}" stop-color="{colour}"/>'
        for number, colour in enumerate(ON_LIGHT)
    )
    return (
        f'<defs><linearGradient id="ramp">{stops}</linearGradient></defs>'
        '<path d="M0,3.5L200,1L200,7L0,4.5Z" fill="url(#ramp)"/>'
        f'<text class="quiet" y="24">1e{scale.low}</text>'
        f'<text class="quiet" x="200" y="24" text-anchor="end">1e{scale.high}</text>'
        '<text class="quiet" x="216" y="9">norm of the gradient</text>'
    )
