"""The graph: single assignment, static types, every equation with its source line.

A :class:`Graph` is what a traced function becomes. Transforms make new graphs from old ones
and may share their variables: a :class:`Var` means nothing but its own identity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, final

from clew.core.primitive import Primitive
from clew.core.source import Where
from clew.core.types import Type, type_of


@final
class Var:
    """A variable: assigned once, known by identity."""

    __slots__ = ("type",)

    def __init__(self, type: Type) -> None:
        self.type = type

    def __repr__(self) -> str:
        return f"Var({self.type})"


@final
class Literal:
    """A scalar constant written into an equation."""

    __slots__ = ("type", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.type = type_of(value)

    def __repr__(self) -> str:
        return str(self.value)


Atom = Var | Literal


class Equation:
    """``outputs = primitive(*inputs, **params)``, with the scope and line it came from."""

    __slots__ = ("inputs", "outputs", "params", "primitive", "scope", "where")

    def __init__(
        self,
        primitive: Primitive,
        inputs: tuple[Atom, ...],
        params: dict[str, Any],
        outputs: tuple[Var, ...],
        scope: str = "",
        where: Where = Where(),  # noqa: B008  (immutable)
    ) -> None:
        self.primitive = primitive
        self.inputs = inputs
        self.params = params
        self.outputs = outputs
        self.scope = scope
        self.where = where

    def reading(self, replaced: Mapping[Any, Atom], outputs: tuple[Var, ...]) -> Equation:
        """Return the equation with some inputs replaced, and other outputs."""
        inputs = tuple([replaced.get(atom, atom) for atom in self.inputs])
        return Equation(self.primitive, inputs, self.params, outputs, self.scope, self.where)

    def remade(
        self, inputs: tuple[Atom, ...], params: dict[str, Any], outputs: tuple[Var, ...]
    ) -> Equation:
        """Return an equation of the same primitive, scope and line with the rest replaced."""
        return Equation(self.primitive, inputs, params, outputs, self.scope, self.where)

    def __repr__(self) -> str:
        return f"Equation({self.primitive.name}: {self.inputs} -> {self.outputs})"


class Graph:
    """Inputs, equations in order, outputs, and the constant arrays they refer to.

    >>> import clew
    >>> print(clew.trace(lambda x: x * x + 1.0)(3.0))  # doctest: +ELLIPSIS
    graph(x: f64) {
      a: f64 = multiply x x  # ...
      b: f64 = add a 1.0     # ...
      return b
    }
    """

    __slots__ = ("constants", "equations", "inputs", "names", "outputs", "programs")

    def __init__(
        self,
        inputs: Sequence[Var],
        equations: Sequence[Equation],
        outputs: Sequence[Atom],
        constants: Mapping[Var, Any] | None = None,
        names: Sequence[str] = (),
    ) -> None:
        self.inputs = tuple(inputs)
        self.equations = tuple(equations)
        self.outputs = tuple(outputs)
        self.constants = dict(constants or {})
        self.names = tuple(names)
        self.programs: dict[Any, Any] = {}

    def __str__(self) -> str:
        from clew.core.printer import format_graph

        return format_graph(self)

    __repr__ = __str__

    def cost(self) -> Any:
        """Return what running it costs; see :class:`clew.core.cost.Cost`."""
        from clew.core.cost import cost_of

        return cost_of(self)

    def with_live_equations(self) -> Graph:
        """Return the graph without the equations and constants that no output needs.

        Guards stay: they have no output and are there for their effect.
        """
        live = {atom for atom in self.outputs if type(atom) is Var}
        kept = []
        for equation in reversed(self.equations):
            used = [var in live for var in equation.outputs]
            if any(used) or not used:
                if not all(used):
                    equation = equation.primitive.pruned(equation, used)
                kept.append(equation)
                live.update(atom for atom in equation.inputs if type(atom) is Var)
        constants = {var: value for var, value in self.constants.items() if var in live}
        return Graph(self.inputs, kept[::-1], self.outputs, constants, self.names)


def interpret(
    graph: Graph, arguments: Sequence[Any], apply: Callable[[Equation, list[Any]], Any]
) -> list[Any]:
    """Run a graph on any kind of value: ``apply(equation, operands)`` gives each result.

    A value is dropped after its last use, so memory is that of the live values only.
    """
    last_use = last_uses(graph)
    environment: dict[Any, Any] = dict(graph.constants)
    environment.update(zip(graph.inputs, arguments, strict=True))
    for index, equation in enumerate(graph.equations):
        operands = [
            environment[atom] if type(atom) is Var else atom.value for atom in equation.inputs
        ]
        result = apply(equation, operands)
        if equation.primitive.multiple:
            environment.update(zip(equation.outputs, result, strict=True))
        else:
            environment[equation.outputs[0]] = result
        for var in last_use.get(index, ()):
            environment.pop(var, None)
    return [environment[atom] if type(atom) is Var else atom.value for atom in graph.outputs]


def last_uses(graph: Graph) -> dict[int, list[Var]]:
    """Return, for the index of each equation, the variables that are dead after it."""
    seen: set[Any] = set(graph.outputs)
    last_use: dict[int, list[Var]] = {}
    for index in range(len(graph.equations) - 1, -1, -1):
        equation = graph.equations[index]
        for atom in (*equation.inputs, *equation.outputs):
            if type(atom) is Var and atom not in seen:
                seen.add(atom)
                last_use.setdefault(index, []).append(atom)
    return last_use


def users(equations: Iterable[Equation]) -> dict[Var, list[Equation]]:
    """Return, for every variable, the equations that read it (once per equation)."""
    table: dict[Var, list[Equation]] = {}
    for equation in equations:
        for var in {atom for atom in equation.inputs if type(atom) is Var}:
            table.setdefault(var, []).append(equation)
    return table


def bodies_of(equation: Equation) -> list[Graph]:
    """Return the graphs that an equation holds: the body of a call, the branches of a switch.

    >>> import clew, numpy as np
    >>> g = clew.trace(lambda x: clew.cond(x > 0, np.sin, np.cos, x))(1.0)
    >>> len(bodies_of(g.equations[-1]))
    2
    """
    found = []
    for value in equation.params.values():
        if isinstance(value, Graph):
            found.append(value)
        elif isinstance(value, tuple):
            found += [item for item in value if isinstance(item, Graph)]
        elif isinstance(getattr(value, "body", None), Graph):
            found.append(value.body)
    return found
