"""The methods of ``numpy.ndarray`` on traced values: each is the NumPy function of its name."""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.errors import TraceError
from clew.ops import elementwise as e
from clew.trace.tracer import Tracer

_FUNCTIONS = [
    "all",
    "any",
    "argmax",
    "argmin",
    "argsort",
    "choose",
    "clip",
    "compress",
    "cumprod",
    "cumsum",
    "diagonal",
    "dot",
    "max",
    "mean",
    "min",
    "nonzero",
    "prod",
    "ptp",
    "ravel",
    "repeat",
    "round",
    "searchsorted",
    "squeeze",
    "std",
    "sum",
    "swapaxes",
    "take",
    "trace",
    "var",
]


def _method(function: Any) -> Any:
    def method(self: Tracer, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    method.__name__ = function.__name__
    method.__doc__ = f"``np.{function.__name__}`` of this array."
    return method


def _reshape(self: Tracer, *shape: Any, order: str = "C", copy: Any = None) -> Any:
    """``np.reshape`` of this array."""
    target = shape[0] if len(shape) == 1 else shape
    return np.reshape(self, target, order=order)  # type: ignore[call-overload]


def _transpose(self: Tracer, *axes: Any) -> Any:
    """``np.transpose`` of this array."""
    order: Any = axes
    if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))):
        order = axes[0]
    return np.transpose(self, order or None)  # type: ignore[call-overload]


def _astype(self: Tracer, dtype: Any, *args: Any, copy: bool = True, **kwargs: Any) -> Any:
    """Convert to a dtype."""
    return e.convert(self, dtype=np.dtype(dtype))


def _copy(self: Tracer, order: str = "C") -> Any:
    """``np.copy`` of this array."""
    return np.copy(self, order=order)  # type: ignore[call-overload]


def _flatten(self: Tracer, order: str = "C") -> Any:
    """The elements in one axis: a copy."""
    return _copy(np.ravel(self, order=order))  # type: ignore[call-overload]


def _fill(self: Tracer, value: Any) -> None:
    """Write one value everywhere."""
    self[...] = value


def _sort(self: Tracer, axis: int = -1, **kwargs: Any) -> None:
    """Sort in place."""
    self[...] = np.sort(self, axis=axis, **kwargs)  # type: ignore[call-overload]


def _put(self: Tracer, indices: Any, values: Any, mode: str = "raise") -> None:
    """Write at flat positions."""
    np.put(self, indices, values, mode=mode)  # type: ignore[call-overload]


def _round(self: Tracer, digits: int | None = None) -> Any:
    """``round(x, digits)``."""
    return np.round(self, digits or 0)  # type: ignore[call-overload]


def _divmod(self: Tracer, other: Any) -> Any:
    """``divmod(x, y)``."""
    return np.divmod(self, other)  # type: ignore[call-overload]


def _format(self: Tracer, specification: str) -> str:
    """A traced value has no digits to format: its type is shown."""
    return repr(self)


def _to_device(self: Tracer, device: str, /, *, stream: Any = None) -> Tracer:
    """The value itself: it lives on the CPU (Array API)."""
    if device != "cpu":
        raise TraceError(f"to_device({device!r}): values live on the CPU", "leave the call out")
    return self


def _part_setter(name: str) -> Any:
    def set_part(self: Tracer, value: Any) -> None:
        getattr(self, name)[...] = value

    return set_part


def install() -> None:
    """Give :class:`Tracer` its methods."""
    for name in _FUNCTIONS:
        setattr(Tracer, name, _method(getattr(np, name)))
    methods = {
        "reshape": _reshape,
        "transpose": _transpose,
        "astype": _astype,
        "copy": _copy,
        "__copy__": _copy,
        "__divmod__": _divmod,
        "__format__": _format,
        "__round__": _round,
        "flatten": _flatten,
        "fill": _fill,
        "sort": _sort,
        "put": _put,
        "to_device": _to_device,
        "conj": _method(np.conjugate),
        "conjugate": _method(np.conjugate),
        "T": property(_transpose),
        "mT": property(_method(np.matrix_transpose)),
        "real": property(_method(np.real), _part_setter("real")),
        "imag": property(_method(np.imag), _part_setter("imag")),
        "flat": property(_method(np.ravel)),
    }
    for name, method in methods.items():
        setattr(Tracer, name, method)
    Tracer.__deepcopy__ = lambda self, memo: _copy(self)  # type: ignore[attr-defined]
