from __future__ import annotations

from functools import cache

import pytest

from clew.loops.schedule import first_positions, forward_steps, repeats, split_point


@cache
def fewest(length: int, snapshots: int) -> int:
    """Forward steps of the best schedule there is, by trying all."""
    if length == 1:
        return 0
    if snapshots == 1:
        return length * (length - 1) // 2
    return min(
        m + fewest(length - m, snapshots - 1) + fewest(m, snapshots) for m in range(1, length)
    )


@cache
def ours(length: int, snapshots: int) -> int:
    if length == 1:
        return 0
    if snapshots == 1:
        return length * (length - 1) // 2
    m = split_point(length, snapshots)
    return m + ours(length - m, snapshots - 1) + ours(m, snapshots)


@pytest.mark.parametrize("snapshots", range(1, 9))
def test_no_schedule_takes_fewer_steps(snapshots):
    for length in range(1, 60):
        assert ours(length, snapshots) == fewest(length, snapshots)
        assert forward_steps(length, snapshots) == fewest(length, snapshots)


def test_memory_grows_with_the_logarithm():
    assert [repeats(10**k, 3 * k) for k in range(1, 7)] == [2, 4, 5, 6, 7, 8]


def test_first_run_uses_every_snapshot():
    positions = first_positions(1000, 12)
    assert len(positions) == 12
    assert positions == sorted(set(positions))
    assert positions[0] == 0
