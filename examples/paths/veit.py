"""Where the gradient of a very deep residual network comes from, by path length: exactly.

Veit, Wilber and Belongie (2016), "Residual networks behave like ensembles of relatively shallow
networks", section 4.3. Every block of a residual network gives the gradient two ways back, through
its body and past it, so 54 blocks give ``2^54`` paths. Most of them pass about 27 bodies. Which
of them carry the gradient? The paper samples: it draws paths of each length at random,
back-propagates through each alone, and multiplies the mean norm of a path's gradient by how many
such paths there are. Here the gradient itself is split by length, all paths of one length
summed, by one backward pass over polynomials; their sample is drawn beside it.

The same as there: 54 blocks whose body is "normalise, rectify, weigh", twice; a trained network;
single paths, made by going through the bodies drawn and past all others; gradients in the input.
Different: dense blocks of width 24 on 8 x 8 digits, where the paper has 110 convolutional layers on
CIFAR-10; one batch for all; and what is measured. Norms say nothing of directions, and paths
cancel: the norm of a sum over paths, which is what the gradient is made of, is far below the
sum of their norms, and the lengths that carry it are shorter.

Checks, with back-propagation along single paths, which knows nothing of the split:

1. Paths are counted: ``2^54``, and ``C(54, k)`` of length k.
2. The parts sum to the gradient.
3. All paths of lengths 0, 1, 2, 53 and 54, walked one by one, sum to their parts.
4. The mean over sampled paths agrees with the exact mean, within the error of sampling (which
   is large where paths cancel: no sample of this size tells the shares of lengths above 3).
5. Nine tenths of the gradient's parts, by norm, have lengths below half the depth.

    python examples/paths/veit.py [--steps 300] [--samples 40]
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any

import numpy as np

import clew
from clew import nn
from clew.core import pytree
from clew.paths import ByLength

HERE = Path(__file__).resolve().parent
BLOCKS = 54
WIDTH = 24
HELD_OUT = 600
BATCH = 32
STEPS = 300
SAMPLES = 40
WALKED = (0, 1, 2, BLOCKS - 1, BLOCKS)
LENGTHS = np.arange(BLOCKS + 1)
NUMBERS = np.array([float(comb(BLOCKS, length)) for length in LENGTHS])


@nn.module
class Network(nn.Module):
    """A layer in, residual blocks of one width, a layer out.

    All blocks are one: their arrays have a first axis of ``BLOCKS``, which a loop runs along.
    """

    stem: nn.Dense
    blocks: nn.Residual
    head: nn.Sequential

    @classmethod
    def create(cls, generator: np.random.Generator) -> Network:
        """Draw a network for pictures of 64 pixels and ten classes."""

        def half() -> list[Any]:
            gamma, beta = np.ones((BLOCKS, WIDTH)), np.zeros((BLOCKS, WIDTH))
            weight = nn.he_normal(generator, (BLOCKS, WIDTH, WIDTH))
            return [nn.BatchNorm(gamma, beta), nn.relu, nn.Dense(weight)]

        last = [nn.BatchNorm.create(WIDTH), nn.relu, nn.Dense.create(generator, WIDTH, 10)]
        return cls(
            nn.Dense.create(generator, 64, WIDTH, name="stem"),
            nn.Residual(nn.Sequential([*half(), *half()], name="body")),
            nn.Sequential(last, name="head"),
        )

    def forward(self, pictures: Any) -> Any:
        """Return logits (examples, 10) for pictures (examples, 64)."""
        x, _ = clew.scan(lambda x, block: (block(x), None), self.stem(pictures), self.blocks)
        return self.head(x)

    def block(self, number: int) -> nn.Residual:
        """Return one of the blocks."""
        return pytree.map(lambda leaf: leaf[number], self.blocks)


@dataclass(frozen=True)
class Sample:
    """What random paths of each length say of the gradient; every array is one row per length.

    ``norm`` is the mean norm of a path's gradient. ``share`` estimates the exact share, without
    bias, and ``error`` is its standard error. ``distance`` is how far the mean over the sampled
    paths is from the exact mean over all, in standard errors of the whole vector: its square
    is 1 on average.
    """

    norm: np.ndarray
    share: np.ndarray
    error: np.ndarray
    distance: np.ndarray


def read_digits() -> tuple[np.ndarray, np.ndarray]:
    """Return pictures (1797, 64) in 0..1 and the digits they show; see the Siamese example."""
    with np.load(HERE.parent / "siamese" / "digits.npz") as file:
        return file["images"] / 16.0, file["digits"].astype(int)


def train(pictures: np.ndarray, digits: np.ndarray, steps: int) -> clew.Solution:
    """Train a network for a short time."""
    problem = clew.Problem(
        lambda net, data: nn.cross_entropy(net(data["pictures"]), data["digits"]),
        Network.create(np.random.default_rng(0)),
        data={"pictures": pictures, "digits": digits},
        name=f"{BLOCKS} residual blocks",
    )
    return clew.solve(problem, "adam", steps=steps, batch=64, learning_rate=0.003)


def path_gradients(
    net: Network, pictures: np.ndarray, digits: np.ndarray, through: np.ndarray
) -> np.ndarray:
    """Return the gradient along single paths, shape (paths, examples, pixels).

    ``through`` (paths, blocks) says which bodies each path goes through; it goes past the others.
    """

    def pull(part: Any, x: Any, arrived: Any) -> Any:
        return clew.vmap(clew.vjp(part, x)[1])(arrived)[0]

    def back(block: nn.Residual, x: Any, arrived: Any, chosen: Any) -> Any:
        return np.where(chosen[:, None, None], pull(block.body, x, arrived), arrived)

    compiled = clew.jit(back)
    reached = [net.stem(pictures)]
    for number in range(BLOCKS):
        reached.append(net.block(number)(reached[-1]))
    gradient = clew.grad(lambda x: nn.cross_entropy(net.head(x), digits))(reached.pop())
    arrived = np.repeat(gradient[None], len(through), axis=0)
    for number in reversed(range(BLOCKS)):
        arrived = compiled(net.block(number), reached[number], arrived, through[:, number])
    return pull(net.stem, pictures, arrived)


def walked(net: Network, pictures: np.ndarray, digits: np.ndarray, length: int) -> np.ndarray:
    """Return the sum of the gradients along all paths of a length, each walked by itself."""
    chosen = [list(each) for each in combinations(range(BLOCKS), length)]
    through = np.zeros((len(chosen), BLOCKS), bool)
    for row, each in zip(through, chosen, strict=True):
        row[each] = True
    return path_gradients(net, pictures, digits, through).sum(axis=0)


def sample(
    net: Network, pictures: np.ndarray, digits: np.ndarray, exact: ByLength, count: int
) -> Sample:
    """Draw so many paths of each length, as the paper does, and compare with all of them."""
    generator = np.random.default_rng(1)
    order = generator.permuted(np.tile(np.arange(BLOCKS), (len(LENGTHS) * count, 1)), axis=1)
    through = order < np.repeat(LENGTHS, count)[:, None]
    found = path_gradients(net, pictures, digits, through).reshape(len(LENGTHS), count, -1)
    mean = found.mean(axis=1)
    spread = np.sum((found - mean[:, None]) ** 2, axis=(1, 2)) / (count - 1)
    away = np.linalg.norm(mean - exact.parts.reshape(mean.shape) / NUMBERS[:, None], axis=1)
    # There is one empty path and one full one: no spread but rounding.
    several = NUMBERS > 1
    along = found @ exact.gradient.ravel() / np.sum(exact.gradient**2)
    return Sample(
        np.linalg.norm(found, axis=2).mean(axis=1),
        NUMBERS * along.mean(axis=1),
        NUMBERS * along.std(axis=1, ddof=1) / np.sqrt(count),
        np.where(several, away / np.sqrt(np.where(several, spread, 1.0) / count), 0.0),
    )


def carriers(norms: np.ndarray, most: float = 0.9) -> range:
    """Return the fewest neighbouring lengths whose norms add up to most of all norms.

    >>> carriers(np.array([1.0, 20.0, 60.0, 18.0, 1.0]))
    range(1, 4)
    """
    sums = np.concatenate([[0.0], np.cumsum(norms)])
    enough = [
        range(first, stop)
        for first in range(len(norms))
        for stop in range(first + 1, len(norms) + 1)
        if sums[stop] - sums[first] >= most * sums[-1]
    ]
    return min(enough, key=len)


def print_table(exact: ByLength, sampled: Sample) -> None:
    """Print both ways side by side, for the lengths that matter and the longest."""
    print(f"\n{'':8}{'':12}{'all paths, exactly':^22}{'sampled paths':^42}")
    print(
        f"{'length':>8}{'paths':>12}{'norm':>12}{'share':>10}"
        f"{'norm of one':>14}{'x paths':>10}{'share':>18}"
    )
    for length in (*range(21), BLOCKS // 2, BLOCKS):
        share = f"{sampled.share[length]:.2f} +/- {sampled.error[length]:.2f}"
        print(
            f"{length:8}{NUMBERS[length]:12.3g}{exact.norms[length]:12.2e}"
            f"{exact.shares[length]:10.2%}{sampled.norm[length]:14.2e}"
            f"{NUMBERS[length] * sampled.norm[length]:10.2g}{share:>18}"
        )


def draw(exact: ByLength, sampled: Sample, path: Path) -> None:
    """Draw how many paths there are, how large their gradients, and which carry it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.8), layout="constrained")
    count, size, share = figure.subplots(1, 3)
    count.bar(LENGTHS, NUMBERS, color="0.6")
    count.set(title="paths of each length", xlabel="length: bodies passed")
    many = NUMBERS * sampled.norm
    size.semilogy(LENGTHS, sampled.norm, "C1:", label="one path (sampled)")
    size.semilogy(LENGTHS, many, "C1o", markersize=3, label="x number of paths")
    size.semilogy(LENGTHS, exact.norms, "C0", label="their sum (exact)")
    size.set(title="norm of the gradient", xlabel="length", ylim=(1e-24, 1e7))
    size.legend(loc="lower left", fontsize="small")
    share.bar(LENGTHS, exact.norms / exact.norms.sum(), color="C0", label="sums of paths (exact)")
    share.plot(LENGTHS, many / many.sum(), "C1o-", markersize=3, label="sums of norms (sampled)")
    share.set(title="which lengths carry it", xlabel="length", xlim=(-1, BLOCKS // 2 + 1))
    share.margins(y=0.3)  # room for the legend
    share.legend(loc="upper right", fontsize="small")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


def print_carriers(exact: ByLength, sampled: Sample) -> range:
    """Print which lengths carry nine tenths of the gradient; return them."""
    found = carriers(exact.norms)
    kept = exact.parts[found.start : found.stop].sum(axis=0)
    left = np.linalg.norm(exact.gradient - kept) / np.linalg.norm(exact.gradient)
    some = NUMBERS[found.start : found.stop].sum() / NUMBERS.sum()
    many = carriers(NUMBERS * sampled.norm)
    print(f"\n90 % of the parts' norms: lengths {found.start} to {found.stop - 1}")
    print(f"these are {some:.1e} of the paths")
    print(f"the gradient without all others is off by {left:.1%}")
    print(
        f"90 % of the norms of single paths: lengths {many.start} to {many.stop - 1} "
        "(the paper: 5 to 17)"
    )
    return found


def main(given: list[str] | None = None) -> int:
    """Train, split the gradient, sample it, compare."""
    parser = argparse.ArgumentParser(description="Where a deep residual network's gradient is.")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    asked = parser.parse_args(given)
    pictures, digits = read_digits()
    order = np.random.default_rng(0).permutation(len(digits))
    held, seen = order[:HELD_OUT], order[HELD_OUT:]
    solution = train(pictures[seen], digits[seen], asked.steps)
    net = solution.params
    right = np.mean(np.argmax(net(pictures[held]), axis=1) == digits[held])
    print(f"{solution.problem.name}: loss {solution.history.loss[0]:.3f} -> {solution.loss:.3f}")
    print(f"{right:.1%} of {HELD_OUT} new digits are read rightly")
    batch = pictures[held[:BATCH]], digits[held[:BATCH]]

    def loss(pictures: Any) -> Any:
        return nn.cross_entropy(net(pictures), batch[1])

    flow = clew.flow(loss, level=["body"])(batch[0])
    last = f"residual#{BLOCKS}"
    print(f"paths from the last block to the pictures: {flow.count(sink=last)}")
    exact = flow.gradient_by_length()
    sampled = sample(net, *batch, exact, asked.samples)
    print_table(exact, sampled)
    carrying = print_carriers(exact, sampled)
    draw(exact, sampled, HERE / "out" / "veit.png")
    flow.report(HERE / "out" / "veit.html")
    print(f"picture: {HERE / 'out' / 'veit.png'}, report: {HERE / 'out' / 'veit.html'}\n")
    checks = {
        "paths are counted": flow.count(sink=last) == 2**BLOCKS
        and flow.lengths(sink=last) == {k: comb(BLOCKS, k) for k in range(BLOCKS + 1)},
        "parts sum to the gradient": error(exact.parts.sum(axis=0), clew.grad(loss)(batch[0]))
        <= 1e-12,
        "paths walked sum to their parts": all(
            error(walked(net, *batch, length), exact.parts[length]) <= 1e-9 for length in WALKED
        ),
        "sampled paths agree": float(sampled.distance.max()) < 3.0,
        "the gradient comes along short paths": carrying.stop <= BLOCKS // 2,
    }
    for name, good in checks.items():
        print(f"{'ok' if good else 'MISSED'}: {name}")
    return 0 if all(checks.values()) else 1


def error(found: Any, expected: Any) -> float:
    """Return the norm of the difference, relative to the norm expected."""
    return float(np.linalg.norm(np.subtract(found, expected)) / np.linalg.norm(expected))


if __name__ == "__main__":
    sys.exit(main())
