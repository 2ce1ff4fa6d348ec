"""Residual connections: why the gradient reaches the first of thirty layers, counted in paths.

1. The same thirty tanh layers, plain and with skip connections ``x + body(x)``: the norm of the
   loss's gradient in each layer, side by side. Plain, it dies on the way; with skips it survives.
2. Each block gives the gradient two ways back, through its body and past it, so that N - k blocks
   give ``2^(N - k)`` paths (Veit, Wilber and Belongie 2016). They are counted on the traced graph,
   by one sweep for any number of blocks, and by walking each path where that is possible.

    python examples/residual/residual.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

import clew
from clew import nn
from clew.core.graph import Var, users
from clew.paths import count_paths

LAYERS = 30
WIDTH = 16
WALKED = 12
HERE = Path(__file__).resolve().parent


def layers() -> list[nn.Dense]:
    """Draw the layers that both networks are made of, with weights a little small."""
    generator = np.random.default_rng(0)
    drawn = [nn.Dense.create(generator, WIDTH, WIDTH, np.tanh) for _ in range(LAYERS)]
    return [nn.Dense(0.5 * each.weight, each.bias, activation=np.tanh) for each in drawn]


def norms_by_layer(network: nn.Sequential) -> list[float]:
    """Return the norm of the gradient of a quadratic loss in each layer."""
    generator = np.random.default_rng(1)
    x, goal = generator.normal(size=(2, 32, WIDTH))

    def loss(net: Any) -> Any:
        return np.mean((net(x) - goal) ** 2)

    return nn.gradient_norms(clew.grad(loss)(network), lambda net: net.layers)


def rest_of(network: nn.Sequential, first: int) -> clew.Graph:
    """Return the graph of the layers from ``first`` on, as a function of what reaches them."""
    rest = nn.Sequential(network.layers[first:])
    return clew.trace(rest)(np.ones(WIDTH))


def paths_walked(graph: clew.Graph) -> int:
    """Return the number of paths by walking every one of them from input to output."""
    readers = users(graph.equations)
    output = graph.outputs[0]
    waiting: list[Var] = [graph.inputs[0]]
    arrived = 0
    while waiting:
        var = waiting.pop()
        arrived += var is output
        for equation in readers.get(var, []):
            waiting += list(equation.outputs) * equation.inputs.count(var)
    return arrived


def check_counts(plain: nn.Sequential, residual: nn.Sequential) -> bool:
    """Print path counts; say whether they are 1 and ``2^(N - k)``."""
    print(
        f"\npaths from layer k to the output{'plain':>10}{'residual':>14}{'2^(N - k)':>14}  walked"
    )
    good = True
    for first in (0, 1, LAYERS // 2, LAYERS - WALKED, LAYERS - 2, LAYERS - 1):
        blocks = LAYERS - first
        graph = rest_of(residual, first)
        one, many = count_paths(rest_of(plain, first)), count_paths(graph)
        walked = paths_walked(graph) if blocks <= WALKED else None
        good &= one == 1 and many == 2**blocks and walked in (None, many)
        shown = "-" if walked is None else walked
        print(f"  k = {first:2}{one:36}{many:14}{2**blocks:14}  {shown}")
    return good


def draw(plain: list[float], residual: list[float], path: Path) -> None:
    """Draw both columns of norms."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.add_subplot()
    axis.semilogy(range(LAYERS), plain, "o-", label="plain")
    axis.semilogy(range(LAYERS), residual, "o-", label="residual")
    axis.set(xlabel="layer", ylabel="norm of the gradient", title="The same thirty layers")
    axis.legend()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> int:
    """Print norms and counts, compare, draw."""
    plain = nn.Sequential(layers())
    residual = nn.Sequential([nn.Residual(layer) for layer in layers()])
    norms = norms_by_layer(plain), norms_by_layer(residual)
    print(f"norm of the gradient by layer{'plain':>12}{'residual':>12}")
    for number, (one, other) in enumerate(zip(*norms, strict=True)):
        print(f"  layer {number:2}{one:31.1e}{other:12.1e}")
    counted = check_counts(plain, residual)
    kept = [column[0] / column[-1] for column in norms]
    print(f"\nfirst layer / last layer: plain {kept[0]:.1e}, residual {kept[1]:.1e}")
    draw(*norms, HERE / "out" / "residual.png")
    print(f"picture: {HERE / 'out' / 'residual.png'}")
    survives = kept[0] < 1e-6 and 0.1 < kept[1] < 100.0
    print("the gradient survives" if survives else "MISSED: norms are not as expected")
    print("path counts agree" if counted else "MISSED: path counts disagree")
    return 0 if survives and counted else 1


if __name__ == "__main__":
    sys.exit(main())
