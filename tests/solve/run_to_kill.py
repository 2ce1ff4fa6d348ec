"""A run for other processes to kill: ``run_to_kill.py METHOD FILE STEPS PAUSE``.

Prints the last state as hexadecimal text, so that two runs can be compared bit for bit.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from clew.solve import Constraint, Problem, Solution, solve

OPTIONS = {
    "batch": {"method": "adam", "batch": 8, "learning_rate": 0.03, "seed": 3},
    "adam": {"method": "adam", "learning_rate": 0.01},
    "momentum": {"method": "momentum", "learning_rate": 1e-4},
    "lbfgs": {"method": "lbfgs", "tolerance": 1e-300},
    "newton-cg": {"method": "newton-cg", "tolerance": 1e-300},
    "lm": {"method": "lm", "tolerance": 1e-300},
    "multi-start": {"method": "multi-start", "starts": 6, "inner": "lbfgs", "seed": 5},
    "slsqp": {"method": "slsqp"},
    "trust-constr": {"method": "trust-constr"},
    "smooth": {"method": "lbfgs", "reparameterise": True},
}
X = np.linspace(0, 3, 64)


def model(p, x):
    return p["height"][0] * np.exp(-p["rate"] * x) + p["height"][1] * np.sin(p["turn"] * x)


def problem(constrained: bool) -> Problem:
    target = 2.5 * np.exp(-1.3 * X) + 0.7 * np.sin(2.2 * X) + 0.01 * np.cos(40 * X)
    rules = [Constraint(lambda p: p["height"][0] + p["height"][1] ** 2, upper=2.6)]
    return Problem(
        model,
        {"height": np.array([1.0, 1.0]), "rate": 0.3, "turn": 1.5},
        target=target,
        data=X,
        bounds={"rate": (0.0, 5.0), "turn": (0.5, 4.0)},
        constraints=rules if constrained else None,
    )


def fingerprint(solution: Solution) -> str:
    history = solution.history
    parts = [solution.vector, np.array(solution.loss), history.loss, history.gradient_norm]
    return " ".join(part.tobytes().hex() for part in [*parts, history.step_length])


def main() -> None:
    name, file, steps, pause = sys.argv[1:5]

    def wait(step) -> None:
        print(step.number, file=sys.stderr, flush=True)
        time.sleep(float(pause))

    solution = solve(
        problem(name in ("slsqp", "trust-constr")),
        resume=None if file == "-" else file,
        steps=int(steps),
        checkpoint_every=2,
        callback=wait,
        **OPTIONS[name],
    )
    print(fingerprint(solution))
    print(solution.status.kind)
    print(solution.status)


if __name__ == "__main__":
    main()
