"""``clew paths`` counts, takes apart, draws and writes; what is wrong is said in a line."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import clew
from clew.cli import main

NETWORK = """
import numpy as np, clew
from clew import nn

generator = np.random.default_rng(0)
layers = [nn.Residual(nn.Dense.create(generator, 4, 4, np.tanh)) for _ in range(5)]
network = nn.Sequential(layers)
points = generator.normal(size=(3, 4))

def loss(network, scale):
    return scale * np.mean(network(points) ** 2)

def whole(number):
    return number * 2

def several(x):
    return np.sin(x), x * x

def cut(x):
    return clew.stop_gradient(x) * 2.0

loss_args = (network, 1.5)
whole_args = (3,)
several_args = (np.array([0.5, 1.0]),)
cut_args = (1.0,)
"""
PROBLEM = """
import numpy as np, clew
problem = clew.Problem(
    lambda p: p["slope"] * np.arange(3.0) + p["start"],
    {"slope": 1.0, "start": 0.0},
    target=np.array([1.0, 3.0, 5.0]),
)
"""
WEIGHT = "layers[0].body.weight"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def network(tmp_path):
    file = tmp_path / "network.py"
    file.write_text(NETWORK)
    return file


def run(*arguments):
    return CliRunner().invoke(main, ["paths", *map(str, arguments)])


def printed(output):
    """Return the words of each line of the last table that was printed."""
    return [line.split() for line in output.rpartition("\n\n")[2].splitlines()]


def test_the_table_has_a_row_for_each_parameter(network):
    done = run(f"{network}:loss", "--level", "dense")
    assert done.exit_code == 0, done.output
    counts = [sum(math.comb(block, k) for block in range(5)) * 2 for k in range(5)]
    head, spectrum, _ = done.output.split("\n\n")
    assert f"{sum(counts)} paths from output back to the arguments, of 1 to 5 scopes" in head
    assert [line.split() for line in spectrum.splitlines()[1:]] == [
        [str(length), str(count)] for length, count in enumerate(counts, start=1)
    ]
    weights = [row for row in printed(done.output) if row[0].endswith("weight")]
    assert [int(row[1]) for row in weights] == [16, 8, 4, 2, 1]
    assert all(row[-1] == "healthy" for row in weights)


def test_one_parameter_is_taken_apart(network, tmp_path):
    out = tmp_path / "new" / "figures.json"
    done = run(f"{network}:loss", "--level", "dense", "--from", WEIGHT, "--json", out)
    assert done.exit_code == 0, done.output
    assert f"16 paths from output back to {WEIGHT}, of 1 to 5 scopes" in done.output
    assert [row[0] for row in printed(done.output.rpartition("\nfigures")[0])[1:]] == [WEIGHT]
    found = json.loads(out.read_text())
    assert [each["paths"] for each in found["lengths"]] == [math.comb(4, k) for k in range(5)]
    assert sum(each["share"] for each in found["lengths"]) == pytest.approx(1.0, abs=1e-12)
    scope = {}
    exec(NETWORK, scope)
    gradient = clew.grad(scope["loss"])(*scope["loss_args"]).layers[0].body.weight
    (use,) = found["uses"]
    assert use["node"] == "dense"
    assert use["norm"] == pytest.approx(np.linalg.norm(gradient), rel=1e-12)


def test_numbers_too_long_for_json_readers_are_text(tmp_path):
    file = tmp_path / "deep.py"
    file.write_text(
        "import numpy as np\n"
        "def deep(x):\n"
        "    for _ in range(200):\n"
        "        x = x + np.sin(x)\n"
        "    return x\n"
    )
    out = tmp_path / "figures.json"
    done = run(f"{file}:deep", "--args", "(0.1,)", "--from", "x", "--json", out)
    assert done.exit_code == 0, done.output
    assert json.loads(out.read_text())["paths"] == str(2**200)
    assert "1.607e+60 paths" in done.output


def test_numbers_of_more_digits_than_python_prints(tmp_path):
    file = tmp_path / "deep.py"
    file.write_text(
        "import clew\n"
        "def deep(x):\n"
        "    return clew.fori_loop(0, 15_000, lambda _, y: 0.5 * (y + y), x)\n"
    )
    out = tmp_path / "figures.json"
    done = run(f"{file}:deep", "--args", "1.0", "--from", "x", "--json", out)
    assert done.exit_code == 0, done.output
    assert "2.818e+4515 paths" in done.output  # 15,000 log10(2) = 4515.44993
    text = json.loads(out.read_text())["paths"]
    assert len(text) == 4516
    assert int(text[-18:]) == pow(2, 15_000, 10**18)


def test_few_of_many_lengths_and_uses_are_printed(tmp_path):
    file = tmp_path / "long.py"
    file.write_text(
        "import clew, numpy as np\n"
        "def long(x):\n"
        "    return clew.fori_loop(0, 30, lambda _, y: y + x * np.sin(y), 0.1)\n"
    )
    out = tmp_path / "figures.json"
    done = run(f"{file}:long", "--args", "0.2", "--from", "x", "--json", out)
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text())
    assert len(found["uses"]) == 30
    assert [use["steps"] for use in found["uses"]] == [[step] for step in range(30)]
    assert "and 20 more" in done.output
    assert f"and {len(found['lengths']) - 10} more" in done.output
    assert "step 29: x" in done.output
    assert "step 0: x" not in done.output  # later steps carry more


def test_paths_from_a_scope_back(network):
    ends = ("--from", "dense", "--to", "sequential")
    done = run(f"{network}:loss", "--level", "dense", *ends)
    assert done.exit_code == 0, done.output
    assert "31 paths from sequential back to dense, of 0 to 4 scopes" in done.output
    assert "used by" not in done.output  # what the scope gives is no single number
    done = run(f"{network}:loss", "--level", "dense", "--to", "sequential")
    assert "62 paths from sequential back to the arguments" in done.output
    assert "the sink is not one number" in done.output


def test_one_of_several_outputs(network, tmp_path):
    done = run(f"{network}:several")
    assert done.exit_code == 2
    assert "returned 2 floating-point arrays" in done.output
    out, report = tmp_path / "a.json", tmp_path / "a.html"
    done = run(f"{network}:several", "--from", "x", "--to", "1", "--json", out, "--report", report)
    assert done.exit_code == 0, done.output
    assert "used by" not in done.output
    assert json.loads(out.read_text())["lengths"] == [{"length": 1, "paths": 2}]
    assert report.exists()
    done = run(f"{network}:several", "--args", "0.5", "--from", "x", "--to", "1", "--json", out)
    assert json.loads(out.read_text())["lengths"][0]["norm"] == 1.0


def test_other_arguments_are_differentiated(network, tmp_path):
    out = tmp_path / "a.json"
    done = run(f"{network}:loss", "--argnums", "0,1", "--from", "scale", "--json", out)
    assert done.exit_code == 0, done.output
    scope = {}
    exec(NETWORK, scope)
    slope = scope["loss"](scope["network"], 1.0)
    (use,) = json.loads(out.read_text())["uses"]
    assert use["norm"] == pytest.approx(slope, rel=1e-12)
    assert "argnums=1" in run(f"{network}:loss", "--from", "scale").output
    assert "not a list of numbers" in run(f"{network}:loss", "--argnums", "scale").output


def test_where_no_path_leads_the_table_says_why(network):
    done = run(f"{network}:cut")
    assert done.exit_code == 0, done.output
    assert "no path from output back to the arguments" in done.output
    assert "cut off: stopped by stop_gradient at network.py" in done.output


def test_a_problem_is_looked_at_from_its_start(tmp_path):
    file = tmp_path / "line.py"
    file.write_text(PROBLEM)
    done = run(file)
    assert done.exit_code == 0, done.output
    assert {row[0] for row in printed(done.output)[1:]} == {"slope", "start"}
    file.write_text(PROBLEM.replace("problem =", "def helper(x): return x\nline ="))
    assert printed(run(file).output) == printed(done.output)
    done = run(file, "--args", "(1.0,)")
    assert done.exit_code == 2
    assert "leave --args out" in done.output


def test_everything_is_written(network, tmp_path):
    report, svg, dot, out = (
        tmp_path / "out" / f"a.{end}" for end in ("html", "svg", "dot", "json")
    )
    done = run(f"{network}:loss", "--report", report, "--svg", svg, "--dot", dot, "--json", out)
    assert done.exit_code == 0, done.output
    assert report.read_text().lower().startswith("<!doctype html>")
    assert svg.read_text().startswith("<svg")
    assert dot.read_text().startswith("digraph")
    rows = json.loads(out.read_text())["parameters"]
    assert len(rows) == 10
    for row in rows:
        assert sum(part["share"] for part in row["shares"]) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("loss", "--level", "dnse"), "did you mean 'dense'"),
        (("loss", "--from", "layers[0].body.weigth"), f"did you mean '{WEIGHT}'"),
        (("loss", "--level", "scope:0"), "scope:1"),
        (("los",), "it has loss"),
        (("cut", "--from", "x"), "stopped: by stop_gradient at network.py"),
        (("whole",), "holds no floating-point numbers"),
        (("loss", "--args", "(1.0"), "--args"),
    ],
)
def test_what_is_wrong_is_said(network, arguments, says):
    name, *rest = arguments
    done = run(f"{network}:{name}", *rest)
    assert done.exit_code == 2
    assert says in done.output
    assert "Traceback" not in done.output


def test_files_that_cannot_be_read_or_written(network, tmp_path):
    assert run(tmp_path / "missing.py").exit_code == 2
    (tmp_path / "a file").write_text("")
    for option in ("--report", "--svg", "--dot", "--json"):
        done = run(f"{network}:loss", option, tmp_path / "a file" / "written")
        assert done.exit_code == 2
        assert "cannot be written" in done.output


@pytest.mark.parametrize("option", ["--report", "--svg", "--dot", "--json"])
def test_a_folder_is_no_file(network, option):
    done = run(f"{network}:loss", option, "")  # as a path, "" is the current folder
    assert done.exit_code == 2
    assert "error: . cannot be written: it is a folder\n  fix: name a file" in done.output


def test_what_a_scope_gives_to_the_output_at_once_has_no_uses(tmp_path):
    file = tmp_path / "last.py"
    file.write_text(
        "import clew\ndef last(x):\n    with clew.scope('square'):\n        return x * x\n"
    )
    done = run(f"{file}:last", "--args", "2.0", "--level", "square", "--from", "square")
    assert done.exit_code == 0, done.output
    assert "1 path from output back to square, of 0 scopes" in done.output
    assert "used by" not in done.output


def test_an_error_of_the_model_names_its_line(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text("def f(x):\n    return x / 0.0 if x > 5 else {}['a']\n")
    done = run(f"{file}:f", "--args", "(1.0,)")
    assert done.exit_code == 2
    assert "broken.py:2" in done.output


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md", "docs/paths.md"])
def test_what_the_pages_show_is_what_is_printed(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    command, _, shown = text.partition("$ clew paths ")[2].partition("```")[0].partition("\n")
    file, *options = command.split()
    assert run(ROOT / file, *options).output == shown
