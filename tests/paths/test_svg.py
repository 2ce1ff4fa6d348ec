"""The static drawing: well-formed, named, coloured, and small enough to read."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from clew.paths.scale import NO_PATH, Scale
from clew.paths.svg import svg
from tests.paths import pictures

NAME = "{http://www.w3.org/2000/svg}"


def drawn(picture):
    return ElementTree.fromstring(svg(picture))


def titles(root):
    return [each.findtext(f"{NAME}title") for each in root.iter(f"{NAME}g")]


def test_nodes_boxes_and_lines_are_there():
    picture = pictures.residual(2)
    root = drawn(picture)
    texts = [each.text for each in root.iter(f"{NAME}text")]
    for name in ("residual", "image", "block1", "block2", "params.block1.weight", "tanh", "loss"):
        assert name in texts
    lines = [each for each in root.iter(f"{NAME}path") if each.get("class") == "line"]
    assert len(lines) == len(picture["edges"])
    assert [each.get("stroke") for each in lines if each.get("stroke-dasharray")] == [NO_PATH]
    strongest = max(lines, key=lambda each: float(each.get("stroke-width")))
    scale = Scale.of([part["norm"] for part in (*picture["nodes"], *picture["edges"])])
    assert strongest.get("stroke") == scale.colour(1.0)


@pytest.mark.parametrize("make", [pictures.recurrent, pictures.flat])
def test_large_graphs_are_drawn_closed(make):
    root = drawn(make())
    shapes = [each for each in root.iter(f"{NAME}rect") if "shape" in each.get("class", "")]
    assert 10 <= len(shapes) <= 200
    assert float(root.get("width")) < 12_000


def test_merged_lines_tell_how_many_they_are():
    root = drawn(pictures.recurrent(30, 3))
    assert any(each and each.endswith(", 29 uses") for each in titles(root))


def test_names_stay_text():
    root = drawn(pictures.hostile())
    texts = [each.text for each in root.iter(f"{NAME}text")]
    assert texts[0] == "</script><script>alert(2)</script><!-- "
    assert "<script>alert(1)</script>" in texts
    assert {each.tag.removeprefix(NAME) for each in root.iter()} <= {
        "svg",
        "title",
        "style",
        "rect",
        "text",
        "g",
        "path",
        "defs",
        "linearGradient",
        "stop",
    }
    assert "\ufffd" in " ".join(filter(None, titles(root)))  # the zero byte, which XML forbids


def test_long_and_chinese_names_fit_their_boxes():
    draft = pictures.Draft("names")
    first = draft.source("权重" * 30)
    sink = draft.node("a_very_long_name_of_an_equation_that_goes_on", first, kind="sink")
    root = drawn(draft.picture(sink, "equation"))
    for group in root.iter(f"{NAME}g"):
        rectangle, text = group.find(f"{NAME}rect"), group.find(f"{NAME}text")
        if rectangle is not None and text is not None:
            assert len(text.text) <= 22
            assert float(rectangle.get("width")) <= 22 * 8 + 24
