"""``clew paths`` counts, takes apart, draws and writes; what is wrong is said in a line."""

from __future__ import annotations

import json
import math

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

loss_args = (network, 1.5)
whole_args = (3,)
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


@pytest.fixture
def network(tmp_path):
    file = tmp_path / "network.py"
    file.write_text(NETWORK)
    return file


def run(*arguments):
    return CliRunner().invoke(main, ["paths", *map(str, arguments)])


def test_the_table_has_a_row_for_each_parameter(network):
    done = run(f"{network}:loss", "--level", "dense")
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.output.splitlines()[1:]]
    weights = [row for row in rows if row[0].endswith("weight")]
    assert [int(row[1]) for row in weights] == [16, 8, 4, 2, 1]
    assert all(row[-1] == "healthy" for row in weights)


def test_one_parameter_is_taken_apart(network, tmp_path):
    out = tmp_path / "new" / "figures.json"
    done = run(f"{network}:loss", "--level", "dense", "--from", WEIGHT, "--json", out)
    assert done.exit_code == 0, done.output
    assert f"{WEIGHT}: 16 gradient paths, of length 1 to 5" in done.output
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
    assert "about 10^" in done.output


def test_paths_from_a_scope_back(network):
    done = run(f"{network}:loss", "--level", "dense", "--from", "dense", "--to", "sequential")
    assert done.exit_code == 0, done.output
    assert "from sequential" in done.output
    assert "used by" not in done.output


def test_a_problem_is_looked_at_from_its_start(tmp_path):
    file = tmp_path / "line.py"
    file.write_text(PROBLEM)
    done = run(file)
    assert done.exit_code == 0, done.output
    assert {line.split()[0] for line in done.output.splitlines()[1:]} == {"slope", "start"}
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
    figures = json.loads(out.read_text())
    assert {row["source"] for row in figures["parameters"]} == set(figures["lengths"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("loss", "--level", "dnse"), "did you mean 'dense'"),
        (("loss", "--from", "layers[0].body.weigth"), f"did you mean '{WEIGHT}'"),
        (("los",), "it has loss"),
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
    done = run(f"{network}:loss", "--report", tmp_path / "a file" / "r.html")
    assert done.exit_code == 2
    assert "cannot be written" in done.output


def test_an_error_of_the_model_names_its_line(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text("def f(x):\n    return x / 0.0 if x > 5 else {}['a']\n")
    done = run(f"{file}:f", "--args", "(1.0,)")
    assert done.exit_code == 2
    assert "broken.py:2" in done.output
