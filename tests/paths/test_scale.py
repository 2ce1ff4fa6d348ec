"""One scale of widths and colours for all drawings."""

from __future__ import annotations

import math

import pytest

from clew.paths.scale import DECADES, NO_PATH, NOT_FINITE, ON_DARK, ON_LIGHT, Scale


def brightness(colour):
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_strength_is_seen_without_colour():
    """Ramps are monotone in brightness, which is what the colour-blind and a printer see."""
    for ramp, sign in ((ON_LIGHT, -1), (ON_DARK, 1)):
        levels = [sign * brightness(colour) for colour in ramp]
        assert levels == sorted(levels)
    scale = Scale(-6, 0)
    norms = [10.0**power for power in range(-6, 1)]
    widths = [scale.width(norm) for norm in norms]
    assert widths == sorted(set(widths))
    levels = [brightness(scale.colour(norm)) for norm in norms]
    assert levels == sorted(levels, reverse=True)


def test_every_colour_stands_out_from_its_page():
    for ramp, page in ((ON_LIGHT, "#ffffff"), (ON_DARK, "#14181c")):
        for colour in (*ramp, NO_PATH, NOT_FINITE):
            low, high = sorted([brightness(colour), brightness(page)])
            assert (high + 0.05) / (low + 0.05) >= 2.0


@pytest.mark.parametrize(
    ("norms", "expected"),
    [
        ([], (-1, 0)),
        ([None, 0.0, math.inf, math.nan], (-1, 0)),
        ([1.0], (-1, 0)),
        ([0.5, 20.0], (-1, 2)),
        ([5e-324, 1.0], (-DECADES, 0)),
        ([1e-300, 1e-290], (-300, -290)),
        ([1.7e308], (308, 309)),
    ],
)
def test_its_ends_are_powers_of_ten_around_the_norms(norms, expected):
    scale = Scale.of(norms)
    assert (scale.low, scale.high) == expected


def test_what_is_no_number_is_drawn_apart():
    scale = Scale(-3, 0)
    assert scale.colour(None, carries=False) == NO_PATH
    assert scale.colour(math.nan) == scale.colour(math.inf) == NOT_FINITE
    assert (scale.width(None), scale.width(math.inf)) == (1.0, 6.0)
    assert scale.colour(0.0) == ON_LIGHT[0]
    assert scale.colour(1e9) == ON_LIGHT[-1]
    assert scale.place(1e-99) == 0.0
