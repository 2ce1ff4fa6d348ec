# ruff: noqa: E402, F401
"""``clew.numpy``: the NumPy namespace, for eager and traced values.

On plain arrays every function *is* NumPy's. On traced values NumPy's own dispatch reaches the
traced forms registered by the modules of this package, so ``np.sum(x)`` and
``clew.numpy.sum(x)`` are the same. Only functions that make arrays differ: inside a trace they
make traced ones, which traced values can be written into.

>>> import clew, clew.numpy as cnp
>>> def powers(x):
...     table = cnp.zeros(4)
...     for i in range(4):
...         table[i] = x**i
...     return table.sum()
>>> clew.grad(powers)(2.0)
np.float64(17.0)
"""

import sys as _sys

import numpy as _np

# Everything NumPy offers, but for its submodules: importing all of those takes longer than all
# of Clew. ``linalg`` and ``fft`` are ours.
_SUBMODULES = {
    "char", "core", "ctypeslib", "dtypes", "emath", "exceptions", "f2py", "fft", "lib", "linalg",
    "ma", "matlib", "polynomial", "random", "rec", "strings", "test", "testing", "typing",
}  # fmt: skip
_STANDARD = {"__array_namespace_info__", "abs", "all", "any", "max", "min", "pow", "round", "sum"}
globals().update({name: getattr(_np, name) for name in {*_np.__all__, *_STANDARD} - _SUBMODULES})

from clew.numpy import (
    elementwise,
    fft,
    joining,
    linalg,
    linear,
    matrices,
    reductions,
    selection,
    shaping,
    sorting,
    transforms,
)
from clew.numpy.creation import (
    arange,
    array,
    asarray,
    empty,
    eye,
    full,
    identity,
    ones,
    tri,
    zeros,
)
from clew.numpy.standard import argsort, clip, sort
from clew.trace.protocols import set_array_namespace as _set_array_namespace

newaxis = None
__array_api_version__ = _np.__array_api_version__
__all__ = sorted(
    {*_np.__all__, *_STANDARD, "fft", "linalg", "newaxis"} - (_SUBMODULES - {"fft", "linalg"})
)

_set_array_namespace(_sys.modules[__name__])
