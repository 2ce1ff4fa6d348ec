"""Without a working toolchain, functions are evaluated by reference, with one warning."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest

import clew
from clew.evaluate.native import compiling, run, toolchain


@pytest.fixture
def _broken(monkeypatch):
    def refuse(*_, **__):
        raise toolchain.ToolchainError("native: no such processor", "use another machine", None)

    monkeypatch.setattr(compiling, "target", refuse)
    monkeypatch.setattr(run, "_warned", set())


@pytest.mark.usefixtures("_broken")
def test_a_broken_toolchain_warns_once_and_gives_the_same():
    x = np.linspace(0.0, 1.0, 7)
    with pytest.warns(RuntimeWarning, match="no such processor"):
        found = clew.jit(clew.value_and_grad(lambda x: np.sum(np.sin(x) ** 2)))(x)
    expected = clew.value_and_grad(lambda x: np.sum(np.sin(x) ** 2))(x)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-15)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-15)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert clew.jit(lambda x: x + 1.0)(1.0) == 2.0


def test_compilation_can_be_turned_off(monkeypatch):
    monkeypatch.setenv("CLEW_NATIVE", "0")
    fast = clew.jit(lambda x: x * 2.0)
    assert fast(3.0) == 6.0
    (signature,) = fast.paths.signatures.values()
    (path,) = signature.paths
    assert path.runs == 1


def test_without_llvmlite(tmp_path):
    """A machine on which it cannot be imported."""
    (tmp_path / "llvmlite").mkdir()
    (tmp_path / "llvmlite" / "__init__.py").write_text("raise ImportError('no llvmlite here')\n")
    code = (
        "import warnings, numpy as np\n"
        "warnings.simplefilter('always')\n"
        "import clew\n"
        "print(float(clew.jit(clew.grad(lambda x: np.sum(x ** 3)))(np.array([2.0]))[0]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(tmp_path), "PATH": "", "CLEW_CACHE": "0"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(12.0, rel=1e-14)
    assert "evaluated by reference" in done.stderr
