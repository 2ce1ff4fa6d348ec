"""``flow``: how the gradient of a run gets from its output back to its arguments."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from clew.calculus import NoPath
from clew.core.errors import InputError
from clew.paths.cuts import Bottlenecks, bottlenecks_of
from clew.paths.ends import End, Ends, Place, check_scalar, is_scalar, only, outputs_of
from clew.paths.gains import Gain, gains_of, spectrum_of
from clew.paths.net import Net
from clew.paths.picture import picture_of
from clew.paths.scopes import Level, depth_function, instances, named
from clew.paths.semiring import Semiring, back_from, counting, longest, shortest, total
from clew.paths.singular import STEPS, Spectrum
from clew.paths.spectrum import MARKS, Mark, spectra
from clew.paths.strongest import Strongest, strongest_paths
from clew.paths.summary import Summary
from clew.paths.tracing import traced
from clew.paths.uses import ByLength, Use, by_length, by_use, edge_norms, gradients
from clew.paths.vanishing import Table
from clew.paths.written import Written

Length = str | None
_LARGEST = 2**31
"""Bytes that one value's gradients by length may take."""


def flow(
    f: Any, argnums: int | Sequence[int] = 0, level: Level = "equation"
) -> Callable[..., Flow]:
    """Return a function that runs ``f`` and gives the paths of its gradient.

    Parameters
    ----------
    f : callable or Problem
        A function of pytrees of arrays; of a :class:`clew.Problem`, its loss.
    argnums : int or sequence of int
        The arguments that gradients are taken in.
    level : str, sequence of str, or callable
        What one node is: ``"equation"``; ``"scope:2"`` makes every scope of depth 2 a node; scope
        names (last part or whole path) or a predicate on the path choose which. Equations outside
        are nodes of their own.

    Returns
    -------
    callable
        ``(*args, **kwargs) -> Flow``; of a problem, ``(params=start) -> Flow``.

    Raises
    ------
    InputError
        If the arguments hold no floating-point numbers, or the level names no scope.

    >>> import clew, numpy as np
    >>> def stack(x):
    ...     for _ in range(100):
    ...         x = x + np.tanh(x)
    ...     return x
    >>> clew.flow(stack)(1.0).count() == 2**100
    True
    """

    def flow_of(*args: Any, **kwargs: Any) -> Flow:
        if callable(f):
            return Flow(f, args, kwargs, argnums, level)
        return Flow(f.objective(), args or (f.start,), kwargs, argnums, level, f.name)

    return flow_of


class Flow:
    """The gradient's paths through one run of a function; made by :func:`flow`.

    Sources are argument leaves by name (``"w"``, ``"layers[3].weight"``; a name above leaves
    means all of them), arguments by number, or scopes by name (``"block3"``, its second entering
    ``"block3#2"``): the values that they give. Sinks are outputs by number, or scopes. Left out,
    they are the differentiated arguments and the output.

    >>> import clew, numpy as np
    >>> def network(params, x):
    ...     for number in range(3):
    ...         with clew.scope(f"block{number}"):
    ...             y = np.tanh(params["w"] * x)
    ...         x = x + y
    ...     return x
    >>> paths = clew.flow(network, level="scope:1")({"w": 0.5}, 1.0)
    >>> paths.count("w"), paths.lengths("w")
    (7, {1: 3, 2: 3, 3: 1})
    >>> paths.count("block0")
    4
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
        argnums: int | Sequence[int],
        level: Level,
        title: str = "",
    ) -> None:
        name = getattr(function, "__name__", type(function).__name__)
        self.title = title or ("Gradient paths" if name == "<lambda>" else name)
        self._made = traced(function, args, kwargs, argnums)
        self._single = isinstance(argnums, int)
        self.run = self._made.run
        self.net = Net(self.run, _scopes(self.run, level))
        self.ends = Ends(self.net, self._made.leaves, self._made.outputs)
        self._summaries: dict[End, Summary] = {}

    # --- counting ----------------------------------------------------------------------------

    def count(self, source: End = None, sink: End = None) -> int:
        """Return the number of gradient paths from a sink back to a source, exactly.

        Every use of a value by a node is an edge; an operand that stands twice in an equation
        counts twice. Edges without a derivative do not count.

        >>> import clew
        >>> clew.flow(lambda x: x * x)(3.0).count()
        2
        """
        return self.sweep(counting(), source, sink)

    def lengths(
        self, source: End = None, sink: End = None, length: Length = None
    ) -> dict[int, int]:
        """Return how many paths there are of each length.

        Parameters
        ----------
        length : {"scopes", "equations", "edges"}, optional
            What a path's length is: how many contracted scopes it passes (by default, if there
            are any), how many equations that are nodes of their own, or both together.

        >>> import clew, numpy as np
        >>> clew.flow(lambda x: x + np.sin(x))(1.0).lengths()
        {1: 1, 2: 1}
        """
        start, end = self.ends.sink(sink), self.ends.source(source)
        found: dict[int, int] = {}
        for each in spectra(self.net, self._mark(length), start.values, end.values).values():
            for size, count in each.items():
                found[size] = found.get(size, 0) + count
        return dict(sorted(found.items()))

    def shortest(self, source: End = None, sink: End = None, length: Length = None) -> int:
        """Return the length of the shortest path.

        Raises
        ------
        InputError
            If there is no path; says why.
        """
        self._require_path(source, sink)
        return int(self.sweep(shortest(self._mark(length)), source, sink))

    def longest(self, source: End = None, sink: End = None, length: Length = None) -> int:
        """Return the length of the longest path; raises as :meth:`shortest` does."""
        self._require_path(source, sink)
        return int(self.sweep(longest(self._mark(length)), source, sink))

    def sweep(self, semiring: Semiring[Any], source: End = None, sink: End = None) -> Any:
        """Return the sum over all paths of the products of their edges, in a semiring.

        >>> import clew, numpy as np
        >>> from clew.paths import Semiring
        >>> widest = Semiring(0, 99, max, min, lambda edge: 5)  # the narrowest edge on a path
        >>> clew.flow(lambda x: x + np.sin(x))(1.0).sweep(widest)
        5
        """
        start, end = self.ends.sink(sink), self.ends.source(source)
        return total(semiring, back_from(self.net, semiring, start.values), end.values)

    # --- gradients ---------------------------------------------------------------------------

    def gradient(self, source: End = None, sink: End = None) -> Any:
        """Return the gradient of a sink in a source.

        It has the structure of the differentiated arguments, or of an argument given by number;
        a leaf's is an array, those of several leaves or of a scope's values a dict by name.

        Raises
        ------
        DerivativeError
            If the sink is not one real number.
        InputError
            If there is no path; says why.
        """
        place, value = self._ends(source, sink)
        known = gradients(self.net, value, place.values)

        def found(each: int) -> Any:
            if each in known:
                return known[each]
            return NoPath(self.ends.why_not(each, self.ends.sink(sink)), self.run.types[each])

        if source is None and not self._single:
            return tuple(self._tree(number, found) for number in self._made.numbers)
        if source is None or isinstance(source, int):
            return self._tree(self._made.numbers[0] if source is None else source, found)
        if len(place.values) == 1:
            return found(place.values[0])
        return dict(zip(place.names, map(found, place.values), strict=True))

    def gradient_by_length(
        self, source: End = None, sink: End = None, length: Length = None
    ) -> ByLength:
        """Return the gradient split by the length of its paths, none of which is enumerated.

        Cotangents that are polynomials in a formal variable z are propagated back, and multiplied
        by z wherever a path becomes longer. That takes about as many gradients as there are
        lengths. ``length`` is as in :meth:`lengths`.

        >>> import clew, numpy as np
        >>> split = clew.flow(lambda x: x + np.sin(x))(0.0).gradient_by_length()
        >>> split.lengths, split.parts
        ((1, 2), array([1., 1.]))
        """
        place, value = self._ends(source, sink)
        lengths = list(self.lengths(source, sink, length))
        if not self._fits(lengths[-1] + 1):
            raise InputError(
                f"flow: paths have up to {lengths[-1]} edges that count, so that gradients by "
                "length would not fit into memory",
                "contract scopes with level=, so that fewer lengths are told apart",
            )
        return by_length(self.net, value, place, lengths, self._mark(length))

    def by_use(self, source: End = None, sink: End = None) -> list[Use]:
        """Return what each use of a source contributes to its gradient; they sum to it.

        A use is an equation, or a contracted scope, that reads the value; in loops, at one step.

        >>> import clew
        >>> def power(x):
        ...     return clew.fori_loop(0, 3, lambda step, y: y * x, 1.0)
        >>> [(use.steps, float(use.contribution)) for use in clew.flow(power)(2.0).by_use()]
        [((0,), 4.0), ((1,), 4.0), ((2,), 4.0)]
        """
        place, value = self._ends(source, sink)
        return by_use(self.net, value, place)

    # --- what carries ------------------------------------------------------------------------

    def strongest(
        self, source: End = None, k: int = 5, sink: End = None, budget: int = 20_000
    ) -> Strongest:
        """Return the k paths that contribute most, found best first.

        >>> import clew, numpy as np
        >>> paths = clew.flow(lambda x: x + 0.1 * np.sin(x))(0.0).strongest()
        >>> [(float(path.contribution), len(path.nodes)) for path in paths.paths], paths.exact
        ([(1.0, 1), (0.1, 3)], True)

        Parameters
        ----------
        k : int
        budget : int
            How many values the search may follow; if that is not enough, ``exact`` is false.
        """
        place, value = self._ends(source, sink)
        found = gradients(self.net, value, place.values)
        return strongest_paths(self.net, value, place, found, k, budget)

    def bottlenecks(self, source: End = None, sink: End = None) -> Bottlenecks:
        """Return the nodes that every path passes, and the fewest that cut all paths.

        >>> import clew, numpy as np
        >>> met = clew.flow(lambda x: np.exp(x + np.sin(x)))(1.0).bottlenecks()
        >>> [node.name for node in met.passed]
        ['exp', 'add']
        """
        self._require_path(source, sink)
        return bottlenecks_of(
            self.net, self.ends.sink(sink).values, self.ends.source(source).values
        )

    def gains(self, sink: End = None, steps: int = STEPS) -> list[Gain]:
        """Return what every edge does to the gradient, and the most and least that it could do.

        Singular values are found in ``steps`` products of the edge's Jacobian each way.

        >>> import clew, numpy as np
        >>> gain, = clew.flow(lambda x: np.sum(x))(np.ones(4)).gains()
        >>> gain.norm, gain.gain, gain.largest
        (2.0, 2.0, 2.0)
        """
        value = check_scalar(self.net, self.ends.sink(sink))
        names = {leaf.value: leaf.label for leaf in self.ends.leaves}
        return gains_of(self.net, edge_norms(self.net, value), names, steps)

    def spectrum(self, scope: str, steps: int = STEPS) -> Spectrum:
        """Return singular values of a scope's Jacobian: what it gives by what other nodes made.

        Raises
        ------
        InputError
            If there is no such scope, it was entered several times, or no gradient passes it.

        >>> import clew, numpy as np
        >>> def model(x):
        ...     with clew.scope("stretch"):
        ...         y = np.array([1.0, 3.0]) * x
        ...     return np.sum(y)
        >>> clew.flow(model)(np.ones(2)).spectrum("stretch").values.round(9)
        array([3., 1.])
        """
        found = only(scope, named(self.run, scope))
        return spectrum_of(Net(self.run, []), found, outputs_of(self.net, found), steps)

    # --- what it all means -------------------------------------------------------------------

    def vanishing(self, sink: End = None) -> Table:
        """Return a row for each parameter: how the gradient reaches it, and whether it arrives.

        >>> import clew, numpy as np
        >>> def model(p):
        ...     return p["a"] * 2.0 + clew.stop_gradient(p["b"])
        >>> for row in clew.flow(model)({"a": 1.0, "b": 1.0}).vanishing().rows:
        ...     print(row.source, row.verdict)  # doctest: +ELLIPSIS
        a healthy
        b cut off: stopped by stop_gradient ...
        """
        return self._summary(sink).table()

    def picture(self, sink: End = None) -> dict[str, Any]:
        """Return the flow as plain data, for whoever draws it: nodes, boxes, edges, lengths, table.

        >>> import clew, numpy as np
        >>> picture = clew.flow(lambda x: np.sin(x))(0.0).picture()
        >>> [node["name"] for node in picture["nodes"]]
        ['sin', 'x', 'output']
        """
        return picture_of(self.net, self.ends, self.title, sink, self._summary(sink))

    def report(self, path: str | os.PathLike[str], sink: End = None) -> None:
        """Write the interactive picture as one HTML file that needs no network."""
        from clew.paths.page import write_page

        write_page(self.picture(sink), path)

    def svg(self, path: str | os.PathLike[str], sink: End = None) -> None:
        """Write the picture as an SVG file."""
        from clew.paths.svg import svg

        Path(path).write_text(svg(self.picture(sink)), encoding="utf-8")

    def dot(self, sink: End = None) -> str:
        """Return the picture in Graphviz' language."""
        from clew.paths.export import dot

        return dot(self.picture(sink))

    def networkx(self, sink: End = None) -> Any:
        """Return the picture as a networkx graph."""
        from clew.paths.export import networkx

        return networkx(self.picture(sink))

    def __str__(self) -> str:
        from clew.paths.text import table

        try:
            return table(self.picture())
        except InputError:  # it has several outputs, and none is chosen
            return repr(self)

    def __repr__(self) -> str:
        count = len(self.net.nodes)
        return f"Flow({self.title}: {len(self.run)} equations ran, {count} nodes)"

    # --- shared pieces -----------------------------------------------------------------------

    @cached_property
    def has_scopes(self) -> bool:
        """Whether scopes are contracted at this level."""
        return any(node.instance is not None for node in self.net.nodes)

    def _summary(self, sink: End) -> Summary:
        if sink not in self._summaries:
            end = self.ends.sink(sink)
            scalar = is_scalar(self.net, end)
            self._summaries[sink] = Summary(
                self.net,
                self.ends.differentiated,
                end.values,
                scalar,
                self._mark(),
                self._fits,
            )
        return self._summaries[sink]

    def _mark(self, length: Length = None) -> Mark:
        if length is None:
            length = "scopes" if self.has_scopes else "equations"
        if length not in MARKS:
            raise InputError(f"flow: length={length!r}", "give 'scopes', 'equations' or 'edges'")
        return MARKS[length]

    def _ends(self, source: End, sink: End) -> tuple[Place, int]:
        self._require_path(source, sink)
        return self.ends.source(source), check_scalar(self.net, self.ends.sink(sink))

    def _require_path(self, source: End, sink: End) -> None:
        if not self.count(source, sink):
            start, end = self.ends.sink(sink), self.ends.source(source)
            raise InputError(
                f"flow: no gradient path leads from {start.name} to {end.name} "
                f"({self.ends.why_not(end.values[0], start)})",
                "name a source that the output depends on, or remove what cuts the path",
            )

    def _fits(self, lanes: int) -> bool:
        widest = max(kind.size * kind.dtype.itemsize for kind in self.run.types)
        return lanes * widest <= _LARGEST

    def _tree(self, number: int, found: Callable[[int], Any]) -> Any:
        leaves = [leaf for leaf in self.ends.leaves if leaf.argument == number]
        return self._made.trees[number].unflatten([found(leaf.value) for leaf in leaves])


def _scopes(run: Written, level: Level) -> list[Any]:
    if level == "equation":
        return []
    found = instances(run, depth_function(run, level))
    if not found:
        raise InputError(
            f"flow: no scope was entered at level={level!r}",
            "name parts with clew.scope (modules do it by themselves), or use level='equation'",
        )
    return found
