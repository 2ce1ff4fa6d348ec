"""The Array API standard's own conformance suite, run on ``clew.numpy`` with eager values.

The suite (github.com/data-apis/array-api-tests, with its submodule) stays outside; name its
folder in ``CLEW_ARRAY_API_TESTS``. Eager values are NumPy arrays, so what fails is NumPy's:

=================  ========================================================================
where              why
=================  ========================================================================
finfo, iinfo       NumPy's objects hold ``min``/``max`` as its own scalars, the suite asks for
                   Python's
meshgrid,          NumPy returns tuples where this version of the suite asks for lists
broadcast_arrays
special cases      ``floor_divide`` with infinities, and ``expm1`` of complex infinities and NaN:
                   NumPy's loops give other values
=================  ========================================================================
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = os.environ.get("CLEW_ARRAY_API_TESTS")
NUMPY_PASSES = 1318  # NumPy 2.4 on the same suite
EXPLAINED = ("test_finfo", "test_iinfo", "test_meshgrid", "test_broadcast_arrays", "test_binary",
             "test_unary", "test_iop")  # fmt: skip


@pytest.mark.skipif(FOLDER is None, reason="CLEW_ARRAY_API_TESTS does not name the suite's folder")
def test_conforms_at_least_as_well_as_numpy():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "array_api_tests", "-q", "--max-examples=20",
         "--disable-deadline", "-p", "no:cacheprovider"],
        cwd=Path(FOLDER or "."),
        env={**os.environ, "ARRAY_API_TESTS_MODULE": "clew.numpy"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    passed = int(re.findall(r"(\d+) passed", done.stdout)[-1])
    failed = re.findall(r"^FAILED \S+::(\w+)", done.stdout, re.MULTILINE)
    assert passed >= NUMPY_PASSES
    assert sorted(set(failed) - set(EXPLAINED)) == []
