"""Bad input, as a user of the command line meets it: what, on which of their lines, what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from clew.cli import main

UNRENDER = Path(__file__).parents[2] / "examples" / "unrender"
HEAD = "import numpy as np\nimport clew\n"

# name: the file after HEAD (it starts on line 3), the line to blame, words of the message
PROBLEMS = {
    "shapes": (
        "problem = clew.Problem(lambda p: p['a'], {'a': np.ones(3)}, target=np.ones(4))\n",
        3,
        ["prediction has shape (3,)", "target has shape (4,)"],
    ),
    "dtype": (
        "problem = clew.Problem(lambda p: p['a'], {'a': np.array(['x'])}, target=1.0)\n",
        3,
        ["start of a has dtype <U1"],
    ),
    "nan in the target": (
        "problem = clew.Problem(\n    lambda p: p['a'] * np.ones(2), {'a': 1.0},\n"
        "    target=np.array([1.0, np.nan]))\n",
        3,
        ["nan", "target"],
    ),
    "start outside bounds": (
        "problem = clew.Problem(lambda p: p['a'], {'a': 5.0}, target=1.0, bounds={'a': (0, 1)})\n",
        3,
        ["start of a is 5, above its upper bound 1"],
    ),
    "ignored parameter": (
        "def model(p):\n    return p['a'] * 2.0\n"
        "problem = clew.Problem(model, {'a': 5.0, 'b': 1.0}, target=1.0)\n",
        3,
        ["no path from 'b' to the loss", "fixed=['b']"],
    ),
    "empty tree": (
        "problem = clew.Problem(lambda p: 1.0, {}, target=1.0)\n",
        3,
        ["holds no parameters"],
    ),
    "nan from the model": (
        "def model(p):\n    return np.log(p['a'] - 5.0)\n"
        "problem = clew.Problem(model, {'a': 5.0}, target=1.0)\n",
        3,
        ["gives -inf", "not finite"],
    ),
    "model that raises": (
        "def model(p):\n    return p['nothing']\n"
        "problem = clew.Problem(model, {'a': 5.0}, target=1.0)\n",
        4,
        ["KeyError", "nothing"],
    ),
    "traced value cut": (
        "def model(p):\n    return float(p['a'])\n"
        "problem = clew.Problem(model, {'a': 5.0}, target=1.0)\n",
        4,
        ["float()", "keep the value as it is"],
    ),
    "constant model": (
        "problem = clew.Problem(lambda p: 3.0, {'a': 5.0}, target=1.0)\n",
        3,
        ["no path from 'a' to the loss"],
    ),
    "shapes inside the model": (
        "def model(p):\n    return p['a'] + np.ones(2)\n"
        "problem = clew.Problem(model, {'a': np.ones(3)}, target=np.ones(3))\n",
        4,
        ["ValueError", "(3,) (2,)"],
    ),
}


def solve(*arguments):
    return CliRunner().invoke(main, ["solve", *map(str, arguments)])


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:divide by zero encountered:RuntimeWarning")
@pytest.mark.parametrize("name", PROBLEMS)
def test_a_bad_problem_is_explained_on_the_users_line(tmp_path, name):
    body, line, words = PROBLEMS[name]
    path = tmp_path / "bad_problem.py"
    path.write_text(HEAD + body)
    result = solve(path)
    assert result.exit_code == 2, result.output
    for word in [*words, f"at: bad_problem.py:{line}\n"]:
        assert word in result.output
    # Three parts, each once: an error is not wrapped into another.
    assert result.output.count("at: ") == 1
    assert result.output.count("fix: ") == 1


def problem_of(parameter):
    return (
        HEAD + f"problem = clew.Problem(lambda p: np.cos(p['{parameter}']), "
        f"{{'{parameter}': 1.0}}, target=0.2)\n"
    )


def test_a_resume_file_of_another_problem(tmp_path):
    one, other, kept = tmp_path / "one.py", tmp_path / "other.py", tmp_path / "kept.safetensors"
    one.write_text(problem_of("angle"))
    other.write_text(problem_of("phase"))
    assert solve(one, "--method", "adam", "--steps", 2, "--resume", kept).exit_code == 1
    result = solve(other, "--method", "adam", "--steps", 2, "--resume", kept)
    assert result.exit_code == 2
    assert "resume" in result.output
    assert "kept.safetensors" in result.output
    assert "fix: " in result.output


def test_a_resume_file_that_is_damaged(tmp_path):
    path, kept = tmp_path / "one.py", tmp_path / "kept.safetensors"
    path.write_text(problem_of("angle"))
    kept.write_bytes(b"\x89PNG not a run")
    result = solve(path, "--resume", kept)
    assert result.exit_code == 2
    assert "kept.safetensors is damaged" in result.output


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "there is no such file"), (b"not a picture", "is not an image that can be read")],
)
def test_a_photograph_that_is_no_image(tmp_path, content, words):
    for name in ("matte_ball.py", "matte_ball.json"):
        shutil.copy(UNRENDER / name, tmp_path / name)
    if content is not None:
        (tmp_path / "matte_ball.png").write_bytes(content)
    result = solve(tmp_path / "matte_ball.py")
    assert result.exit_code == 2, result.output
    for word in [words, "matte_ball.png", "at: matte_ball.py:", "fix: give"]:
        assert word in result.output
    assert result.output.count("fix: ") == 1


def test_no_message_blames_the_frames_that_started_the_command(tmp_path):
    path = tmp_path / "one.py"
    path.write_text(problem_of("angle"))
    result = solve(path, "--method", "adan")
    assert result.exit_code == 2
    assert "there is no method 'adan'" in result.output
    assert "at: " not in result.output
