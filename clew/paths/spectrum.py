"""How many paths there are of each length."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clew.core.errors import InputError
from clew.paths.net import Edge, Net
from clew.paths.semiring import back_from, counting, digits, longest

Mark = Callable[[Edge], int]
MARKS: dict[str, Mark] = {
    "scopes": lambda edge: int(edge.in_scope),
    "equations": lambda edge: int(not edge.in_scope),
    "edges": lambda edge: 1,
}
_LARGEST = 2**32
"""Bits that all values' polynomials may take together."""


def spectra(
    net: Net, mark: Mark, sinks: Sequence[int], ends: Sequence[int]
) -> dict[int, dict[int, int]]:
    """Return, for each end that a path leads to, how many paths there are of each length.

    Raises
    ------
    InputError
        If there are so many lengths that counting them apart would not fit.

    >>> import clew
    >>> import numpy as np
    >>> from clew.paths.writing import written_out
    >>> run = written_out(clew.trace(lambda x: x + np.sin(x))(1.0), [1.0], [0])
    >>> spectra(Net(run, []), MARKS["edges"], run.outputs, run.inputs)
    {0: {1: 1, 2: 1}}
    """
    counts = back_from(net, counting(), sinks)
    reached = [value for value in ends if value in counts]
    if not reached:
        return {}
    most = max(counts[value] for value in reached)
    far = max(back_from(net, longest(mark), sinks).values())
    width = 8 * (most.bit_length() // 8 + 1)  # whole bytes, so that digits are easy to read
    if width * (far + 1) * len(counts) > _LARGEST:
        raise InputError(
            f"flow: paths have up to {far:.0f} edges that count, too many lengths to tell apart",
            "contract scopes with level=, or count with length='scopes'",
        )
    found = back_from(net, counting(mark, width), sinks)
    return {value: digits(found[value], width) for value in reached}
