"""Ctrl-C leaves the best answer so far, and the file to continue from."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from clew.solve import Problem, solve
from clew.solve.progress import Interruption
from tests.solve.test_resume import ROOT, _launch, _wait_for_step

X = np.linspace(0, 1, 10)


def _slow() -> Problem:
    return Problem(lambda p: p["a"] * X, {"a": 0.0}, target=3 * X)


@pytest.mark.parametrize("name", ["adam", "slsqp"])
def test_sigint_in_a_process(name: str, tmp_path: Path) -> None:
    file = tmp_path / "run.clew"
    process = _launch(name, str(file), pause=0.05)
    _wait_for_step(process, 4)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    _, kind, sentence = printed.splitlines()
    assert kind == "interrupted"
    assert sentence.startswith("Interrupted after ")
    assert sentence.endswith("this is the best answer so far.")
    resumed = _launch(name, str(file)).communicate()[0].splitlines()
    whole = _launch(name, "-").communicate()[0].splitlines()
    assert resumed[0] == whole[0]


def test_the_best_answer_is_kept() -> None:
    def interrupt(step) -> None:
        if step.number == 7:
            os.kill(os.getpid(), signal.SIGINT)

    solution = solve(_slow(), "sgd", learning_rate=0.01, callback=interrupt)
    assert solution.status.kind == "interrupted"
    assert not solution.converged
    assert solution.loss == solution.history.loss.min()
    assert 7 <= solution.steps <= 8
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_inside_the_model_is_not_lost() -> None:
    calls = []

    def model(p):
        calls.append(1)
        if len(calls) == 2:  # the second call is the trace
            os.kill(os.getpid(), signal.SIGINT)
        return p["a"] * X

    with pytest.raises(KeyboardInterrupt):  # nothing has been found yet, before the run
        solve(Problem(model, {"a": 0.0}, target=X))


def test_a_second_interrupt_is_always_raised() -> None:
    with Interruption() as interruption, interruption.held():
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_other_threads_are_left_alone() -> None:
    found = []
    thread = threading.Thread(target=lambda: found.append(solve(_slow())))
    thread.start()
    thread.join()
    assert found[0].converged


def test_no_bar_without_a_terminal() -> None:
    code = (
        "import numpy as np\nfrom clew.solve import Problem, solve\n"
        "solve(Problem(lambda p: p * np.ones(3), 1.0, target=np.zeros(3)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    assert done.stderr == ""


def test_the_bar_is_shown_when_asked_for(capfd) -> None:
    solve(_slow(), "sgd", learning_rate=0.01, steps=20, progress=True)
    shown = capfd.readouterr().err
    assert "sgd" in shown
    assert "loss" in shown
