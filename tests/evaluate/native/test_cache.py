"""Entries of the cache are believed only when whole, of this user, and of the right key."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import pytest

from clew.evaluate.native import cache

posix = pytest.mark.skipif(sys.platform == "win32", reason="owners and modes of POSIX")
KEY = cache.key("text")


@pytest.fixture(autouse=True)
def where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    chosen = tmp_path / "cache"
    monkeypatch.setenv("CLEW_CACHE_DIR", str(chosen))
    monkeypatch.delenv("CLEW_CACHE", raising=False)
    monkeypatch.delenv("CLEW_CACHE_SIZE", raising=False)
    monkeypatch.setattr(cache, "_warned", False)
    return chosen


def test_what_is_stored_is_loaded(where: Path) -> None:
    assert cache.load(KEY) is None
    for payload in (b"", b"code", bytes(range(256)) * 1000):
        cache.store(KEY, payload)
        assert cache.load(KEY) == payload
    assert [path.name for path in where.iterdir()] == [KEY]
    assert cache.load(cache.key("other")) is None


def test_keys_depend_on_every_part_and_its_ends() -> None:
    keys = {cache.key(*parts) for parts in (["ab", "c"], ["a", "bc"], ["abc"], ["abc", ""], [])}
    assert len(keys) == 5


def test_keys_depend_on_the_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "FORMAT", cache.FORMAT + 1)
    assert cache.key("text") != KEY


def test_damaged_entries_are_not_believed(where: Path) -> None:
    cache.store(KEY, b"machine code")
    path = where / KEY
    good = path.read_bytes()
    for cut in (0, 1, 40, len(good) - 1):
        path.write_bytes(good[:cut])
        assert cache.load(KEY) is None
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        assert cache.load(KEY) is None
    path.write_bytes(good + b"\0")
    assert cache.load(KEY) is None
    path.write_bytes(b"somebody else's file")
    assert cache.load(KEY) is None
    cache.store(KEY, b"built again")
    assert cache.load(KEY) == b"built again"


def test_entries_under_the_wrong_key_are_not_believed(where: Path) -> None:
    cache.store(KEY, b"machine code")
    other = cache.key("other")
    os.rename(where / KEY, where / other)
    assert cache.load(other) is None


@posix
def test_files_of_other_users_are_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    cache.store(KEY, b"machine code")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert cache.load(KEY) is None


@posix
def test_files_that_all_may_write_are_not_believed(where: Path) -> None:
    cache.store(KEY, b"machine code")
    os.chmod(where / KEY, 0o666)
    assert cache.load(KEY) is None


@posix
def test_directories_that_all_may_write_are_not_believed(where: Path) -> None:
    cache.store(KEY, b"machine code")
    os.chmod(where, 0o777)
    assert cache.load(KEY) is None
    with pytest.warns(RuntimeWarning, match="every user may replace files there"):
        cache.store(KEY, b"machine code")
    os.chmod(where, 0o1777)
    assert cache.load(KEY) == b"machine code"


@posix
def test_new_directories_are_private(where: Path) -> None:
    cache.store(KEY, b"machine code")
    assert where.stat().st_mode & 0o077 == 0
    assert (where / KEY).stat().st_mode & 0o077 == 0


def test_a_file_in_place_of_the_directory(where: Path) -> None:
    where.write_text("not a directory")
    with pytest.warns(RuntimeWarning, match="CLEW_CACHE_DIR"):
        cache.store(KEY, b"machine code")
    cache.store(KEY, b"machine code")  # a second warning would be an error
    assert cache.load(KEY) is None


def test_a_directory_that_may_not_be_written(where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(where))

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    with pytest.warns(RuntimeWarning, match=os.strerror(errno.EACCES)):
        cache.store(KEY, b"machine code")
    cache.store(KEY, b"machine code")  # a second warning would be an error


def test_a_full_disk_leaves_no_file(where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __init__(self, handle: int, _: str) -> None:
            self.handle = handle

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            os.close(self.handle)

        def write(self, data: bytes) -> None:
            os.write(self.handle, data[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    cache.store(cache.key("before"), b"kept")
    monkeypatch.setattr(os, "fdopen", Full)
    with pytest.warns(RuntimeWarning, match=os.strerror(errno.ENOSPC)):
        cache.store(KEY, b"machine code")
    monkeypatch.undo()
    assert [path.name for path in where.iterdir()] == [cache.key("before")]


def test_a_target_that_another_process_reads_is_left(
    where: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.store(KEY, b"first")

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "used by another process")

    monkeypatch.setattr(os, "replace", refuse)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.store(KEY, b"first")
    assert cache.load(KEY) == b"first"
    assert [path.name for path in where.iterdir()] == [KEY]


def test_turned_off(where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEW_CACHE", "0")
    cache.store(KEY, b"machine code")
    assert cache.load(KEY) is None
    assert not where.exists()


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_the_platform_s_directory(
    platform: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLEW_CACHE_DIR")
    for name in ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr(sys, "platform", platform)
    home = Path(os.path.expanduser("~"))
    expected = {
        "linux": tmp_path / "XDG_CACHE_HOME",
        "darwin": home / "Library" / "Caches",
        "win32": tmp_path / "LOCALAPPDATA",
    }
    assert cache.folder() == expected[platform] / "clew" / "native"
    monkeypatch.delenv("XDG_CACHE_HOME")
    if platform == "linux":
        assert cache.folder() == home / ".cache" / "clew" / "native"


def test_no_cache_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLEW_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache.folder() is None


def fill(where: Path, count: int, size: int) -> list[str]:
    """Entries that were used one minute apart, the first one longest ago."""
    names = [cache.key(str(i)) for i in range(count)]
    now = time.time()
    for i, name in enumerate(names):
        cache.store(name, bytes(size))
        used = now - 60.0 * (count - i)
        os.utime(where / name, (used, used))
    return names


def test_the_least_recently_used_are_removed(where: Path) -> None:
    names = fill(where, 20, 1000)
    size = (where / names[0]).stat().st_size
    cache.prune(where, 20 * size)
    assert len(list(where.iterdir())) == 20
    cache.prune(where, 16 * size)
    assert {path.name for path in where.iterdir()} == set(names[8:])


def test_use_keeps_an_entry(where: Path) -> None:
    names = fill(where, 4, 1000)
    old = time.time() - 86400.0
    os.utime(where / names[3], (old, old))
    assert cache.load(names[3]) is not None
    size = (where / names[0]).stat().st_size
    cache.prune(where, 3 * size)
    assert {path.name for path in where.iterdir()} == {names[2], names[3]}


def test_storing_keeps_to_the_bound(where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEW_CACHE_SIZE", "0.05")
    for i in range(400):
        cache.store(cache.key(str(i)), bytes(1000))
    assert len(list(where.iterdir())) < 300


def test_other_files_are_left_and_abandoned_ones_removed(where: Path) -> None:
    fill(where, 2, 1000)
    (where / "notes.txt").write_bytes(bytes(5000))
    (where / ".new-old").write_bytes(b"")
    (where / ".new-young").write_bytes(b"")
    os.utime(where / ".new-old", (0.0, 0.0))
    cache.prune(where, 0)
    assert {path.name for path in where.iterdir()} == {"notes.txt", ".new-young"}


def test_processes_may_race(where: Path) -> None:
    program = """
from clew.evaluate.native import cache
name = cache.key("raced")
for i in range(300):
    found = cache.load(name)
    assert found is None or (len(found) == 20000 and len(set(found)) == 1), "torn"
    cache.store(name, bytes([i % 256]) * 20000)
"""
    command = [sys.executable, "-c", program]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    for process in running:
        _, complaint = process.communicate(timeout=120)
        assert process.returncode == 0, complaint.decode()
    assert [path.name for path in where.iterdir()] == [cache.key("raced")]
