"""What a drawing shows of a picture."""

from __future__ import annotations

from collections import Counter

from clew.paths.nesting import nest
from clew.paths.view import carrying, view_of
from tests.paths import pictures


def test_a_view_holds_every_node_once_and_every_edge_between_items():
    picture = pictures.recurrent(20, 4)
    view = view_of(picture, nest(picture), 60)
    places = sorted(place for item in view.items for place in item.places)
    assert places == list(range(len(picture["nodes"])))
    item_of = {place: number for number, item in enumerate(view.items) for place in item.places}
    expected = Counter(
        ends
        for edge in picture["edges"]
        if (ends := (item_of[edge["from"]], item_of[edge["to"]]))[0] != ends[1]
    )
    assert {(link.start, link.end): link.count for link in view.links} == expected
    before = next(item for item in view.items if item.kind == "steps")
    assert before.name == "steps before 19"
    assert all(picture["nodes"][place]["steps"][0] < 19 for place in before.places)


def test_a_view_opens_whole_levels_as_far_as_they_fit():
    picture = pictures.residual(8)
    nesting = nest(picture)
    closed = view_of(picture, nesting, 30)
    opened = view_of(picture, nesting, 60)
    assert sum(item.kind == "group" for item in closed.items) == 8
    assert sum(item.kind == "group" for item in opened.items) == 0
    assert len(opened.items) == len(picture["nodes"])


def test_edges_that_carry_a_gradient():
    picture = pictures.residual(3)
    expected = [edge["norm"] is not None for edge in picture["edges"]]
    assert carrying(picture) == expected
    assert expected.count(False) == 1


def test_a_sink_that_is_no_number_has_paths_without_norms():
    picture = pictures.unweighed()
    assert all(edge["norm"] is None for edge in picture["edges"])
    assert carrying(picture).count(True) == len(picture["edges"]) - 1
    links = view_of(picture, nest(picture), 60).links
    assert [link.carries for link in links].count(False) == 1
