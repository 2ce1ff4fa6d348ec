"""What a drawing shows of a picture: nodes, closed groups, and the links between them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from clew.paths.nesting import Nesting

FEW = 5  # visible items up to which a drawing opens another level in any case


@dataclass
class Item:
    """What is drawn as one: a node, a closed group, or the other steps of a loop (``"steps"``).

    ``parent`` is the open group around it, ``places`` are the nodes that it stands for.

    >>> Item("tanh", "equation", parent=-1).places
    []
    """

    name: str
    kind: str
    parent: int
    places: list[int] = field(default_factory=list)


@dataclass
class Link:
    """The edges between two items, drawn as one: ``norm`` is the root of the summed squares.

    ``carries`` says whether a gradient path runs along one of them.

    >>> Link(0, 1).count
    0
    """

    start: int
    end: int
    norm: float | None = None
    carries: bool = False
    count: int = 0


@dataclass(frozen=True)
class View:
    """The items and links that a drawing shows.

    >>> View((), ()).items
    ()
    """

    items: tuple[Item, ...]
    links: tuple[Link, ...]


def view_of(picture: Mapping[str, Any], nesting: Nesting, most: int) -> View:
    """Return what a drawing of about so many items shows, opened level after level from outside.

    Of each loop the last step is shown, and one item for the steps before it.
    """
    opened: set[int] = set()
    seen = _seen(picture, nesting, opened)
    while True:
        closed = {nesting.stop(node, opened)[0] for node in nesting.inside}
        closed = {each for each in closed if each >= 0 and nesting.groups[each].kind != "step"}
        after = _seen(picture, nesting, opened | closed)
        if not closed or (len(after.items) > most and len(seen.items) > FEW):
            return seen
        opened |= closed
        seen = after


def carrying(picture: Mapping[str, Any]) -> list[bool]:
    """Return for each edge whether a gradient path runs along it.

    Where the output is no scalar there are paths, but no norms: then an edge counts if there are
    paths from both its ends.

    >>> edge = {"from": 0, "to": 1, "norm": None}
    >>> carrying({"sink": {"value": None}, "edges": [edge],
    ...           "nodes": [{"id": 0, "paths": "2"}, {"id": 1, "paths": "1"}]})
    [True]
    """
    if picture["sink"]["value"] is not None:
        return [edge["norm"] is not None for edge in picture["edges"]]
    reached = {node["id"] for node in picture["nodes"] if node["paths"] != "0"}
    return [edge["from"] in reached and edge["to"] in reached for edge in picture["edges"]]


def _seen(picture: Mapping[str, Any], nesting: Nesting, opened: Collection[int]) -> View:
    items: dict[Any, Item] = {}
    key_of = {}
    for place, node in enumerate(picture["nodes"]):
        group, parent = nesting.stop(nesting.inside[place], opened)
        key: Any = ("node", place)
        if group < 0:
            item = Item(node["name"], node["kind"], parent)
        elif nesting.groups[group].kind == "step":
            key = ("turn", nesting.groups[group].turn)
            item = Item(f"steps before {nesting.last_steps[key[1]]}", "steps", parent)
        else:
            key = ("group", group)
            item = Item(nesting.groups[group].name, "group", parent)
        items.setdefault(key, item).places.append(place)
        key_of[node["id"]] = key
    number = {key: count for count, key in enumerate(items)}
    links: dict[tuple[int, int], Link] = {}
    for edge, carries in zip(picture["edges"], carrying(picture), strict=True):
        ends = number[key_of[edge["from"]]], number[key_of[edge["to"]]]
        if ends[0] != ends[1]:
            link = links.setdefault(ends, Link(*ends))
            link.count += 1
            link.carries |= carries
            if edge["norm"] is not None:
                link.norm = math.hypot(link.norm or 0.0, edge["norm"])
    return View(tuple(items.values()), tuple(links.values()))
