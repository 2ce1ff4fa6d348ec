"""Pictures made by hand, as `Flow.picture()` would give them, with exact numbers of paths."""

from __future__ import annotations

from collections import Counter
from math import comb, sqrt


class Draft:
    """Gathers nodes and edges in order, forward, and counts the paths at the end."""

    def __init__(self, title="model"):
        self.title = title
        self.nodes, self.boxes, self.edges = [], [], []

    def box(self, name, parent=None):
        taken = sum(box["name"] == name and box["parent"] == parent for box in self.boxes)
        key = (f"{parent}/" if parent else "") + name + (f"#{taken + 1}" if taken else "")
        self.boxes.append({"key": key, "name": name, "parent": parent})
        return key

    def node(self, name, *readings, kind="equation", boxes=(), steps=(), norm=1.0, where="m.py:1"):
        """Add a node that reads others; a reading is an id, or (id, norm of what flows back)."""
        number = len(self.nodes)
        self.nodes.append(
            {"id": number, "name": name, "kind": kind, "boxes": list(boxes), "steps": list(steps)}
            | {"type": "f64[16]", "where": where, "norm": norm, "paths": "0"}
        )
        for reading in readings:
            producer, flow = reading if isinstance(reading, tuple) else (reading, norm)
            gain = None if flow is None or not norm else flow / norm
            edge = {"from": producer, "to": number, "norm": flow, "gain": gain, "type": "f64[16]"}
            self.edges.append(edge)
        return number

    def source(self, name, norm=1.0, **given):
        return self.node(name, kind="source", where="", norm=norm, **given)

    def picture(self, sink, kind="scope", verdicts=(), lengths=None, value=0.125):
        """Close the draft: numbers of paths, and the spectrum counted in nodes of this kind."""
        spectra = self._spectra(sink, kind) if lengths is None else None
        if spectra is not None:
            for node in self.nodes:
                node["paths"] = str(sum(spectra[node["id"]].values()))
            lengths = {
                node["name"]: split(spectra[node["id"]], node["norm"])
                for node in self.nodes
                if node["kind"] == "source"
            }
        return {
            "title": self.title,
            "sink": {"node": sink, "name": self.nodes[sink]["name"], "value": value},
            "nodes": self.nodes,
            "boxes": self.boxes,
            "edges": self.edges,
            "lengths": lengths,
            "table": self._table(lengths, dict(verdicts)),
        }

    def _spectra(self, sink, kind):
        found = [Counter() for _ in self.nodes]
        found[sink][0] = 1
        readers = {}
        for edge in self.edges:
            if edge["norm"] is not None:
                readers.setdefault(edge["from"], []).append(edge["to"])
        for number in reversed(range(len(self.nodes))):
            for reader in readers.get(number, ()):
                step = int(self.nodes[reader]["kind"] == kind)
                for length, count in found[reader].items():
                    found[number][length + step] += count
        return found

    def _table(self, lengths, verdicts):
        rows = []
        for node in self.nodes:
            if node["kind"] == "source":
                counted = lengths.get(node["name"], {"count": []})["count"]
                shortest = min((length for length, _ in counted), default=None)
                verdict, advice = verdicts.get(node["name"], ("healthy", ""))
                ratio = None if node["norm"] is None else node["norm"] / 4
                rows.append(
                    {"source": node["name"], "node": node["id"], "paths": node["paths"]}
                    | {"shortest": shortest, "gradient": node["norm"], "ratio": ratio}
                    | {"verdict": verdict, "advice": advice}
                )
        return rows


def split(spectrum, norm):
    """Counts of paths by length, and shares that sum to 1, some of them negative."""
    lengths = sorted(spectrum)
    raw = [(-0.3) ** n if n % 3 == 1 else 0.8**n for n in range(len(lengths))]
    total = sum(raw)
    share = [
        [length, abs(part / total) * (norm or 0.0), part / total]
        for length, part in zip(lengths, raw, strict=True)
    ]
    return {"count": [[length, str(spectrum[length])] for length in lengths], "share": share}


def residual(blocks=8, opened=True):
    """Blocks with skips: block n has 2^(blocks - n) paths; closed boxes are nodes of kind scope."""
    draft = Draft("residual")
    value = draft.source("image", norm=3e-7)
    for number in range(blocks):
        norm = 10.0 ** (number - blocks)
        name = f"block{number + 1}"
        weight = draft.source(f"params.{name}.weight", norm=norm / 3)
        if opened:
            box = [draft.box(name)]
            shift = draft.source(f"params.{name}.bias", norm=norm / 5)
            product = draft.node("dot", (value, norm / 9), weight, boxes=box, norm=norm)
            moved = draft.node("add", product, shift, boxes=box, norm=norm)
            inner = draft.node("tanh", moved, boxes=box, norm=norm, where=f"model.py:{number}")
        else:
            inner = draft.node(name, (value, norm / 9), weight, kind="scope", norm=norm)
        value = draft.node("add", inner, value, norm=norm * 3)
    target = draft.source("target", norm=None)
    loss = draft.node("mean_square", value, (target, None), norm=1.0)
    sink = draft.node("loss", loss, kind="sink")
    cut = ("cut off: stopped by stop_gradient at model.py:40", "remove stop_gradient there")
    return draft.picture(sink, "equation" if opened else "scope", [("target", cut)])


def unweighed(blocks=3):
    """The same, as a flow to an output that is no single number gives it: paths, but no norms."""
    picture = residual(blocks)
    picture["sink"]["value"] = None
    for part in (*picture["nodes"], *picture["edges"]):
        part["norm"] = None
    for edge in picture["edges"]:
        edge["gain"] = None
    for row in picture["table"]:
        row |= {"gradient": None, "ratio": None}
        picture["lengths"][row["source"]]["share"] = []
    return picture


def recurrent(steps=100, scopes=10):
    """Steps of a loop, each through residual scopes of 5 equations: 5,000 nodes as it stands."""
    draft = Draft("recurrent")
    weights = [draft.source(f"w{number}", norm=0.1 / (number + 1)) for number in range(scopes)]
    value = draft.source("state0", norm=1e-12)
    for step in range(steps):
        for number in range(scopes):
            norm = 0.75 ** (steps - step) * (1 + number / scopes)
            box = [draft.box(f"cell{number}")]
            inner = draft.node("dot", value, weights[number], boxes=box, steps=[step], norm=norm)
            for name in ("add", "tanh", "mul"):
                inner = draft.node(name, inner, boxes=box, steps=[step], norm=norm)
            value = draft.node("add", inner, value, boxes=box, steps=[step], norm=norm)
    sink = draft.node("loss", value, kind="sink", norm=1.0)
    cells = steps * scopes
    spectrum = {cells + 4 * k: comb(cells, k) for k in range(cells + 1)}
    for number, weight in enumerate(weights):
        uses = range(number, cells, scopes)
        draft.nodes[weight]["paths"] = str(sum(2 ** (cells - 1 - use) for use in uses))
    draft.nodes[scopes]["paths"] = str(2**cells)
    lengths = {"state0": split(spectrum, 1e-12)}
    dying = ("vanishing: 97 % of the signal dies between step 99 and step 60", "add a skip")
    return draft.picture(sink, verdicts=[("state0", dying)], lengths=lengths)


def flat(length=5000):
    """A chain of equations without any scope."""
    draft = Draft("chain")
    value = draft.source("x")
    for number in range(length):
        value = draft.node(("sin", "exp", "mul")[number % 3], value, norm=1 / sqrt(number + 1))
    return draft.picture(value, lengths={})


def hostile():
    """Names that would be code, were they not text."""
    script = "<script>alert(1)</script>"
    draft = Draft("</script><script>alert(2)</script><!-- ")
    box = draft.box(script)
    weight = draft.source('"><img src=x onerror=alert(3)>')
    value = draft.node("</title>\\N\n\x00\u2028{{ 7 * 7 }}", weight, boxes=[box], where="a&b.py:1")
    sink = draft.node("loss", value, kind="sink")
    advice = ("<b>cut</b>", "javascript:alert(4)")
    return draft.picture(sink, "equation", [(draft.nodes[weight]["name"], advice)])
