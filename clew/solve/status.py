"""How a run ended, as a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clew.solve.methods.base import Method

ROUNDING = 1e-11  # residuals this much smaller than the first are rounding
SMALL = 1e-4  # a gradient this much smaller than the largest met counts as gone at rounding level


@dataclass(frozen=True)
class Status:
    """The ending of a run.

    Attributes
    ----------
    kind : str
        ``gradient``, ``reduction``, ``step``, ``precision``, ``optimal`` or ``starts`` when the run
        arrived; ``stuck``, ``steps``, ``interrupted``, ``not finite``, ``unbounded``,
        ``callback`` or ``scipy`` when it did not (or not surely).
    converged : bool
        Whether the answer is a solution to the tolerance asked for.
    sentence : str
        The same for people.

    >>> print(Status("steps", False, "Stopped after 10 steps, the most allowed."))
    Stopped after 10 steps, the most allowed.
    """

    kind: str
    converged: bool
    sentence: str

    def __str__(self) -> str:
        return self.sentence


def status_of(method: Method, state: Mapping[str, Any], steps: int) -> Status:
    """Say how a run ended, from its last state."""
    kind = state["stop"]
    # where the data are met to rounding, only noise is left to point anywhere
    far = abs(state["loss"]) > ROUNDING**2 * abs(state.get("first_loss", 0.0))
    if kind == "precision" and _relative_gradient(state) > SMALL and far:
        kind = "stuck"
    after = f"after {steps} step{'' if steps == 1 else 's'}"
    writer = _SENTENCES.get(kind, _stopped)
    converged, sentence = writer(method, state, after)
    return Status(kind, converged, sentence)


def _relative_gradient(state: Mapping[str, Any]) -> float:
    """Return how much of the gradient is left; least squares already measure it as a cosine."""
    steepest = state.get("steepest", 1.0)
    return state["gradient_norm"] / steepest if steepest > 0 else 0.0


Written = tuple[bool, str]


def _gradient(method: Method, state: Mapping[str, Any], after: str) -> Written:
    if method.needs_residual:
        if state["loss"] == 0:
            return True, f"Converged {after}: the prediction meets the target exactly."
        what = (
            "no parameter can lower the residual any further "
            f"(cosine {state['gradient_norm']:.1e}, tolerance {method.tolerance:g})"
        )
        return True, f"Converged {after}: {what}."
    return True, (
        f"Converged {after}: the gradient has vanished ({_relative_gradient(state):.1e} of its "
        f"largest is left, tolerance {method.tolerance:g})."
    )


def _reduction(method: Method, state: Mapping[str, Any], after: str) -> Written:
    return True, (
        f"Converged {after}: the loss has stopped falling (by less than "
        f"{method.tolerance**2:g} of itself)."
    )


def _step(method: Method, state: Mapping[str, Any], after: str) -> Written:
    return True, (
        f"Converged {after}: the parameters have stopped moving (by less than "
        f"{method.tolerance:g} of themselves)."
    )


def _precision(method: Method, state: Mapping[str, Any], after: str) -> Written:
    return True, (
        f"Converged {after} to the precision of float64: no step lowers the loss any more "
        f"({_relative_gradient(state):.1e} of the gradient is left)."
    )


def _stuck(method: Method, state: Mapping[str, Any], after: str) -> Written:
    return False, (
        f"Stuck {after}: no step along the gradient lowers the loss, though "
        f"{_relative_gradient(state):.1e} of the gradient is left. The loss may be flat, noisy or "
        "not smooth here; start elsewhere, bound the parameters, or try method='adam'."
    )


def _starts(method: Method, state: Mapping[str, Any], after: str) -> Written:
    losses = state["found"][:, 0]
    best = state["loss"]
    near = int((losses <= best + 1e-6 * max(abs(best), 1e-12)).sum())
    failed = int((losses != losses).sum())
    text = f"Tried {len(losses)} starts {after}: {near} ended at the best loss"
    if failed:
        text += f", {failed} began where the loss is not a number"
    if not state["converged"]:
        text += "; the best one has not converged, so allow more inner_steps"
    return bool(state["converged"]), text + "."


def _optimal(method: Method, state: Mapping[str, Any], after: str) -> Written:
    held = ""
    if state["violation"] > 0:
        held = f"; constraints are met to {state['violation']:.1e}"
    return True, f"Converged {after} ({state['message'].strip('. ')}{held})."


def _scipy(method: Method, state: Mapping[str, Any], after: str) -> Written:
    return False, (
        f"Not converged: SciPy's {method.name} ended {after}: {state['message'].strip('. ')}."
    )


def _steps(method: Method, state: Mapping[str, Any], after: str) -> Written:
    return False, (
        f"Stopped {after}, the most allowed, before convergence "
        f"({_relative_gradient(state):.1e} of the gradient is left); allow more with steps=, or "
        "continue with resume=."
    )


def _interrupted(method: Method, state: Mapping[str, Any], after: str) -> Written:
    return False, f"Interrupted {after}; this is the best answer so far."


def _callback(method: Method, state: Mapping[str, Any], after: str) -> Written:
    return False, f"Stopped {after} by the callback; this is the best answer so far."


def _not_finite(method: Method, state: Mapping[str, Any], after: str) -> Written:
    advice = "Bound the parameters"
    if method.takes_batches:
        advice = "Lower the learning rate, or bound the parameters"
    return False, (
        f"Stopped {after}: the next loss is {state['failed_loss']:g}, or its gradient not finite; "
        f"this is the best answer before that. {advice}."
    )


def _unbounded(method: Method, state: Mapping[str, Any], after: str) -> Written:
    return False, (
        f"Stopped {after}: the parameters have run away, and the loss, {state['loss']:.6g}, still "
        "falls; it seems to have no lowest value. Bound the parameters, or add a penalty."
    )


def _stopped(method: Method, state: Mapping[str, Any], after: str) -> Written:
    return False, f"Stopped {after}."


_SENTENCES = {
    "gradient": _gradient,
    "reduction": _reduction,
    "step": _step,
    "precision": _precision,
    "stuck": _stuck,
    "starts": _starts,
    "optimal": _optimal,
    "scipy": _scipy,
    "steps": _steps,
    "interrupted": _interrupted,
    "callback": _callback,
    "not finite": _not_finite,
    "unbounded": _unbounded,
}
