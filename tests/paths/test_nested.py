"""Boxes in boxes: everything inside what it belongs to, nothing in the way."""

from __future__ import annotations

from itertools import pairwise

import pytest

from clew.paths.nested import nested
from clew.paths.nesting import nest
from clew.paths.view import view_of
from tests.paths import pictures
from tests.paths.test_layout import overlapping


@pytest.mark.parametrize(
    "make", [pictures.residual, pictures.recurrent, lambda: pictures.flat(900)]
)
def test_boxes_hold_what_is_in_them_and_nothing_else(make):
    picture = make()
    nesting = nest(picture)
    view = view_of(picture, nesting, 60)
    found = nested(view, nesting, [(60.0, 28.0)] * len(view.items))
    everything = list(found.items.values())
    assert not any(overlapping(a, b) for a in everything for b in everything if a is not b)
    for group, (left, top, width, height) in found.boxes.items():
        for number, item in enumerate(view.items):
            x, y, wide, high = place = found.items[number]
            if group in nesting.path(item.parent):
                assert left < x
                assert top + 16 < y  # below the title
                assert x + wide < left + width
                assert y + high < top + height
            else:
                assert not overlapping(place, (left, top, width, height))


def test_links_run_from_side_to_side_and_around_items():
    picture = pictures.residual(8)
    nesting = nest(picture)
    view = view_of(picture, nesting, 60)
    found = nested(view, nesting, [(60.0, 28.0)] * len(view.items))
    for link, way in zip(view.links, found.ways, strict=True):
        x, y, width, height = found.items[link.start]
        assert way[0] == (x + width, y + height / 2)
        assert way[-1][0] == found.items[link.end][0]
        for (left, top), (right, low) in pairwise(way):
            assert left <= right
            if top == low:
                between = [
                    place
                    for number, place in found.items.items()
                    if number not in (link.start, link.end)
                    and place[0] < right
                    and left < place[0] + place[2]
                    and place[1] < top < place[1] + place[3]
                ]
                assert between == []
