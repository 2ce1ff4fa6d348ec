"""Examples as a user runs them, and as modules."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples"


def file_of(name: str) -> Path:
    """Return an example's file: ``name/name.py``, or of ``folder_name``, ``folder/name.py``."""
    file = FOLDER / name / f"{name}.py"
    folder, _, last = name.partition("_")
    return file if file.is_file() else FOLDER / folder / f"{last}.py"


def load(name: str) -> ModuleType:
    """Import an example from its file."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", file_of(name))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def example(request: pytest.FixtureRequest) -> ModuleType:
    """The example that a test module is named after."""
    return load(request.path.stem.removeprefix("test_"))


@pytest.fixture
def run(request: pytest.FixtureRequest):
    """Run the example as a command; gives its exit status and what it printed."""
    name = request.path.stem.removeprefix("test_")

    def command(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-W", "error", str(file_of(name)), *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            # two test workers with two BLAS threads each wait for each other most of the time
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return command
