"""First-order methods: steps along the gradient, with memory of earlier ones.

Each class writes only its rule; the base class takes the gradient (of a minibatch, where the
problem has batches), limits it, applies weight decay and projects onto the bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from clew.solve.methods.base import Method, State, first_state, largest
from clew.solve.methods.schedules import LearningRate, rate_at
from clew.solve.objective import Objective

Array = np.ndarray


@dataclass(frozen=True)
class FirstOrder(Method):
    """The base of the first-order methods.

    Parameters
    ----------
    tolerance : float
        With the whole data, ends when the projected gradient has fallen to this part of its
        largest so far. With minibatches only the number of steps ends the run.
    learning_rate : float or callable
        A number, or a function of the step number such as :class:`~clew.solve.Cosine`.
    longest_gradient : float, optional
        A gradient longer than this (Euclidean) is shortened to it.
    weight_decay : float
        Pulls every parameter towards zero by ``learning_rate * weight_decay`` of itself, apart
        from the gradient (Loshchilov and Hutter, 2019).
    """

    tolerance: float = 1e-8
    learning_rate: LearningRate = 0.01
    longest_gradient: float | None = None
    weight_decay: float = 0.0

    default_steps: ClassVar[int] = 1000
    takes_batches: ClassVar[bool] = True
    monotone: ClassVar[bool] = False
    memories: ClassVar[tuple[str, ...]] = ()

    def start(self, objective: Objective, x: Array) -> State:
        loss, gradient = objective.value_and_gradient(x, 0)
        norm = largest(objective.projected_gradient(x, gradient))
        memories = {name: np.zeros(x.size) for name in self.memories}
        return first_state(x, loss, norm, gradient=gradient, steepest=norm, steps=0, **memories)

    def step(self, objective: Objective, state: State) -> State:
        flat = state["gradient_norm"] <= self.tolerance * state["steepest"]
        if flat and objective.batch is None:
            return {**state, "stop": "gradient", "step_length": 0.0}
        x, number = state["x"], state["steps"]
        rate = rate_at(self.learning_rate, number)
        move, memories = self.rule(self._limited(state["gradient"]), state, rate, number + 1)
        there = objective.project(x - move - rate * self.weight_decay * x)
        loss, gradient = objective.value_and_gradient(there, number + 1)
        norm = largest(objective.projected_gradient(there, gradient))
        finite = np.isfinite(loss) and np.all(np.isfinite(gradient))
        return {
            **state,
            **memories,
            "x": there,
            "loss": loss,
            "gradient": gradient,
            "gradient_norm": norm,
            "steepest": max(state["steepest"], norm),
            "step_length": float(np.linalg.norm(there - x)) if finite else 0.0,
            "steps": number + 1,
            "stop": "" if finite else "not finite",
        }

    def _limited(self, gradient: Array) -> Array:
        if self.longest_gradient is None:
            return gradient
        length = float(np.linalg.norm(gradient))
        return gradient * min(1.0, self.longest_gradient / max(length, 1e-300))

    def rule(
        self, gradient: Array, state: State, rate: float, count: int
    ) -> tuple[Array, dict[str, Array]]:
        """Return what to take off the parameters, and the new memories; count is from 1."""
        raise NotImplementedError


@dataclass(frozen=True)
class SGD(FirstOrder):
    """Plain gradient descent: ``x - rate g``.

    >>> SGD(learning_rate=0.1).rule(np.array([2.0]), {}, 0.1, 1)[0]
    array([0.2])
    """

    name: ClassVar[str] = "sgd"

    def rule(
        self, gradient: Array, state: State, rate: float, count: int
    ) -> tuple[Array, dict[str, Array]]:
        return rate * gradient, {}


@dataclass(frozen=True)
class Momentum(FirstOrder):
    """A heavy ball: ``v <- momentum v + g``; ``x - rate v`` (Polyak, 1964).

    >>> Momentum(momentum=0.8).momentum
    0.8
    """

    momentum: float = 0.9

    name: ClassVar[str] = "momentum"
    memories: ClassVar[tuple[str, ...]] = ("velocity",)

    def rule(
        self, gradient: Array, state: State, rate: float, count: int
    ) -> tuple[Array, dict[str, Array]]:
        velocity = self.momentum * state["velocity"] + gradient
        return rate * velocity, {"velocity": velocity}


@dataclass(frozen=True)
class Nesterov(Momentum):
    """Momentum that looks ahead: ``x - rate (g + momentum v)`` (Nesterov, 1983; Sutskever, 2013).

    >>> Nesterov().name
    'nesterov'
    """

    name: ClassVar[str] = "nesterov"

    def rule(
        self, gradient: Array, state: State, rate: float, count: int
    ) -> tuple[Array, dict[str, Array]]:
        velocity = self.momentum * state["velocity"] + gradient
        return rate * (gradient + self.momentum * velocity), {"velocity": velocity}


@dataclass(frozen=True)
class Adagrad(FirstOrder):
    """Rates divided by the root of all squared gradients so far (Duchi, Hazan and Singer, 2011).

    >>> Adagrad().name
    'adagrad'
    """

    floor: float = 1e-10

    name: ClassVar[str] = "adagrad"
    memories: ClassVar[tuple[str, ...]] = ("squares",)

    def rule(
        self, gradient: Array, state: State, rate: float, count: int
    ) -> tuple[Array, dict[str, Array]]:
        squares = state["squares"] + gradient**2
        return rate * gradient / (np.sqrt(squares) + self.floor), {"squares": squares}


@dataclass(frozen=True)
class RMSProp(FirstOrder):
    """Rates divided by the root of recent squared gradients (Tieleman and Hinton, 2012).

    >>> RMSProp(decay=0.95).name
    'rmsprop'
    """

    decay: float = 0.9
    floor: float = 1e-8

    name: ClassVar[str] = "rmsprop"
    memories: ClassVar[tuple[str, ...]] = ("squares",)

    def rule(
        self, gradient: Array, state: State, rate: float, count: int
    ) -> tuple[Array, dict[str, Array]]:
        squares = self.decay * state["squares"] + (1 - self.decay) * gradient**2
        return rate * gradient / (np.sqrt(squares) + self.floor), {"squares": squares}


@dataclass(frozen=True)
class Adam(FirstOrder):
    """Momentum and squared gradients, both corrected for their start (Kingma and Ba, 2015).

    >>> adam = Adam(learning_rate=0.1)
    >>> state = {"mean": np.zeros(1), "squares": np.zeros(1)}
    >>> bool(np.isclose(adam.rule(np.array([5.0]), state, 0.1, 1)[0], 0.1)[0])
    True
    """

    mean_decay: float = 0.9
    square_decay: float = 0.999
    floor: float = 1e-8

    name: ClassVar[str] = "adam"
    memories: ClassVar[tuple[str, ...]] = ("mean", "squares")

    def rule(
        self, gradient: Array, state: State, rate: float, count: int
    ) -> tuple[Array, dict[str, Array]]:
        mean = self.mean_decay * state["mean"] + (1 - self.mean_decay) * gradient
        squares = self.square_decay * state["squares"] + (1 - self.square_decay) * gradient**2
        ahead = self.ahead(mean, gradient, count)
        spread = np.sqrt(squares / (1 - self.square_decay**count))
        return rate * ahead / (spread + self.floor), {"mean": mean, "squares": squares}

    def ahead(self, mean: Array, gradient: Array, count: int) -> Array:
        """Return the mean gradient, corrected for having started at zero."""
        return mean / (1 - self.mean_decay**count)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with weight decay apart from the gradient (Loshchilov and Hutter, 2019).

    >>> AdamW().weight_decay
    0.01
    """

    weight_decay: float = 0.01

    name: ClassVar[str] = "adamw"


@dataclass(frozen=True)
class NAdam(Adam):
    """Adam that looks ahead as Nesterov does (Dozat, 2016).

    >>> NAdam().name
    'nadam'
    """

    name: ClassVar[str] = "nadam"

    def ahead(self, mean: Array, gradient: Array, count: int) -> Array:
        decay = self.mean_decay
        return decay * mean / (1 - decay ** (count + 1)) + (1 - decay) * gradient / (
            1 - decay**count
        )
