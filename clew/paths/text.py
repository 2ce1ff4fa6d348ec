"""The table of verdicts as plain text, and numbers and names in few characters."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from unicodedata import combining, east_asian_width

WIDTH = 100
LONGEST_NAME = 30
HEADINGS = ("parameter", "paths", "shortest", "gradient", "ratio")


def table(picture: Mapping[str, Any]) -> str:
    """Return the table of a picture's parameters as text of at most 100 columns.

    Each row has the number of gradient paths, the length of the shortest, the gradient's norm, that
    over the parameter's norm, and the verdict; advice follows on lines of its own.

    >>> row = {"source": "params.w", "node": 0, "paths": str(2**100), "shortest": 3,
    ...        "gradient": 1.5e-9, "ratio": 2e-10, "verdict": "vanishing", "advice": "add a skip"}
    >>> print(table({"table": [row]}))
    parameter      paths  shortest  gradient  ratio  verdict
    params.w   1.268e+30         3   1.5e-09        2e-10  vanishing
                                                           -> add a skip
    """
    rows = picture["table"]
    if not rows:
        return "no parameters"
    cells = [
        (
            shorten(row["source"], LONGEST_NAME),
            short_count(row["paths"]),
            "" if row["shortest"] is None else str(row["shortest"]),
            figure(row["gradient"]),
            figure(row["ratio"]),
        )
        for row in rows
    ]
    widths = [max(map(columns, column)) for column in zip(HEADINGS, *cells, strict=True)]
    lines = [_line(HEADINGS, widths) + "verdict"]
    room = WIDTH - columns(lines[0]) + len("verdict")
    for row, cell in zip(rows, cells, strict=True):
        said = _wrapped(printable(row["verdict"]), room)
        if row["advice"]:
            said += _wrapped(f"-> {printable(row['advice'])}", room)
        first = _line(cell, widths)
        lines.append(first + said[0])
        lines += [" " * columns(first) + more for more in said[1:]]
    return "\n".join(line.rstrip() for line in lines)


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    gaps = [" " * (width - columns(cell)) for cell, width in zip(cells, widths, strict=True)]
    numbers = [gap + cell for cell, gap in zip(cells[1:], gaps[1:], strict=True)]
    return "  ".join([cells[0] + gaps[0], *numbers]) + "  "


def _wrapped(text: str, room: int) -> list[str]:
    return textwrap.wrap(text, room, subsequent_indent="   " * text.startswith("->")) or [""]


def figure(number: float | None) -> str:
    """Return a norm in three digits; nothing where there is no path.

    >>> figure(0.00012345), figure(1234.5), figure(None), figure(float("inf"))
    ('0.000123', '1230', '', 'inf')
    """
    return "" if number is None else f"{float(f'{number:.3g}'):g}"


def in_digits(count: int) -> str:
    """Return a whole number of any size as text; ``str`` refuses one of more than 4,300 digits.

    >>> len(in_digits(2**20_000))
    6021
    """
    return str(Decimal(count))


def short_count(count: str) -> str:
    """Return a whole number, given as text of any length, in at most 11 characters or so.

    >>> short_count("1024"), short_count("9" * 300)
    ('1,024', '1.000e+300')
    """
    if len(count) <= 7:
        return f"{int(count):,}"
    return f"{Decimal(count):.3e}"


def shorten(name: str, most: int) -> str:
    """Return a name of at most so many columns, its middle left out.

    >>> shorten("params.encoder.block3.weight", 17)
    'params.e…3.weight'
    """
    name = printable(name)
    if columns(name) <= most:
        return name
    head, tail = list(name), []
    while columns("".join(head)) > most // 2:
        head.pop()
    for character in reversed(name):
        if columns("".join(head + tail)) + columns(character) >= most:
            break
        tail.insert(0, character)
    return "".join(head) + "…" + "".join(tail)


def printable(text: str) -> str:
    """Return the text on one line, with a mark for each character that prints nothing.

    >>> printable("a\\x1b[31m\\nb")
    'a�[31m b'
    """
    return "".join(
        letter if letter.isprintable() else (" " if letter in "\n\t\r" else "\ufffd")
        for letter in text
    )


def columns(text: str) -> int:
    """Return how many columns of a terminal a text takes; Chinese letters take two.

    >>> columns("w"), columns("权重")
    (1, 4)
    """
    return sum(
        0 if combining(letter) else 1 + (east_asian_width(letter) in "WF") for letter in text
    )
