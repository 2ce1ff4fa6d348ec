"""Residual connections: why the gradient reaches the first of thirty layers, path by path.

1. The same thirty tanh layers, plain and with skip connections ``x + body(x)``: the norm of the
   loss's gradient in each layer, side by side. Plain, it dies on the way; with skips it survives.
2. Each block gives the gradient two ways back, through its body and past it, so that it reaches
   block k of N along ``2^(N - k)`` paths, C(N - k, j) of which pass j bodies on the way (Veit,
   Wilber and Belongie 2016). ``clew.flow`` counts them; where that is possible, each is walked.
3. The first layer's gradient, split by the length of its paths: plain, all of it passes thirty
   layers; with skips nearly all passes a few. The parts sum to the gradient.

    python examples/residual/residual.py
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
from clew.core.graph import Var, users
from clew.paths import ByLength, Flow, count_paths

LAYERS = 30
WIDTH = 16
WALKED = 12
HERE = Path(__file__).resolve().parent


def layers() -> list[nn.Dense]:
    """Draw the layers that both networks are made of, with weights a little small."""
    generator = np.random.default_rng(0)
    drawn = [nn.Dense.create(generator, WIDTH, WIDTH, np.tanh) for _ in range(LAYERS)]
    return [nn.Dense(0.5 * each.weight, each.bias, activation=np.tanh) for each in drawn]


def make_loss() -> Callable[[Any], Any]:
    """Return a quadratic loss of a network on random data."""
    generator = np.random.default_rng(1)
    x, goal = generator.normal(size=(2, 32, WIDTH))
    return lambda net: np.mean((net(x) - goal) ** 2)


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


def check_counts(plain: Flow, residual: Flow, network: nn.Sequential) -> bool:
    """Print path counts; say whether they are 1 and ``2^(N - k)``, and binomial by length."""
    print(f"\npaths from the loss to layer k{'plain':>11}{'residual':>14}{'2^(N - k)':>14}  walked")
    good = True
    for layer in (1, 2, LAYERS // 2, LAYERS - WALKED, LAYERS - 1, LAYERS):
        beyond = LAYERS - layer
        one = plain.count(f"layers[{layer - 1}].weight")
        many = residual.count(f"layers[{layer - 1}].body.weight")
        lengths = residual.lengths(f"layers[{layer - 1}].body.weight")
        graph = rest_of(network, layer)
        walked = paths_walked(graph) if beyond <= WALKED else None
        good &= one == 1 and many == 2**beyond and walked in (None, many)
        good &= count_paths(graph) == many
        good &= lengths == {1 + passed: comb(beyond, passed) for passed in range(beyond + 1)}
        shown = "-" if walked is None else walked
        print(f"  k = {layer:2}{one:33}{many:14}{2**beyond:14}  {shown}")
    return good


def first_by_length(flow: Flow, whole: Any) -> tuple[ByLength, float]:
    """Return the first layer's gradient by path length, and how far the parts miss ``whole``."""
    first = next(leaf.path for leaf in flow.ends.differentiated)
    split = flow.gradient_by_length(first)
    return split, float(np.linalg.norm(sum(split.parts) - whole) / np.linalg.norm(whole))


def draw(norms: list[list[float]], splits: list[ByLength], path: Path) -> None:
    """Draw norms by layer, and the first layer's gradient by path length."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 4), layout="constrained")
    by_layer, by_length = figure.subplots(1, 2)
    for name, column, split in zip(("plain", "residual"), norms, splits, strict=True):
        by_layer.semilogy(range(1, LAYERS + 1), column, "o-", label=name)
        by_length.bar(split.lengths, split.shares, label=name)
    by_layer.set(xlabel="layer", ylabel="norm of the gradient", title="The same thirty layers")
    by_length.set(
        xlabel="layers passed", ylabel="share", title="The first layer's gradient, by path"
    )
    by_layer.legend()
    by_length.legend()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> int:
    """Print norms, counts and lengths; compare; draw."""
    plain = nn.Sequential(layers())
    residual = nn.Sequential([nn.Residual(layer) for layer in layers()])
    loss = make_loss()
    gradients = [clew.grad(loss)(network) for network in (plain, residual)]
    norms = [nn.gradient_norms(each, lambda net: net.layers) for each in gradients]
    print(f"norm of the gradient by layer{'plain':>12}{'residual':>12}")
    for number, (one, other) in enumerate(zip(*norms, strict=True)):
        print(f"  layer {number + 1:2}{one:31.1e}{other:12.1e}")
    flows = [
        clew.flow(loss, level=lambda path: "dense" in path)(plain),
        clew.flow(loss, level=["dense"])(residual),
    ]
    counted = check_counts(flows[0], flows[1], residual)
    wholes = [gradients[0].layers[0].weight, gradients[1].layers[0].body.weight]
    splits, errors = zip(*map(first_by_length, flows, wholes), strict=True)
    print("\nshare of the first layer's gradient that passes so many layers with skips:")
    print(splits[1])
    for name, flow in zip(("plain", "residual"), flows, strict=True):
        row = flow.vanishing().rows[0]
        print(f"first layer, {name}: {row.verdict}{'; ' * bool(row.advice)}{row.advice}")
    kept = [column[0] / column[-1] for column in norms]
    print(f"\nfirst layer / last layer: plain {kept[0]:.1e}, residual {kept[1]:.1e}")
    draw(norms, list(splits), HERE / "out" / "residual.png")
    print(f"picture: {HERE / 'out' / 'residual.png'}")
    for name, flow in zip(("plain", "residual"), flows, strict=True):
        flow.report(HERE / "out" / f"{name}.html")
        print(f"report: {HERE / 'out' / name}.html")
    survives = kept[0] < 1e-6 and 0.1 < kept[1] < 100.0
    shallow = splits[0].lengths == (LAYERS,) and splits[1].shares[: LAYERS // 3].sum() > 0.99
    summed = max(errors) <= 1e-12
    print("the gradient survives" if survives else "MISSED: norms are not as expected")
    print("path counts agree" if counted else "MISSED: path counts disagree")
    print("it comes along short paths" if shallow else "MISSED: lengths are not as expected")
    print("parts sum to the gradient" if summed else f"MISSED: parts are off by {max(errors):.1e}")
    return 0 if survives and counted and shallow and summed else 1


if __name__ == "__main__":
    sys.exit(main())
