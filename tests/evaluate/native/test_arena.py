"""The memory plan: places in use never overlap, and what is given back is used again."""

from __future__ import annotations

import numpy as np
import pytest

from clew.evaluate.native.arena import Arena


def test_places_are_aligned_and_used_again():
    arena = Arena()
    first, second = arena.allocate(100), arena.allocate(1)
    assert first % 64 == second % 64 == 0
    assert arena.size == 192
    arena.release(first)
    assert arena.allocate(128) == first
    assert arena.size == 192


def test_the_smallest_place_that_fits_is_taken():
    arena = Arena()
    large, _, small, _ = (arena.allocate(n) for n in (640, 64, 128, 64))
    arena.release(large)
    arena.release(small)
    assert arena.allocate(100) == small
    assert arena.allocate(100) == large


def test_neighbours_become_one_place():
    arena = Arena()
    places = [arena.allocate(64) for _ in range(4)]
    for place in (places[1], places[3], places[2]):
        arena.release(place)
    assert arena.allocate(192) == places[1]
    assert arena.size == 256


def test_the_last_place_grows():
    arena = Arena()
    arena.allocate(64)
    last = arena.allocate(64)
    arena.release(last)
    assert arena.allocate(640) == last
    assert arena.size == 704


def test_a_place_beyond_is_shared_with_none():
    arena = Arena()
    first = arena.allocate(64)
    beyond = arena.beyond(100)
    arena.release(first)
    taken = [arena.allocate(64) for _ in range(4)]
    assert all(place + 64 <= beyond or place >= beyond + 128 for place in taken)


def test_what_was_given_back_cannot_be_given_back_again():
    arena = Arena()
    place = arena.allocate(64)
    arena.release(place)
    with pytest.raises(KeyError):
        arena.release(place)


@pytest.mark.parametrize("seed", range(5))
def test_random_places_never_overlap(seed):
    draw = np.random.default_rng(seed)
    arena = Arena()
    held: dict[int, int] = {}
    for _ in range(300):
        if held and draw.random() < 0.45:
            place = int(draw.choice(list(held)))
            arena.release(place)
            del held[place]
        else:
            size = int(draw.integers(1, 2000))
            start = arena.allocate(size)
            for other, length in held.items():
                assert start + size <= other or other + length <= start
            held[start] = size
            assert start + size <= arena.size
    for place in held:
        arena.release(place)
    size = arena.size
    assert arena.allocate(size) == 0
    assert arena.size == size
