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

import numpy as _np
from numpy import *  # noqa: F403
from numpy import (  # noqa: F401  (not in NumPy's __all__, but in the standard)
    __array_namespace_info__,
    abs,
    all,
    any,
    max,
    min,
    pow,
    round,
    sum,
)

del fft, linalg  # noqa: F821  (NumPy's; ours follow)

from clew.numpy import (  # noqa: E402
    elementwise,
    fft,
    joining,
    linalg,
    linear,
    reductions,
    selection,
    shaping,
    sorting,
)
from clew.numpy.creation import (  # noqa: E402
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
from clew.trace.protocols import set_array_namespace as _set_array_namespace  # noqa: E402

newaxis = None
__array_api_version__ = _np.__array_api_version__
__all__ = sorted({*_np.__all__, "newaxis"} - {"emath", "test"})

import sys as _sys  # noqa: E402

_set_array_namespace(_sys.modules[__name__])
