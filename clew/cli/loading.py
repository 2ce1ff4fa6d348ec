"""Load what a command names: ``FILE`` or ``FILE:NAME``."""

from __future__ import annotations

import ast
import difflib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from clew.core.errors import InputError
from clew.core.source import Where


def split_name(target: str) -> tuple[Path, str]:
    """Take ``FILE:NAME`` apart; the name may be missing.

    >>> split_name("model.py:loss")[1]
    'loss'
    """
    file, colon, name = target.rpartition(":")
    if colon and name.isidentifier():
        return Path(file), name
    return Path(target), ""


def load_module(path: Path) -> ModuleType:
    """Run a Python file and return its module; an error in it names the user's line."""
    if not path.exists():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.py")], 3)
        hint = f"there is {', '.join(near)}" if near else "check the path"
        raise InputError(f"{path}: there is no such file", hint, Where())
    if path.suffix != ".py":
        raise InputError(f"{path} is not a Python file", "name a file that ends in .py", Where())
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    if spec is None or spec.loader is None:
        raise InputError(f"{path} cannot be loaded", "name a Python file", Where())
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise model_error(error, path) from error
    return module


def model_error(error: BaseException, path: Path) -> InputError:
    """Return an error that names the last line of the user's file on the way to an error."""
    own = str(path.resolve())
    line = 0
    if isinstance(error, SyntaxError) and error.lineno:
        line = error.lineno
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == own and frame.lineno:
            line = frame.lineno
    return InputError(
        f"{path.name} raised {type(error).__name__}: {error}",
        "mend the line named above",
        Where(own, line),
    )


def find(
    module: ModuleType, path: Path, name: str, wanted: str, accepts: Callable[[Any], bool]
) -> Any:
    """Return the object of a module that a command is about.

    Without a name: the one called as ``wanted`` is, or the only one of its kind.
    """
    fitting = {key: value for key, value in vars(module).items() if accepts(value)}
    if name:
        if name in fitting:
            return fitting[name]
        present = hasattr(module, name)
        near = difflib.get_close_matches(name, list(fitting), 3) or sorted(fitting)
        what = f"{name} is not a {wanted}" if present else f"there is no {name}"
        hint = f"it has {', '.join(near)}" if near else f"define a {wanted} in it"
        raise InputError(f"{path}: {what}", hint, Where())
    if wanted in fitting:
        return fitting[wanted]
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    if fitting:
        raise InputError(
            f"{path} has several: {', '.join(sorted(fitting))}",
            f"name one, {path}:{min(fitting)}",
            Where(),
        )
    names = sorted(key for key in vars(module) if not key.startswith("_"))
    raise InputError(
        f"{path} has no {wanted}; it defines {', '.join(names) or 'nothing'}",
        f"assign one at module level: {wanted} = ...",
        Where(),
    )


def example_arguments(module: ModuleType, name: str, given: str | None) -> tuple[Any, ...]:
    """Return the arguments to call a function with.

    From ``--args`` (a Python literal), or from ``NAME_args`` or ``example_args`` in the file.
    """
    if given is not None:
        try:
            value = ast.literal_eval(given)
        except (ValueError, SyntaxError):
            raise InputError(
                f"--args {given!r} is not a Python literal",
                "write for instance --args '(1.0, [2.0, 3.0])'",
                Where(),
            ) from None
        return _as_arrays(value if isinstance(value, tuple) else (value,))
    for key in (f"{name}_args", "example_args"):
        if hasattr(module, key):
            value = getattr(module, key)
            return value if isinstance(value, tuple) else (value,)
    raise InputError(
        f"no arguments to call {name} with",
        f"pass --args '(1.0,)', or assign {name}_args = (...) in the file",
        Where(),
    )


def _as_arrays(value: Any) -> Any:
    import numpy as np

    if isinstance(value, tuple):
        return tuple(_as_arrays(each) for each in value)
    if isinstance(value, dict):
        return {key: _as_arrays(each) for key, each in value.items()}
    return np.asarray(value, float) if isinstance(value, list) else value
