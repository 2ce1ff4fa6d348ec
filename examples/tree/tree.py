"""A recursive network reads the mood of bracketed sentences, and of deeper ones than it was taught.

Sentences such as ``((not dull) and (bad or (not awful)))`` are parsed into trees; a network follows
each tree by plain Python recursion, with one cell for each connective (Socher, Bauer, Manning and
Ng 2013 call it syntactically untied) and one vector for each word. Only the whole sentence's mood
is told, never that of its parts: what "not" and "and" mean has to be found.

Equal parts of different sentences are worked out once and used in all their places; their
gradients add up by themselves. Taught are sentences up to three deep; checked are 496 of depths
four to seven, against the mood worked out by Python's own ``not``, ``and`` and ``or``.

The gradient's paths through one sentence are looked at as well: one for each word in it, as long
as the word is deep. (A part that occurs twice is worked out once and still has two, unless one
cell reads it as both its parts.) The gradient of all words is split by depth, and that of the
cell for "not" by where it is used.

    python examples/tree/tree.py
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

import clew
from clew import nn
from clew.nn import Tree

WORDS = {
    "good": True, "great": True, "fine": True, "lovely": True,
    "bad": False, "awful": False, "dull": False, "poor": False,
}  # fmt: skip
CHILDREN = {"not": 1, "and": 2, "or": 2}
WIDTH = 8
TAUGHT = 700
DEPTHS = (4, 5, 6, 7)
CHECKED = 125
STEPS = 120


@nn.module
class Reader(nn.Module):
    """A vector for each word, a cell for each connective, and a reader of the whole."""

    words: dict[str, Any]
    cells: dict[str, nn.TreeCell]
    readout: nn.Dense

    @classmethod
    def create(cls, generator: np.random.Generator) -> Reader:
        """Draw a network."""
        words = {word: 0.1 * generator.normal(size=WIDTH) for word in WORDS}
        cells = {
            label: nn.TreeCell.create(generator, WIDTH, count, name=label)
            for label, count in CHILDREN.items()
        }
        return cls(words, cells, nn.Dense.create(generator, WIDTH, 1, name="readout"))

    def forward(self, trees: list[Tree]) -> Any:
        """Return one logit for each tree."""
        known: dict[Tree, Any] = {}
        tops = [nn.fold(tree, self.words.__getitem__, self.join, known) for tree in trees]
        return self.readout(np.stack(tops))[:, 0]

    def join(self, label: str, *parts: Any) -> Any:
        """Return the vector of a part of a sentence from those of its own parts."""
        return self.cells[label](*parts)


def parse(text: str) -> Tree:
    """Read a bracketed sentence.

    >>> str(parse("((not dull) and good)"))
    '(and (not dull) good)'
    """
    tokens = re.findall(r"[()]|[a-z]+", text)
    tree, rest = _parse(tokens, text)
    if rest:
        raise clew.InputError(f"parse: {' '.join(rest)!r} is left over in {text!r}", "remove it")
    return tree


def _parse(tokens: list[str], text: str) -> tuple[Tree, list[str]]:
    head, rest = (tokens[0], tokens[1:]) if tokens else ("", [])
    if head in WORDS:
        return Tree(head), rest
    if head == "(" and rest and rest[0] == "not":
        part, rest = _parse(rest[1:], text)
        tree = Tree("not", (part,))
    elif head == "(":
        left, rest = _parse(rest, text)
        if not rest or rest[0] not in ("and", "or"):
            raise clew.InputError(f"parse: no connective after {left} in {text!r}", "and, or")
        right, after = _parse(rest[1:], text)
        tree, rest = Tree(rest[0], (left, right)), after
    else:
        raise clew.InputError(f"parse: {head!r} is not a word in {text!r}", ", ".join(WORDS))
    if not rest or rest[0] != ")":
        raise clew.InputError(f"parse: a bracket is not closed in {text!r}", "close it")
    return tree, rest[1:]


def write(depth: int, generator: np.random.Generator) -> str:
    """Write a random sentence exactly so many brackets deep."""
    if depth == 0:
        return str(generator.choice(list(WORDS)))
    deep = write(depth - 1, generator)
    label = str(generator.choice(list(CHILDREN)))
    if label == "not":
        return f"(not {deep})"
    other = write(int(generator.integers(depth)), generator)
    left, right = (deep, other) if generator.random() < 0.5 else (other, deep)
    return f"({left} {label} {right})"


def mood(tree: Tree) -> bool:
    """Return the exact mood of a sentence, by Python's own logic."""
    if not tree.children:
        return WORDS[tree.label]
    parts = [mood(child) for child in tree.children]
    if tree.label == "not":
        return not parts[0]
    return all(parts) if tree.label == "and" else any(parts)


def sentences(depths: Any, count: int, generator: np.random.Generator) -> list[Tree]:
    """Return different sentences of these depths, half of them of each mood."""
    found: dict[bool, dict[Tree, None]] = {True: {}, False: {}}
    while min(len(found[True]), len(found[False])) < count // 2:
        tree = parse(write(int(generator.choice(depths)), generator))
        found[mood(tree)].setdefault(tree)
    return [tree for each in found.values() for tree in list(each)[: count // 2]]


def labels(trees: list[Tree]) -> np.ndarray:
    """Return the moods as 0 and 1."""
    return np.array([mood(tree) for tree in trees], float)


def draw(net: Reader, tree: Tree, path: Path) -> None:
    """Draw a tree with the network's mood of every part: green is good, red is bad."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axis = figure.add_subplot()
    leaves = iter(range(1000))

    def place(part: Tree, level: int) -> float:
        across = [place(child, level + 1) for child in part.children]
        x = sum(across) / len(across) if across else float(next(leaves))
        for other in across:
            axis.plot([x, other], [-level, -level - 1], color="0.7", zorder=1)
        belief = float(nn.sigmoid(net([part]))[0])
        colour = "#b7e1a1" if belief > 0.5 else "#f4b4a6"
        box = {"boxstyle": "round", "facecolor": colour, "edgecolor": "0.5"}
        text = f"{part.label}\n{belief:.2f}"
        axis.text(x, -level, text, ha="center", va="center", fontsize=8, bbox=box)
        return x

    place(tree, 0)
    axis.set_axis_off()
    axis.set_title(f"never seen; it is {'good' if mood(tree) else 'bad'}", fontsize=9)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


def word_depths(tree: Tree, depth: int = 0) -> dict[int, int]:
    """Return how many words stand at each depth, by walking the tree.

    >>> word_depths(parse("((not dull) and good)"))
    {1: 1, 2: 1}
    """
    if not tree.children:
        return {depth: 1}
    found: dict[int, int] = {}
    for child in tree.children:
        for deep, count in word_depths(child, depth + 1).items():
            found[deep] = found.get(deep, 0) + count
    return dict(sorted(found.items()))


def look(net: Reader, tree: Tree, page: Path) -> bool:
    """Print the gradient's paths through a sentence, write a report; say whether they are right."""

    def logit(net: Reader) -> Any:
        return net([tree])[0]

    flow = clew.flow(logit, level=lambda path: path.rpartition("/")[2] in CHILDREN)(net)
    print(f"\npaths through {tree}")
    depths, lengths = word_depths(tree), flow.lengths("words")
    split = flow.gradient_by_length("words")
    print(f"\n{'depth':>6}{'words':>7}{'paths':>7}{'gradient':>12}{'share':>9}")
    for depth, norm, share in zip(split.lengths, split.norms, split.shares, strict=True):
        print(f"{depth:6}{depths[depth]:7}{lengths[depth]:7}{norm:12.3e}{share:9.1%}")
    uses = flow.by_use("cells['not'].weights[0]")
    print('\n"not", from the inside out:', ", ".join(f"{use.norm:.2e}" for use in uses))
    gradient = clew.grad(logit)(net)
    words = [
        off(part.sum(axis=0), gradient.words[name.removeprefix("words.")])
        for name, part in split.parts.items()
    ]
    whole = gradient.cells["not"].weights[0]
    flow.report(page)
    print(f"report: {page}")
    summed = max(*words, off(sum(use.contribution for use in uses), whole)) <= 1e-12
    return lengths == depths and flow.count("words") == sum(depths.values()) and summed


def off(found: Any, expected: Any) -> float:
    """Return the norm of the difference, relative to the norm expected."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def main(given: list[str] | None = None) -> int:
    """Teach shallow sentences, check deep ones, look at the paths through one of them."""
    parser = argparse.ArgumentParser(description="A recursive network reads bracketed sentences.")
    parser.add_argument("--steps", type=int, default=STEPS)
    steps = parser.parse_args(given).steps
    generator = np.random.default_rng(0)
    taught = sentences((1, 2, 3), TAUGHT, generator)
    goal = labels(taught)
    problem = clew.Problem(
        lambda net: nn.logistic_loss(net(taught), goal),
        Reader.create(generator),
        name="the mood of bracketed sentences",
    )
    solution = clew.solve(problem, "adam", steps=steps, learning_rate=0.03)
    print(f"{problem.name}: {nn.parameter_count(solution.params)} parameters")
    print(f"taught {len(taught)} sentences up to 3 deep, for instance {taught[-1]}")
    print(f"loss {solution.history.loss[0]:.4f} -> {solution.loss:.6f}\n")
    print(f"{'depth':>6}{'sentences':>12}{'right':>10}{'majority':>11}")
    right = []
    for depth in DEPTHS:
        trees = sentences((depth,), CHECKED, generator)
        answers = labels(trees)
        right.append(float(np.mean((solution.params(trees) > 0) == (answers > 0))))
        majority = max(answers.mean(), 1.0 - answers.mean())
        print(f"{depth:6}{len(trees):12}{right[-1]:10.1%}{majority:11.1%}")
    out = Path(__file__).resolve().parent / "out"
    draw(solution.params, sentences((4,), 2, generator)[0], out / "tree.png")
    print(f"picture: {out / 'tree.png'}")
    longest = max(sentences((6,), 20, generator), key=lambda tree: len(str(tree)))
    traced = look(solution.params, longest, out / "tree.html")
    good = min(right) >= 0.9
    print("deeper sentences are understood" if good else "MISSED: fewer than 90 % are right")
    print("one path per word, as long as it is deep" if traced else "MISSED: paths disagree")
    return 0 if good and traced else 1


if __name__ == "__main__":
    sys.exit(main())
