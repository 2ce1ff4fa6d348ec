"""Siamese verification: do two handwritten digits show the same figure?

One encoder looks at both pictures: the same tree of parameters is used twice, and its gradient is
the sum over both uses. The distance between the two codes gives the odds that the pair is alike.
Training sees pairs of 1,197 pictures; the check is on all pairs of the other 600. The area under
the ROC curve is worked out from ranks, apart from everything in Clew, and compared with that of
the distance between raw pixels.

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
    draw(solution.params, pairs, HERE / "out" / "siamese.png")
    missed = not (coded > 0.98 and 1.0 - coded < 0.1 * (1.0 - raw))
    print(f"\npicture: {HERE / 'out' / 'siamese.png'}")
    print("MISSED" if missed else "held-out pairs are told apart")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
