"""What the traced forms share: axes, operands, the ``out=`` argument."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from clew.core.errors import DtypeError, InputError
from clew.core.primitive import Traced
from clew.core.types import type_of
from clew.ops.elementwise import convert
from clew.ops.shape import reshape
from clew.trace.protocols import HANDLERS, as_array, write_result

Array = Any
Function = TypeVar("Function", bound=Callable[..., Any])


def traced_form(*numpy_functions: Any) -> Callable[[Function], Function]:
    """Make a function the traced form of NumPy functions, ``out=`` included.

    >>> np.sum in HANDLERS
    True
    """

    def register(function: Function) -> Function:
        @functools.wraps(function)
        def handler(*args: Any, out: Any = None, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            return result if out is None else write_result(out, result)

        for numpy_function in numpy_functions:
            HANDLERS[numpy_function] = handler
        return function

    return register


def operand(value: Any) -> Any:
    """Return a value as an operand: lists become arrays, arrays stay.

    >>> operand([1.0, 2.0])
    array([1., 2.])
    """
    value = as_array(value)
    return value if hasattr(value, "shape") else np.asarray(value)


def is_traced(value: Any) -> bool:
    """Say whether a value is traced.

    >>> is_traced(1.0)
    False
    """
    return isinstance(value, Traced)


def rank(x: Array) -> int:
    """Return the number of axes.

    >>> rank(np.ones((2, 3)))
    2
    """
    return type_of(x).ndim


def axis_of(axis: Any, ndim: int) -> int:
    """Return one axis as a number from 0.

    >>> axis_of(-1, 3)
    2
    """
    number = operator.index(axis)
    if not -ndim <= number < ndim:
        raise np.exceptions.AxisError(number, ndim)
    return number % ndim


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """Return axes as numbers from 0; None means all.

    >>> axes_of((-1, 0), 3)
    (2, 0)
    """
    if axis is None:
        return tuple(range(ndim))
    if isinstance(axis, (tuple, list)):
        axes = tuple(axis_of(each, ndim) for each in axis)
        if len(set(axes)) != len(axes):
            raise InputError(f"axis={axis} names an axis twice", "name each axis once")
        return axes
    return (axis_of(axis, ndim),)


def flat(x: Array) -> Array:
    """Return the elements in one axis.

    >>> flat(np.ones((2, 2))).shape
    (4,)
    """
    return reshape(x, shape=(type_of(x).size,))


def as_dtype(x: Array, dtype: Any) -> Array:
    """Convert to a dtype, without an equation when it has it.

    >>> as_dtype(np.ones(1), None).dtype
    dtype('float64')
    """
    if dtype is None or type_of(x).dtype == np.dtype(dtype):
        return x
    return convert(x, dtype=np.dtype(dtype))


def inexact(x: Array) -> Array:
    """Convert integers and booleans to float64.

    >>> inexact(np.array([1, 2])).dtype
    dtype('float64')
    """
    return x if type_of(x).inexact else convert(x, dtype=np.dtype(np.float64))


def floating(x: Array, name: str) -> Array:
    """Convert integers and booleans to the float that NumPy's ufuncs compute them in.

    That is the smallest which holds them all, and float64 where none does. Complex numbers are
    refused, for the function of this name.

    >>> floating(np.array([1, 2], np.int16), "fabs").dtype
    dtype('float32')
    """
    kind = type_of(x)
    if kind.dtype.kind == "c":
        raise DtypeError(
            f"{name}: not defined for {kind.dtype.name}", "take .real, .imag or np.abs() first"
        )
    return x if kind.inexact else convert(x, dtype=np.result_type(kind.dtype, np.float16))
