"""Which arguments a transform is about: ``argnums`` and ``argnames``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from clew.core.errors import InputError


@dataclass(frozen=True)
class Selection:
    """A function of the chosen arguments alone, and how to give the results back."""

    function: Callable[..., Any]
    chosen: tuple[Any, ...]
    assemble: Callable[[Sequence[Any]], Any]


def select(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    argnums: int | Sequence[int] | None,
    argnames: str | Sequence[str] | None,
) -> Selection:
    """Split a call into the arguments to differentiate and the rest, held as they are."""
    if argnames is not None and argnums is not None:
        raise InputError("both argnums and argnames were given", "give one of them")
    if argnames is not None:
        return _by_name(function, args, kwargs, argnames)
    numbers = (0,) if argnums is None else argnums
    single = isinstance(numbers, int) or argnums is None
    numbers = (numbers,) if isinstance(numbers, int) else tuple(numbers)
    for number in numbers:
        if not -len(args) <= number < len(args):
            raise InputError(
                f"argnums={number}, but the function was called with "
                f"{len(args)} positional arguments",
                "pass the argument by position, or name it with argnames",
            )
    places = [number % len(args) for number in numbers]

    def of_chosen(*chosen: Any) -> Any:
        full = list(args)
        for place, value in zip(places, chosen, strict=True):
            full[place] = value
        return function(*full, **kwargs)

    named = _named_after(of_chosen, function, places)
    assemble = (lambda results: results[0]) if single else tuple
    return Selection(named, tuple(args[place] for place in places), assemble)


def _by_name(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    argnames: str | Sequence[str],
) -> Selection:
    single = isinstance(argnames, str)
    names = (argnames,) if isinstance(argnames, str) else tuple(argnames)
    parameters = list(inspect.signature(function).parameters)
    given = {**dict(zip(parameters, args, strict=False)), **kwargs}
    for name in names:
        if name not in given:
            raise InputError(
                f"argnames={name!r}, but the call has {', '.join(given) or 'no arguments'}",
                "name an argument of the call",
            )

    def of_chosen(*chosen: Any) -> Any:
        new = dict(zip(names, chosen, strict=True))
        full = [new.get(p, value) for p, value in zip(parameters, args, strict=False)]
        full += args[len(parameters) :]
        return function(*full, **{key: new.get(key, value) for key, value in kwargs.items()})

    of_chosen.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in names]
    )
    assemble = (
        (lambda results: results[0]) if single else (lambda r: dict(zip(names, r, strict=True)))
    )
    return Selection(of_chosen, tuple(given[name] for name in names), assemble)


def _named_after(
    of_chosen: Callable[..., Any], function: Callable[..., Any], places: Sequence[int]
) -> Callable[..., Any]:
    """Give the chosen arguments the names they have in the user's function."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return of_chosen
    kinds = inspect.Parameter
    plain = (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)
    names = [
        parameters[place].name
        if place < len(parameters) and parameters[place].kind in plain
        else f"argument{place}"
        for place in places
    ]
    if len(set(names)) == len(names):
        of_chosen.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [kinds(name, kinds.POSITIONAL_ONLY) for name in names]
        )
    return of_chosen
