"""What is computed together, in which order, and what is stored."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew.evaluate.native.schedule import schedule
from clew.simplify import simplify
from tests.properties.programs import UNARY

LONG = np.linspace(0.1, 1.0, 1000)


def steps_of(f, *args):
    return schedule(simplify(clew.trace(f)(*args))).steps


def kinds_of(f, *args):
    return [step.kind for step in steps_of(f, *args)]


def test_values_and_sums_over_one_domain_are_one_kernel():
    f = lambda x: (np.sin(x) * x, np.sum(np.cos(x)), np.max(x))
    assert kinds_of(f, LONG) == ["kernel"]
    gradient = clew.value_and_grad(lambda x: np.sum(np.sin(x) * x))
    assert kinds_of(gradient, LONG) == ["kernel"]


def test_what_needs_a_finished_sum_is_another_kernel():
    kinds = kinds_of(lambda x: x / np.sum(np.exp(x)), LONG)
    assert kinds == ["kernel", "kernel"]


def test_other_loops_are_other_kernels():
    steps = steps_of(lambda x, y: (np.sin(x), np.sin(y)), LONG, np.ones((20, 30)))
    assert sorted(step.extents for step in steps) == [(20, 30), (1000,)]


def test_short_axes_are_written_out():
    (step,) = steps_of(lambda x: np.sin(x) * np.sum(x * x, axis=1)[:, None], np.ones((1000, 3)))
    assert step.extents == (1000,)


def test_a_few_numbers_are_computed_in_registers():
    assert set(kinds_of(lambda x: np.sin(x) @ np.cos(x), np.ones(3))) == {"registers"}
    assert kinds_of(lambda x: np.sin(x), np.ones(4)) == ["registers"]
    assert kinds_of(lambda x: np.sin(x), np.ones(8)) == ["kernel"]
    assert kinds_of(lambda x: np.sin(x), np.ones(17)) == ["kernel"]


def test_views_have_no_step():
    assert len(steps_of(lambda x: np.sin(x.reshape(50, 20).T[::2]), LONG)) == 1


def test_a_value_needed_elsewhere_is_stored_before():
    plan = schedule(clew.trace(lambda x: np.sin(x)[::-1] + np.sin(x))(LONG))
    kernels = [step for step in plan.steps if step.kind == "kernel"]
    assert len(kernels) == 2
    first = kernels[0].equations[0].outputs[0]
    assert first in plan.stored


def test_a_value_needed_only_there_is_not_stored():
    graph = clew.trace(lambda x: np.sum(np.sin(x)))(LONG)
    plan = schedule(graph)
    assert plan.stored == {graph.outputs[0]}


def test_independent_equations_share_a_kernel():
    f = lambda x, y: (np.sin(x), np.cos(y))
    assert kinds_of(f, LONG, LONG) == ["kernel"]


def test_nothing_between_a_kernel_and_what_it_reads():
    """A kernel may not be joined by what reads a step that reads the kernel."""
    plan = schedule(clew.trace(lambda x: np.cumsum(np.sin(x)) + np.sin(x))(LONG))
    assert [step.kind for step in plan.steps] == ["kernel", "opaque", "kernel"]


@pytest.mark.parametrize("name", sorted(UNARY))
@pytest.mark.parametrize("shape", [(3,), (40,), (20, 30)])
def test_every_step_follows_what_it_reads(name, shape):
    x = np.random.default_rng(0).normal(size=shape)
    f = lambda x: np.sum(np.sin(UNARY[name](UNARY[name](x)[..., ::-1])))
    graph = clew.trace(lambda x: (f(x), clew.grad(f)(x)))(x)
    plan = schedule(graph)
    made_by = {var: step for step in plan.steps for e in step.equations for var in e.outputs}
    done = set()
    for step in plan.steps:
        for equation in step.equations:
            for var in plan.reads[equation]:
                if var in made_by:
                    assert made_by[var] is step or made_by[var].number in done
                    assert made_by[var] is step or var in plan.stored
        done.add(step.number)
    placed = [e for step in plan.steps for e in step.equations]
    assert len(placed) == len(set(placed))
