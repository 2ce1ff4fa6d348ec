"""The table for the terminal."""

from __future__ import annotations

import random

import pytest

from clew.paths.text import WIDTH, columns, figure, printable, short_count, shorten, table
from tests.paths import pictures


def row(**given):
    return {
        "source": "w", "node": 0, "paths": "1", "shortest": 1, "gradient": 1.0, "ratio": 0.5,
        "verdict": "healthy", "advice": "",
    } | given  # fmt: skip


def test_columns_line_up_and_fit():
    rows = [
        row(),
        row(source="params.encoder.layers[12].attention.weights", paths=str(3**600)),
        row(
            source="权重.第一层",
            verdict="vanishing: 97 % of the signal dies " * 4,
            advice="skip " * 30,
        ),
        row(paths="0", shortest=None, gradient=None, ratio=None, verdict="cut off: stopped"),
        row(gradient=float("inf"), ratio=float("nan"), shortest=12345),
    ]
    lines = table({"table": rows}).splitlines()
    assert max(map(columns, lines)) <= WIDTH
    start = lines[0].index("verdict")
    for line in lines[1:]:
        assert line.startswith(" " * start) or columns(line[: line.index("  ")]) <= 30
    assert lines[1][start:] == "healthy"
    assert lines[2].startswith("params.encoder.…ention.weights ")
    assert "1.874e+286" in lines[2]
    assert sum("-> skip" in line for line in lines) == 1
    assert any(line.endswith("cut off: stopped") for line in lines)


def test_a_picture_of_a_network():
    text = table(pictures.residual(3))
    assert text.splitlines()[0].split() == [
        "parameter", "paths", "shortest", "gradient", "ratio", "verdict",
    ]  # fmt: skip
    assert text.count("healthy") == 7
    assert "-> remove stop_gradient there" in text


def test_no_parameters():
    assert table({"table": []}) == "no parameters"


@pytest.mark.parametrize("seed", range(20))
def test_shortened_names_keep_both_ends(seed):
    draw = random.Random(seed)
    name = "".join(draw.choice("abc.权[]é") for _ in range(draw.randint(1, 60)))
    most = draw.randint(5, 40)
    short = shorten(name, most)
    assert columns(short) <= most
    if columns(name) <= most:
        assert short == name
    else:
        head, tail = short.split("…")
        assert name.startswith(head)
        assert name.endswith(tail)
        assert columns(short) >= most - 2


def test_numbers():
    assert short_count("0") == "0"
    assert short_count("9999999") == "9,999,999"
    assert short_count("12345678") == "1.235e+7"
    assert short_count("1" + "0" * 5000) == "1.000e+5000"
    assert figure(0.0) == "0"
    assert figure(float("nan")) == "nan"


def test_nothing_reaches_the_terminal_but_text():
    assert printable("\x1b[2Ja\x00\tb\u202e") == "\ufffd[2Ja\ufffd b\ufffd"
