"""Errors in three parts: what was asked, where, and what to do.

Every error of Clew is a :class:`ClewError` and also the built-in error that a NumPy
user would expect (``ValueError``, ``TypeError``, ...), so existing handlers keep working.
"""

from __future__ import annotations

from clew.core.source import Where, user_location


class ClewError(Exception):
    """An error that says what was asked, where, and what to do.

    Parameters
    ----------
    asked : str
        The operation with its argument names, shapes and dtypes, and what is wrong with it.
    fix : str
        What to write instead.
    where : Where, optional
        The user's line; found on the stack when not given.

    >>> print(ClewError("add: shapes (2,) and (3,) do not broadcast", "reshape one", Where()))
    add: shapes (2,) and (3,) do not broadcast
      fix: reshape one
    """

    def __init__(self, asked: str, fix: str, where: Where | None = None) -> None:
        self.asked = asked
        self.fix = fix
        self.where = user_location() if where is None else where
        line = f"\n  at: {self.where}" if self.where else ""
        super().__init__(f"{asked}{line}\n  fix: {fix}")


class ShapeError(ClewError, ValueError):
    """Shapes that do not fit the operation.

    >>> import clew.numpy as cnp, clew
    >>> try:
    ...     clew.trace(lambda x: x + cnp.ones(2))(cnp.ones(3))
    ... except ShapeError as error:
    ...     print(error.asked)
    add: shapes (3,) and (2,) do not broadcast
    """


class DtypeError(ClewError, TypeError):
    """A dtype that the operation is not defined for.

    >>> import clew.numpy as cnp, clew
    >>> try:
    ...     clew.trace(lambda x: x & 1)(1.5)
    ... except DtypeError as error:
    ...     print(error.asked)
    bitwise_and: not defined for float64, float64
    """


class TraceError(ClewError, TypeError):
    """A traced value used where only a concrete one can stand.

    >>> import numpy as np, clew
    >>> try:
    ...     clew.grad(lambda x: float(x) ** 2)(3.0)
    ... except TraceError as error:
    ...     print(error.fix)
    keep the value as it is (float() is not needed), or mark the cut with clew.stop_gradient
    """


class DerivativeError(ClewError, ValueError):
    """A derivative that was asked for in a way that has no meaning.

    >>> import numpy as np, clew
    >>> try:
    ...     clew.grad(lambda x: x * x)(np.ones(3))
    ... except DerivativeError as error:
    ...     print(error.asked)
    grad: the function returned shape (3,), but a gradient is of a scalar
    """


class InputError(ClewError, ValueError):
    """An argument whose value cannot be used.

    >>> import clew
    >>> try:
    ...     clew.vmap(lambda x: x)(1.0)
    ... except InputError as error:
    ...     print(error.asked)
    vmap: argument 0 is a scalar and has no axis 0 to map over
    """


class IndexingError(ClewError, IndexError):
    """An index that does not fit the array.

    >>> import numpy as np, clew
    >>> try:
    ...     clew.grad(lambda x: x[7])(np.ones(3))
    ... except IndexingError as error:
    ...     print(error.asked)
    index 7 is out of bounds for axis 0 with size 3
    """


class GraphError(ClewError, RuntimeError):
    """A graph that is malformed, or a value used outside the trace that made it.

    >>> import clew
    >>> kept = []
    >>> _ = clew.grad(lambda x: (kept.append(x), x * x)[1])(3.0)
    >>> try:
    ...     kept[0] + 1
    ... except GraphError as error:
    ...     print(error.asked.split(",")[0])
    a traced value (f64) was used after its function returned
    """


class MemoryLimitError(ClewError, MemoryError):
    """A run that would need more memory than the machine, or the ``memory=`` given, allows.

    >>> import clew
    >>> def longer_and_longer(x):
    ...     return clew.while_loop(lambda c: c < 1e6, lambda c: np.sin(c) + c + x, x, memory=1000)
    >>> import numpy as np
    >>> try:
    ...     clew.grad(longer_and_longer)(1.0)
    ... except MemoryLimitError as error:
    ...     print(error.asked)
    while_loop: its tape takes 1.1 KiB, memory= allows 1000 bytes: 152 bytes too much
    """


class RunError(ClewError, ArithmeticError):
    """A check that failed while a graph ran; see :func:`clew.loops.check`.

    >>> import clew
    >>> from clew.loops import check
    >>> try:
    ...     check(False, "the step became too small", "loosen the tolerance")
    ... except RunError as error:
    ...     print(error.asked)
    the step became too small
    """
