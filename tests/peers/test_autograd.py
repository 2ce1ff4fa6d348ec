"""HIPS autograd's own gradient tests, run on Clew through ``autograd_adapter``.

The tests (github.com/HIPS/autograd, folder ``tests``) stay outside; name the folder in
``CLEW_AUTOGRAD_TESTS``. ``EXPLAINED`` says why each one that does not pass does not;
``NOT_ABOUT_GRADIENTS`` lists files that test autograd's internals.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = os.environ.get("CLEW_AUTOGRAD_TESTS")
LISTS = "NumPy does not dispatch on a list of traced values: Clew says to use np.stack"
INDEX_TRICKS = "np.r_ and np.c_ build plain arrays; Clew raises and says to use np.concatenate"
ONE_ELEMENT = "autograd takes the gradient of an array of one element; Clew asks for a scalar"
ITS_OWN = "a function of autograd.numpy that NumPy does not have"
EXPLAINED = {
    "test_mean_list_of_boxes": LISTS,
    "test_std_list_of_boxes": LISTS,
    "test_var_list_of_boxes": LISTS,
    "test_norm_list_of_boxes": LISTS,
    "test_simple_append_list_2D": LISTS,
    "test_r_basic": INDEX_TRICKS,
    "test_r_double": INDEX_TRICKS,
    "test_r_node_and_const": INDEX_TRICKS,
    "test_r_mixed": INDEX_TRICKS,
    "test_r_slicing": INDEX_TRICKS,
    "test_c_": INDEX_TRICKS,
    "test_c_mixed": INDEX_TRICKS,
    "test_singleton_array_output": ONE_ELEMENT,
    "test_singleton_array_output_axis0": ONE_ELEMENT,
    "test_singleton_array_output_axis1": ONE_ELEMENT,
    "test_singleton_array_output_axis0_keepdims": ONE_ELEMENT,
    "test_singleton_array_output_axis1_keepdims": ONE_ELEMENT,
    "test_jacobian_against_grad": ONE_ELEMENT,
    "test_make_diagonal": ITS_OWN,
    "test_diagonal": ITS_OWN,
    "test_isinstance": "differentiates with respect to an empty list; Clew says so",
    "test_grad_complex_output": "expects a message of autograd's own",
    "test_rfftn_odd_not_implemented": "expects odd lengths to be refused; Clew transforms them",
    "test_assignment_raises_error": "expects x[i] = v to be refused; Clew differentiates it",
    "test_pinv": "pokes at a private attribute of autograd's numpy.linalg",
    "test_cast_to_int": "int(x[...]) of an array inside grad is an error in Clew: it cuts the path",
}
NOT_ABOUT_GRADIENTS = {
    "test_core.py": "autograd's vector spaces and tracer",
    "test_logic.py": "autograd's table of primitives",
    "test_misc.py": "autograd.misc",
    "test_scipy.py": "autograd's wrapped scipy.stats distributions",
    "test_tests.py": "autograd's own test utilities",
    "test_vspaces.py": "autograd's vector spaces",
    "test_wrappers.py": "autograd's wrapper names",
}


@pytest.mark.skipif(FOLDER is None, reason="CLEW_AUTOGRAD_TESTS does not name the suite's folder")
def test_passes_autograds_gradient_tests():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", ".", "-q", "-W", "ignore",
         "-p", "autograd_adapter", "-p", "no:cacheprovider", "--continue-on-collection-errors"],
        cwd=Path(FOLDER or "."),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    failed = set(re.findall(r"^FAILED \S+::(\w+)", done.stdout, re.MULTILINE))
    broken = set(re.findall(r"^ERROR (\S+)", done.stdout, re.MULTILINE))
    assert sorted(failed - set(EXPLAINED)) == []
    assert sorted(broken - set(NOT_ABOUT_GRADIENTS)) == []
    assert int(re.findall(r"(\d+) passed", done.stdout)[-1]) >= 436
