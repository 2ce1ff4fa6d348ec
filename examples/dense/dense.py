"""Dense connections: every layer has a short way to the loss.

In a densely connected block (Huang, Liu, van der Maaten and Weinberger 2017) each layer hears all
layers before it, and so does the output. Twenty layers of one block, next to a plain stack
of the same growth:

1. The norm of the loss's gradient in each layer: alive everywhere, against dying.
2. The shortest path from the loss to each layer's weight, in layers passed: that layer only,
   wherever it stands, against all that follow as well.
3. How many paths there are to layer l of L: ``2^(L - 1 - l)``, since each later layer is either
   passed or not; from layer j back to layer i, ``2^(j - i - 1)``, the shortest passing j only.
4. The first layer's gradient, split by how many layers its paths pass; the parts sum to it.

    python examples/dense/dense.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import clew
from clew import nn
from clew.paths import ByLength, Flow

LAYERS = 20
WIDTH = 12
GROWTH = 12
HERE = Path(__file__).resolve().parent


def small(generator: np.random.Generator, inputs: int) -> nn.Dense:
    """Draw a tanh layer with weights a little small."""
    layer = nn.Dense.create(generator, inputs, GROWTH, np.tanh)
    return nn.Dense(0.5 * layer.weight, layer.bias, activation=np.tanh, name="layer")


def plain_network() -> nn.Sequential:
    """Return the stack in which each layer hears one."""
    generator = np.random.default_rng(0)
    layers = [small(generator, WIDTH if number == 0 else GROWTH) for number in range(LAYERS)]
    return nn.Sequential([*layers, nn.Dense.create(generator, GROWTH, 1, name="reader")])


def dense_network() -> nn.Sequential:
    """Return the block in which each layer hears all before it, and a linear reader."""
    generator = np.random.default_rng(0)
    block = nn.DenseBlock([small(generator, WIDTH + number * GROWTH) for number in range(LAYERS)])
    return nn.Sequential(
        [block, nn.Dense.create(generator, WIDTH + LAYERS * GROWTH, 1, name="reader")]
    )


def make_loss() -> Callable[[Any], Any]:
    """Return a quadratic loss of a network on random data."""
    generator = np.random.default_rng(1)
    x, goal = generator.normal(size=(32, WIDTH)), generator.normal(size=(32, 1))
    return lambda net: np.mean((net(x) - goal) ** 2)


def flow_of(loss: Callable[[Any], Any], network: nn.Sequential) -> Flow:
    """Return the gradient's paths, with each layer as one node."""
    return clew.flow(loss, level=lambda path: "/layer" in path)(network)


def ways_out(flow: Flow) -> tuple[list[int], list[int]]:
    """Return, by layer, the length of the shortest path to its weight, and the number of paths."""
    weights = [leaf.path for leaf in flow.ends.differentiated if leaf.path.endswith("weight")]
    layers = weights[:LAYERS]
    return [flow.shortest(name) for name in layers], [flow.count(name) for name in layers]


def ways_between(flow: Flow) -> bool:
    """Say whether ``2^(j - i - 1)`` paths lead from layer j to any earlier i, one past the rest."""
    return all(
        flow.count(f"layer{i}", f"layer{j}") == 2 ** (j - i - 1)
        and flow.shortest(f"layer{i}", f"layer{j}") == 1
        for j in range(LAYERS)
        for i in range(j)
    )


def draw(columns: dict[str, list[float]], splits: dict[str, ByLength], path: Path) -> None:
    """Draw the norms by layer, and the first layer's gradient by path length."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 4), layout="constrained")
    by_layer, by_length = figure.subplots(1, 2)
    for name, norms in columns.items():
        by_layer.semilogy(range(LAYERS), norms, "o-", label=name)
        by_length.bar(splits[name].lengths, splits[name].shares, label=name)
    by_layer.set(xlabel="layer", ylabel="norm of the gradient", title="Twenty layers")
    by_length.set(xlabel="layers passed", ylabel="share", title="Layer 0's gradient, by path")
    by_layer.legend()
    by_length.legend()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> int:
    """Print norms, shortest paths and counts; compare."""
    loss = make_loss()
    plain, dense = plain_network(), dense_network()
    slopes = {"plain": clew.grad(loss)(plain), "dense": clew.grad(loss)(dense)}
    norms = {
        "plain": nn.gradient_norms(slopes["plain"], lambda net: net.layers[:-1]),
        "dense": nn.gradient_norms(slopes["dense"], lambda net: net.layers[0].layers),
    }
    flows = {"plain": flow_of(loss, plain), "dense": flow_of(loss, dense)}
    far, one = ways_out(flows["plain"])
    near, many = ways_out(flows["dense"])
    print(f"{'':10}{'norm of gradient':^22}{'shortest path':^18}{'paths to the weight':^24}")
    print(f"{'':10}{'plain':>10}{'dense':>10}{'plain':>10}{'dense':>8}{'plain':>10}{'dense':>14}")
    for layer in range(LAYERS):
        print(
            f"layer {layer:2}  {norms['plain'][layer]:10.1e}{norms['dense'][layer]:10.1e}"
            f"{far[layer]:10}{near[layer]:8}{one[layer]:10}{many[layer]:14}"
        )
    kept = {name: column[0] / max(column) for name, column in norms.items()}
    print(f"\nfirst layer / strongest: plain {kept['plain']:.1e}, dense {kept['dense']:.1e}")
    splits = {
        "plain": flows["plain"].gradient_by_length("layers[0].weight"),
        "dense": flows["dense"].gradient_by_length("layers[0].layers[0].weight"),
    }
    print(f"\nlayer 0's gradient by layers passed, dense:\n{splits['dense']}")
    draw(norms, splits, HERE / "out" / "dense.png")
    flows["dense"].report(HERE / "out" / "dense.html")
    print(f"picture: {HERE / 'out' / 'dense.png'}, report: {HERE / 'out' / 'dense.html'}")
    off = max(
        error(splits["plain"].parts.sum(axis=0), slopes["plain"].layers[0].weight),
        error(splits["dense"].parts.sum(axis=0), slopes["dense"].layers[0].layers[0].weight),
    )
    counted = (
        near == [1] * LAYERS
        and many == [2 ** (LAYERS - 1 - layer) for layer in range(LAYERS)]
        and far == list(range(LAYERS, 0, -1))
        and one == [1] * LAYERS
        and ways_between(flows["dense"])
    )
    survives = kept["plain"] < 1e-4 and kept["dense"] > 0.05
    print("the gradient survives" if survives else "MISSED: norms are not as expected")
    print("paths agree" if counted else "MISSED: the paths are not as expected")
    print("parts sum to the gradient" if off <= 1e-12 else f"MISSED: parts are off by {off:.1e}")
    return 0 if survives and counted and off <= 1e-12 else 1


def error(found: Any, expected: Any) -> float:
    """Return the norm of the difference, relative to the norm expected."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


if __name__ == "__main__":
    sys.exit(main())
