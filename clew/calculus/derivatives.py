"""What users call: gradients, directional derivatives, and products with Jacobians.

All are compositions of two transforms, ``push`` and ``transpose``, and nest in any order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clew.calculus.arguments import Selection, select
from clew.calculus.no_path import NoPath, reason_for
from clew.calculus.push import push
from clew.calculus.reverse import TwoStage, cut, pull_graph
from clew.core import pytree
from clew.core.errors import DerivativeError, InputError, ShapeError
from clew.core.graph import Graph
from clew.core.memory import require_memory
from clew.core.primitive import PRIMITIVES
from clew.core.types import Type, type_of
from clew.trace import Recording, record, run

Function = Callable[..., Any]
Numbers = int | Sequence[int] | None
Names = str | Sequence[str] | None


def value_and_grad(
    f: Function, argnums: Numbers = None, argnames: Names = None, has_aux: bool = False
) -> Function:
    """Return a function that gives the value of a scalar function and its gradient.

    Parameters are as for :func:`grad`. With ``has_aux`` the value is ``(value, aux)``.

    >>> value, gradient = value_and_grad(lambda x: x * x)(3.0)
    >>> float(value), float(gradient)
    (9.0, 6.0)
    """

    @functools.wraps(f)
    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        selection = select(f, args, kwargs, argnums, argnames)
        recording = record(_with_aux(selection.function, has_aux), selection.chosen)
        _check_loss(recording)
        leaves, structures = _flatten_all(selection.chosen)
        seeded = _inexact(leaves)
        graph, _, has_path = pull_graph(recording.graph, seeded, wanted=(0,))
        arguments = [*leaves, *recording.captured]
        if any(has_path):
            one = recording.graph.outputs[0].type.dtype.type(1)
            arguments.append(one)
        require_memory(_name_of(f, "grad"), graph)
        with np.errstate(all="ignore"):
            results = run(graph, arguments)
        count = len(recording.graph.outputs)
        gradients = _gradients(recording.graph, leaves, seeded, has_path, results[count:])
        value = recording.structure.unflatten(results[:count])
        return value, _assembled(selection, structures, gradients)

    return value_and_gradient


def grad(
    f: Function, argnums: Numbers = None, argnames: Names = None, has_aux: bool = False
) -> Function:
    """Return a function that gives the gradient of a scalar function.

    For a tree of parameters the gradient is the same tree; an array that stands in it twice
    receives the sum. For complex parameters the gradient is ``df/dx - i df/dy`` (as in JAX
    and autograd): descend along its conjugate.

    Parameters
    ----------
    f : callable
        Returns a real scalar, or ``(scalar, aux)`` with ``has_aux``.
    argnums : int or sequence of int, optional
        Positional arguments to differentiate; the first one if neither this nor
        ``argnames`` is given. A sequence gives a tuple of gradients.
    argnames : str or sequence of str, optional
        The same by name; a sequence gives a dict.
    has_aux : bool
        Return ``(gradient, aux)``.

    Returns
    -------
    callable
        Gives, for each leaf, an array of the leaf's shape and dtype, or :class:`NoPath` with
        the reason where the function does not depend on it.

    Raises
    ------
    DerivativeError
        If ``f`` does not return a real scalar.

    >>> import numpy as np
    >>> grad(lambda x: np.sum(x ** 3))(np.array([1.0, 2.0]))
    array([ 3., 12.])
    >>> grad(lambda x, y: x * y, argnames="y")(2.0, 3.0)
    np.float64(2.0)
    """
    both = value_and_grad(f, argnums, argnames, has_aux)

    @functools.wraps(f)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, result = both(*args, **kwargs)
        return (result, value[1]) if has_aux else result

    return gradient


def jvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False) -> Any:
    """Return the value of a function and its derivative along a direction (forward mode).

    ``(f(x), J(x) v)`` for ``primals = (x,)`` and ``tangents = (v,)``. Tangents have the
    structure, shapes and dtypes of the primals; those of integer leaves are not read.

    >>> value, slope = jvp(lambda x: x * x, (3.0,), (1.0,))
    >>> float(value), float(slope)
    (9.0, 6.0)
    """
    selection = _whole(f, primals)
    recording = record(_with_aux(f, has_aux), selection.chosen)
    leaves, _ = _flatten_all(selection.chosen)
    directions = _matching("jvp", primals, tangents)
    seeded = _inexact(leaves)
    with np.errstate(all="ignore"):
        pushed = push(recording.graph, seeded)
        arguments = [*leaves, *recording.captured, *(directions[i] for i in seeded)]
        results = run(pushed.graph.with_live_equations(), arguments)
    count = len(recording.graph.outputs)
    found = iter(results[count:])
    outputs = recording.graph.outputs
    slopes = [
        next(found) if tangent is not None else _no_output_path(recording.graph, number)
        for number, tangent in enumerate(pushed.tangents)
    ]
    value = recording.structure.unflatten(results[: len(outputs)])
    slope = recording.structure.unflatten(slopes)
    return (value[0], slope[0], value[1]) if has_aux else (value, slope)


def vjp(f: Function, *primals: Any, has_aux: bool = False) -> Any:
    """Return the value of a function and its pull-back (reverse mode).

    The pull-back takes a cotangent ``w`` of the value's structure and gives ``J(x)^T w``, one
    tree per argument, as a tuple; it can be called many times. With ``has_aux`` the result
    has the auxiliary output as a third item.

    >>> value, pull = vjp(lambda x, y: x * y, 3.0, 4.0)
    >>> [float(c) for c in pull(1.0)]
    [4.0, 3.0]
    """
    recording = record(_with_aux(f, has_aux), primals)
    leaves, structures = _flatten_all(primals)
    seeded = _inexact(leaves)
    graph = recording.graph
    count = len(graph.outputs)
    main = pytree.flatten(recording.structure.unflatten(range(count))[0])[0] if has_aux else None
    whole, has_output, has_path = pull_graph(graph, seeded, main)
    if main is not None:
        has_output = [flag and i in main for i, flag in enumerate(has_output)]
    late = whole.inputs[len(graph.inputs) :]
    stages = cut(whole, late, count)
    results, carried = stages.start([*leaves, *recording.captured], count)
    value = recording.structure.unflatten(results)
    expected = value[0] if has_aux else value
    places = main if main is not None else range(count)

    def pull(cotangent: Any) -> tuple[Any, ...]:
        given = dict(zip(places, _matching("vjp", expected, cotangent, shared=False), strict=True))
        arguments = [given[i] for i in range(count) if has_output[i]]
        found = stages.finish(carried, arguments)
        gradients = _gradients(graph, leaves, seeded, has_path, found)
        return tuple(_unflatten_all(structures, gradients))

    return (value[0], pull, value[1]) if has_aux else (value, pull)


def linearize(f: Function, *primals: Any) -> tuple[Any, Function]:
    """Return the value of a function and its linearisation at a point.

    The linearisation takes tangents like the primals and gives ``J(x) v``; the values it
    needs are computed once, here.

    >>> value, linear = linearize(lambda x: x * x, 3.0)
    >>> float(linear(1.0)), float(linear(2.0))
    (6.0, 12.0)
    """
    recording = record(f, primals)
    leaves, _ = _flatten_all(primals)
    seeded = _inexact(leaves)
    stages, value, carried, has_path = linear_stages(recording, leaves, seeded)

    def linear(*tangents: Any) -> Any:
        directions = _matching("linearize", primals, tangents)
        found = iter(stages.finish(carried, [directions[i] for i in seeded]))
        slopes = [
            next(found) if flag else _no_output_path(recording.graph, number)
            for number, flag in enumerate(has_path)
        ]
        return recording.structure.unflatten(slopes)

    return recording.structure.unflatten(value), linear


def linear_stages(
    recording: Recording, leaves: Sequence[Any], seeded: Sequence[int]
) -> tuple[TwoStage, list[Any], list[Any], list[bool]]:
    """Linearise a recording at a point: the stages, the values, what is carried, the paths."""
    graph = recording.graph
    count = len(graph.outputs)
    pushed = push(graph, seeded)
    late = pushed.graph.inputs[len(graph.inputs) :]
    stages = cut(pushed.graph, late, count)
    value, carried = stages.start([*leaves, *recording.captured], count)
    return stages, value, carried, [tangent is not None for tangent in pushed.tangents]


def hvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """Return the Hessian of a scalar function times a direction, without forming it.

    ``H(x) v``, as the derivative of the gradient along v (forward over reverse); a tuple of
    trees like ``primals``, or a single tree for a single primal.

    >>> import numpy as np
    >>> hvp(lambda x: np.sum(x ** 3), (np.array([1.0, 2.0]),), (np.array([1.0, 0.0]),))
    array([6., 0.])
    """
    numbers = tuple(range(len(primals)))
    _, product = jvp(grad(f, argnums=numbers), primals, tangents)
    return product[0] if len(primals) == 1 else product


# --- shared pieces -----------------------------------------------------------------------


def _name_of(function: Function, what: str) -> str:
    return f"{what} of {getattr(function, '__name__', 'a function')}"


def _with_aux(function: Function, has_aux: bool) -> Function:
    if not has_aux:
        return function

    @functools.wraps(function)
    def checked(*args: Any) -> Any:
        result = function(*args)
        if not isinstance(result, tuple) or len(result) != 2:
            raise DerivativeError(
                f"has_aux: the function returned {type(result).__name__}, not (value, aux)",
                "return a pair, or leave has_aux out",
            )
        return result

    return checked


def _check_loss(recording: Recording) -> None:
    loss = recording.graph.outputs[0].type if recording.graph.outputs else None
    if loss is None:
        raise DerivativeError("grad: the function returned nothing", "return the scalar")
    if loss.shape != ():
        raise DerivativeError(
            f"grad: the function returned shape {loss.shape}, but a gradient is of a scalar",
            "sum or average the result, or use clew.jacobian or clew.vjp",
        )
    if loss.dtype.kind not in "f":
        raise DerivativeError(
            f"grad: the function returned dtype {loss.dtype}, but a gradient is of a real number",
            "return a float: the real part, the absolute value, or use clew.vjp",
        )


def _flatten_all(trees: Sequence[Any]) -> tuple[list[Any], list[pytree.Structure]]:
    leaves: list[Any] = []
    structures = []
    for tree in trees:
        own, structure = pytree.flatten(tree)
        leaves += own
        structures.append(structure)
    if not leaves:
        raise InputError(
            "the arguments to differentiate hold no arrays (an empty tree)",
            "pass at least one number or array",
        )
    return leaves, structures


def _unflatten_all(structures: Sequence[pytree.Structure], leaves: Sequence[Any]) -> list[Any]:
    rest = iter(leaves)
    return [each.unflatten([next(rest) for _ in range(each.count)]) for each in structures]


def _assembled(
    selection: Selection, structures: Sequence[pytree.Structure], leaves: Sequence[Any]
) -> Any:
    return selection.assemble(_unflatten_all(structures, leaves))


def _inexact(leaves: Sequence[Any]) -> list[int]:
    return [i for i, leaf in enumerate(leaves) if type_of(leaf).inexact]


def _whole(function: Function, primals: Sequence[Any]) -> Selection:
    if not isinstance(primals, (tuple, list)):
        raise InputError(
            f"jvp: primals is a {type(primals).__name__}, not a tuple of arguments",
            "write jvp(f, (x,), (v,))",
        )
    return Selection(function, tuple(primals), tuple)


def _gradients(
    graph: Graph,
    leaves: Sequence[Any],
    seeded: Sequence[int],
    has_path: Sequence[bool],
    found: Sequence[Any],
) -> list[Any]:
    """Put the cotangents found in their places; say why the others have none."""
    gradients: list[Any] = [None] * len(leaves)
    rest = iter(found)
    for number, flag in zip(seeded, has_path, strict=True):
        if flag:
            gradients[number] = next(rest)
    for number, gradient in enumerate(gradients):
        if gradient is None:
            var = graph.inputs[number]
            gradients[number] = NoPath(reason_for(graph, var), var.type)
    return gradients


def _no_output_path(graph: Graph, number: int) -> NoPath:
    kind = graph.outputs[number].type
    if not kind.inexact:
        return NoPath(f"integer: the output has dtype {kind.dtype}", kind)
    for var in graph.inputs:
        reason = reason_for(Graph(graph.inputs, graph.equations, (graph.outputs[number],)), var)
        if not reason.startswith("unused"):
            return NoPath(reason, kind)
    return NoPath("unused: the output does not depend on the arguments", kind)


def _matching(what: str, like: Any, given: Any, shared: bool = True) -> list[Any]:
    """Flatten tangents or cotangents that must have the structure and shapes of ``like``."""
    leaves, structure = pytree.flatten(_as_tuples(like), shared)
    flat, other = pytree.flatten(_as_tuples(given), shared=False)
    places = pytree.flatten(_as_tuples(like), shared=False)[1]
    if len(flat) != places.count:
        raise ShapeError(
            f"{what}: the directions have {len(flat)} leaves ({', '.join(other.names)}), "
            f"the values {places.count} ({', '.join(places.names)})",
            "give directions of the same structure",
        )
    flat = structure.pick(flat)
    result = []
    for name, leaf, value in zip(structure.names, leaves, flat, strict=True):
        kind, its = type_of(leaf), type_of(value)
        if its.shape != kind.shape:
            raise ShapeError(
                f"{what}: direction {name or 'argument'} has shape {its.shape}, "
                f"the value has shape {kind.shape}",
                "give a direction of the value's shape",
            )
        result.append(_converted(value, kind, its))
    return result


def _as_tuples(tree: Any) -> Any:
    return tuple(tree) if type(tree) is list else tree


def _converted(value: Any, kind: Type, its: Type) -> Any:
    if isinstance(value, NoPath):
        value = np.asarray(value)
    if its.dtype == kind.dtype or not kind.inexact:
        return value
    if its.dtype.kind == "c" and kind.dtype.kind == "f":
        raise ShapeError("a complex direction was given for a real value", "give the real part")
    return PRIMITIVES["convert"](value, dtype=kind.dtype)
