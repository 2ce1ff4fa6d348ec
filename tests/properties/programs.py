"""Random NumPy programs for Hypothesis: shared values, mutation, choices, reductions, products."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

SHAPES = [(), (3,), (2, 3), (3, 1)]


UNARY = {
    "sin": np.sin,
    "tanh": np.tanh,
    "exp": lambda x: np.exp(0.3 * np.tanh(x)),
    "log1p": lambda x: np.log1p(x * x),
    "sqrt": lambda x: np.sqrt(1.0 + x * x),
    "square": lambda x: x**2 * 0.5,
    "cube": lambda x: (0.5 * np.tanh(x)) ** 3,
    "negative": lambda x: -x,
    "where": lambda x: np.where(x > 0.1, np.log(np.where(x > 0.1, x, 1.0)), 0.2 * x),
    "guarded_log": lambda x: np.where(x > 0.5, np.log(x), x - 0.5 + np.log(0.5)),
    "cumsum": lambda x: np.cumsum(x, axis=-1) if np.ndim(x) else x,
    "flip": lambda x: np.flip(x, -1) if np.ndim(x) else x,
    "roll": lambda x: np.roll(x, 1),
    "center": lambda x: x - np.mean(x),
    "transpose": lambda x: x.T @ x if np.ndim(x) == 2 else x * 2.0,
    "softmax": lambda x: np.exp(np.tanh(x)) / np.sum(np.exp(np.tanh(x))),
    "write": lambda x: written(x),
    "scale_part": lambda x: scaled_part(x),
    "gather": lambda x: x[np.array([0, -1, 0])] if np.ndim(x) else x,
    "expand": lambda x: np.stack([x, 0.5 * x]),
    "norm": lambda x: np.linalg.norm(x) + x,
}


def written(x):
    if np.ndim(x) == 0:
        return x * 1.5
    y = np.zeros_like(x)
    y[0] = x[-1] * 2.0
    y[-1:] += np.sin(x[:1])
    return y + 0.1 * x


def scaled_part(x):
    if np.ndim(x) == 0:
        return x
    y = x.copy()
    view = y[..., :1]
    view *= 1.5
    y[..., -1] = y[..., -1] ** 2 * 0.3
    return y


BINARY = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": lambda x, y: np.tanh(x) * y,
    "divide": lambda x, y: x / (1.5 + y * y),
    "maximum": lambda x, y: np.logaddexp(x, y),
    "hypot": lambda x, y: np.sqrt(x * x + y * y + 0.1),
    "arctan2": lambda x, y: np.arctan2(x, 1.0 + y * y),
}


@st.composite
def programs(draw):
    """A list of steps; each names an operation and the earlier values that it reads."""
    count = draw(st.integers(1, 7))
    steps = []
    for number in range(count):
        sources = st.integers(0, number)
        if draw(st.booleans()):
            steps.append(("unary", draw(st.sampled_from(sorted(UNARY))), draw(sources)))
        else:
            name = draw(st.sampled_from(sorted(BINARY)))
            steps.append(("binary", name, draw(sources), draw(sources)))
    shape = draw(st.sampled_from(SHAPES))
    seed = draw(st.integers(0, 10_000))
    return steps, np.asarray(np.random.default_rng(seed).uniform(-1.5, 1.5, shape))


@np.errstate(all="ignore")  # the branch not taken may be undefined
def run(steps, x):
    """Run a program: every value may be used again, shapes that do not broadcast are skipped."""
    values = [x]
    for kind, name, *sources in steps:
        args = [values[source] for source in sources]
        if kind == "unary":
            value = UNARY[name](args[0])
        else:
            try:
                np.broadcast_shapes(*(np.shape(arg) for arg in args))
            except ValueError:
                args[1] = np.mean(args[1])
            value = BINARY[name](*args)
        if np.size(value) > 64:
            value = np.mean(value)
        values.append(value)
    return sum(np.sum(np.sin(value)) for value in values[1:])
