"""The command line as a user meets it: output, files, exit codes, messages."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner

from clew.cli import main
from clew.cli.output import plain, write_json

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


@pytest.mark.parametrize(
    ("files", "target", "words"),
    [
        ({"picture.py": b"\x89PNG\x00\x01"}, "picture.py", ["picture.py is not Python source"]),
        (
            {"script.py": b"import sys\nsys.exit(3)\n"},
            "script.py",
            ["ended the program (SystemExit: 3)", "script.py:2", "__main__"],
        ),
        (
            {"user.py": b"import user_helper\n", "user_helper.py": b"\nx = 1 / 0\n"},
            "user.py",
            ["user.py raised ZeroDivisionError", "at: user_helper.py:2"],
        ),
        ({"model.py": b""}, "model.py:1x", ["'1x' in", "is not a name"]),
        ({"folder.py/kept": b""}, "folder.py", ["is not a Python file"]),
        (
            {"two.py": PROBLEM.replace("problem =", "first = second =").encode()},
            "two.py",
            ["has several: first, second", "two.py:first"],
        ),
    ],
)
def test_files_that_cannot_be_loaded(tmp_path, files, target, words):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    result = run("solve", tmp_path / target)
    assert result.exit_code == 2, result.output
    for word in [*words, "fix:"]:
        assert word in result.output
    assert ":0" not in result.output


def test_a_file_named_as_a_library_does_not_replace_it(tmp_path):
    path = tmp_path / "json.py"
    path.write_text(PROBLEM)
    assert run("solve", path, "--json", tmp_path / "answer").exit_code == 0
    assert sys.modules["json"] is json


def test_json_has_no_nan_and_no_infinity(tmp_path):
    values = [np.nan, np.array([[1.5, np.nan], [-np.inf, 2.0]])]
    values.append(np.array([1.0 + 2.0j, complex(np.nan, 1.0)]))
    write_json(tmp_path / "a.json", [plain(each) for each in values])
    assert json.loads((tmp_path / "a.json").read_text()) == [
        None,
        [[1.5, None], [None, 2.0]],
        {"real": [1.0, None], "imag": [2.0, 1.0]},
    ]


def test_an_error_that_is_not_the_users_is_not_laid_on_a_line_of_theirs(tmp_path):
    path = tmp_path / "arity.py"
    path.write_text("import clew\nproblem = clew.Problem(lambda: 1.0, {'a': 1.0}, target=2.0)\n")
    result = run("solve", path)
    assert result.exit_code == 2
    assert "while no line of arity.py was running" in result.output
    assert "at: " not in result.output
    assert "arity.py raised" not in result.output


def test_output_that_cannot_be_written_is_refused_before_the_work(model, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "slow.py").write_text("raise SystemError('the model was run')\n")
    result = run("solve", tmp_path / "slow.py", "--json", tmp_path / "file" / "a.json")
    assert result.exit_code == 2
    assert "cannot be written" in result.output
    assert "the model was run" not in result.output
    result = run("solve", model, "--report", tmp_path)
    assert result.exit_code == 2
    assert "is a directory" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["loss", "--args", "(3,)"], ["no argument is a float (i64)", "3.0 for 3"]),
        (["loss", "--args", "(1.0, 2.0)"], ["loss(w) was given 2 arguments", "model.py:13"]),
        (["loss", "--args", "([[1.0], [1.0, 2.0]],)"], ["is not an array of numbers"]),
        (["loss", "--args", "(['a'],)"], ["is not an array of numbers"]),
        (["loss", "--tolerance", "nan"], ["not a positive number"]),
        (["loss", "--tolerance", "-1"], ["not a positive number"]),
    ],
)
def test_a_check_that_could_not_fail_is_refused(model, arguments, words):
    name, *options = arguments
    result = run("check", f"{model}:{name}", *options)
    assert result.exit_code == 2, result.output
    for word in words:
        assert word in result.output


def test_a_name_may_stand_for_any_callable(tmp_path):
    path = tmp_path / "callables.py"
    path.write_text(
        "from functools import partial\nfrom numpy import sin\nimport clew\n"
        "def power(n, x):\n    return x**n\n"
        "cube, slope = partial(power, 3), clew.grad(sin)\nexample_args = (0.7,)\n"
    )
    for name in ("sin", "cube", "slope"):
        result = run("check", f"{path}:{name}")
        assert result.exit_code == 0, result.output


SLOW = """
import numpy as np
import clew

x = np.linspace(0.0, 1.0, 20_000)

def model(p):
    return np.sin(p["w"] * x) * np.exp(p["v"] * x)

problem = clew.Problem(model, {"v": 1.0, "w": 3.0}, target=np.cos(7.0 * x))
"""


def start(path, *options):
    """Start ``clew solve`` in a process of its own, which a signal can reach."""
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from clew.cli import main; main()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, "solve", str(path), "--method", "adam", *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(path, process):
    deadline = time.monotonic() + 60.0
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert path.exists()


def test_interrupting_leaves_the_best_answer(tmp_path):
    path, kept, answer = tmp_path / "slow.py", tmp_path / "kept", tmp_path / "a.json"
    path.write_text(SLOW)
    process = start(path, "--steps", 10**6, "--resume", kept, "--json", answer)
    wait_for(kept, process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    found = json.loads(answer.read_text())
    assert "nterrupted" in found["status"]
    assert 0 < found["steps"] < 10**6


def test_a_killed_run_resumes_bit_for_bit(tmp_path):
    path, kept = tmp_path / "slow.py", tmp_path / "kept"
    path.write_text(SLOW)
    process = start(path, "--steps", 3000, "--resume", kept)
    wait_for(kept, process)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL  # it was killed on its way, not after its end
    options = ["--method", "adam", "--steps", "3000"]
    assert run("solve", path, *options, "--resume", kept, "--json", tmp_path / "a").exit_code == 1
    assert run("solve", path, *options, "--json", tmp_path / "b").exit_code == 1
    resumed, whole = (json.loads((tmp_path / name).read_text()) for name in "ab")
    assert resumed == whole


def test_it_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "clew.cli", "--help"], capture_output=True, text=True, check=True
    )
    assert "solve" in done.stdout


def test_solve_prints_a_profile_of_the_run(model):
    result = run("solve", model, "--profile")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("model.py: "))
    assert lines[start].endswith("(mean of 1 call)")
    assert lines[start + 1].split()[:4] == ["step", "calls", "time", "share"]
    assert any("exp" in line and "model.py:8" in line for line in lines[start + 2 :])
    assert "core.py" not in result.output  # click's own file is no place of the user's


def test_trace_prints_a_profile_of_the_gradient(model):
    result = run("trace", f"{model}:loss", "--gradient", "--profile")
    assert result.exit_code == 0, result.output
    assert "graph(" in result.output
    assert "(mean of " in result.output
    assert "registers: " in result.output
    assert "GFLOP/s" in result.output
    assert "(mean of " not in run("trace", f"{model}:loss", "--gradient").output
