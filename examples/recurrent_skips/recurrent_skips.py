"""A deep recurrent network in which layer l hears layers l - 1 and l - 2.

1. Sixteen recurrent layers over twelve steps of time, each hearing only the one below, or the two
   below: the norm of the gradient in each layer, side by side.
2. The ways up through the layers within one step are as many as the Fibonacci numbers, counted
   on the traced graph and compared with their closed form (Binet).
3. Training: which of two pulses came first? Same start, same steps of Nesterov's method; only the
   network with skips learns. (Adam, which rescales every gradient, makes up for a part of it.)

    python examples/recurrent_skips/recurrent_skips.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

import clew
from clew import nn
from clew.paths import count_paths

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


def norms_by_layer(net: Reader, inputs: np.ndarray, label: np.ndarray) -> list[float]:
    """Return the norm of the gradient of the logistic loss in each recurrent layer."""
    gradients = clew.grad(lambda net: nn.logistic_loss(net(inputs), label))(net)
    return nn.gradient_norms(gradients, lambda net: net.stack.cells)


def ways_up(layers: int, reach: int) -> int:
    """Return the number of ways through so many layers in one step, counted on the graph."""
    generator = np.random.default_rng(0)
    cells = [nn.RNNCell.create(generator, 2, 2) for _ in range(layers)]
    stack = nn.RecurrentStack(cells, reach=reach)
    graph = clew.trace(lambda x: stack(x, stack.initial())[-1])(np.ones(2))
    return count_paths(graph)


def fibonacci(number: int) -> int:
    """Return a Fibonacci number by Binet's formula, exact in float64 up to the seventieth."""
    golden = (1.0 + np.sqrt(5.0)) / 2.0
    return round(golden**number / np.sqrt(5.0))


def check_counts() -> bool:
    """Print the number of ways for several depths; say whether they are the Fibonacci numbers."""
    print(f"\n{'layers':>8}{'ways, plain':>14}{'with skips':>14}{'Fibonacci':>14}")
    good = True
    for layers in (1, 2, 3, 5, 8, 16, 32, 50):
        one, many = ways_up(layers, 1), ways_up(layers, 2)
        good &= one == 1 and many == fibonacci(layers + 1)
        print(f"{layers:8}{one:14}{many:14}{fibonacci(layers + 1):14}")
    return good


def train(reach: int, inputs: np.ndarray, label: np.ndarray) -> clew.Solution:
    """Train a network of this reach."""
    problem = clew.Problem(
        lambda net: nn.logistic_loss(net(inputs), label),
        network(reach),
        name="hears two below" if reach == 2 else "hears one below",
    )
    return clew.solve(problem, "nesterov", steps=STEPS, learning_rate=0.1, longest_gradient=0.5)


def draw(columns: dict[str, list[float]], path: Path) -> None:
    """Draw the norms by layer."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.add_subplot()
    for name, norms in columns.items():
        axis.semilogy(range(LAYERS), norms, "o-", label=name)
    axis.set(xlabel="layer", ylabel="norm of the gradient", title="Sixteen recurrent layers")
    axis.legend()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> int:
    """Print norms and counts, train both, compare."""
    generator = np.random.default_rng(1)
    inputs, label = sequences(generator, 400)
    new_inputs, new_label = sequences(generator, 1000)
    norms = [norms_by_layer(network(reach), inputs, label) for reach in (1, 2)]
    print(f"norm of the gradient{'plain':>12}{'with skips':>14}")
    for layer, (one, other) in enumerate(zip(*norms, strict=True)):
        print(f"  layer {layer:2}{one:22.1e}{other:14.1e}")
    counted = check_counts()
    print(f"\n{'':16}{'loss':>18}{'right on new sequences':>26}")
    right = []
    for reach in (1, 2):
        run = train(reach, inputs, label)
        right.append(float(np.mean((run.params(new_inputs) > 0) == (new_label > 0))))
        change = f"{run.history.loss[0]:.4f} -> {run.loss:.4f}"
        print(f"{run.problem.name:16}{change:>18}{right[-1]:26.1%}")
    draw({"plain": norms[0], "with skips": norms[1]}, HERE / "out" / "recurrent_skips.png")
    print(f"picture: {HERE / 'out' / 'recurrent_skips.png'}")
    kept = [column[0] / column[-1] for column in norms]
    survives = kept[0] < 1e-3 and kept[1] > 0.05
    learns = right[1] > 0.9 and right[0] < 0.7
    print("path counts agree" if counted else "MISSED: path counts disagree")
    print("the gradient survives" if survives else f"MISSED: norms {kept}")
    print("it learns" if learns else "MISSED: training is not as expected")
    return 0 if counted and survives and learns else 1


if __name__ == "__main__":
    sys.exit(main())
