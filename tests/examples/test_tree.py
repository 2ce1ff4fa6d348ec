"""The tree example."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

import clew


def test_it_runs(run):
    status, printed = run()
    assert status == 0, printed
    assert "deeper sentences are understood" in printed
    assert "one path per word, as long as it is deep" in printed


def test_an_untaught_network_misses(run):
    status, printed = run("--steps", "1")
    assert status == 1
    assert "MISSED" in printed


def test_documentation(example):
    result = doctest.testmod(example)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize(
    ("text", "mood"),
    [
        ("good", True),
        ("(not good)", False),
        ("((not good) or (bad and fine))", False),
        ("((not bad) and (dull or (not (awful and lovely))))", True),
    ],
)
def test_mood(example, text, mood):
    assert example.mood(example.parse(text)) is mood


@pytest.mark.parametrize(
    ("text", "depths"),
    [
        ("((not good) and ((not good) or bad))", {2: 2, 3: 1}),
        ("((not (bad or fine)) or dull)", {1: 1, 3: 2}),
    ],
)
def test_paths_are_as_long_as_words_are_deep(example, tmp_path, text, depths):
    net = example.Reader.create(np.random.default_rng(0))
    tree = example.parse(text)
    assert example.word_depths(tree) == depths
    assert example.look(net, tree, tmp_path / "tree.html")
    assert (tmp_path / "tree.html").is_file()


def test_wrong_depths_are_seen(example, monkeypatch, tmp_path):
    net = example.Reader.create(np.random.default_rng(0))
    tree = example.parse("((not good) and bad)")
    monkeypatch.setattr(example, "word_depths", lambda tree: {1: 2, 2: 1})
    assert not example.look(net, tree, tmp_path / "tree.html")


def test_written_sentences_are_as_deep_as_asked(example):
    generator = np.random.default_rng(0)
    for depth in range(6):
        text = example.write(depth, generator)
        assert example.parse(text).depth == depth


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(good but bad)", "no connective after good"),
        ("(good and)", r"'\)' is not a word"),
        ("(good and bad", "a bracket is not closed"),
        ("good bad", "'bad' is left over"),
        ("", "'' is not a word"),
    ],
)
def test_bad_sentences(example, text, message):
    with pytest.raises(clew.InputError, match=message):
        example.parse(text)
