"""A run that is killed at a random moment and resumed ends bit for bit where it would have."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from clew.core.errors import InputError
from clew.solve import Problem, ResumeError, solve
from tests.solve.run_to_kill import OPTIONS, X, fingerprint, model, problem

ROOT = Path(__file__).resolve().parents[2]
STEPS = 24


def _launch(name: str, file: str, pause: float = 0.0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.solve.run_to_kill", name, file, str(STEPS), str(pause)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def _wait_for_step(process: subprocess.Popen[str], number: int) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if line.strip().isdigit() and int(line) >= number:
            return


@pytest.mark.parametrize("name", ["batch", "lbfgs", "lm", "slsqp"])
def test_a_killed_process_resumes_bit_for_bit(name: str, tmp_path: Path) -> None:
    moments = random.Random(name)
    whole = _launch(name, "-")
    file = str(tmp_path / "run.clew")
    killed = 0
    for _ in range(3):
        process = _launch(name, file, pause=0.02)
        _wait_for_step(process, killed * 3 + moments.randrange(1, 4))
        time.sleep(moments.random() * 0.03)
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
    assert killed >= 2
    resumed = _launch(name, file).communicate()[0].splitlines()
    wanted = whole.communicate()[0].splitlines()
    assert resumed[0] == wanted[0]
    assert resumed[1] == wanted[1]


@pytest.mark.parametrize("name", list(OPTIONS))
def test_a_run_in_two_sittings_is_the_run_in_one(name: str, tmp_path: Path) -> None:
    file = tmp_path / "run.clew"
    task = problem(name in ("slsqp", "trust-constr"))
    whole = solve(task, steps=STEPS, **OPTIONS[name])
    for steps in (0, 3, 4, 11):
        part = solve(task, steps=steps, resume=file, **OPTIONS[name])
        assert part.steps <= steps
    resumed = solve(task, steps=STEPS, resume=file, **OPTIONS[name])
    assert fingerprint(resumed) == fingerprint(whole)
    assert resumed.status == whole.status


def test_a_finished_run_is_given_back_at_once(tmp_path: Path) -> None:
    file = tmp_path / "run.clew"
    first = solve(problem(False), resume=file)
    called = []
    again = solve(problem(False), resume=file, callback=called.append)
    assert first.converged
    assert called == []
    assert fingerprint(again) == fingerprint(first)
    assert again.status == first.status


def test_constrained_runs_replay_without_asking_the_model(tmp_path: Path) -> None:
    file = tmp_path / "run.clew"
    task = problem(True)
    solve(task, "slsqp", steps=6, resume=file)
    counted = []

    def constraint_value(p):
        counted.append(1)
        return p["height"][0] + p["height"][1] ** 2

    replayed = problem(True)
    object.__setattr__(replayed.constraints[0], "function", constraint_value)
    steps = []
    solve(replayed, "slsqp", steps=6, resume=file, callback=lambda step: steps.append(step.number))
    assert steps == []  # nothing new happened, and nothing is told twice


def _other(**changes) -> Problem:
    settings = {
        "model": model,
        "start": {"height": np.array([1.0, 1.0]), "rate": 0.3, "turn": 1.5},
        "target": np.sin(X),
        "data": X,
    }
    return Problem(**{**settings, **changes})


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"target": np.cos(X)}, "its target differs"),
        ({"data": X + 1}, "its data differ"),
        ({"start": {"height": np.ones(2), "rate": 0.4, "turn": 1.5}}, "its start differs"),
        ({"bounds": {"rate": (0, 1)}}, "its bounds differ"),
        ({"fixed": ["turn"]}, "its fixed parameters differ"),
        ({"weights": 2.0}, "its weights differ"),
        ({"robust": "huber"}, "its robust loss differs"),
        (
            {
                "start": {"height": np.ones(2), "rate": 0.3, "spin": 1.5},
                "model": lambda p, x: model({**p, "turn": p["spin"]}, x),
            },
            r"its parameters differ \(the file: .*turn.*now: .*spin",
        ),
        (
            {"model": lambda p, x: 2 * model(p, x)},
            "written by another model: the loss at the start",
        ),
    ],
)
def test_a_file_of_another_problem_is_refused(changes, cause: str, tmp_path: Path) -> None:
    file = tmp_path / "run.clew"
    solve(_other(), resume=file, steps=2)
    before = file.read_bytes()
    with pytest.raises(ResumeError, match=cause) as caught:
        solve(_other(**changes), resume=file)
    assert "give another path" in caught.value.fix
    assert file.read_bytes() == before


def test_a_file_of_another_method_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "run.clew"
    solve(_other(), "adam", resume=file, steps=2)
    with pytest.raises(ResumeError, match=r"its method differs \(the file: .*adam.*now: .*lbfgs"):
        solve(_other(), "lbfgs", resume=file)
    with pytest.raises(ResumeError, match="its method differs"):
        solve(_other(), "adam", learning_rate=0.5, resume=file)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "run.clew"
    solve(_other(), resume=file, steps=2)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ResumeError, match="damaged"):
        solve(_other(), resume=file)


def test_more_steps_or_a_finer_tolerance_continue(tmp_path: Path) -> None:
    file = tmp_path / "run.clew"
    coarse = solve(_other(), "lbfgs", resume=file, tolerance=1e-2)
    fine = solve(_other(), "lbfgs", resume=file, tolerance=1e-8)
    assert coarse.converged
    assert fine.converged
    assert fine.steps > coarse.steps
    assert fine.loss < coarse.loss


def test_complex_parameters_are_kept(tmp_path: Path) -> None:
    wave = np.exp(1j * X)

    def make() -> Problem:
        return Problem(lambda p: p["z"] * wave, {"z": 1.0 + 0.0j}, target=(2 - 3j) * wave)

    file = tmp_path / "run.clew"
    solve(make(), "adam", steps=5, resume=file)
    resumed = solve(make(), "adam", steps=10, resume=file)
    assert fingerprint(resumed) == fingerprint(solve(make(), "adam", steps=10))


def test_settings_of_the_file_are_checked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="checkpoint_every=0"):
        solve(_other(), resume=tmp_path / "run", checkpoint_every=0)
