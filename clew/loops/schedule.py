"""When to keep a snapshot, so that a loop can be run backwards with few of them.

Of known length: the binomial schedule, which needs the fewest forward steps of all (Griewank and
Walther, "Algorithm 799: revolve", ACM TOMS 26, 2000). With s snapshots and every step advanced
over at most r times, ``C(s + r, r)`` steps can be reversed. Of unknown length: snapshots at a
regular stride that doubles when they run out (as in Stumm and Walther, "New algorithms for
optimal online checkpointing", SIAM J. Sci. Comput. 32, 2010), binomial between them.
"""

from __future__ import annotations

from math import comb


def repeats(length: int, snapshots: int) -> int:
    """Return how often a step is advanced over at most: the least r, ``C(s + r, r) >= length``.

    >>> repeats(10, 3), repeats(1_000_000, 100)
    (2, 4)
    """
    count = 0
    while comb(snapshots + count, count) < length:
        count += 1
    return count


def split_point(length: int, snapshots: int) -> int:
    """Return how far to advance before the next snapshot.

    ``snapshots`` may be held at once, the one at the start included; at least 2.

    >>> split_point(10, 3)
    4
    """
    most = repeats(length, snapshots)
    if most < 2:
        return 1
    right = comb(snapshots - 1 + most, most)
    return max(comb(snapshots + most - 2, most - 2), length - right)


def first_positions(length: int, snapshots: int) -> list[int]:
    """Return the steps before which the first forward run keeps a snapshot; 0 is one.

    >>> first_positions(10, 3)
    [0, 4, 7]
    >>> first_positions(4, 10)
    [0, 1, 2, 3]
    """
    positions = [0]
    while len(positions) < snapshots and length - positions[-1] > 1:
        free = snapshots - len(positions) + 1
        positions.append(positions[-1] + split_point(length - positions[-1], free))
    return positions


def block_positions(steps: int, limit: int) -> list[int]:
    """Return the steps before which a first run keeps the carries, ``limit`` at most.

    On the way back there is room for ``limit`` states besides, so that so many steps are one
    step of the schedule; if that is all of them, every state is kept at once.

    >>> block_positions(25, 3)
    [0, 9, 18]
    >>> block_positions(3, 10)
    [0, 1, 2]
    """
    if steps <= limit:
        return list(range(steps))
    return [limit * block for block in first_positions(-(-steps // limit), limit)]


def forward_steps(length: int, snapshots: int) -> int:
    """Return the forward steps that reversing takes in all, the first run included.

    The last step of each run is part of its reversal and not counted: ``r l - C(s + r, r - 1)``.

    >>> forward_steps(10, 3), forward_steps(10, 10)
    (15, 9)
    """
    most = repeats(length, snapshots)
    if most == 0:
        return 0
    return most * length - comb(snapshots + most, most - 1)
