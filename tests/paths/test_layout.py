"""The layered layout: order, room, and ways around what is in between."""

from __future__ import annotations

import random

import pytest

from clew.paths.layout import BETWEEN, _isotonic, layered


def overlapping(one, other):
    (left, top, width, height), (x, y, wide, high) = one, other
    return left < x + wide and x < left + width and top < y + high and y < top + height


def random_graph(seed):
    draw = random.Random(seed)
    count = draw.randint(2, 30)
    edges = [
        (draw.randrange(end), end) for end in range(1, count) for _ in range(draw.randint(0, 2))
    ]
    return [(draw.uniform(20, 90), draw.uniform(10, 40)) for _ in range(count)], edges


@pytest.mark.parametrize("seed", range(20))
def test_edges_run_rightwards_and_nodes_keep_apart(seed):
    sizes, edges = random_graph(seed)
    found = layered(sizes, edges)
    places = [(*corner, *size) for corner, size in zip(found.corners, sizes, strict=True)]
    assert not any(
        overlapping(one, other) for one in places for other in places if one is not other
    )
    for start, end in edges:
        x = [places[start][0] + places[start][2]]
        x += [point[0] for point in found.routes.get((start, end), ())]
        x.append(places[end][0])
        assert x == sorted(x)
    assert max(x + width for x, _, width, _ in places) == pytest.approx(found.size[0])
    assert max(y + height for _, y, _, height in places) <= found.size[1] + 1e-9
    assert min(y for _, y in found.corners) >= 0


@pytest.mark.parametrize("seed", range(20))
def test_edges_pass_between_nodes(seed):
    sizes, edges = random_graph(seed)
    found = layered(sizes, edges)
    for way in found.routes.values():
        for (x, y), (to_x, to_y) in zip(way[::2], way[1::2], strict=True):
            assert y == to_y
            for (left, top), (width, height) in zip(found.corners, sizes, strict=True):
                inside = top - BETWEEN / 2 < y < top + height + BETWEEN / 2
                assert not (inside and left < to_x and x < left + width)


def test_a_tree_is_drawn_without_crossings():
    edges = [(child, (child - 1) // 2) for child in range(1, 31)]
    draw = random.Random(3)
    names = list(range(31))
    draw.shuffle(names)
    found = layered([(20.0, 10.0)] * 31, [(names[one], names[other]) for one, other in edges])
    middle = [y + 5 for _, y in found.corners]
    layers = [x for x, _ in found.corners]
    lines = [(names[one], names[other]) for one, other in edges]
    for start, end in lines:
        for other, other_end in lines:
            if layers[start] == layers[other] and end != other_end:
                assert (middle[start] - middle[other]) * (middle[end] - middle[other_end]) > 0


def test_a_source_stands_beside_its_reader():
    found = layered([(10.0, 10.0)] * 5, [(0, 1), (1, 2), (2, 3), (4, 3)])
    assert found.corners[4][0] == found.corners[2][0]


def test_cycles_and_loose_nodes_are_drawn():
    found = layered([(10.0, 10.0)] * 4, [(0, 1), (1, 2), (2, 0)])
    assert len(set(found.corners)) == 4
    assert layered([], []).size == (0.0, 0.0)


@pytest.mark.parametrize("seed", range(30))
def test_isotonic_regression_against_its_max_min_formula(seed):
    draw = random.Random(seed)
    values = [draw.gauss(0, 1) for _ in range(draw.randint(1, 12))]
    count = range(len(values))
    expected = [
        max(
            min(sum(values[a : b + 1]) / (b + 1 - a) for b in count if b >= at)
            for a in count
            if a <= at
        )
        for at in count
    ]
    assert _isotonic(values) == pytest.approx(expected, rel=1e-12, abs=1e-14)
