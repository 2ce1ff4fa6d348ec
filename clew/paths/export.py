"""The gradient's paths for other tools: Graphviz's DOT, and a graph of networkx."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from clew.core.errors import InputError
from clew.paths.scale import Scale
from clew.paths.text import figure, printable
from clew.paths.view import carrying

SHAPES = {
    "source": 'shape=box, style="rounded,bold"',
    "constant": 'shape=box, style="rounded,dashed"',
    "scope": "shape=box, penwidth=2",
    "sink": 'shape=box, style="rounded,filled", fillcolor="#1c2127", fontcolor="white"',
    "equation": "shape=box",
}


def dot(picture: Mapping[str, Any]) -> str:
    r"""Return a picture, as `Flow.picture()` gives it, as a graph in Graphviz's language.

    All nodes are there, scopes as clusters. Edges point as the values flow, their arrows as the
    gradient does; width and colour are those of the page.

    >>> node = {"id": 0, "name": 'a "b"', "kind": "source", "boxes": ["net"], "type": "f64",
    ...         "where": "", "steps": [], "norm": 1.0, "paths": "1"}
    >>> print(dot({"title": "f", "nodes": [node], "edges": [], "sink": {"value": 1.0},
    ...            "boxes": [{"key": "net", "name": "net", "parent": None}]}))
    digraph "f" {
      rankdir=LR; node [fontname="sans-serif"]; edge [dir=back];
      subgraph cluster_0 {
        label="net";
        n0 [label="a \"b\"", shape=box, style="rounded,bold", tooltip="f64, gradient 1"];
      }
    }
    """
    scale = Scale.of([part["norm"] for part in (*picture["nodes"], *picture["edges"])])
    lines = [
        f"digraph {_quoted(picture['title'])} {{",
        '  rankdir=LR; node [fontname="sans-serif"]; edge [dir=back];',
        *_Clusters(picture).written(None, "  "),
    ]
    for edge, carries in zip(picture["edges"], carrying(picture), strict=True):
        norm = edge["norm"]
        style = f'color="{scale.colour(norm, carries)}", penwidth={scale.width(norm):.2f}'
        told = f"gradient {figure(norm)}" if norm is not None else "no norm"
        told = _quoted(told if carries else "no path")
        dashed = "" if carries else ", style=dashed"
        lines.append(f"  n{edge['from']} -> n{edge['to']} [{style}, tooltip={told}{dashed}];")
    return "\n".join([*lines, "}"])


class _Clusters:
    """Writes the nodes directly in a box, and the boxes in it."""

    def __init__(self, picture: Mapping[str, Any]) -> None:
        self.nodes: dict[str | None, list[Mapping[str, Any]]] = defaultdict(list)
        self.boxes: dict[str | None, list[tuple[int, Mapping[str, Any]]]] = defaultdict(list)
        for node in picture["nodes"]:
            self.nodes[node["boxes"][-1] if node["boxes"] else None].append(node)
        for number, box in enumerate(picture["boxes"]):
            self.boxes[box["parent"]].append((number, box))

    def written(self, key: str | None, indent: str) -> list[str]:
        lines = [indent + _node(node) for node in self.nodes[key]]
        for number, box in self.boxes[key]:
            lines.append(f"{indent}subgraph cluster_{number} {{")
            lines.append(f"{indent}  label={_quoted(box['name'])};")
            lines += self.written(box["key"], indent + "  ")
            lines.append(f"{indent}}}")
        return lines


def _node(node: Mapping[str, Any]) -> str:
    parts = [node["type"], node["where"], f"gradient {figure(node['norm']) or 'without a path'}"]
    told = _quoted(", ".join(filter(None, parts)))
    return f"n{node['id']} [label={_quoted(node['name'])}, {SHAPES[node['kind']]}, tooltip={told}];"


def _quoted(text: str) -> str:
    escaped = printable(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def networkx(picture: Mapping[str, Any]) -> Any:
    """Return a picture, as `Flow.picture()` gives it, as a ``networkx.MultiDiGraph``.

    Nodes are the picture's ids; nodes and edges carry what the picture says of them, and edges run
    as the values flow. The graph itself has ``title``, ``sink`` and ``boxes``.

    Raises
    ------
    InputError
        If networkx is not installed.

    >>> node = {"id": 0, "name": "x", "kind": "source", "boxes": [], "type": "f64",
    ...         "where": "", "steps": [], "norm": 1.0, "paths": "1"}
    >>> sink = {"node": 0, "name": "x", "value": 2.0}
    >>> graph = networkx({"title": "f", "sink": sink, "nodes": [node], "edges": [], "boxes": []})
    ... # doctest: +SKIP
    >>> graph.nodes[0]["name"]  # doctest: +SKIP
    'x'
    """
    try:
        import networkx as library
    except ImportError as error:
        raise InputError(
            "networkx: the package networkx is not installed",
            "install it with pip install networkx, or take flow.dot() or flow.picture()",
        ) from error
    graph = library.MultiDiGraph(
        title=picture["title"], sink=picture["sink"], boxes=picture["boxes"]
    )
    for node in picture["nodes"]:
        graph.add_node(node["id"], **{key: value for key, value in node.items() if key != "id"})
    for edge in picture["edges"]:
        told = {key: value for key, value in edge.items() if key not in ("from", "to")}
        graph.add_edge(edge["from"], edge["to"], **told)
    return graph
