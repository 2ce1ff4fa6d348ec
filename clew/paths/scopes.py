"""Scopes as they were entered: which nodes belong to one entering, and which level contracts."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from clew.core.errors import InputError
from clew.paths.written import Written

Level = str | Sequence[str] | Callable[[str], bool]


class Instance(NamedTuple):
    """One entering of a scope: the nodes ``start`` to ``stop`` (not included).

    Backward equations of a transform carry the scope of the forward ones; they are an entering
    of their own, so the nodes are always next to each other.
    """

    path: str
    number: int
    start: int
    stop: int

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    def __str__(self) -> str:
        return self.path if self.number == 1 else f"{self.path}#{self.number}"


def depth_of(path: str) -> int:
    """Return how many names a path has.

    >>> depth_of(""), depth_of("net/block3")
    (0, 2)
    """
    return path.count("/") + 1 if path else 0


def prefix(path: str, depth: int) -> str:
    """Return the first names of a path.

    >>> prefix("net/block3/dense", 2)
    'net/block3'
    """
    return "/".join(path.split("/")[:depth])


def instances(run: Written, depth: Callable[[str], int]) -> list[Instance]:
    """Return the enterings of the scopes that ``depth(path)`` names, in order.

    ``depth`` gives how many names of a node's path make its scope; 0 for none.
    """
    found: list[Instance] = []
    counts: dict[str, int] = {}
    start, key = 0, None
    for node, other in enumerate([*_keys(run, depth), None]):
        if other == key:
            continue
        if key is not None:
            counts[key[0]] = counts.get(key[0], 0) + 1
            found.append(Instance(key[0], counts[key[0]], start, node))
        start, key = node, other
    return found


def _keys(run: Written, depth: Callable[[str], int]) -> Iterable[Any]:
    """Say of each node which entering it belongs to: path, numbers, and steps of loops inside."""
    known: dict[str, tuple[int, str]] = {}
    for equation, frame in zip(run.equations, run.frames, strict=True):
        scope = equation.scope
        if scope not in known:
            deep = depth(scope)
            known[scope] = (deep, prefix(scope, deep))
        deep, path = known[scope]
        if not deep:
            yield None
            continue
        numbers = getattr(scope, "enterings", ())
        steps = tuple([s for s, at in zip(*frame, strict=True) if at < deep])
        yield path, numbers[:deep], steps


def paths_of(run: Written) -> set[str]:
    """Return all scope paths of a run, those of outer scopes included."""
    found: set[str] = set()
    for scope in {str(equation.scope) for equation in run.equations}:
        found.update(prefix(scope, deep) for deep in range(1, depth_of(scope) + 1))
    return found


def named(run: Written, name: str) -> list[Instance]:
    """Return the enterings of a scope, given by its last name or by its path, in order.

    ``name#2`` is the second entering only.

    Raises
    ------
    InputError
        If there is none; with the names that look like it.
    """
    name, _, number = name.partition("#")
    found = instances(run, lambda path: _matched(path, lambda part: _is(part, name)))
    found = [each._replace(number=at + 1) for at, each in enumerate(found)]
    if not found:
        raise unknown("scope", name, paths_of(run))
    if not number:
        return found
    chosen = [each for each in found if str(each.number) == number]
    if not chosen:
        raise InputError(
            f"the scope {name!r} was entered {len(found)} times, so there is no #{number}",
            f"give a number from #1 to #{len(found)}",
        )
    return chosen


def depth_function(run: Written, level: Level) -> Callable[[str], int]:
    """Return the function that says how many names of a path make its scope at a level.

    Raises
    ------
    InputError
        For a level that is none, or names a scope that was not entered.

    >>> from clew.paths.written import Written
    >>> at = depth_function(Written(), "scope:2")
    >>> at("net/block3/dense"), at("net")
    (2, 0)
    """
    if level == "equation":
        return lambda path: 0
    if isinstance(level, str):
        kind, _, number = level.partition(":")
        if kind != "scope" or not number.isdigit() or number == "0":
            raise InputError(
                f"flow: level={level!r}",
                "give 'equation', 'scope:1' (or another depth), a list of scope names, or a "
                "function of the scope's path",
            )
        deep = int(number)
        return lambda path: deep if depth_of(path) >= deep else 0
    if callable(level):
        return lambda path: _matched(path, level)
    names = list(level)
    known = paths_of(run)
    for name in names:
        if not any(_is(path, name) for path in known):
            raise unknown("scope", name, known)
    return lambda path: _matched(path, lambda part: any(_is(part, name) for name in names))


def _is(path: str, name: str) -> bool:
    return path == name or path.rpartition("/")[2] == name


def _matched(path: str, test: Callable[[str], bool]) -> int:
    """Return the depth of the outermost scope of a path that passes a test, or 0."""
    depths = range(1, depth_of(path) + 1)
    return next((deep for deep in depths if test(prefix(path, deep))), 0)


def unknown(what: str, name: str, known: Iterable[str]) -> InputError:
    """Return the error for a name that nothing has, with those that look like it.

    >>> print(unknown("scope", "blok", ["block", "head"]).fix)
    did you mean 'block'? there are: block, head
    """
    names = sorted(known)
    last = {each.rpartition("/")[2]: each for each in names}
    close = difflib.get_close_matches(name, [*names, *last], n=3, cutoff=0.5)
    guess = f"did you mean {' or '.join(map(repr, dict.fromkeys(close)))}? " if close else ""
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return InputError(
        f"flow: there is no {what} named {name!r}",
        f"{guess}there are: {shown}" if names else f"no {what} has a name here",
    )
