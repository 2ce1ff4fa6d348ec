"""Load what a command names: ``FILE`` or ``FILE:NAME``."""

from __future__ import annotations

import ast
import difflib
import importlib.util
import inspect
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from clew.core.errors import ClewError, InputError
from clew.core.source import Where

_FOREIGN = tuple(
    os.path.join(folder, "")
    for folder in (
        str(Path(__file__).resolve().parent.parent),
        *(sysconfig.get_paths()[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")),
    )
)
_CLICK = os.path.join(os.path.dirname(click.__file__), "")


def message(error: ClewError) -> str:
    """Return an error's text, without a line that belongs to whoever started the command.

    A command is not called from a line of the user's: the innermost frame outside Clew is then
    click's, and naming it would mislead.
    """
    file = error.where.file
    known = file and not file.startswith((_CLICK, "<"))
    line = f"\n  at: {error.where}" if known else ""
    return f"{error.asked}{line}\n  fix: {error.fix}"


def split_name(target: str) -> tuple[Path, str]:
    """Take ``FILE:NAME`` apart; the name may be missing.

    >>> split_name("model.py:loss")[1]
    'loss'
    """
    file, colon, name = target.rpartition(":")
    if colon and name.isidentifier():
        return Path(file), name
    if colon and Path(file).is_file() and not Path(target).exists():
        raise InputError(f"{name!r} in {target} is not a name", f"write {file}:NAME", Where())
    return Path(target), ""


def load_module(path: Path) -> ModuleType:
    """Run a Python file and return its module; an error in it names the user's line."""
    if not path.exists():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.py")], 3)
        hint = f"there is {', '.join(near)}" if near else "check the path"
        raise InputError(f"{path}: there is no such file", hint, Where())
    if path.suffix != ".py" or not path.is_file():
        raise InputError(f"{path} is not a Python file", "name a file that ends in .py", Where())
    # A file called as a library is (json.py) must not take the library's place.
    name = path.stem if path.stem not in sys.modules else f"{path.stem}_from_file"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise InputError(f"{path} cannot be loaded", "name a Python file", Where())
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except ClewError:
        raise
    except SystemExit as stop:
        raise InputError(
            f"{path.name} ended the program (SystemExit: {stop.code}) when it was loaded",
            "put what it does as a script under: if __name__ == '__main__':",
            user_line(stop, path),
        ) from None
    except Exception as error:
        raise model_error(error, path) from error
    return module


def model_error(error: BaseException, path: Path) -> InputError:
    """Return an error that names the innermost line of the user's on the way to an error."""
    where = user_line(error, path)
    if isinstance(error, (SyntaxError, UnicodeError)) and not where:
        return InputError(
            f"{path.name} is not Python source: {error}", "name a text file of Python", where
        )
    if where:
        told = f"{path.name} raised {type(error).__name__}: {error}"
        return InputError(told, "mend the line named above", where)
    frames = traceback.extract_tb(error.__traceback__)
    inside = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return InputError(
        f"{type(error).__name__}: {error}; raised{inside} while no line of {path.name} was running",
        "check the arguments that its functions take; if they are right, the fault is Clew's",
        where,
    )


@contextmanager
def blamed_on(path: Path) -> Iterator[None]:
    """Run code of the user's: what is raised names their line, unless it does already.

    >>> try:
    ...     with blamed_on(Path("model.py")):
    ...         1 / 0
    ... except InputError as error:
    ...     print(error.asked)  # doctest: +ELLIPSIS
    ZeroDivisionError: division by zero; raised ...
    """
    try:
        yield
    except ClewError:
        raise
    except Exception as error:
        raise model_error(error, path) from error


def user_line(error: BaseException, path: Path) -> Where:
    """Return the innermost line that is the file's, or of a module that is no library's."""
    if isinstance(error, SyntaxError):
        return Where(error.filename or str(path), error.lineno) if error.lineno else Where()
    own = str(path.resolve())
    found = Where()
    for frame in traceback.extract_tb(error.__traceback__):
        foreign = frame.filename.startswith((*_FOREIGN, "<"))
        if frame.lineno and (frame.filename == own or not foreign):
            found = Where(frame.filename, frame.lineno)
    return found


def find(
    module: ModuleType,
    path: Path,
    name: str,
    wanted: str,
    accepts: Callable[[Any], bool],
    offers: Callable[[Any], bool] | None = None,
) -> Any:
    """Return the object of a module that a command is about.

    Without a name: the one called as ``wanted`` is, or the only one of its kind. ``offers`` says
    which to choose from and to list, where a name may stand for more than those.
    """
    fitting = {key: value for key, value in vars(module).items() if (offers or accepts)(value)}
    if name:
        present = hasattr(module, name)
        if present and accepts(getattr(module, name)):
            return getattr(module, name)
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


def defined_in(module: ModuleType) -> Callable[[Any], bool]:
    """Return a test for the functions that a module defines itself, classes left out."""

    def test(each: Any) -> bool:
        here = getattr(each, "__module__", module.__name__) == module.__name__
        return callable(each) and here and not isinstance(each, type)

    return test


def example_arguments(module: ModuleType, name: str, given: str | None) -> tuple[Any, ...]:
    """Return the arguments to call a function with.

    From ``--args`` (a Python literal), or from ``NAME_args`` or ``example_args`` in the file.
    Lists of a literal become arrays of floats; a tuple is the arguments in order.
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


def check_call(function: Callable[..., Any], args: tuple[Any, ...], name: str) -> None:
    """Raise where a function does not take these arguments, naming the line of its definition."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # built-in functions may have none
        return
    try:
        signature.bind(*args)
    except TypeError as error:
        code = getattr(inspect.unwrap(function), "__code__", None)
        raise InputError(
            f"{name}{signature} was given {len(args)} argument{'s' * (len(args) != 1)}: {error}",
            f"give as many as it takes, by --args '(1.0, 2.0)' or {name}_args = (1.0, 2.0)",
            Where(code.co_filename, code.co_firstlineno) if code else Where(),
        ) from None


def _as_arrays(value: Any) -> Any:
    import numpy as np

    if isinstance(value, tuple):
        return tuple(_as_arrays(each) for each in value)
    if isinstance(value, dict):
        return {key: _as_arrays(each) for key, each in value.items()}
    if not isinstance(value, list):
        return value
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biufc":
            raise ValueError(f"dtype {array.dtype}")
    except ValueError:
        raise InputError(
            f"--args: {value!r} is not an array of numbers",
            "write lists of equal length, of numbers; a tuple keeps different things apart",
            Where(),
        ) from None
    return array if array.dtype.kind == "c" else array.astype(float)
