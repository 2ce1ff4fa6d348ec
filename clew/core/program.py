"""A graph as Python source: what the reference evaluator runs when it runs one many times.

Interpreting an equation costs more than computing it when values are single numbers. Here the
equations become the statements of one Python function, with the primitives' own ``eval`` in
them (written as an operator where Python has it), so a loop's body costs little beside NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clew.core.graph import Atom, Equation, Graph, Var, last_uses

_OPERATORS = {
    "add": "{} + {}",
    "subtract": "{} - {}",
    "multiply": "{} * {}",
    "divide": "{} / {}",
    "negative": "-{}",
    "positive": "{}",
    "less": "{} < {}",
    "less_equal": "{} <= {}",
    "greater": "{} > {}",
    "greater_equal": "{} >= {}",
}
_CALLS = frozenset(
    [
        "sqrt",
        "cbrt",
        "exp",
        "exp2",
        "expm1",
        "log",
        "log2",
        "log10",
        "log1p",
        "sin",
        "cos",
        "tan",
        "arcsin",
        "arccos",
        "arctan",
        "sinh",
        "cosh",
        "tanh",
        "arcsinh",
        "arccosh",
        "arctanh",
        "arctan2",
        "hypot",
        "maximum",
        "minimum",
        "square",
        "reciprocal",
        "abs",
        "sign",
        "power",
    ]
)
"""Primitives whose ``eval`` is the namespace's function of that name and nothing else."""
_LARGE = 2**12
"""Bytes from which a dead value is dropped at once rather than when its name is used again."""


class Source:
    """Lines of Python under way, and the objects that they name."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[str, Any] = {}
        self._known: dict[int, str] = {}
        self._called: dict[str, str] = {}

    def called(self, name: str) -> str:
        """Return a local name for a function of the namespace, looked up once per run."""
        return self._called.setdefault(name, f"xp_{name}")

    def bind(self, prefix: str, value: Any) -> str:
        """Return a name for an object, the same one each time."""
        name = self._known.get(id(value))
        if name is None:
            name = f"{prefix}{len(self.names)}"
            self.names[name] = value
            self._known[id(value)] = name
        return name

    def graph(self, graph: Graph, inputs: Sequence[str], prefix: str, indent: str) -> list[str]:
        """Write a graph's equations, on inputs of these names; return its outputs' names."""
        return _Body(self, graph, inputs, prefix, indent).write()

    def function(self, name: str) -> Any:
        """Compile the lines, which define a function of this name, and return it."""
        space = dict(self.names)
        first, *rest = self.lines
        looked_up = [f"    {local} = xp.{name}" for name, local in self._called.items()]
        lines = [first, *looked_up, *rest]
        exec(compile("\n".join(lines), f"<clew {name}>", "exec"), space)
        return space[name]


class _Body:
    """One graph's equations, with names handed out again when their values are dead."""

    def __init__(
        self, source: Source, graph: Graph, inputs: Sequence[str], prefix: str, indent: str
    ) -> None:
        self._source = source
        self._graph = graph
        self._prefix = prefix
        self._indent = indent
        self._name: dict[Any, str] = dict(zip(graph.inputs, inputs, strict=True))
        self._fixed = set(inputs)
        self._free: list[str] = []
        self._count = 0
        for var, value in graph.constants.items():
            self._name[var] = source.bind("k", value)
            self._fixed.add(self._name[var])

    def write(self) -> list[str]:
        dead_after = last_uses(self._graph)
        for index, equation in enumerate(self._graph.equations):
            self._equation(equation)
            self._release(dead_after.get(index, ()))
        return [self._atom(atom) for atom in self._graph.outputs]

    def _equation(self, equation: Equation) -> None:
        operands = [self._atom(atom) for atom in equation.inputs]
        right = self._expression(equation, operands)
        targets = [self._fresh(var) for var in equation.outputs]
        if not equation.primitive.multiple:
            left = f"{targets[0]} = "
        elif targets:
            left = f"{', '.join(targets)}, = "
        else:
            left = ""
        self._source.lines.append(f"{self._indent}{left}{right}")

    def _expression(self, equation: Equation, operands: list[str]) -> str:
        name = equation.primitive.name
        template = _OPERATORS.get(name)
        if template is not None:
            return template.format(*operands)
        if name in _CALLS:
            return f"{self._source.called(name)}({', '.join(operands)})"
        function = self._source.bind("f", equation.primitive.eval)
        words = ["xp", *operands]
        words += [f"{key}={self._parameter(v)}" for key, v in equation.params.items()]
        return f"{function}({', '.join(words)})"

    def _parameter(self, value: Any) -> str:
        if value is None or type(value) in (int, bool):
            return repr(value)
        return self._source.bind("p", value)

    def _atom(self, atom: Atom) -> str:
        if type(atom) is Var:
            return self._name[atom]
        return self._source.bind("k", atom.value)

    def _fresh(self, var: Var) -> str:
        if self._free:
            name = self._free.pop()
        else:
            name = f"{self._prefix}{self._count}"
            self._count += 1
        self._name[var] = name
        return name

    def _release(self, dead: Sequence[Var]) -> None:
        for var in dead:
            name = self._name[var]
            if name in self._fixed:
                continue
            self._free.append(name)
            if var.type.size * var.type.dtype.itemsize >= _LARGE:
                self._source.lines.append(f"{self._indent}{name} = None")


def program(graph: Graph) -> Any:
    """Return a Python function ``(xp, *inputs) -> list of outputs`` for a graph, made once.

    >>> import clew, numpy
    >>> run = program(clew.trace(lambda x: x * x + 1.0)(3.0))
    >>> run(numpy, numpy.float64(2.0))
    [np.float64(5.0)]
    """
    known = graph.programs.get("function")
    if known is None:
        source = Source()
        inputs = [f"i{number}" for number in range(len(graph.inputs))]
        source.lines.append(f"def function({', '.join(['xp', *inputs])}):")
        outputs = source.graph(graph, inputs, "v", "    ")
        source.lines.append(f"    return [{', '.join(outputs)}]")
        known = source.function("function")
        graph.programs["function"] = known
    return known
