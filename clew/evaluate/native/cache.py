"""Object code kept on disk, so that a second process need not compile what a first one has.

An entry is a file named by its key. It starts with a header (magic, format, key, length and SHA-256
of the payload) and is believed only if all of that fits, and if nobody but this user can have
written it. Whatever is wrong with the cache, the code is compiled: a cache never makes a program
fail. Entries are written to a temporary file and renamed, so processes may race.

Environment: ``CLEW_CACHE=0`` turns the cache off, ``CLEW_CACHE_DIR`` moves it, ``CLEW_CACHE_SIZE``
bounds it, in MiB (512 unless told).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import struct
import sys
import tempfile
import time
import warnings
from pathlib import Path

# Raised whenever the same IR text would be compiled to different code by a newer Clew.
FORMAT = 3

_MAGIC = b"CLEWOBJ\n"
_HEADER = struct.Struct("<8sI32sQ32s")
_PREFIX = ".new-"
_HOUR = 3600.0
_warned = False


def key(*parts: str) -> str:
    """Return the key of what the parts determine together: 64 hexadecimal digits.

    >>> key("ab", "c") == key("a", "bc")
    False
    """
    digest = hashlib.sha256(_MAGIC + struct.pack("<I", FORMAT))
    for part in parts:
        encoded = part.encode()
        digest.update(struct.pack("<Q", len(encoded)))
        digest.update(encoded)
    return digest.hexdigest()


def folder() -> Path | None:
    """Return the cache's directory, which need not exist; None if the cache is turned off."""
    if os.environ.get("CLEW_CACHE", "1").strip() == "0":
        return None
    chosen = os.environ.get("CLEW_CACHE_DIR")
    if chosen:
        return Path(chosen)
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    # A relative path would make a cache in whatever directory the program runs in.
    return base / "clew" / "native" if base.is_absolute() else None


def load(name: str) -> bytes | None:
    """Return the payload stored under a key; None if there is none that can be believed."""
    where = folder()
    if where is None:
        return None
    path = where / name
    try:
        if _exposed(os.stat(where)):
            return None
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if _foreign(status):
                return None
            data = file.read()
    except OSError:
        return None
    payload = _payload(data, name)
    # The time of last use, by which old entries are found; written at most once an hour.
    if payload is not None and time.time() - status.st_mtime > _HOUR:
        with contextlib.suppress(OSError):
            os.utime(path)
    return payload


def store(name: str, payload: bytes) -> None:
    """Keep a payload under a key; warn once in a process, and go on, if that is not possible."""
    where = folder()
    if where is None:
        return
    try:
        where.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _exposed(os.stat(where)):
            raise PermissionError("every user may replace files there")
        _write(where, name, _header(name, payload) + payload)
    except OSError as error:
        _warn(where, error)
        return
    # One key in 64, chosen by the key itself: the directory is looked through now and then.
    if int(name[:2], 16) < 4:
        prune(where, _bound())


def prune(where: Path, bound: int) -> None:
    """Remove the least recently used entries until three quarters of ``bound`` bytes are left."""
    try:
        with os.scandir(where) as found:
            known = [(entry, entry.stat(follow_symlinks=False)) for entry in found]
    except OSError:
        return
    entries = [(status.st_mtime, status.st_size, e.path) for e, status in known if _is_entry(e)]
    abandoned = time.time() - _HOUR
    doomed = [
        entry.path
        for entry, status in known
        if entry.name.startswith(_PREFIX) and status.st_mtime < abandoned
    ]
    total = sum(size for _, size, _ in entries)
    if total > bound:
        for _, size, path in sorted(entries):
            if total <= bound * 3 // 4:
                break
            total -= size
            doomed.append(path)
    for path in doomed:
        with contextlib.suppress(OSError):
            os.unlink(path)


def _is_entry(entry: os.DirEntry[str]) -> bool:
    return len(entry.name) == 64 and set(entry.name) <= set("0123456789abcdef")


def _bound() -> int:
    try:
        return int(float(os.environ.get("CLEW_CACHE_SIZE", "512")) * 2**20)
    except (ValueError, OverflowError):
        return 512 * 2**20


def _header(name: str, payload: bytes) -> bytes:
    digest = hashlib.sha256(payload).digest()
    return _HEADER.pack(_MAGIC, FORMAT, bytes.fromhex(name), len(payload), digest)


def _payload(data: bytes, name: str) -> bytes | None:
    payload = data[_HEADER.size :]
    return payload if data[: _HEADER.size] == _header(name, payload) else None


def _exposed(status: os.stat_result) -> bool:
    """Whether every user may replace files in a directory."""
    if sys.platform == "win32":
        return False
    return bool(status.st_mode & stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX


def _foreign(status: os.stat_result) -> bool:
    """Whether somebody else can have written a file."""
    if sys.platform == "win32":
        return False
    return status.st_uid != os.geteuid() or bool(status.st_mode & stat.S_IWOTH)


def _write(where: Path, name: str, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(prefix=_PREFIX, dir=where)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, where / name)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        # Windows refuses to replace a file that another process reads: then it is there already.
        if not (isinstance(error, PermissionError) and (where / name).exists()):
            raise


def _warn(where: Path, error: OSError) -> None:
    global _warned
    if _warned:
        return
    _warned = True
    reason = error.strerror or str(error)
    warnings.warn(
        f"compiled code cannot be kept in {where} ({reason}), so every process compiles it again. "
        "Set CLEW_CACHE_DIR to a directory that you can write, or CLEW_CACHE=0 to keep none",
        RuntimeWarning,
        stacklevel=2,
    )
