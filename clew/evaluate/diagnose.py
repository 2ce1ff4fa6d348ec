"""``explain_nan``: the first NaN or infinity, where it came from and what it was made of."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from clew.calculus.reverse import pull_graph
from clew.core import pytree
from clew.core.errors import DerivativeError, GraphError, InputError
from clew.core.graph import Equation, Graph, Var, bodies_of
from clew.core.source import Where
from clew.core.tape import Tape
from clew.core.types import type_of
from clew.evaluate.arguments import Call, call_of
from clew.evaluate.blame import (
    Iteration,
    Mask,
    Origin,
    bad_of,
    count_of,
    executed,
    first_of,
    value_of,
)
from clew.evaluate.hints import hint_for
from clew.evaluate.search import search
from clew.trace import Recording, record

Pass = Literal["argument", "forward", "backward", ""]
_SHOWN = 8
"""Elements of an array, and equations of the way, that are printed."""


@dataclass(frozen=True)
class Summary:
    """A value in short.

    Attributes
    ----------
    name : str
        Of an argument; empty for values in between.
    kind : str
        Dtype and shape.
    least, greatest : float
        Of its finite elements (of their magnitudes, if complex); NaN if there are none.
    bad : int
        How many elements are NaN or infinite.
    first_bad : tuple of int or None
        The index of the first of them.
    at : str
        The element that took part, if it is known which; the whole value if it is small.
    """

    name: str
    kind: str
    least: float
    greatest: float
    bad: int
    first_bad: tuple[int, ...] | None
    at: str

    def __str__(self) -> str:
        start = f"{self.name}: {self.kind}" if self.name else self.kind
        if self.at:
            start += f" = {self.at}" if self.kind.count("[") == 0 else f", {self.at}"
        if self.kind.count("["):
            start += f", finite from {self.least:.6g} to {self.greatest:.6g}"
            if self.first_bad is not None:
                start += f", {self.bad} bad, first at {list(self.first_bad)}"
        return start


@dataclass(frozen=True)
class NanReport:
    """What :func:`explain_nan` returns; false if all is finite.

    Attributes
    ----------
    found : str
        ``nan``, ``inf`` or ``-inf``; empty if all is finite.
    stage : str
        ``argument``, ``forward`` or ``backward``; empty if all is finite.
    name : str
        The primitive, or the argument, that gave it.
    reaches : str
        The output, or the gradient, that is not finite because of it.
    element : tuple of int
        Its index in the result.
    result : Summary or None
    operands : tuple of Summary
    iterations : tuple of Iteration
        The steps of the loops it lies in, the outermost first.
    where, scope
        The user's line, and the path of scope names.
    arguments : tuple of Summary
        Those that feed it.
    trail : tuple of str
        The operations by which it reached the result.
    hint : str
        What to do about it, where that is known.
    """

    function: str
    found: str = ""
    stage: Pass = ""
    name: str = ""
    reaches: str = ""
    element: tuple[int, ...] = ()
    result: Summary | None = None
    operands: tuple[Summary, ...] = ()
    iterations: tuple[Iteration, ...] = ()
    where: Where = Where()  # noqa: RUF009  (immutable)
    scope: str = ""
    arguments: tuple[Summary, ...] = ()
    trail: tuple[str, ...] = ()
    hint: str = ""
    checked: str = ""

    def __bool__(self) -> bool:
        return bool(self.found)

    @property
    def sentence(self) -> str:
        """What was found, where, and from which values, in one line."""
        if not self:
            return f"{self.function}: all finite ({self.checked})"
        if self.stage == "argument":
            return f"{self.reaches} is {self.found} because {self._argument()}"
        operands = ", ".join(operand.at or operand.kind for operand in self.operands)
        place = f" at {self.where}" if self.where else ""
        steps = "".join(f", {each}" for each in self.iterations)
        return f"the first {self.found} is {self._what()}{place}{steps}, of {operands}"

    def _what(self) -> str:
        element = f"[{', '.join(map(str, self.element))}]" if self.element else ""
        stage = "the forward pass" if self.stage == "forward" else "the backward pass"
        return f"{self.name}{element} in {stage}"

    def _argument(self) -> str:
        element = f"[{', '.join(map(str, self.element))}]" if self.element else ""
        return f"argument {self.name}{element} is {self.found} already"

    def __str__(self) -> str:
        if not self:
            return self.sentence
        return "\n".join([self._first_line(), *(f"  {line}" for line in self._lines())])

    __repr__ = __str__

    def _first_line(self) -> str:
        if self.stage == "argument":
            return f"{self.function}: {self._argument()}"
        return f"{self.function}: the first {self.found} is {self._what()}"

    def _lines(self) -> Iterator[str]:
        if self.where:
            source = linecache.getline(self.where.file, self.where.line).strip()
            yield f"at:         {self.where}  {source}".rstrip()
        if self.scope:
            yield f"scope:      {self.scope}"
        for depth, iteration in enumerate(self.iterations):
            yield f"{'in:' if not depth else '':<12}{iteration}"
        if self.result is not None:
            yield f"result:     {self.result}"
        for number, operand in enumerate(self.operands):
            yield f"{'operands:' if not number else '':<12}{operand}"
        for number, argument in enumerate(self.arguments):
            yield f"{'fed by:' if not number else '':<12}{argument}"
        if self.trail:
            yield f"by way of:  {', '.join(self.trail)}"
        yield f"reaches:    {self.reaches}"
        if self.hint:
            yield f"fix:        {self.hint}"


def explain_nan(
    f: Callable[..., Any], argnums: int | Sequence[int] | None = None
) -> Callable[..., NanReport]:
    """Return a function that finds the first NaN or infinity in ``f`` for its arguments.

    The forward pass is examined, and if its results are finite the gradient, in all float
    arguments (if ``f`` returns a real scalar) or in ``argnums`` (then of the sum of all float
    results). A value is reported if a result or gradient is not finite *because of it*: an
    infinite bound, ``1 / inf``, or the branch of ``np.where`` that is not taken is no fault.
    Loops, branches, and checkpointed functions are searched inside. Apply it to
    ``clew.grad(f)`` to examine second derivatives.

    All values of the two passes are held at once, inside a loop those of one step.

    Parameters
    ----------
    f : callable
        Of pytrees of arrays and numbers.
    argnums : int or sequence of int, optional
        Positional arguments of the gradient.

    Returns
    -------
    callable
        Gives a :class:`NanReport` for the arguments: it prints as text, and is false if all
        is finite.

    Raises
    ------
    GraphError
        If ``f`` closes over values of a trace that is under way.

    >>> def distance(x):
    ...     return np.sqrt(np.sum(x * x))
    >>> print(explain_nan(distance)(np.zeros(2)))  # doctest: +ELLIPSIS
    distance: the first inf is the derivative of sqrt in the backward pass
      at:         ...
      result:     f64 = inf
      operands:   f64 = 0.5
                  f64 = 0.0
      fed by:     x: f64[2], [0. 0.], finite from 0 to 0
      reaches:    gradient of x[0]
      fix:        the slope of a root is infinite at 0: add a small number under it
    >>> bool(explain_nan(distance)(np.ones(2)))
    False
    """

    def explained(*args: Any, **kwargs: Any) -> NanReport:
        call = call_of(f, args, kwargs)
        recording = record(call.function, call.trees)
        if recording.captured:
            raise GraphError(
                "explain_nan: the function reads values of another trace",
                "pass them as arguments",
            )
        chosen = _chosen(argnums, len(args))
        return _Diagnosis(f, call, recording, chosen).report()

    return explained


def _chosen(argnums: int | Sequence[int] | None, count: int) -> list[int] | None:
    if argnums is None:
        return None
    numbers = [argnums] if isinstance(argnums, int) else list(argnums)
    for number in numbers:
        if not 0 <= number < count:
            raise InputError(
                f"explain_nan: argnums={argnums!r} of a call with {count} positional arguments",
                f"give numbers from 0 to {count - 1}",
            )
    return numbers


class _Diagnosis:
    """One examination: the graphs, the arguments, and what the names are."""

    def __init__(
        self, f: Callable[..., Any], call: Call, recording: Recording, chosen: list[int] | None
    ) -> None:
        self._function = getattr(f, "__name__", "the function")
        self._names = call.leaf_names()
        flat = [pytree.flatten(tree)[0] for tree in call.trees]
        self._leaves = [np.asarray(leaf)[()] for own in flat for leaf in own]
        self._graph = recording.graph
        self._outputs = recording.structure.names
        self._seeded = self._seeds([len(own) for own in flat], chosen)
        self._wanted = self._differentiated(chosen is not None)

    def _seeds(self, counts: Sequence[int], chosen: list[int] | None) -> list[int]:
        starts = np.concatenate([[0], np.cumsum(counts)])
        numbers = range(len(counts)) if chosen is None else chosen
        found = [n for i in numbers for n in range(int(starts[i]), int(starts[i + 1]))]
        seeded = [n for n in found if self._graph.inputs[n].type.inexact]
        if chosen is not None and not seeded:
            raise DerivativeError(
                "explain_nan: the chosen arguments hold no floating-point numbers",
                "choose others with argnums=",
            )
        return seeded

    def _differentiated(self, asked: bool) -> list[int]:
        """Return which outputs to take the gradient of."""
        kinds = [atom.type for atom in self._graph.outputs]
        real = [n for n, kind in enumerate(kinds) if kind.dtype.kind == "f"]
        scalar = len(kinds) == 1 and real == [0] and kinds[0].shape == ()
        return real if (asked or scalar) and self._seeded else []

    def report(self) -> NanReport:
        with np.errstate(all="ignore"):
            labels = [f"result {name}".strip() for name in self._outputs]
            found = self._searched(self._graph, self._leaves, self._graph.outputs, labels)
            if found is not None or not self._wanted:
                return found or NanReport(self._function, checked="forward pass")
            whole, given, paths = pull_graph(self._graph, self._seeded, self._wanted)
            count = len(self._graph.outputs)
            ones = [
                np.ones(atom.type.shape, atom.type.dtype)[()]
                for atom, flag in zip(self._graph.outputs, given, strict=True)
                if flag
            ]
            if not any(paths):
                ones = []
            labels = [
                f"gradient of {self._names[number]}"
                for number, flag in zip(self._seeded, paths, strict=True)
                if flag
            ]
            atoms = whole.outputs[count:]
            found = self._searched(whole, [*self._leaves, *ones], atoms, labels)
        return found or NanReport(self._function, checked="forward and backward pass")

    def _searched(
        self, graph: Graph, arguments: Sequence[Any], atoms: Sequence[Any], labels: Sequence[str]
    ) -> NanReport | None:
        values = executed(graph, arguments)
        bad = [bad_of(value_of(values, atom)) for atom in atoms]
        wrong = [n for n, mask in enumerate(bad) if mask is not None]
        if not wrong:
            return None
        found = search(graph, values, [(atoms[n], bad[n]) for n in wrong])
        mine = {n: mask for n, mask in found.inputs.items() if n < len(self._leaves)}
        first = wrong[0]
        reaches = f"{labels[first]}{_at(bad[first])}"
        if len(wrong) > 1:
            reaches += f" (and {len(wrong) - 1} more)"
        if mine:
            return self._bad_argument(mine, found.trail, reaches)
        if found.origin is None:
            value = value_of(values, atoms[first])
            return self._bad_constant(value, first_of(bad[first]), reaches)
        return self._bad_equation(found.origin, found.trail, reaches, graph is self._graph)

    def _bad_argument(
        self, inputs: dict[int, Mask], trail: Sequence[Equation], reaches: str
    ) -> NanReport:
        number = min(inputs)
        element = first_of(inputs[number])
        value = self._leaves[number]
        return NanReport(
            self._function,
            found=_word(np.asarray(value)[element]),
            stage="argument",
            name=self._names[number],
            reaches=reaches,
            element=element,
            result=summary(value, element=element),
            arguments=tuple(self._argument(n, inputs[n]) for n in sorted(inputs)[:_SHOWN]),
            where=trail[0].where if trail else Where(),
            trail=_trail(trail),
            hint="clean the argument, or leave the bad elements out with a weight or np.where",
        )

    def _argument(self, number: int, mask: Mask | None = None) -> Summary:
        element = None if mask is None else first_of(mask)
        return summary(self._leaves[number], self._names[number], element)

    def _bad_constant(self, value: Any, element: tuple[int, ...], reaches: str) -> NanReport:
        return NanReport(
            self._function,
            found=_word(np.asarray(value)[element]),
            stage="forward",
            name="a constant that the function returns",
            reaches=reaches,
            element=element,
            result=summary(value, element=element),
        )

    def _bad_equation(
        self, origin: Origin, trail: Sequence[Equation], reaches: str, forward: bool
    ) -> NanReport:
        equation = origin.equation
        own = forward or _has(self._graph, equation)
        operation = name_of(equation)
        name = operation if own else _derived(self._graph, equation)
        if origin.given:
            name = f"{name} with a constant that is not finite"
        return NanReport(
            self._function,
            found=_word(np.asarray(_item(origin.result, origin.element))),
            stage="forward" if own else "backward",
            name=name,
            reaches=reaches,
            element=origin.element,
            result=summary(origin.result, element=origin.element),
            operands=tuple(_operand(equation, origin, n) for n in range(len(origin.operands))),
            iterations=origin.iterations,
            where=equation.where,
            scope=equation.scope,
            arguments=tuple(
                self._argument(n) for n in sorted(origin.feeds)[:_SHOWN] if n < len(self._leaves)
            ),
            trail=_trail([each for each in trail if each is not equation]),
            hint=hint_for(name, equation, origin),
        )


# --- what things are called ----------------------------------------------------------------------


def name_of(equation: Equation) -> str:
    """Return the primitive's name, or that of the function that a call stands for."""
    return str(equation.params.get("name") or equation.primitive.name)


def _all_equations(graph: Graph) -> Iterator[Equation]:
    for equation in graph.equations:
        yield equation
        for body in bodies_of(equation):
            yield from _all_equations(body)


def _has(graph: Graph, equation: Equation) -> bool:
    outputs = {var for each in _all_equations(graph) for var in each.outputs}
    return any(var in outputs for var in equation.outputs)


def _derived(graph: Graph, equation: Equation) -> str:
    """Name the forward operation that an equation of the backward pass belongs to."""
    same = [
        each
        for each in _all_equations(graph)
        if each.where == equation.where and each.scope == equation.scope and not bodies_of(each)
    ]
    read = {atom for atom in equation.inputs if type(atom) is Var}
    near = [each for each in same if read & {*each.inputs, *each.outputs}]
    made = [each for each in near if read & {*each.outputs}]
    names = list(dict.fromkeys(name_of(each) for each in made or near or same))
    if not names:
        return name_of(equation)
    return f"the derivative of {' or '.join(names[:3])}"


def _trail(trail: Sequence[Equation]) -> tuple[str, ...]:
    words = [f"{name_of(each)} ({each.where})" for each in trail if each.where]
    kept = list(dict.fromkeys(words))
    if len(kept) > _SHOWN:
        kept = [*kept[: _SHOWN - 1], f"{len(kept) - _SHOWN + 1} more"]
    return tuple(kept)


def _word(value: Any) -> str:
    number = np.asarray(value)[()]
    if np.isnan(number):
        return "nan"
    return "-inf" if np.real(number) < 0 else "inf"


def _at(mask: Mask) -> str:
    element = first_of(mask)
    return f"[{', '.join(map(str, element))}]" if element else ""


def _item(value: Any, element: tuple[int, ...]) -> Any:
    if type(value) is Tape:
        return _item(value.items[element[0]], element[1:])
    return np.asarray(value)[element]


def _operand(equation: Equation, origin: Origin, position: int) -> Summary:
    """Sum up an operand, with the element that meets the bad element of the result."""
    operand = origin.operands[position]
    shape = np.shape(operand)
    element = None
    if _aligned(equation, origin, shape):
        last = origin.element[len(origin.element) - len(shape) :] if shape else ()
        element = tuple(0 if size == 1 else i for i, size in zip(last, shape, strict=True))
    return summary(operand, element=element)


def _aligned(equation: Equation, origin: Origin, shape: tuple[int, ...]) -> bool:
    from clew.core.kinds import Elementwise

    return isinstance(equation.primitive, Elementwise) and len(shape) <= len(origin.element)


def summary(value: Any, name: str = "", element: tuple[int, ...] | None = None) -> Summary:
    """Sum a value up.

    >>> print(summary(np.array([1.0, np.nan, 3.0]), "x", (1,)))
    x: f64[3], [1] = nan, finite from 1 to 3, 1 bad, first at [1]
    """
    if type(value) is Tape:
        return Summary(name, str(value.type), np.nan, np.nan, 0, None, "")
    array = np.asarray(value)
    bad = bad_of(array)
    size = np.abs(array) if array.dtype.kind == "c" else array
    finite = size[np.isfinite(size)] if array.dtype.kind in "fc" else size.ravel()
    least, greatest = (float(finite.min()), float(finite.max())) if finite.size else (np.nan,) * 2
    at = ""
    if array.ndim == 0:
        at = str(array[()])
    elif element is not None:
        at = f"[{', '.join(map(str, element))}] = {array[element]}"
    elif array.size <= _SHOWN:
        at = np.array2string(array, precision=6).replace("\n", "")
    count = 0 if bad is None else count_of(bad)
    where = None if bad is None else first_of(bad)
    return Summary(name, str(type_of(array)), least, greatest, count, where, at)
