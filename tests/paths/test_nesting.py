"""Groups of a picture: scopes, steps of loops, and runs of many neighbours."""

from __future__ import annotations

from collections import Counter

import pytest

from clew.paths.nesting import RUN, WIDEST, nest
from tests.paths import pictures


def chain(nesting, place):
    return [nesting.groups[group].name for group in nesting.path(nesting.inside[place])]


def test_a_scope_in_a_loop_lies_in_its_step_and_a_loop_in_a_scope_around_it():
    draft = pictures.Draft()
    net = draft.box("net")
    value = draft.source("x")
    for step in range(3):
        cell = draft.box("cell", net)
        value = draft.node("sin", value, boxes=[net, cell], steps=[step])
        value = draft.node("cos", value, boxes=[net], steps=[step])
    found = nest(draft.picture(value, "equation"))
    assert chain(found, 1) == ["net", "step 0", "cell"]
    assert chain(found, 4) == ["net", "step 1"]
    cells = [group for group in found.groups if group.name == "cell"]
    assert len(cells) == 3
    assert len({group.family for group in cells}) == 1
    assert found.loops == ("loop at m.py:1",)


@pytest.mark.parametrize("steps", [[0, 1, 2, 0, 1, 2], [2, 1, 0, 2, 1, 0], [0, 1, 2, 1, 2, 3]])
def test_one_loop_after_another(steps):
    draft = pictures.Draft()
    value = draft.source("x")
    for step in steps:
        value = draft.node("sin", value, steps=[step])
    found = nest(draft.picture(value, "equation"))
    assert Counter(group.turn for group in found.groups) == {0: 3, 1: 3}
    assert len(found.loops) == 2


def test_an_inner_loop_has_one_family_and_a_turn_for_each_outer_step():
    draft = pictures.Draft()
    value = draft.source("x")
    for outer in range(3):
        for inner in range(4):
            value = draft.node("sin", value, steps=[outer, inner])
    found = nest(draft.picture(value, "equation"))
    assert len(found.loops) == 2
    inner = [group for group in found.groups if group.loop == 1]
    assert Counter(group.turn for group in inner).most_common()[0][1] == 4
    assert len({group.turn for group in inner}) == 3
    assert len({group.family for group in inner}) == 1


def test_a_source_lies_with_its_readers_but_outside_loops():
    draft = pictures.Draft()
    net = draft.box("net")
    first, second = draft.box("one", net), draft.box("two", net)
    alone, shared, initial = draft.source("alone"), draft.source("shared"), draft.source("initial")
    value = draft.node("mul", alone, shared, boxes=[net, first])
    value = draft.node("mul", value, shared, boxes=[net, second])
    value = draft.node("mul", value, initial, steps=[0])
    found = nest(draft.picture(value, "equation"))
    assert [chain(found, place) for place in (alone, shared, initial)] == [
        ["net", "one"],
        ["net"],
        [],
    ]


def test_scopes_of_one_name_are_families_of_their_own():
    draft = pictures.Draft()
    value = draft.source("x")
    for _ in range(3):
        value = draft.node("sin", value, boxes=[draft.box("block")])
    found = nest(draft.picture(value, "equation"))
    assert len({group.family for group in found.groups}) == 3


@pytest.mark.parametrize("count", [WIDEST - 1, WIDEST, 1000, 20_001])
def test_runs_are_even_in_order_and_never_too_wide(count):
    found = nest(pictures.flat(count))
    children = Counter(group.parent for group in found.groups) + Counter(found.inside)
    assert max(children.values()) <= WIDEST
    runs = [found.inside[place] for place in range(1, count + 1)]
    assert runs == sorted(runs)
    sizes = Counter(runs).values()
    assert max(sizes) <= (RUN if count >= WIDEST else WIDEST)
    assert max(sizes) - min(sizes) <= 2
