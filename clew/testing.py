"""Check derivatives against differences: for your own rules, and used by Clew's own tests.

Forward mode is compared with Richardson-extrapolated central differences along random
directions; reverse mode with forward mode, by ``<J v, w> = <v, J^T w>``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.calculus import jvp, vjp
from clew.core import pytree
from clew.core.errors import ClewError, InputError
from clew.core.types import type_of


class DerivativeMismatch(ClewError, AssertionError):
    """A derivative differs from the difference quotient by more than the tolerance."""


@dataclass(frozen=True)
class Agreement:
    """How well a function's derivatives agree: the worst relative errors found."""

    forward: float
    reverse: float

    def __str__(self) -> str:
        return (
            f"forward mode against differences: {self.forward:.1e}; "
            f"reverse against forward: {self.reverse:.1e}"
        )


def directional_difference(
    f: Callable[..., Any], args: Sequence[Any], directions: Sequence[Any], step: float = 1e-2
) -> list[np.ndarray]:
    """Return the derivative of ``f`` along a direction by Richardson extrapolation.

    Central differences with steps h, h/2, h/4, ... are extrapolated (Ridders 1982); the
    entry of the table that changes least is taken, element by element.

    >>> slope = directional_difference(np.sin, [1.0], [1.0])[0]
    >>> bool(abs(slope - np.cos(1.0)) < 1e-10)
    True
    """

    def at(h: float) -> list[np.ndarray]:
        moved = [_moved(arg, direction, h) for arg, direction in zip(args, directions, strict=True)]
        return [np.asarray(leaf) for leaf in pytree.flatten(f(*moved), shared=False)[0]]

    tables: list[list[list[np.ndarray]]] = []
    best: list[np.ndarray] = []
    errors: list[np.ndarray] = []
    for level in range(7):
        h = step / 2.0**level
        row = [
            (plus.astype(np.result_type(plus, np.float64)) - minus) / (2 * h)
            for plus, minus in zip(at(h), at(-h), strict=True)
        ]
        new = [row]
        for order, previous in enumerate(tables[-1] if tables else [], start=1):
            factor = 4.0**order
            new.append(
                [(factor * a - b) / (factor - 1) for a, b in zip(new[-1], previous, strict=True)]
            )
        if not tables:
            best = row
            errors = [np.full(value.shape, np.inf) for value in row]
        else:
            for order in range(1, len(new)):
                _improve(best, errors, new[order], new[order - 1], tables[-1][order - 1])
        tables.append(new)
    return best


def _improve(
    best: list[np.ndarray],
    errors: list[np.ndarray],
    candidate: Sequence[np.ndarray],
    left: Sequence[np.ndarray],
    upper: Sequence[np.ndarray],
) -> None:
    for number, value in enumerate(candidate):
        error = np.maximum(np.abs(value - left[number]), np.abs(value - upper[number]))
        better = error < errors[number]
        best[number] = np.where(better, value, best[number])
        errors[number] = np.where(better, error, errors[number])


def _moved(arg: Any, direction: Any, h: float) -> Any:
    leaves, structure = pytree.flatten(arg)
    steps = pytree.flatten(direction)[0]
    return structure.unflatten(
        [
            np.asarray(leaf) + h * np.asarray(step) if type_of(leaf).inexact else leaf
            for leaf, step in zip(leaves, steps, strict=True)
        ]
    )


def check_derivatives(
    f: Callable[..., Any],
    *args: Any,
    order: int = 1,
    tolerance: float = 1e-6,
    step: float = 1e-2,
    seed: int = 0,
) -> Agreement:
    """Check the derivatives of a function, forward and reverse, up to an order.

    Errors are relative to the magnitude of the derivative, with no absolute escape.

    Parameters
    ----------
    f : callable
        A function of arrays (or trees) with array (or tree) results.
    *args
        Where to check, in float64 or complex128.
    order : int
        Check derivatives of derivatives up to this order.
    tolerance : float
        The largest relative error allowed.
    step : float
        The largest step of the differences; smaller where the function has kinks nearby.

    Raises
    ------
    DerivativeMismatch
        With the worst entry named.
    InputError
        If no argument is float or complex.

    >>> check_derivatives(lambda x: np.exp(x) * x, np.array([0.5, 1.0]), order=2).forward < 1e-8
    True
    """
    leaves = [leaf for argument in args for leaf in pytree.flatten(argument)[0]]
    if not any(type_of(leaf).inexact for leaf in leaves):
        raise InputError(
            "check_derivatives: no argument is float or complex, so there is nothing to check",
            "pass 1.0 instead of 1",
        )
    generator = np.random.default_rng(seed)
    directions = tuple(_random_like(arg, generator) for arg in args)
    value, slope = jvp(f, args, directions)
    expected = directional_difference(f, args, directions, step)
    forward = _compare(f, value, slope, expected, tolerance)
    reverse = _reverse_error(f, args, directions, value, slope, generator)
    if not reverse <= tolerance:
        raise DerivativeMismatch(
            f"reverse mode disagrees with forward mode: <Jv, w> and <v, J'w> differ by "
            f"{reverse:.1e} of their size",
            "check the transpose of the primitives in the function, or its custom rule",
        )
    if order == 1:
        return Agreement(forward, reverse)
    deeper = check_derivatives(
        lambda *inner: jvp(f, inner, directions)[1],
        *args,
        order=order - 1,
        tolerance=tolerance * 10,
        step=step,
        seed=seed + 1,
    )
    return Agreement(max(forward, deeper.forward), max(reverse, deeper.reverse))


def _reverse_error(
    f: Callable[..., Any],
    args: Sequence[Any],
    directions: Sequence[Any],
    value: Any,
    slope: Any,
    generator: np.random.Generator,
) -> float:
    _, pull = vjp(f, *args)
    weights = _random_like(value, generator)
    left = _inner(slope, weights)
    cotangents = pull(weights)
    right = sum(_inner(c, d, shared=True) for c, d in zip(cotangents, directions, strict=True))
    sizes = [_inner(_magnitude(each), _magnitude(weights)) for each in (slope, value)]
    scale = max(abs(left), abs(right), sizes[0], 1e-8 * sizes[1])
    return abs(left - right) / scale if scale else 0.0


def _random_like(tree: Any, generator: np.random.Generator) -> Any:
    def draw(leaf: Any) -> Any:
        kind = type_of(leaf)
        values = generator.normal(size=kind.shape)
        if kind.dtype.kind == "c":
            values = values + 1j * generator.normal(size=kind.shape)
        return np.asarray(values).astype(kind.dtype if kind.inexact else np.float64)

    return pytree.map(draw, tree)


def _magnitude(tree: Any) -> Any:
    return pytree.map(lambda leaf: np.abs(np.asarray(leaf)), tree)


def _inner(left: Any, right: Any, shared: bool = False) -> float:
    """The real pairing ``Re(sum(a b))`` that transposition is defined by.

    Of arguments a shared array counts once, of results every place.
    """
    total = 0.0
    pairs = zip(pytree.flatten(left, shared)[0], pytree.flatten(right, shared)[0], strict=True)
    for a, b in pairs:
        total += float(np.real(np.sum(np.asarray(a) * np.asarray(b))))
    return total


def _compare(
    f: Callable[..., Any], value: Any, slope: Any, expected: Sequence[np.ndarray], tolerance: float
) -> float:
    leaves, structure = pytree.flatten(slope, shared=False)
    if len(leaves) != len(expected):
        raise InputError("check_derivatives: the function's result changes structure", "fix it")
    worst = 0.0
    values = pytree.flatten(value, shared=False)[0]
    for name, leaf, at, reference in zip(structure.names, leaves, values, expected, strict=True):
        found = np.asarray(leaf)
        if found.size == 0:
            continue
        # Differences of values of size |f| cannot show a derivative much smaller than |f|.
        scale = max(float(np.max(np.abs(reference))), 1e-4 * float(np.max(np.abs(at))))
        error = np.abs(found - reference) / scale if scale else np.abs(found - reference)
        place = np.unravel_index(int(np.argmax(error)), error.shape)
        if not error[place] <= tolerance:
            label = f"output{'.' if name else ''}{name}[{', '.join(map(str, place))}]"
            raise DerivativeMismatch(
                f"the derivative of {getattr(f, '__name__', 'the function')} along a random "
                f"direction is {found[place]:.12g} at {label}, differences give "
                f"{reference[place]:.12g} (relative error {error[place]:.1e})",
                "check the rules of the primitives used, or your custom rule, at this entry",
            )
        worst = max(worst, float(error[place]))
    return worst


__all__ = [
    "Agreement",
    "DerivativeMismatch",
    "check_derivatives",
    "directional_difference",
]
