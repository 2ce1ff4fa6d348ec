"""Dense connections: every layer has a short way to the loss.

In a densely connected block (Huang, Liu, van der Maaten and Weinberger 2017) each layer hears all
layers before it, and so does the output. Twenty layers of one block, next to a plain stack
of the same growth:

1. The norm of the loss's gradient in each layer: alive everywhere, against dying.
2. The shortest way from each layer to the output, in layers passed, read off the traced graph:
   none, wherever the layer stands, against all that follow.
3. How many ways there are from layer l of L: ``2^(L - 1 - l)``, since each later layer is either
   passed through or not.

    python examples/dense/dense.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

import clew
from clew import nn

LAYERS = 20
WIDTH = 12
GROWTH = 12
HERE = Path(__file__).resolve().parent


def small(generator: np.random.Generator, inputs: int) -> nn.Dense:
    """Draw a tanh layer with weights a little small."""
    layer = nn.Dense.create(generator, inputs, GROWTH, np.tanh)
    return nn.Dense(0.5 * layer.weight, layer.bias, activation=np.tanh)


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


def norms_by_layer(network: nn.Sequential, layers: Any) -> list[float]:
    """Return the norm of the gradient of a quadratic loss on random data in each layer."""
    generator = np.random.default_rng(1)
    x, goal = generator.normal(size=(32, WIDTH)), generator.normal(size=(32, 1))

    def loss(net: Any) -> Any:
        return np.mean((net(x) - goal) ** 2)

    return nn.gradient_norms(clew.grad(loss)(network), layers)


def ways_out(network: nn.Sequential) -> tuple[list[int], list[int]]:
    """Return, by layer, the fewest layers passed on the way to the output, and the number of ways.

    Each layer ends in the one ``tanh`` it has. A sweep from the output back gives every value
    the sum of the ways of its readers, and the least of their distances.
    """
    graph = clew.trace(network)(np.ones(WIDTH))
    ways: dict[Any, int] = {graph.outputs[0]: 1}
    passed: dict[Any, int] = {graph.outputs[0]: 0}
    ends = []
    for equation in reversed(graph.equations):
        var = equation.outputs[0]
        is_layer = equation.primitive.name == "tanh"
        if is_layer:
            ends.append(var)
        for atom in equation.inputs:
            ways[atom] = ways.get(atom, 0) + ways[var]
            passed[atom] = min(passed.get(atom, LAYERS), passed[var] + is_layer)
    ends.reverse()
    return [passed[var] for var in ends], [ways[var] for var in ends]


def draw(columns: dict[str, list[float]], path: Path) -> None:
    """Draw the norms by layer."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.add_subplot()
    for name, norms in columns.items():
        axis.semilogy(range(LAYERS), norms, "o-", label=name)
    axis.set(xlabel="layer", ylabel="norm of the gradient", title="Twenty layers")
    axis.legend()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> int:
    """Print norms, shortest ways and counts; compare."""
    plain, dense = plain_network(), dense_network()
    norms = {
        "plain": norms_by_layer(plain, lambda net: net.layers[:-1]),
        "dense": norms_by_layer(dense, lambda net: net.layers[0].layers),
    }
    far, one = ways_out(plain)
    near, many = ways_out(dense)
    print(f"{'':10}{'norm of gradient':^22}{'layers passed':^18}{'ways to the output':^24}")
    print(f"{'':10}{'plain':>10}{'dense':>10}{'plain':>10}{'dense':>8}{'plain':>10}{'dense':>14}")
    for layer in range(LAYERS):
        print(
            f"layer {layer:2}  {norms['plain'][layer]:10.1e}{norms['dense'][layer]:10.1e}"
            f"{far[layer]:10}{near[layer]:8}{one[layer]:10}{many[layer]:14}"
        )
    kept = {name: column[0] / max(column) for name, column in norms.items()}
    print(f"\nfirst layer / strongest: plain {kept['plain']:.1e}, dense {kept['dense']:.1e}")
    draw(norms, HERE / "out" / "dense.png")
    print(f"picture: {HERE / 'out' / 'dense.png'}")
    expected = [2 ** (LAYERS - 1 - layer) for layer in range(LAYERS)]
    counted = (
        near == [0] * LAYERS
        and many == expected
        and far == list(range(LAYERS - 1, -1, -1))
        and one == [1] * LAYERS
    )
    survives = kept["plain"] < 1e-4 and kept["dense"] > 0.05
    print("the gradient survives" if survives else "MISSED: norms are not as expected")
    print("ways agree" if counted else "MISSED: the ways are not as expected")
    return 0 if survives and counted else 1


if __name__ == "__main__":
    sys.exit(main())
