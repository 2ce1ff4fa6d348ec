"""What commands write: files that can be written, JSON that can be read."""

from __future__ import annotations

import json
import math
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import numpy as np

from clew.core.errors import InputError
from clew.core.source import Where

FILE = click.Path(path_type=Path, dir_okay=False, writable=True)
_EXACT = 2**53
"""Up to here a double holds every integer, and that is what most readers of JSON make of one."""


def make_folders(*files: Path | None) -> None:
    """Make the folders of files that are to be written, before the work and not after.

    Raises
    ------
    InputError
        If a file could not be written there.
    """
    for file in files:
        if file is None:
            continue
        try:
            if file.is_dir():
                raise IsADirectoryError(0, "it is a folder")
            file.parent.mkdir(parents=True, exist_ok=True)
            if not os.access(file.parent, os.W_OK):
                raise PermissionError(0, "the folder is not writable")
        except OSError as error:
            raise InputError(
                f"{file} cannot be written: {error.strerror}", "name a file elsewhere", Where()
            ) from None


def write_json(file: Path, value: Any) -> None:
    """Write a tree of dicts, lists, numbers and text.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "a.json")
    ...     write_json(file, {"count": 2**60, "norm": math.inf})
    ...     json.loads(file.read_text())
    {'count': '1152921504606846976', 'norm': None}
    """
    file.write_text(json.dumps(_told(value), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def plain(leaf: Any) -> Any:
    """Return an array as nested lists; complex ones as two.

    >>> plain(np.array([1.0, 2.0j]))
    {'real': [1.0, 0.0], 'imag': [0.0, 2.0]}
    """
    array: Any = np.asarray(leaf)
    if array.dtype.kind == "c":
        return {"real": array.real.tolist(), "imag": array.imag.tolist()}
    return array.tolist()


def _told(value: Any) -> Any:
    """Put what JSON can hold for what it cannot: null for what is not finite, text for long."""
    if isinstance(value, dict):
        return {key: _told(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_told(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, int) and abs(value) > _EXACT:
        return str(Decimal(value))  # which str(value) refuses above 4,300 digits
    return value
