"""Siamese verification: do two handwritten digits show the same figure?

One encoder looks at both pictures: the same tree of parameters is used twice, and its gradient is
the sum over both uses. The distance between the two codes gives the odds that the pair is alike.
Training sees pairs of 1,197 pictures; the check is on all pairs of the other 600. The area under
the ROC curve is worked out from ranks, apart from everything in Clew, and compared with that of
the distance between raw pixels.

Before training and after it, the gradient in the encoder is split by use: what came through the
left picture and what through the right one. The two sum to the gradient, and are those of a
network with two encoders that share nothing, which is differentiated as well. They tell what
the sum hides: in the last bias the branches cancel, since it moves both codes alike and no
distance hears of it.

The pictures (8 x 8, 0 to 16) are the test part of "Optical Recognition of Handwritten Digits",
E. Alpaydin and C. Kaynak, UCI Machine Learning Repository (1998), doi 10.24432/C50P49, CC BY 4.0,
as packed in scikit-learn's ``load_digits``.

    python examples/siamese/siamese.py
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

import clew
from clew import nn
from clew.core import pytree
from clew.paths import Flow
from clew.solve import Cosine

HERE = Path(__file__).resolve().parent
HELD_OUT = 600
PAIRS = 12_000
BATCH = 256
STEPS = 800


@nn.module
class Siamese(nn.Module):
    """Two pictures, one encoder; the logit falls with the squared distance of the codes."""

    encoder: nn.Sequential
    steepness: Any
    threshold: Any

    def forward(self, left: Any, right: Any) -> Any:
        """Return the logit of "the same figure" for each pair of rows."""
        distance = nn.squared_distance(self.encoder(left), self.encoder(right))
        return self.steepness * (self.threshold - distance)


@dataclass(frozen=True)
class Pairs:
    """Pairs of pictures, pixels in 0..1, and whether they show the same figure."""

    left: np.ndarray
    right: np.ndarray
    same: np.ndarray


def read_digits() -> tuple[np.ndarray, np.ndarray]:
    """Return the pictures, shape (1797, 64), values 0..1, and the figures they show."""
    with np.load(HERE / "digits.npz") as file:
        return file["images"] / 16.0, file["digits"].astype(int)


def draw_pairs(
    images: np.ndarray, digits: np.ndarray, count: int, generator: np.random.Generator
) -> Pairs:
    """Draw pairs of different pictures, half of them of the same figure."""
    left = generator.integers(len(digits), size=count)
    right = np.empty(count, int)
    for number, first in enumerate(left):
        alike = digits == digits[first]
        alike[first] = False
        wanted = np.flatnonzero(alike if number % 2 else digits != digits[first])
        right[number] = generator.choice(wanted)
    same = digits[left] == digits[right]
    return Pairs(images[left], images[right], same.astype(float))


def all_pairs(images: np.ndarray, digits: np.ndarray) -> Pairs:
    """Return every pair of different pictures once."""
    left, right = np.triu_indices(len(digits), k=1)
    same = digits[left] == digits[right]
    return Pairs(images[left], images[right], same.astype(float))


def area_under_curve(score: np.ndarray, label: np.ndarray) -> float:
    """Return the area under the ROC curve: how often a like pair scores above an unlike one.

    The Mann-Whitney statistic divided by the number of comparisons; ties count one half.
    """
    positive = label > 0.5
    count = int(positive.sum())
    above = rankdata(score)[positive].sum() - count * (count + 1) / 2.0
    return float(above / (count * (len(label) - count)))


def make_problem(pairs: Pairs, seed: int = 0) -> clew.Problem:
    """Return the training as a problem."""
    generator = np.random.default_rng(seed)
    encoder = nn.Sequential(
        (
            nn.Dense.create(generator, 64, 96, nn.relu, initialise=nn.he_normal),
            nn.Dense.create(generator, 96, 24),
        )
    )
    return clew.Problem(
        lambda net, data: nn.logistic_loss(net(data["left"], data["right"]), data["same"]),
        Siamese(encoder, np.ones(()), np.ones(())),
        data={"left": pairs.left, "right": pairs.right, "same": pairs.same},
        name="siamese digits",
    )


def areas(net: Siamese, pairs: Pairs) -> tuple[float, float]:
    """Return the area under the curve of raw pixels and of the trained codes."""
    raw = -np.sum((pairs.left - pairs.right) ** 2, axis=1)
    return area_under_curve(raw, pairs.same), area_under_curve(
        net(pairs.left, pairs.right), pairs.same
    )


def by_two_encoders(net: Siamese, pairs: Pairs) -> list[list[np.ndarray]]:
    """Return, array by array, the gradients in two encoders that share nothing."""

    def loss(left: Any, right: Any) -> Any:
        distance = nn.squared_distance(left(pairs.left), right(pairs.right))
        return nn.logistic_loss(net.steepness * (net.threshold - distance), pairs.same)

    left, right = (pytree.map(np.copy, net.encoder) for _ in range(2))
    gradients = clew.grad(loss, argnums=(0, 1))(left, right)
    leaves = [pytree.flatten(each)[0] for each in gradients]
    return [list(each) for each in zip(*leaves, strict=True)]


def check_branches(net: Siamese, pairs: Pairs, when: str) -> tuple[Flow, float]:
    """Print what each branch adds; return the paths, and the largest error of any branch."""

    def loss(net: Siamese) -> Any:
        return nn.logistic_loss(net(pairs.left, pairs.right), pairs.same)

    flow = clew.flow(loss, level=["sequential"])(net)
    names = pytree.leaf_names(net.encoder)
    wholes = pytree.flatten(clew.grad(loss)(net).encoder)[0]
    apart = by_two_encoders(net, pairs)
    print(f"\n{when + ':':22}{'left':>10}{'right':>10}{'sum':>10}{'cosine':>9}")
    worst = 0.0
    for name, whole, expected in zip(names, wholes, apart, strict=True):
        found = [use.contribution for use in flow.by_use(f"encoder.{name}")]
        left, right = map(np.linalg.norm, found)
        cosine = np.vdot(*found) / (left * right)
        norm = np.linalg.norm(whole)
        print(f"{name:22}{left:10.2e}{right:10.2e}{norm:10.2e}{cosine:9.2f}")
        off = [np.linalg.norm(a - b) for a, b in zip(found, expected, strict=True)]
        off.append(np.linalg.norm(found[0] + found[1] - whole))
        worst = max(worst, max(off) / max(left, right))
    return flow, float(worst)


def draw(net: Siamese, pairs: Pairs, path: Path) -> None:
    """Draw the distances of like and unlike pairs, between pixels and between codes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    raw = np.sqrt(np.sum((pairs.left - pairs.right) ** 2, axis=1))
    coded = np.sqrt(nn.squared_distance(net.encoder(pairs.left), net.encoder(pairs.right)))
    for axis, distance, title in zip(
        figure.subplots(1, 2), (raw, coded), ("raw pixels", "codes"), strict=True
    ):
        for same, label in ((1.0, "same figure"), (0.0, "different")):
            axis.hist(distance[pairs.same == same], 80, density=True, alpha=0.6, label=label)
        axis.set(title=f"distance between {title}", yticks=[])
        axis.legend()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


def main(given: list[str] | None = None) -> int:
    """Train, then verify on pairs that were held out."""
    parser = argparse.ArgumentParser(description="Siamese verification of digits.")
    parser.add_argument("--steps", type=int, default=STEPS)
    steps = parser.parse_args(given).steps
    images, digits = read_digits()
    generator = np.random.default_rng(0)
    order = generator.permutation(len(digits))
    held, seen = order[:HELD_OUT], order[HELD_OUT:]
    problem = make_problem(draw_pairs(images[seen], digits[seen], PAIRS, generator))
    rate = Cosine(0.003, steps)
    solution = clew.solve(problem, "adam", steps=steps, batch=BATCH, learning_rate=rate)
    print(f"{problem.name}: {nn.parameter_count(solution.params)} parameters")
    print(f"training loss {solution.history.loss[0]:.4f} -> {solution.loss:.4f}\n")
    pairs = all_pairs(images[held], digits[held])
    raw, coded = areas(solution.params, pairs)
    print(f"area under the ROC curve on {len(pairs.same)} held-out pairs")
    print(f"  distance between raw pixels  {raw:.4f}")
    print(f"  distance between codes       {coded:.4f}")
    few = draw_pairs(images[held], digits[held], BATCH, generator)
    print("\nnorm of what each branch adds to the encoder's gradient")
    _, first = check_branches(problem.start, few, "before training")
    flow, second = check_branches(solution.params, few, "after training")
    out = HERE / "out"
    draw(solution.params, pairs, out / "siamese.png")
    flow.report(out / "siamese.html")
    print(f"\npicture: {out / 'siamese.png'}, report: {out / 'siamese.html'}")
    apart = coded > 0.98 and 1.0 - coded < 0.1 * (1.0 - raw)
    shared = max(first, second) <= 1e-12
    print("held-out pairs are told apart" if apart else "MISSED: pairs are not told apart")
    print("the branches sum to the gradient" if shared else "MISSED: the branches disagree")
    return 0 if apart and shared else 1


if __name__ == "__main__":
    sys.exit(main())
