"""What is computed together, in which order, and what is stored."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew.evaluate.native.program import Program
from clew.evaluate.native.schedule import families, schedule
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


def stepped(weights, slopes):
    """Steps down many gradients."""
    return [w - 0.1 * g for w, g in zip(weights, slopes, strict=True)]


def kernels(count):
    """Weights of layers that are convolutions."""
    return [np.ones((32, 32, 3, 3)) for _ in range(count)]


def test_steps_of_many_like_arrays_are_several_kernels_with_one_text():
    given = kernels(12), kernels(12)
    sizes = [len(step.equations) for step in steps_of(stepped, *given)]
    assert len(sizes) > 2
    assert sum(sizes) == 24
    text = Program(simplify(clew.trace(stepped)(*given))).module.text()
    assert 1 <= text.count("define internal void @kernel.") < len(sizes)


def test_what_belongs_together_is_one_kernel_however_large():
    def joined(arrays):
        return sum(stepped(arrays, [np.sin(x) for x in arrays]))

    (step,) = steps_of(joined, kernels(12))
    assert len(step.equations) > 40


def test_numbers_and_what_runs_by_itself_connect_no_families():
    def f(rate, x, a, b):
        return x - rate * (a @ b), b - rate * np.sin(b), x * 2.0

    graph = clew.trace(f)(0.1, np.ones((20, 20)), np.ones((20, 30)), np.ones((30, 20)))
    found = families(graph)
    first, second, third = (found[var] for var in graph.outputs)
    assert first is third
    assert second is not first
    assert found[graph.inputs[3]] is second
