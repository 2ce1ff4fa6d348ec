"""The one printer of graphs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from string import ascii_lowercase
from typing import Any

import numpy as np

from clew.core.graph import Atom, Graph, Literal, Var


def format_graph(graph: Graph) -> str:
    """Return the graph as text, one equation a line, with its source line and scope.

    >>> import clew
    >>> print(format_graph(clew.trace(lambda w: 2.0 * w)(3.0)))  # doctest: +ELLIPSIS
    graph(w: f64) {
      a: f64 = multiply 2.0 w  # ...
      return a
    }
    """
    return "\n".join(_lines(graph, "graph"))


def _lines(graph: Graph, title: str) -> list[str]:
    names = _Names(graph)
    header = ", ".join(f"{names[var]}: {var.type}" for var in graph.inputs)
    rows = [
        (f"{names[var]}: {var.type} = constant {_summary(value)}", "", [])
        for var, value in graph.constants.items()
    ]
    for equation in graph.equations:
        outputs = ", ".join(f"{names[var]}: {var.type}" for var in equation.outputs)
        words = [equation.primitive.name, *(names[atom] for atom in equation.inputs)]
        inner = list(_inner(equation.params))
        shown = {key for key, _ in inner}
        words += [
            f"{key}={_parameter(value)}"
            for key, value in equation.params.items()
            if key not in shown and value is not None
        ]
        line = f"{outputs} = {' '.join(words)}" if outputs else " ".join(words)
        note = "  ".join(filter(None, (str(equation.where), equation.scope)))
        rows.append((line, note, inner))
    width = max((len(line) for line, _, _ in rows if len(line) <= 72), default=0)
    body = []
    for line, note, inner in rows:
        body.append(f"  {line:<{width}}  # {note}" if note else f"  {line}")
        for key, each in inner:
            body += [f"    {text}" for text in _lines(each, key)]
    result = ", ".join(names[atom] for atom in graph.outputs)
    return [f"{title}({header}) {{", *body, f"  return {result}", "}"]


def _inner(params: dict[str, Any]) -> Iterator[tuple[str, Graph]]:
    """Return the graphs that an equation holds, by parameter."""
    for key, value in params.items():
        if isinstance(value, Graph):
            yield key, value
        elif isinstance(value, tuple) and value and isinstance(value[0], Graph):
            yield from ((key, each) for each in value)
        else:
            body = getattr(value, "body", None)
            if isinstance(body, Graph):
                yield key, body


class _Names:
    """Names for atoms in order of appearance: inputs by their own names, then a, b, ..."""

    def __init__(self, graph: Graph) -> None:
        self._names: dict[Var, str] = {}
        given = dict(zip(graph.inputs, graph.names, strict=False))
        taken = set(given.values())
        fresh = (name for name in _letters() if name not in taken)
        defined = [*graph.inputs, *graph.constants]
        defined += [var for equation in graph.equations for var in equation.outputs]
        for var in defined:
            self._names[var] = given.get(var) or next(fresh)

    def __getitem__(self, atom: Atom) -> str:
        if isinstance(atom, Literal):
            return str(atom.value)
        return self._names.get(atom, "?")


def _letters() -> Iterator[str]:
    for number in count():
        name = ""
        rest = number
        while True:
            rest, digit = divmod(rest, 26)
            name = ascii_lowercase[digit] + name
            if rest == 0:
                break
            rest -= 1
        yield name


def _summary(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return repr(value)
    if value.size <= 4:
        return np.array2string(value, separator=",", threshold=8).replace("\n", "")
    return f"<{value.size} values>"


def _parameter(value: Any) -> str:
    if isinstance(value, np.dtype):
        return value.name
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    if isinstance(value, slice):
        parts = ["" if part is None else str(part) for part in (value.start, value.stop)]
        step = "" if value.step in (None, 1) else f":{value.step}"
        return f"{parts[0]}:{parts[1]}{step}"
    if isinstance(value, tuple):
        return f"({','.join(_parameter(item) for item in value)})"
    return str(value)
