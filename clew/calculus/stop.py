"""``stop_gradient``: cut the path on purpose."""

from __future__ import annotations

from typing import Any

from clew.core import pytree
from clew.ops.elementwise import stop_gradient_of


def stop_gradient(tree: Any) -> Any:
    """Return the same values, through which no gradient flows.

    >>> import clew
    >>> clew.grad(lambda x: x * stop_gradient(x))(3.0)
    np.float64(3.0)
    """
    return pytree.map(stop_gradient_of, tree)
