"""Batch normalisation with gamma, beta, mu and sigma, against the closed forms of its gradients.

1. Gradients of a batch-normalised layer by x, gamma and beta, against the formulas in section 3
   of Ioffe and Szegedy (2015), which take a page to derive; here they fall out of the graph.
2. The formula for x has three terms. They are the three uses of x, in the mean, in the variance,
   and as it is; ``clew.flow`` tells them apart.
3. All four numbers as parameters, ``y = gamma (x - mu) / sigma + beta``, against their formulas.
4. Does it help? A network of five sigmoid layers, as in section 4.1 there, trained with and
   without it: same start, same steps, each with the best of several learning rates.

    python examples/batch_norm/batch_norm.py
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np

import clew
from clew import nn

TOLERANCE = 1e-12
RATES = (0.03, 0.1, 0.3, 1.0)
STEPS = 250


def batch_norm_by_hand(layer: nn.BatchNorm, x: np.ndarray, slope: np.ndarray) -> dict:
    """Return the gradients of ``sum(slope * layer(x))``: Ioffe and Szegedy (2015), section 3."""
    normal = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + layer.epsilon)
    return {
        "x": sum(terms_by_hand(layer, x, slope).values()),
        "gamma": np.sum(slope * normal, axis=0),
        "beta": np.sum(slope, axis=0),
    }


def terms_by_hand(layer: nn.BatchNorm, x: np.ndarray, slope: np.ndarray) -> dict:
    """Return the terms of the gradient by x, as they stand there: through what x is used for."""
    count = len(x)
    mean = x.mean(axis=0)
    variance = ((x - mean) ** 2).mean(axis=0)
    root = np.sqrt(variance + layer.epsilon)
    by_normal = slope * layer.gamma
    by_variance = np.sum(by_normal * (x - mean), axis=0) * -0.5 / root**3
    by_mean = -np.sum(by_normal, axis=0) / root
    by_mean = by_mean + by_variance * np.mean(-2.0 * (x - mean), axis=0)
    return {
        "mean": np.broadcast_to(by_mean / count, x.shape),
        "variance": by_variance * 2.0 * (x - mean) / count,
        "x itself": by_normal / root,
    }


def standardise_by_hand(layer: nn.Standardise, x: np.ndarray, slope: np.ndarray) -> dict:
    """Return the gradients of ``sum(slope * layer(x))`` with mu and sigma as parameters."""
    normal = (x - layer.mu) / layer.sigma
    factor = layer.gamma / layer.sigma
    return {
        "x": slope * factor,
        "gamma": np.sum(slope * normal, axis=0),
        "beta": np.sum(slope, axis=0),
        "mu": -np.sum(slope, axis=0) * factor,
        "sigma": -np.sum(slope * normal, axis=0) * factor,
    }


def gradients(layer: Any, x: np.ndarray, slope: np.ndarray) -> dict:
    """Return the same gradients from the engine, by name."""
    by_layer, by_x = clew.grad(lambda layer, x: np.sum(slope * layer(x)), argnums=(0, 1))(layer, x)
    names = [field.name for field in dataclasses.fields(layer) if field.name in FIELDS]
    return {"x": by_x, **{name: getattr(by_layer, name) for name in names}}


FIELDS = ("gamma", "beta", "mu", "sigma")


def check_gradients() -> dict[str, float]:
    """Return the largest relative error of each gradient."""
    generator = np.random.default_rng(0)
    x = generator.normal(3.0, 2.0, (40, 5))
    slope = generator.normal(size=x.shape)
    gamma, beta, mu = generator.normal(size=(3, 5))
    sigma = generator.uniform(0.5, 2.0, 5)
    errors = {}
    pairs: list[tuple[Any, Any]] = [
        (nn.BatchNorm(gamma, beta), batch_norm_by_hand),
        (nn.Standardise(gamma, beta, mu, sigma), standardise_by_hand),
    ]
    for layer, by_hand in pairs:
        found = gradients(layer, x, slope)
        for name, expected in by_hand(layer, x, slope).items():
            off = np.max(np.abs(found[name] - expected)) / np.max(np.abs(expected))
            errors[f"{layer.label}: gradient by {name}"] = float(off)
    layer = pairs[0][0]
    uses = clew.flow(lambda x: np.sum(slope * layer(x)))(x).by_use()
    for use, (name, expected) in zip(uses, terms_by_hand(layer, x, slope).items(), strict=True):
        off = np.max(np.abs(use.contribution - expected)) / np.max(np.abs(expected))
        errors[f"{layer.label}: by x, use in {name}"] = float(off)
    return errors


def ring(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return normal points in four dimensions, and whether each is farther out than most.

    3.356694 is the median of the chi-squared distribution with four degrees of freedom.
    """
    points = generator.normal(size=(count, 4))
    return points, (np.sum(points**2, axis=1) > 3.356694).astype(float)


def network(normalised: bool) -> nn.Sequential:
    """Return a network of five hidden layers, the same start with and without batch norm."""
    generator = np.random.default_rng(1)
    widths = (4, *(24,) * 5)
    layers: list[Any] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers.append(nn.Dense.create(generator, inputs, outputs))
        if normalised:
            layers.append(nn.BatchNorm.create(outputs))
        layers.append(nn.sigmoid)
    return nn.Sequential((*layers, nn.Dense.create(generator, 24, 1)))


def train(normalised: bool, x: np.ndarray, label: np.ndarray) -> clew.Solution:
    """Return the best of several trainings that differ in their learning rate."""
    problem = clew.Problem(
        lambda net, data: net(data["x"])[:, 0],
        network(normalised),
        data={"x": x},
        loss=lambda logit: nn.logistic_loss(logit, label),
        name="with batch norm" if normalised else "without",
    )
    runs = [clew.solve(problem, "momentum", steps=STEPS, learning_rate=rate) for rate in RATES]
    return min(runs, key=lambda run: run.loss)


def draw(runs: list[clew.Solution], path: Path) -> None:
    """Draw the losses of both trainings."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.add_subplot()
    for run in runs:
        axis.semilogy(run.history.loss, label=run.problem.name)
    axis.set(xlabel="step", ylabel="logistic loss", title="Five sigmoid layers, the same start")
    axis.legend()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> int:
    """Check the gradients, train, compare."""
    failed = False
    for name, value in check_gradients().items():
        good = value <= TOLERANCE
        failed |= not good
        print(f"{name:40}{value:9.1e}  {'ok' if good else 'MISSED'}")
    generator = np.random.default_rng(2)
    x, label = ring(generator, 600)
    new_x, new_label = ring(generator, 4000)
    print(f"\n{'':18}{'loss':>8}{'right on new data':>20}")
    right = []
    runs = [train(normalised, x, label) for normalised in (False, True)]
    for run in runs:
        ready = nn.calibrate(run.params, x)
        right.append(float(np.mean((ready(new_x)[:, 0] > 0) == (new_label > 0))))
        print(f"{run.problem.name:18}{run.loss:8.4f}{right[-1]:20.1%}")
    path = Path(__file__).resolve().parent / "out" / "batch_norm.png"
    draw(runs, path)
    print(f"picture: {path}")
    good = right[1] > 0.85 and right[1] > right[0] + 0.1
    print("batch norm helps" if good else "MISSED: batch norm does not help")
    return 1 if failed or not good else 0


if __name__ == "__main__":
    sys.exit(main())
