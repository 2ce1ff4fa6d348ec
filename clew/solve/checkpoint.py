"""A run written down: after a kill at any moment the file holds a whole, earlier state.

The file is safetensors (never pickle): arrays as they are, the rest as JSON in its header. It is
written beside the old one, flushed to the disk, and renamed over it in one atomic step.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clew.core.errors import ClewError

FORMAT = "clew-run-1"
Tree = Mapping[str, Any]


class ResumeError(ClewError, ValueError):
    """A resume file that cannot continue this run.

    >>> from pathlib import Path
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "run.clew"
    >>> _ = file.write_bytes(b"not a run")
    >>> try:
    ...     read(file)
    ... except ResumeError as error:
    ...     print(error.fix)
    delete it to start anew, or give another path
    """


def write(path: str | os.PathLike[str], state: Tree, description: Mapping[str, Any]) -> None:
    """Write a state atomically.

    Parameters
    ----------
    path : path
    state : nested dict
        Arrays, numbers, strings and None.
    description : dict
        JSON values, given back as they are by :func:`read`.
    """
    from safetensors.numpy import save

    arrays: dict[str, np.ndarray] = {}
    plain: dict[str, Any] = {}
    _split(state, "", arrays, plain)
    stored = {name: _storable(value) for name, value in arrays.items()}
    header = {
        "format": FORMAT,
        "description": description,
        "plain": plain,
        "complex": [name for name, value in arrays.items() if value.dtype.kind == "c"],
    }
    text = json.dumps(header)
    _replace(Path(path), save(stored, {"clew": text, "digest": _digest(stored, text)}))


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the state and the description of a file.

    Raises
    ------
    ResumeError
        If the file is not one of Clew's, or is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    content = Path(path).read_bytes()
    try:
        stored = load(content)
        length = int.from_bytes(content[:8], "little")
        written = json.loads(content[8 : 8 + length])["__metadata__"]
        header = json.loads(written["clew"])
        digest = _digest(stored, written["clew"])
        whole = header["format"] == FORMAT and written["digest"] == digest
    except (SafetensorError, ValueError, KeyError, TypeError):
        whole = False
        header = {}
        stored = {}
    if not whole:
        raise ResumeError(
            f"resume: {os.fspath(path)} is damaged, or was not written by clew.solve",
            "delete it to start anew, or give another path",
        )
    for name in header["complex"]:
        stored[name] = stored[name].view(np.complex128)[..., 0]
    return _join(stored, header["plain"]), header["description"]


def _split(tree: Tree, prefix: str, arrays: dict[str, np.ndarray], plain: dict[str, Any]) -> None:
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            plain[name] = {}
            _split(value, name + "/", arrays, plain)
        elif isinstance(value, np.ndarray):
            arrays[name] = value
        elif isinstance(value, np.generic):
            plain[name] = value.item()
        else:
            plain[name] = value


def _join(arrays: Mapping[str, np.ndarray], plain: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in sorted({**plain, **arrays}.items()):
        *parents, key = name.split("/")
        node = tree
        for parent in parents:
            node = node[parent]
        if isinstance(value, np.ndarray):
            node[key] = value.copy()  # aligned as a fresh array is, so sums come out the same
        else:
            node[key] = dict(value) if isinstance(value, dict) else value
    return tree


def _storable(value: np.ndarray) -> np.ndarray:
    # safetensors writes the buffer as it lies, and knows no complex numbers
    value = np.ascontiguousarray(value).reshape(value.shape)
    if value.dtype.kind == "c":
        return value.astype(np.complex128)[..., None].view(np.float64)
    return value


def _digest(arrays: Mapping[str, np.ndarray], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        value = arrays[name]
        digest.update(f"{name} {value.dtype} {value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")  # one name, so that kills leave one file
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
