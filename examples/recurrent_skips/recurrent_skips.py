"""A deep recurrent network in which layer l hears layers l - 1 and l - 2.

1. Sixteen recurrent layers over twelve steps of time, each hearing only the one below, or the two
   below: the norm of the gradient in each layer, side by side.
2. The paths up through the layers within one step are as many as the Fibonacci numbers (Binet's
   formula), C(n, layers - n) of which pass n layers. Through layers and time they are those
   on a grid: binomial without skips, a sum of products of two binomials with them.
3. What each step of time contributes to the gradient in the top layer, before training. The sum
   looks healthy, but the first steps add next to nothing: skips over layers shorten no way
   through time.
4. Training: which of two pulses came first? Same start, same steps of Nesterov's method; only the
   network with skips learns. (Adam, which rescales every gradient, makes up for a part of it.)

    python examples/recurrent_skips/recurrent_skips.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import comb
from pathlib import Path
from typing import Any

import numpy as np

import clew
from clew import nn
from clew.paths import Flow, count_paths

LAYERS = 16
WIDTH = 10
TIME = 12
STEPS = 100
HERE = Path(__file__).resolve().parent


@nn.module
class Reader(nn.Module):
    """A stack of recurrent layers, and a linear reader of its last output."""

    stack: nn.RecurrentStack
    readout: nn.Dense

    def forward(self, inputs: Any) -> Any:
        """Return one logit per sequence, from inputs (time, sequences, WIDTH)."""
        outputs, _ = nn.unroll(self.stack, inputs)
        return self.readout(outputs[-1])[:, 0]


def network(reach: int) -> Reader:
    """Draw a network; the same start for every reach. Weights are a little small."""
    generator = np.random.default_rng(0)
    cells = []
    for _ in range(LAYERS):
        cell = nn.RNNCell.create(generator, WIDTH, WIDTH)
        cells.append(nn.RNNCell(0.5 * cell.input_weight, 0.5 * cell.state_weight, cell.bias))
    stack = nn.RecurrentStack(cells, reach=reach)
    return Reader(stack, nn.Dense.create(generator, WIDTH, 1))


def sequences(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return noise with two pulses, and whether the pulse in channel 0 came first."""
    inputs = 0.1 * generator.normal(size=(TIME, count, WIDTH))
    times = np.array([generator.choice(TIME, 2, replace=False) for _ in range(count)])
    for channel in (0, 1):
        inputs[times[:, channel], np.arange(count), channel] += 1.0
    return inputs, (times[:, 0] < times[:, 1]).astype(float)


def loss_on(inputs: np.ndarray, label: np.ndarray) -> Callable[[Reader], Any]:
    """Return the logistic loss of a network on sequences."""
    return lambda net: nn.logistic_loss(net(inputs), label)


def is_cell(path: str) -> bool:
    """Say whether a scope is a recurrent layer at one step: those are the nodes here."""
    return "rnncell" in path


def one_step(layers: int, reach: int) -> Callable[[Any], Any]:
    """Return the function that takes one step of so many layers, from their initial state."""
    generator = np.random.default_rng(0)
    cells = [nn.RNNCell.create(generator, 2, 2) for _ in range(layers)]
    stack = nn.RecurrentStack(cells, reach=reach)
    return lambda x: stack(x, stack.initial())[-1]


def fibonacci(number: int) -> int:
    """Return a Fibonacci number by Binet's formula, exact in float64 up to the seventieth."""
    golden = (1.0 + np.sqrt(5.0)) / 2.0
    return round(golden**number / np.sqrt(5.0))


def grid_paths(reach: int) -> int:
    """Return the number of paths from the top at the last step to the bottom at any step.

    With n moves up (of one layer, or of one or two) and m back in time, in any order, there are
    ``C(n + m, n)``; over ``m < TIME`` they add up to ``C(n + TIME, n + 1)``.
    """
    up = LAYERS - 1
    ways = {up: 1} if reach == 1 else {n: comb(n, up - n) for n in range(up + 1)}
    return sum(many * comb(n + TIME, n + 1) for n, many in ways.items())


def check_counts(flows: list[Flow]) -> bool:
    """Print the numbers of paths for several depths; say whether all are as they should be."""
    print(f"\n{'layers':>8}{'paths, plain':>14}{'with skips':>14}{'Fibonacci':>14}")
    good = True
    for layers in (1, 2, 3, 5, 8, 16, 32, 50):
        plain, skips = (
            clew.flow(one_step(layers, reach), level=is_cell)(np.ones(2)) for reach in (1, 2)
        )
        one, many = plain.count(), skips.count()
        good &= one == 1 and many == fibonacci(layers + 1)
        good &= plain.lengths() == {layers: 1}
        passed = {n: comb(n, layers - n) for n in range((layers + 1) // 2, layers + 1)}
        good &= skips.lengths() == passed
        good &= many == count_paths(clew.trace(one_step(layers, 2))(np.ones(2)))
        print(f"{layers:8}{one:14}{many:14}{fibonacci(layers + 1):14}")
    top = f"rnncell{LAYERS - 1}#{TIME}"
    grid = [flow.count("stack.cells[0].bias", top) for flow in flows]
    print(f"through {LAYERS} layers and {TIME} steps: {grid[0]} paths, with skips {grid[1]}")
    return good and grid == [grid_paths(1), grid_paths(2)]


def by_step(flow: Flow, gradient: Any) -> tuple[list[float], float]:
    """Return the norm of what each step adds to the top layer's gradient, and the sum's error."""
    uses = flow.by_use(f"stack.cells[{LAYERS - 1}].input_weight")
    whole = gradient.stack.cells[-1].input_weight
    off = np.linalg.norm(sum(use.contribution for use in uses) - whole) / np.linalg.norm(whole)
    return [use.norm for use in uses], float(off)


def train(reach: int, inputs: np.ndarray, label: np.ndarray) -> clew.Solution:
    """Train a network of this reach."""
    problem = clew.Problem(
        loss_on(inputs, label),
        network(reach),
        name="hears two below" if reach == 2 else "hears one below",
    )
    return clew.solve(problem, "nesterov", steps=STEPS, learning_rate=0.1, longest_gradient=0.5)


def draw(layers: dict[str, list[float]], steps: dict[str, list[float]], path: Path) -> None:
    """Draw the norms by layer, and what each step of time contributes in the top layer."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, norms in layers.items():
        left.semilogy(range(LAYERS), norms, "o-", label=name)
        right.semilogy(range(TIME), steps[name], "o-", label=name)
    left.set(xlabel="layer", ylabel="norm of the gradient", title="Sixteen recurrent layers")
    right.set(xlabel="step of time", ylabel="norm of its contribution", title="The top layer")
    left.legend()
    right.legend()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


def compare(inputs: np.ndarray, label: np.ndarray) -> dict[str, bool]:
    """Print norms by layer and by step, and counts; return what was found as it should be."""
    nets = [network(reach) for reach in (1, 2)]
    loss = loss_on(inputs, label)
    gradients = [clew.grad(loss)(net) for net in nets]
    norms = [nn.gradient_norms(each, lambda net: net.stack.cells) for each in gradients]
    print(f"norm of the gradient{'plain':>12}{'with skips':>14}")
    for layer, (one, other) in enumerate(zip(*norms, strict=True)):
        print(f"  layer {layer:2}{one:22.1e}{other:14.1e}")
    flows = [clew.flow(loss, level=is_cell)(net) for net in nets]
    counted = check_counts(flows)
    (plain, first), (skips, second) = map(by_step, flows, gradients)
    print(f"\ntop layer, by time{'plain':>14}{'with skips':>14}")
    for step, (one, other) in enumerate(zip(plain, skips, strict=True)):
        print(f"  step {step:2}{one:23.1e}{other:14.1e}")
    names = ("plain", "with skips")
    out = HERE / "out"
    draw(
        dict(zip(names, norms, strict=True)),
        dict(zip(names, (plain, skips), strict=True)),
        out / "recurrent_skips.png",
    )
    flows[1].report(out / "recurrent_skips.html")
    print(f"picture: {out / 'recurrent_skips.png'}, report: {out / 'recurrent_skips.html'}")
    kept = [column[0] / column[-1] for column in norms]
    return {
        "path counts agree": counted,
        "the gradient survives": kept[0] < 1e-3 and kept[1] > 0.05,
        "long-range terms have vanished in both": max(plain[0] / plain[-1], skips[0] / skips[-1])
        < 1e-3,
        "the steps' contributions sum to the gradient": max(first, second) <= 1e-12,
    }


def main() -> int:
    """Compare gradients and paths, train both, compare."""
    generator = np.random.default_rng(1)
    inputs, label = sequences(generator, 400)
    new_inputs, new_label = sequences(generator, 1000)
    checks = compare(inputs, label)
    print(f"\n{'':16}{'loss':>18}{'right on new sequences':>26}")
    right = []
    for reach in (1, 2):
        run = train(reach, inputs, label)
        right.append(float(np.mean((run.params(new_inputs) > 0) == (new_label > 0))))
        change = f"{run.history.loss[0]:.4f} -> {run.loss:.4f}"
        print(f"{run.problem.name:16}{change:>18}{right[-1]:26.1%}")
    checks["it learns"] = right[1] > 0.9 and right[0] < 0.7
    for claim, good in checks.items():
        print(claim if good else f"MISSED: {claim}")
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
