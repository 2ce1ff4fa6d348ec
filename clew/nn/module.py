"""Modules: a network *is* its tree of parameters, and can be called.

A module is a frozen dataclass whose array fields are parameters and whose ``static`` fields are
structure. So ``clew.grad(loss)(network)`` is a network of gradients, ``clew.Problem`` starts from
one, and two places that hold the same array share it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, TypeVar, dataclass_transform

from clew.core import pytree
from clew.core.source import scope
from clew.core.types import type_of

Class = TypeVar("Class", bound=type)
Array = Any
"""A NumPy array or a traced one."""


def static(*, default: Any = dataclasses.MISSING, kw_only: Literal[True] = True) -> Any:
    """Declare a field of a module that is structure, not a parameter.

    It is given by keyword, must be hashable, and the same for every call of a compiled function.

    >>> @module
    ... class Power(Module):
    ...     scale: Array
    ...     exponent: int = static(default=2)
    ...
    ...     def forward(self, x):
    ...         return self.scale * x**self.exponent
    >>> pytree.leaf_names(Power(3.0))
    ('scale',)
    """
    if default is dataclasses.MISSING:
        return dataclasses.field(kw_only=kw_only, metadata={"static": True})
    return dataclasses.field(default=default, kw_only=kw_only, metadata={"static": True})


@dataclass_transform(frozen_default=True, field_specifiers=(static, dataclasses.field))
def module(cls: Class) -> Class:
    """Make a class a frozen dataclass and a tree: array fields are leaves, static ones are not.

    >>> @module
    ... class Scale(Module):
    ...     factor: Array
    ...
    ...     def forward(self, x):
    ...         return self.factor * x
    >>> import clew
    >>> clew.grad(lambda scale: scale(3.0))(Scale(2.0)).factor
    np.float64(3.0)
    """
    made: Any = dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)
    fixed = [field.name for field in dataclasses.fields(made) if field.metadata.get("static")]
    return pytree.register(made, static=fixed)


@module
class Module:
    """The base of all modules: calling one enters its scope and runs :meth:`forward`.

    Parameters
    ----------
    name : str, optional
        The scope that its equations carry; the class's own name in lower case by default.

    >>> import numpy as np, clew
    >>> from clew.nn import Dense
    >>> layer = Dense(np.ones((2, 3)), np.zeros(3), name="encoder")
    >>> clew.trace(layer)(np.ones(2)).equations[0].scope
    'encoder'
    """

    name: str = static(default="")

    @property
    def label(self) -> str:
        """The name, or the class's name in lower case."""
        return self.name or type(self).__name__.lower()

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Run :meth:`forward` under the module's scope."""
        with scope(self.label):
            return self.forward(*inputs, **options)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Return the module's output; subclasses write this."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def __repr__(self) -> str:
        fields = [
            f"{field.name}={_brief(getattr(self, field.name))}"
            for field in dataclasses.fields(self)
            if field.name != "name" or self.name
        ]
        return f"{type(self).__name__}({', '.join(fields)})"


def call(part: Callable[..., Any], label: str, *inputs: Any) -> Any:
    """Call a part of a network, a module or any function, under a scope.

    >>> import numpy as np
    >>> float(call(np.square, "square", 3.0))
    9.0
    """
    run = part.forward if isinstance(part, Module) else part
    with scope(label):
        return run(*inputs)


def label_of(part: Callable[..., Any]) -> str:
    """Return the scope name of a part: a module's label, or a function's name.

    >>> import numpy as np
    >>> label_of(np.tanh)
    'tanh'
    """
    if isinstance(part, Module):
        return part.label
    return getattr(part, "__name__", type(part).__name__.lower())


def parameter_count(network: Any) -> int:
    """Return how many numbers a network holds; a shared array counts once.

    >>> import numpy as np
    >>> from clew.nn import Dense
    >>> parameter_count(Dense(np.ones((2, 3)), np.zeros(3)))
    9
    """
    return sum(type_of(leaf).size for leaf in pytree.flatten(network)[0])


def _brief(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return str(type_of(value))
    if isinstance(value, (tuple, list)):
        return f"({', '.join(_brief(item) for item in value)})"
    if callable(value) and not isinstance(value, Module):
        return label_of(value)
    return repr(value)
