"""Where paths begin and end: arguments by name or number, scopes, outputs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from clew.core.errors import DerivativeError, InputError
from clew.core.types import Type
from clew.paths.net import Net
from clew.paths.reasons import reason_for
from clew.paths.scopes import Instance, named, paths_of, unknown

End = str | int | None
"""A name, a number, or None for the differentiated arguments or the output."""


@dataclass(frozen=True)
class Leaf:
    """An array among the arguments.

    ``name`` is with the argument's name, ``path`` without; ``label`` is the shorter of them that
    says which it is.
    """

    name: str
    path: str
    label: str
    argument: int
    value: int
    chosen: bool
    type: Type


@dataclass(frozen=True)
class Place:
    """One or more values, by the name that they were asked for."""

    name: str
    values: tuple[int, ...]
    names: tuple[str, ...]


class Ends:
    """Finds sources and sinks in a net.

    Parameters
    ----------
    net : Net
    leaves : sequence of Leaf
    outputs : sequence of str
        The names of the outputs.
    """

    def __init__(self, net: Net, leaves: Sequence[Leaf], outputs: Sequence[str]) -> None:
        self._net = net
        self.leaves = leaves
        self._outputs = outputs

    @property
    def differentiated(self) -> list[Leaf]:
        """The leaves that gradients are taken in."""
        return [leaf for leaf in self.leaves if leaf.chosen and leaf.type.inexact]

    def source(self, asked: End) -> Place:
        """Return the values that gradients are taken in.

        Raises
        ------
        InputError
            For a name or number that is none, or of an argument that is not differentiated.
        """
        if asked is None:
            return _place("the arguments", self.differentiated)
        if isinstance(asked, int):
            return self._argument(asked)
        found = self._leaves_named(asked)
        if found:
            return _place(asked, self._usable(asked, found))
        run = self._net.run
        names = [leaf.label for leaf in self.leaves if leaf.chosen]
        scopes = paths_of(run)
        if not any(_last(asked.partition("#")[0]) == _last(path) for path in scopes):
            raise unknown("source", asked, [*names, *scopes])
        return self._scope(asked, named(run, asked))

    def sink(self, asked: End) -> Place:
        """Return the values that paths are followed back from.

        Raises
        ------
        InputError
            If there is no such output or scope, or several outputs and none was chosen.
        """
        run = self._net.run
        if isinstance(asked, str):
            return self._scope(asked, [only(asked, named(run, asked))])
        if asked is None:
            able = [n for n, value in enumerate(run.outputs) if run.types[value].inexact]
            if len(able) != 1:
                raise InputError(
                    f"flow: the function returned {len(able)} floating-point arrays",
                    "choose one with sink=0 (its number), or return one",
                )
            asked = able[0]
        if not 0 <= asked < len(run.outputs):
            raise InputError(
                f"flow: sink={asked} of {len(run.outputs)} outputs",
                f"give a number from 0 to {len(run.outputs) - 1}, or a scope's name",
            )
        name = self._outputs[asked] or "output"
        return Place(name, (run.outputs[asked],), (name,))

    def why_not(self, value: int, sink: Place) -> str:
        """Say why no gradient path leads from a sink back to a value."""
        return reason_for(self._net.run, value, sink.values)

    def _argument(self, number: int) -> Place:
        found = [leaf for leaf in self.leaves if leaf.argument == number]
        if not found:
            raise InputError(
                f"flow: source={number}, but there is no such argument with arrays in it",
                "give the number of a positional argument, or a name",
            )
        return _place(f"argument {number}", self._usable(str(number), found))

    def _leaves_named(self, asked: str) -> list[Leaf]:
        name = re.sub(r"""\[['"](.+?)['"]\]""", r".\1", asked).removeprefix(".")
        exact = [leaf for leaf in self.leaves if name in (leaf.name, leaf.path)]
        below = (f"{name}.", f"{name}[")
        return exact or [
            leaf
            for leaf in self.leaves
            if leaf.name.startswith(below) or leaf.path.startswith(below)
        ]

    def _usable(self, asked: str, leaves: Sequence[Leaf]) -> list[Leaf]:
        first = leaves[0]
        if not any(leaf.chosen for leaf in leaves):
            raise InputError(
                f"flow: source {asked!r} is part of argument {first.argument}, which is not "
                "differentiated",
                f"name that argument too: clew.flow(f, argnums={first.argument})",
            )
        able = [leaf for leaf in leaves if leaf in self.differentiated]
        if not able:
            raise InputError(
                f"flow: source {asked!r} has dtype {first.type.dtype}, so no gradient",
                "convert it to floating point, or name another source",
            )
        return able

    def _scope(self, asked: str, found: Sequence[Instance]) -> Place:
        values: list[int] = []
        names: list[str] = []
        run = self._net.run
        for each in found:
            given = outputs_of(self._net, each)
            values += given
            own = str(each) if len(found) > 1 or each.number > 1 else asked
            names += [own if len(given) == 1 else f"{own} [{n}]" for n in range(len(given))]
        hidden = self._net.inner.intersection(values)
        if hidden or not values:
            why = "is inside a scope contracted at this level" if hidden else "gives no gradient"
            raise InputError(
                f"flow: the scope {asked!r} {why}",
                "choose a finer level=" if hidden else "name a scope that depends on the arguments",
                run.equations[found[0].start].where,
            )
        return Place(asked, tuple(values), tuple(names))


def outputs_of(net: Net, scope: Instance) -> list[int]:
    """Return the values of a scope that carry gradients and are read outside, or are outputs."""
    run = net.run
    outside: set[int] = set(run.outputs)
    for node in range(scope.stop, len(run)):
        outside.update(run.operands[node])
    made = [value for node in range(scope.start, scope.stop) for value in run.results[node]]
    return [value for value in made if value in outside and run.active[value]]


def only(asked: str, found: Sequence[Instance]) -> Instance:
    """Return the one entering of a scope.

    Raises
    ------
    InputError
        If it was entered several times.
    """
    if len(found) > 1:
        raise InputError(
            f"flow: the scope {asked!r} was entered {len(found)} times",
            f"name one entering: {asked}#1 to {asked}#{len(found)}",
        )
    return found[0]


def is_scalar(net: Net, sink: Place) -> bool:
    """Say whether a sink is one real number."""
    kinds = [net.run.types[value] for value in sink.values]
    return len(kinds) == 1 and kinds[0].shape == () and kinds[0].dtype.kind == "f"


def check_scalar(net: Net, sink: Place) -> int:
    """Return the one value of a sink that a gradient can be taken of.

    Raises
    ------
    DerivativeError
        If the sink is not one real number.
    """
    if is_scalar(net, sink):
        return sink.values[0]
    shown = ", ".join(str(net.run.types[value]) for value in sink.values)
    raise DerivativeError(
        f"flow: the sink {sink.name!r} is {shown}, but a gradient is of one real number",
        "sum or average it; counts and lengths of paths need no number",
    )


def _place(name: str, leaves: Sequence[Leaf]) -> Place:
    values = tuple(leaf.value for leaf in leaves)
    return Place(name, values, tuple(leaf.label for leaf in leaves))


def _last(name: str) -> str:
    return name.rpartition("/")[2]
