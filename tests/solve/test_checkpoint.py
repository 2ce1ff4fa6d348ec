"""The file a run is written to: exact, atomic, and checked."""

from __future__ import annotations

import numpy as np
import pytest

from clew.solve import checkpoint
from clew.solve.checkpoint import ResumeError

STATE = {
    "x": np.array([0.1, -np.inf, np.nan, 5e-324]),
    "wave": np.array([[1 + 2j, 3 - 4j]]),
    "empty": np.zeros((0, 3)),
    "turned": np.arange(12.0).reshape(3, 4).T[::2],
    "single": np.float32([1.5]),
    "count": 7,
    "rate": 0.1,
    "odd": float("nan"),
    "stop": "",
    "none": None,
    "flag": True,
    "inner": {"x": np.array([3.0]), "deeper": {"n": 2}, "nothing": {}},
}


def _same(a, b) -> None:
    assert a.keys() == b.keys()
    for key, value in a.items():
        if isinstance(value, dict):
            _same(value, b[key])
        elif isinstance(value, np.ndarray):
            assert value.dtype == b[key].dtype
            assert value.shape == b[key].shape
            assert np.ascontiguousarray(value).tobytes() == b[key].tobytes()
        else:
            assert repr(value) == repr(b[key])


def test_what_is_read_is_what_was_written(tmp_path) -> None:
    file = tmp_path / "run.clew"
    checkpoint.write(file, STATE, {"who": ["me", 1]})
    state, description = checkpoint.read(file)
    _same(STATE, state)
    assert description == {"who": ["me", 1]}
    assert list(tmp_path.iterdir()) == [file]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch) -> None:
    file = tmp_path / "run.clew"
    checkpoint.write(file, {"x": np.ones(2)}, {})

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        checkpoint.write(file, {"x": np.zeros(2)}, {})
    monkeypatch.undo()
    np.testing.assert_array_equal(checkpoint.read(file)[0]["x"], np.ones(2))
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("place", [3, 40, -1])
def test_a_flipped_bit_is_noticed(tmp_path, place: int) -> None:
    file = tmp_path / "run.clew"
    checkpoint.write(file, {"x": np.arange(5.0), "n": 3}, {"a": "b"})
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(ResumeError, match=r"run\.clew is damaged, or was not written by clew"):
        checkpoint.read(file)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00" * 100])
def test_other_files_are_refused(tmp_path, content: bytes) -> None:
    file = tmp_path / "other"
    file.write_bytes(content)
    with pytest.raises(ResumeError, match="delete it to start anew"):
        checkpoint.read(file)


def test_safetensors_of_others_are_refused(tmp_path) -> None:
    from safetensors.numpy import save_file

    save_file({"x": np.ones(3)}, tmp_path / "weights.safetensors")
    with pytest.raises(ResumeError, match="damaged, or was not written"):
        checkpoint.read(tmp_path / "weights.safetensors")
