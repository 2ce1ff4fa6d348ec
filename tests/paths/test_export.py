"""DOT and networkx."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from clew.core.errors import InputError
from clew.paths.export import dot, networkx
from tests.paths import pictures


def test_dot_has_every_node_once_in_its_cluster_and_every_edge():
    picture = pictures.residual(3)
    text = dot(picture)
    assert sorted(map(int, re.findall(r"^ +n(\d+) \[", text, re.MULTILINE))) == list(
        range(len(picture["nodes"]))
    )
    edges = [(int(a), int(b)) for a, b in re.findall(r"n(\d+) -> n(\d+)", text)]
    assert edges == [(edge["from"], edge["to"]) for edge in picture["edges"]]
    inside = text.split('label="block2";')[1].split("}")[0]
    assert re.findall(r'label="(\w+)"', inside) == ["dot", "add", "tanh"]
    assert text.count("style=dashed") == 1
    assert text.count("{") == text.count("}")


def test_dot_nests_clusters():
    draft = pictures.Draft()
    outer = draft.box("outer")
    inner = draft.box("inner", outer)
    sink = draft.node("sin", draft.source("x"), boxes=[outer, inner])
    lines = dot(draft.picture(sink, "equation")).splitlines()
    depth = {line.strip(): len(line) - len(line.lstrip()) for line in lines}
    assert depth['label="inner";'] == depth['label="outer";'] + 2


def test_dot_of_large_graphs_takes_no_time_squared():
    text = dot(pictures.recurrent())
    assert text.count("subgraph") == 1000


def test_dot_quotes_names():
    text = dot(pictures.hostile())
    strings = re.findall(r'"((?:[^"\\]|\\.)*)"', text)
    unescaped = [re.sub(r"\\(.)", r"\1", each) for each in strings]
    assert "<script>alert(1)</script>" in unescaped
    assert '"><img src=x onerror=alert(3)>' in unescaped
    assert any(each.startswith("</title>\\N \ufffd") for each in unescaped)
    without = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
    assert not re.search(r"[<\"\\]", without)


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
@pytest.mark.parametrize("make", [pictures.residual, pictures.hostile])
def test_graphviz_reads_it(make):
    read = subprocess.run(
        ["dot", "-Tplain"],
        input=dot(make()),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert read.stdout.count("node n") == len(make()["nodes"])


def test_networkx_holds_everything():
    pytest.importorskip("networkx", reason="networkx is optional")
    picture = pictures.residual(3)
    graph = networkx(picture)
    assert graph.graph["title"] == "residual"
    assert graph.number_of_nodes() == len(picture["nodes"])
    assert graph.number_of_edges() == len(picture["edges"])
    for node in picture["nodes"]:
        assert graph.nodes[node["id"]] == {key: node[key] for key in node if key != "id"}
    edge = picture["edges"][0]
    assert graph.edges[edge["from"], edge["to"], 0]["gain"] == edge["gain"]


def test_uses_side_by_side_stay_two_edges():
    pytest.importorskip("networkx", reason="networkx is optional")
    draft = pictures.Draft()
    source = draft.source("x")
    sink = draft.node("mul", source, source)
    assert networkx(draft.picture(sink, "equation")).number_of_edges(source, sink) == 2


def test_without_networkx(monkeypatch):
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(InputError) as caught:
        networkx(pictures.residual(1))
    assert caught.value.asked == "networkx: the package networkx is not installed"
    assert "pip install networkx" in caught.value.fix
