"""The command line as a user meets it: output, files, exit codes, messages."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from clew.cli import main

PROBLEM = """
import numpy as np
import clew

x = np.linspace(0.0, 2.0, 20)

def decay(params):
    return params["scale"] * np.exp(-params["rate"] * x)

problem = clew.Problem(decay, {"scale": 1.0, "rate": 1.0}, target=3.0 * np.exp(-0.5 * x))
start_args = ({"scale": 1.0, "rate": 1.0},)

def loss(w):
    return np.sum(np.sin(w) ** 2)

loss_args = (np.array([0.3, 0.7]),)

@clew.custom_rule(pull=lambda t, y, x: t * 3.0 * x)
def wrong(x):
    return x * x
"""


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.py"
    path.write_text(PROBLEM)
    return path


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_solve_writes_answer_and_report(model, tmp_path):
    answer, report = tmp_path / "out" / "a.json", tmp_path / "out" / "r.html"
    result = run("solve", model, "--json", answer, "--report", report)
    assert result.exit_code == 0, result.output
    found = json.loads(answer.read_text())
    assert found["converged"]
    assert found["params"]["rate"] == pytest.approx(0.5, rel=1e-8)
    assert "<html" in report.read_text()


def test_solve_that_does_not_arrive_exits_with_1(model):
    assert run("solve", f"{model}:problem", "--method", "adam", "--steps", "1").exit_code == 1


def test_solve_resumes(model, tmp_path):
    kept = tmp_path / "run.safetensors"
    assert run("solve", model, "--method", "adam", "--steps", "3", "--resume", kept).exit_code == 1
    assert kept.exists()
    assert run("solve", model, "--method", "lbfgs", "--resume", kept).exit_code == 2


def test_check_and_its_failure(model):
    result = run("check", f"{model}:loss", "--order", "2")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("ok: forward mode against differences")
    result = run("check", f"{model}:wrong", "--args", "(2.0,)")
    assert result.exit_code == 1
    assert "is 6" in result.output or "relative error 5.0e-01" in result.output


def test_trace_prints_lines_and_cost(model):
    result = run("trace", f"{model}:loss")
    assert result.exit_code == 0, result.output
    assert "model.py:14" in result.output
    assert "3 equations (1 sin, 1 square, 1 sum)" in result.output
    assert "cos" in run("trace", f"{model}:loss", "--gradient").output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["solve", "nowhere.py"], ["no such file"]),
        (["solve", "{folder}/mode.py"], ["no such file", "model.py"]),
        (["solve", "{folder}/notes.txt"], ["not a Python file"]),
        (["solve", "{folder}/empty.py"], ["has no problem", "it defines nothing"]),
        (["solve", "{folder}/model.py:problen"], ["there is no problen", "problem"]),
        (["solve", "{folder}/model.py:loss"], ["loss is not a problem"]),
        (["solve", "{folder}/raises.py"], ["ZeroDivisionError", "raises.py:2"]),
        (["solve", "{folder}/syntax.py"], ["SyntaxError", "syntax.py:1"]),
        (["solve", "{folder}/model.py", "--method", "adan"], ["adam"]),
        (["solve", "{folder}/bad_model.py"], ["KeyError", "bad_model.py:3"]),
        (["check", "{folder}/model.py:decay"], ["no arguments to call decay with", "decay_args"]),
        (["check", "{folder}/model.py:loss", "--args", "x+"], ["not a Python literal"]),
    ],
)
def test_bad_use_says_what_and_what_to_do(model, arguments, words):
    folder = model.parent
    (folder / "notes.txt").write_text("no")
    (folder / "empty.py").write_text("")
    (folder / "raises.py").write_text("a = 1\nb = a / 0\n")
    (folder / "syntax.py").write_text("def\n")
    (folder / "bad_model.py").write_text(
        "import clew\ndef model(p):\n    return p['nothing'] * 2.0\n"
        "problem = clew.Problem(model, {'a': 1.0}, target=2.0)\n"
    )
    result = run(*[each.format(folder=folder) for each in arguments])
    assert result.exit_code == 2, result.output
    for word in [*words, "fix:"]:
        assert word in result.output


def test_it_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "clew.cli", "--help"], capture_output=True, text=True, check=True
    )
    assert "solve" in done.stdout
