"""``jit``: trace once per type signature and per Python path, then run the graph."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clew.core import pytree
from clew.core.errors import InputError
from clew.core.primitive import Traced
from clew.core.source import user_location
from clew.core.types import Type
from clew.evaluate.arguments import Call, call_of, is_plain, plain, type_key, types_of
from clew.evaluate.native.entry import MISS
from clew.evaluate.numbering import Numbering
from clew.evaluate.path_tree import Path, PathTree
from clew.evaluate.shortcut import shortcut
from clew.simplify import simplify
from clew.trace import record, run

_MOST_PATHS = 16
_MOST_CALLS = 8
"""Signatures that are tried, the newest first, before the arguments are looked at in Python."""


def jit(
    f: Callable[..., Any] | None = None,
    *,
    most_paths: int = _MOST_PATHS,
    donate_argnums: int | Sequence[int] = (),
) -> Any:
    """Return a function that is traced once, compiled to machine code, and then runs that.

    A new trace is made for new shapes, dtypes or argument structures, and when a Python
    condition on traced values gets an answer not seen before: an ``if`` has two paths, a
    ``while`` one for every number of trips. The paths of one signature form a tree, in which
    what they share runs once; :func:`clew.explain` shows it. A path not seen is traced, never
    guessed. Inside another transform the function is traced along with what calls it.

    Values that the function closes over (and global ones) are taken as they are when it is
    traced: one that is changed later keeps its old value on the paths that exist. Pass as an
    argument what changes.

    Parameters
    ----------
    f : callable
        Of pytrees of arrays and numbers.
    most_paths : int
        Paths kept for each signature; beyond that the one not used for longest is dropped,
        and traced again if it comes back.
    donate_argnums : int or sequence of int
        Positional arguments whose arrays the caller will not use again: results of later calls
        may be put into them, so that no new memory has to be made ready. What such an array (and
        any view of it) holds after the call is undefined. Left alone are arrays that share
        their memory, are not in row-major order, may not be written, or are unlike every result.

    Warns
    -----
    RuntimeWarning
        The first time that a path is dropped.

    >>> traced = []
    >>> @jit
    ... def f(x):
    ...     traced.append(1)
    ...     return x * 2.0 if x > 0 else -x
    >>> float(f(1.0)), float(f(2.0)), float(f(-3.0)), len(traced)
    (2.0, 4.0, 3.0, 2)
    """
    if f is None:
        return functools.partial(jit, most_paths=most_paths, donate_argnums=donate_argnums)
    if type(most_paths) is not int or most_paths < 1:
        raise InputError(f"jit: most_paths={most_paths!r}", "keep at least 1 path")
    cache = Cache(f, most_paths, _argument_numbers(donate_argnums))
    calls = cache.calls

    @functools.wraps(f)
    def compiled(*args: Any, **kwargs: Any) -> Any:
        for call in calls.get(tuple(kwargs), ()):
            found = call(*args, *kwargs.values()) if kwargs else call(*args)
            if found is not MISS:
                return found
        return cache.run(args, kwargs)

    compiled.paths = cache  # type: ignore[attr-defined]
    return compiled


def _argument_numbers(given: int | Sequence[int]) -> frozenset[int]:
    numbers = (given,) if isinstance(given, int) else tuple(given)
    if not all(type(each) is int and each >= 0 for each in numbers):
        raise InputError(
            f"jit: donate_argnums={given!r}", "give the numbers of positional arguments, from 0"
        )
    return frozenset(numbers)


class Signature:
    """The paths for arguments of one structure, with leaves of certain types."""

    def __init__(self, names: Sequence[str], types: Sequence[Type]) -> None:
        self.names = tuple(names)
        self.types = tuple(types)
        self.numbering: Numbering | None = None
        self.tree: PathTree | None = None
        self.shortcuts: dict[tuple[str, ...], tuple[PathTree, Any]] = {}

    @property
    def paths(self) -> tuple[Path, ...]:
        """The paths there are."""
        return () if self.tree is None else self.tree.paths

    def __str__(self) -> str:
        pairs = zip(self.names, self.types, strict=True)
        return ", ".join(f"{name}: {kind}" for name, kind in pairs) or "no arguments"


class Cache:
    """What ``jit`` knows of a function: signatures, paths, and why each was traced.

    Lookups read trees that are never changed, only replaced; a lock orders the replacements,
    so the function may be called from several threads.
    """

    def __init__(
        self, f: Callable[..., Any], most_paths: int, donated: frozenset[int] = frozenset()
    ) -> None:
        self.function = f
        self.most_paths = most_paths
        self.donated = donated
        self.calls: dict[tuple[str, ...], tuple[Callable[..., Any], ...]] = {}
        self.signatures: dict[Any, Signature] = {}
        self.dropped = 0
        self._clock = 0
        self._warned = False
        self._lock = threading.Lock()

    def run(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Call the function by the path that its arguments take, traced now if it is new."""
        given = tuple(kwargs)
        names = sorted(kwargs)
        trees = [*args, *(kwargs[name] for name in names)]
        flat = [pytree.flatten(tree) for tree in trees]
        leaves = [leaf for own, _ in flat for leaf in own]
        if not all(map(is_plain, leaves)):
            if any(isinstance(leaf, Traced) for leaf in leaves):
                return self.function(*args, **kwargs)
            leaves = [*map(plain, leaves)]
            rest = iter(leaves)
            trees = [each.unflatten([next(rest) for _ in own]) for own, each in flat]
        structures = tuple([structure for _, structure in flat])
        types = tuple([type_key(leaf) for leaf in leaves])
        key = (len(args), *names, structures, types)
        signature = self.signatures.get(key)
        found = None if signature is None else self._found(signature, leaves)
        if found is not None:
            self._count(found[0])
            result = found[0].structure.unflatten(found[1])
        else:
            named = dict(zip(names, trees[len(args) :], strict=True))
            call = call_of(self.function, trees[: len(args)], named)
            result = self._traced(key, types_of(types), call, leaves)
            signature = self.signatures.get(key)
        if signature is not None:
            self._shorten(signature, structures, given)
        return result

    def _shorten(
        self, signature: Signature, structures: Sequence[pytree.Structure], given: tuple[str, ...]
    ) -> None:
        """Have calls like this one go past Python, if they need not look for their path."""
        tree = signature.tree
        known, call = signature.shortcuts.get(given, (None, None))
        if known is not tree and tree is not None:
            first = len(structures) - len(given)
            names = sorted(given)
            order = [*range(first), *(first + names.index(name) for name in given)]
            self._forget(given, call)
            call = shortcut(tree, structures, order, self.donated, self._count)
            signature.shortcuts[given] = (tree, call)
        if call is not None:
            before = self.calls.get(given, ())
            if call not in before:
                self.calls[given] = (call, *before[: _MOST_CALLS - 1])

    def _forget(self, given: tuple[str, ...], call: Any) -> None:
        before = self.calls.get(given, ())
        if call in before:
            self.calls[given] = tuple(each for each in before if each is not call)

    @staticmethod
    def _found(signature: Signature, leaves: list[Any]) -> Any:
        if signature.tree is None:
            return None
        return signature.tree.find(leaves)

    def _traced(self, key: Any, types: Sequence[Type], call: Call, leaves: list[Any]) -> Any:
        recording = record(call.function, call.trees)
        graph = simplify(recording.graph)
        if not recording.captured:  # else it holds values of a trace that will end
            self._take(key, types, call, Path(graph, recording.structure))
            found = self._found(self.signatures[key], leaves)
            if found is not None:
                return found[0].structure.unflatten(found[1])
        with np.errstate(all="ignore"):
            results = run(graph, [*leaves, *recording.captured])
        return recording.structure.unflatten(results)

    def _take(self, key: Any, types: Sequence[Type], call: Call, path: Path) -> None:
        """Put a path in its tree; drop another if there are too many."""
        with self._lock:
            signature = self.signatures.get(key)
            if signature is None:
                signature = Signature(call.leaf_names(), types)
                path.why = _why_signature(signature, list(self.signatures.values()))
                self.signatures[key] = signature
            else:
                path.why = _why_path(path, signature.paths, self.dropped)
            if signature.numbering is None:
                signature.numbering = Numbering(path.graph.inputs)
            path.enter(signature.numbering)
            paths = list(signature.paths)
            same = [each for each in paths if each.same_way(path)]
            if same:  # another thread was faster
                path = same[0]
            else:
                paths.append(path)
            self._clock += 1
            path.found += 1
            path.used = self._clock
            if same:
                return
            excess = len(paths) > self.most_paths
            if excess:
                paths.remove(min(paths, key=lambda each: each.used))
                self.dropped += 1
                signature.numbering.keep(e for each in paths for e in each.equations)
            signature.tree = PathTree(paths, signature.numbering, signature.tree)
            warn = excess and not self._warned
            self._warned = self._warned or excess
        if warn:
            self._warn(path)

    def _count(self, path: Path) -> None:
        with self._lock:
            self._clock += 1
            path.found += 1
            path.used = self._clock

    def _warn(self, path: Path) -> None:
        name = getattr(self.function, "__name__", "a function")
        last = f", here by the condition at {path.conditions[-1]}" if path.conditions else ""
        warnings.warn(
            f"jit: {name} (called at {user_location()}) takes more than {self.most_paths} "
            f"different Python paths{last}; the oldest are dropped and traced again when they "
            "come back. Repeat with clew.while_loop, choose with clew.cond or np.where, or "
            "keep more with most_paths=",
            RuntimeWarning,
            stacklevel=6,
        )


def _why_signature(new: Signature, before: Sequence[Signature]) -> str:
    if not before:
        return "first call"
    for old in reversed(before):
        if old.names == new.names:
            return _changed_types(new, old)
    return f"new arguments: {', '.join(new.names) or 'none'}"


def _changed_types(new: Signature, old: Signature) -> str:
    for name, its, was in zip(new.names, new.types, old.types, strict=True):
        if its.shape != was.shape:
            return f"new shape of {name}: {its}, before {was}"
        if its.dtype != was.dtype:
            return f"new dtype of {name}: {its.dtype}, before {was.dtype}"
    return "new structure of the arguments"


def _why_path(new: Path, before: Sequence[Path], dropped: int) -> str:
    """Name the condition at which a path leaves those that there are."""
    longest = 0
    for old in before:
        shared = 0
        for mine, its in zip(new.conditions, old.conditions, strict=False):
            if mine != its:
                break
            shared += 1
        longest = max(longest, shared)
    again = ", or one that was dropped" if dropped else ""
    if longest >= len(new.conditions):
        return f"another outcome inside a body{again}"
    where, answer = new.conditions[longest].where, new.conditions[longest].answer
    return f"new answer {answer} at {where or '?'}{again}"
