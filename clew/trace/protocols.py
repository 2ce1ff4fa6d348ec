"""NumPy's protocols: what ``np.sin(x)`` or ``np.concatenate([x, y])`` does to traced values.

Ufuncs named like a primitive record it. Everything else is looked up in ``HANDLERS``, which
``clew.numpy`` fills: NumPy's function on the left, ours on the right.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from clew.core.errors import ShapeError, TraceError
from clew.core.primitive import PRIMITIVES, Traced
from clew.core.source import Where
from clew.core.types import type_of

HANDLERS: dict[Any, Callable[..., Any]] = {}
_namespace: list[Any] = []
Function = TypeVar("Function", bound=Callable[..., Any])


def implements(*numpy_functions: Any) -> Callable[[Function], Function]:
    """Make a function the traced form of NumPy functions.

    >>> np.sinc in HANDLERS
    True
    """

    def register(function: Function) -> Function:
        for numpy_function in numpy_functions:
            HANDLERS[numpy_function] = function
        return function

    return register


def set_array_namespace(module: Any) -> None:
    """Say which module ``x.__array_namespace__()`` returns."""
    _namespace[:] = [module]


def array_namespace() -> Any:
    """Return the Array API namespace of traced values, ``clew.numpy``."""
    return _namespace[0]


def apply_function(function: Any, args: Any, kwargs: Any) -> Any:
    """Answer ``__array_function__``."""
    handler = HANDLERS.get(function)
    if handler is None:
        raise _unknown(function)
    return handler(*args, **kwargs)


def apply_ufunc(ufunc: Any, method: str, inputs: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Answer ``__array_ufunc__``: calls, and the methods that have a function of their own."""
    if method == "__call__":
        return _call(ufunc, inputs, kwargs)
    if method == "reduce" and ufunc in _REDUCE:
        return HANDLERS[_REDUCE[ufunc]](inputs[0], **_of_method(inputs, kwargs))
    if method == "accumulate" and ufunc in _ACCUMULATE:
        return HANDLERS[_ACCUMULATE[ufunc]](inputs[0], **_of_method(inputs, kwargs))
    if method == "outer":
        left, right = (as_array(each) for each in inputs)
        rank = type_of(right).ndim
        shape = type_of(left).shape + (1,) * rank
        return _call(ufunc, (PRIMITIVES["reshape"](left, shape=shape), right), kwargs)
    if method == "at":
        return _at(ufunc, *inputs)
    raise _unknown(f"{ufunc.__name__}.{method}")


_REDUCE = {
    np.add: np.sum,
    np.multiply: np.prod,
    np.maximum: np.max,
    np.minimum: np.min,
    np.logical_and: np.all,
    np.logical_or: np.any,
    np.logaddexp: np.logaddexp.reduce,
}
_ACCUMULATE = {
    np.add: np.cumsum,
    np.multiply: np.cumprod,
    np.maximum: np.maximum.accumulate,
    np.minimum: np.minimum.accumulate,
}


def _of_method(inputs: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the keywords of a ufunc's method as those of the function of the same meaning."""
    given = {"axis": inputs[1] if len(inputs) > 1 else 0, **kwargs}
    if isinstance(given.get("out"), tuple):
        given["out"] = given["out"][0]
    return {key: value for key, value in given.items() if value is not None or key == "axis"}


def _call(ufunc: Any, inputs: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    out = kwargs.pop("out", None)
    mask = kwargs.pop("where", True)
    dtype = kwargs.pop("dtype", None)
    for name, default in (("casting", "same_kind"), ("order", "K"), ("subok", True)):
        if kwargs.get(name) == default:
            kwargs.pop(name)
    inputs = tuple(as_array(each) for each in inputs)
    if dtype is not None:
        inputs = tuple(PRIMITIVES["convert"](each, dtype=np.dtype(dtype)) for each in inputs)
    handler = HANDLERS.get(ufunc) or PRIMITIVES.get(ufunc.__name__)
    if handler is None:
        raise _unknown(ufunc)
    if kwargs and ufunc is not np.matmul:
        raise TraceError(
            f"np.{ufunc.__name__}: {', '.join(kwargs)} has no traced form",
            "leave the argument out",
        )
    result = handler(*inputs, **kwargs)
    if out is None:
        return _masked(ufunc, mask, result, None)
    results = result if isinstance(result, tuple) else (result,)
    written = tuple(
        each if target is None else write_result(target, _masked(ufunc, mask, each, target))
        for each, target in zip(results, out, strict=True)
    )
    return written if isinstance(result, tuple) else written[0]


def _masked(ufunc: Any, mask: Any, result: Any, old: Any) -> Any:
    if mask is True:
        return result
    if old is None:
        raise TraceError(
            f"np.{ufunc.__name__}: where= without out= leaves elements undefined",
            "give out=, or choose with np.where",
        )
    return PRIMITIVES["where"](mask, result, old)


def plain_array_written(where: Where | None = None) -> TraceError:
    """Return the error for a traced value written into an array that is not traced."""
    return TraceError(
        "a traced value is written into a plain NumPy array, which would lose its gradient",
        "make the array traced: np.zeros_like(x) of a traced x, or clew.numpy.zeros(...); "
        "or write a = a + x instead of a += x",
        where,
    )


def write_result(target: Any, result: Any) -> Any:
    """Write a result into an ``out=`` or ``+=`` target and return the target."""
    if not isinstance(target, Traced):
        raise plain_array_written()
    if type_of(result).shape != type_of(target).shape:
        raise ShapeError(
            f"cannot write shape {type_of(result).shape} into an array of shape "
            f"{type_of(target).shape} in place",
            "write x = x + y instead of x += y",
        )
    target.write(result)  # type: ignore[attr-defined]
    return target


def _at(ufunc: Any, target: Any, index: Any, value: Any = None) -> None:
    """``ufunc.at``: unbuffered in-place, so repeated places accumulate."""
    from clew.trace.indexing import add_at

    if not isinstance(target, Traced):
        write_result(target, value)
    if ufunc is np.subtract:
        value = PRIMITIVES["negative"](value)
    elif ufunc is not np.add:
        raise _unknown(f"{ufunc.__name__}.at")
    add_at(target, index, value)


def as_array(value: Any) -> Any:
    """Return a value as an operand; lists of traced values are stacked."""
    if isinstance(value, (list, tuple)):
        return HANDLERS[np.array](value)
    if isinstance(value, np.ndarray) and value.dtype == object:
        return HANDLERS[np.array](value.tolist())
    return value


def _unknown(function: Any) -> TraceError:
    name = function if isinstance(function, str) else getattr(function, "__name__", str(function))
    known = {getattr(each, "__name__", "") for each in HANDLERS} | set(PRIMITIVES)
    near = difflib.get_close_matches(name, sorted(known), 3)
    hint = f"use {' or '.join(near)}" if near else "write it with functions Clew traces"
    return TraceError(
        f"np.{name} has no traced form",
        f"{hint}, or give its derivative with clew.custom_rule",
    )
