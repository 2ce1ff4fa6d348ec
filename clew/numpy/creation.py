"""New arrays: inside a trace they are traced, so that traced values can be written into them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from clew.core.types import Type, type_of
from clew.numpy.joining import stack
from clew.numpy.support import Array, as_dtype, is_traced, operand, traced_form
from clew.ops import elementwise as e
from clew.ops.shape import broadcast_to
from clew.trace import active_builder
from clew.trace.protocols import HANDLERS


def _traced(value: np.ndarray) -> Any:
    """Return an array as a fresh, writable traced value of the active trace."""
    builder = active_builder()
    if builder is None or value.dtype.kind not in "biufc":
        return value
    return builder.value(builder.variable(value))


def _creating(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def create(*args: Any, **kwargs: Any) -> Any:
        return _traced(function(*args, **kwargs))

    return create


zeros = _creating(np.zeros)
ones = _creating(np.ones)
empty = _creating(np.empty)
arange = _creating(np.arange)
eye = _creating(np.eye)
identity = _creating(np.identity)
tri = _creating(np.tri)


def full(
    shape: Any, fill_value: Any, dtype: Any = None, order: Any = "C", *, device: Any = None
) -> Any:
    """Return an array filled with one value, which may be traced.

    >>> full(2, 3.0)
    array([3., 3.])
    """
    if not is_traced(fill_value):
        return _traced(np.full(shape, fill_value, dtype, order, device=device))
    return _filled(fill_value, shape, dtype or type_of(fill_value).dtype)


def array(
    object: Any, dtype: Any = None, *, copy: Any = True, ndmin: int = 0, **kwargs: Any
) -> Any:
    """Return an array; nested lists may hold traced values.

    >>> array([[1.0, 2.0], [3.0, 4.0]]).shape
    (2, 2)
    """
    if not _holds_traced(object):
        return _traced(np.array(object, dtype, copy=copy, ndmin=ndmin, **kwargs))
    result = _assembled(object)
    result = as_dtype(result, dtype)
    if result is object and copy:
        result = e.positive(result)
    missing = ndmin - type_of(result).ndim
    return result.reshape((1,) * missing + type_of(result).shape) if missing > 0 else result


def asarray(
    a: Any, dtype: Any = None, order: Any = None, *, device: Any = None, copy: Any = None
) -> Any:
    """Return an array, without a copy where it is one.

    >>> asarray([1, 2])
    array([1, 2])
    """
    if _holds_traced(a):
        return array(a, dtype, copy=bool(copy))
    return np.asarray(a, dtype, order, device=device, copy=copy)


def _holds_traced(value: Any) -> bool:
    if is_traced(value):
        return True
    if isinstance(value, np.ndarray) and value.dtype == object:
        return True
    return isinstance(value, (list, tuple)) and any(_holds_traced(each) for each in value)


def _assembled(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.tolist()
    if isinstance(value, (list, tuple)) and _holds_traced(value):
        parts = [_assembled(each) for each in value]
        return stack([part if hasattr(part, "shape") else np.asarray(part) for part in parts])
    return value if is_traced(value) else np.asarray(value)


for _function in (np.array, np.asarray, np.asanyarray, np.ascontiguousarray):
    HANDLERS[_function] = array if _function is np.array else asarray


def _filled(value: Any, shape: Any, dtype: Any) -> Any:
    shape = (int(shape),) if isinstance(shape, (int, np.integer)) else tuple(map(int, shape))
    value = value if is_traced(value) else np.dtype(dtype).type(value)
    return _traced_view(broadcast_to(as_dtype(value, dtype), shape=shape))


def _traced_view(value: Any) -> Any:
    return value if is_traced(value) else _traced(np.array(value))


def _like(prototype: Any, value: Any, dtype: Any, shape: Any) -> Array:
    """A fresh array in the trace of the prototype, so that it can be written into."""
    kind = type_of(operand(prototype))
    target = Type(
        kind.shape if shape is None else (shape if isinstance(shape, tuple) else (shape,)),
        kind.dtype if dtype is None else dtype,
    )
    value = as_dtype(value, target.dtype) if is_traced(value) else target.dtype.type(value)
    if is_traced(value):
        return broadcast_to(value, shape=target.shape)
    builder = prototype.builder if is_traced(prototype) else active_builder()
    if builder is None:
        return np.full(target.shape, value)
    if not target.shape:
        return builder.value(builder.variable(value))
    return builder.record(broadcast_to, (value,), {"shape": target.shape})


def _filled_like(value: int) -> Any:
    def like(
        a: Any,
        dtype: Any = None,
        order: str = "K",
        subok: bool = True,
        shape: Any = None,
        *,
        device: Any = None,
    ) -> Array:
        return _like(a, value, dtype, shape)

    return like


zeros_like = traced_form(np.zeros_like, np.empty_like)(_filled_like(0))
ones_like = traced_form(np.ones_like)(_filled_like(1))


@traced_form(np.full_like)
def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> Array:
    """An array of an array's shape and dtype, filled with one value."""
    return _like(a, fill_value, dtype, shape)


def _weak(value: Any) -> Any:
    """What a value says of a common dtype: a Python number only its kind (NEP 50)."""
    return value if type(value) in (bool, int, float, complex) else type_of(operand(value)).dtype


@traced_form(np.linspace)
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    """Evenly spaced values from start to stop."""
    kind = np.result_type(_weak(start), _weak(stop), 0.0)
    start, stop = as_dtype(operand(start), kind), as_dtype(operand(stop), kind)
    parts = max(num - 1 if endpoint else num, 1)
    weight = (np.arange(num) / parts).astype(kind)
    step = e.divide(e.subtract(stop, start), parts)
    ndim = max(type_of(start).ndim, type_of(stop).ndim)
    weight = weight.reshape((num, *(1,) * ndim))
    values = e.add(e.multiply(e.subtract(1.0, weight), start), e.multiply(weight, stop))
    values = as_dtype(np.moveaxis(values, 0, axis), dtype)
    return (values, step) if retstep else values


@traced_form(np.logspace)
def logspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    base: Any = 10.0,
    dtype: Any = None,
    axis: int = 0,
) -> Array:
    """Powers of a base, evenly spaced in the exponent."""
    exponents = linspace(start, stop, num, endpoint, axis=axis)
    return as_dtype(e.power(base, exponents), dtype)


@traced_form(np.meshgrid)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> Any:
    """Coordinate arrays from coordinate vectors."""
    arrays = [np.ravel(operand(x)) for x in xi]
    count = len(arrays)
    shaped = []
    for place, x in enumerate(arrays):
        axis = 1 - place if indexing == "xy" and count > 1 and place < 2 else place
        shape = [1] * count
        shape[axis] = type_of(x).size
        shaped.append(np.reshape(x, shape))
    return tuple(shaped) if sparse else np.broadcast_arrays(*shaped)
