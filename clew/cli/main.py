"""The commands. Exit codes: 0 done, 1 not converged or a failed check, 2 wrong use."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from pathlib import Path
from typing import Any

import click

from clew.cli.loading import (
    blamed_on,
    check_call,
    defined_in,
    example_arguments,
    find,
    load_module,
    message,
    split_name,
)
from clew.cli.output import FILE, make_folders, plain, write_json
from clew.cli.paths import paths_command
from clew.core import pytree
from clew.core.errors import ClewError, InputError
from clew.core.source import Where
from clew.core.types import type_of
from clew.evaluate.native.clocks import clocked
from clew.solve import METHODS, Problem, Solution, solve


class _Commands(click.Group):
    """Turn errors of ours into one clear message and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ClewError as error:
            click.echo(f"error: {message(error)}", err=True)
            sys.exit(2)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="clew")
def main() -> None:
    """Write the forward process; find its causes; see how the gradient got back.

    Exit codes: 0 done, 1 not converged or a check that failed, 2 wrong use.
    """


main.add_command(paths_command)


# --- solve -------------------------------------------------------------------------------


@main.command("solve")
@click.argument("target", metavar="FILE[:NAME]")
@click.option("--method", default="auto", help=f"One of {', '.join(sorted(METHODS))}, or auto.")
@click.option("--steps", type=click.IntRange(min=0), default=None, help="The most steps.")
@click.option("--report", type=FILE, help="Write an HTML report.")
@click.option("--json", "output", type=FILE, help="Write the answer.")
@click.option("--resume", type=FILE, help="Continue from this file, and keep the run in it.")
@click.option("--profile", is_flag=True, help="Print how long each step of the code took.")
def solve_command(
    target: str,
    method: str,
    steps: int | None,
    report: Path | None,
    output: Path | None,
    resume: Path | None,
    profile: bool,
) -> None:
    """Solve the problem that FILE defines (the one called `problem`, or NAME)."""
    path, name = split_name(target)
    make_folders(report, output, resume)
    module = load_module(path)
    problem = find(module, path, name, "problem", lambda each: isinstance(each, Problem))
    begun = time.perf_counter()
    with blamed_on(path), clocked() if profile else contextlib.nullcontext() as session:
        solution = solve(problem, method, steps=steps, resume=resume)
    click.echo(str(solution))
    if session is not None:
        from clew.evaluate.profile import profile_of

        click.echo(str(profile_of(session, path.name, 1, time.perf_counter() - begun)))
    if output is not None:
        write_json(output, _answer(solution))
        click.echo(f"answer: {output}")
    if report is not None:
        solution.report(report)
        click.echo(f"report: {report}")
    sys.exit(0 if solution.converged else 1)


def _answer(solution: Solution) -> dict[str, Any]:
    leaves, structure = pytree.flatten(solution.params)
    values = [plain(leaf) for leaf in leaves]
    return {
        "problem": solution.problem.name,
        "converged": solution.converged,
        "status": str(solution.status),
        "loss": float(solution.loss),
        "steps": solution.steps,
        "params": dict(zip(structure.names, values, strict=True)),
    }


def _positive(_context: click.Context, _parameter: click.Parameter, value: float) -> float:
    if not 0.0 < value < math.inf:
        raise click.BadParameter(f"{value} is not a positive number.")
    return value


# --- check -------------------------------------------------------------------------------


@main.command("check")
@click.argument("target", metavar="FILE:FUNCTION")
@click.option("--args", "given", help="Arguments as a Python literal: '(1.0, [2.0, 3.0])'.")
@click.option("--order", type=click.IntRange(1, 3), default=1, help="Up to this derivative.")
@click.option("--tolerance", default=1e-6, callback=_positive, help="Relative error allowed.")
def check_command(target: str, given: str | None, order: int, tolerance: float) -> None:
    """Check the derivatives of FUNCTION against differences; name the worst entry.

    It is called with --args, or with FUNCTION_args or example_args of the file.
    """
    from clew.testing import DerivativeMismatch, check_derivatives

    function, args, path = _function(target, given)
    types = [type_of(leaf) for leaf in pytree.flatten(args)[0]]
    if not any(kind.inexact for kind in types):
        raise InputError(
            f"check: no argument is a float ({', '.join(map(str, types)) or 'there is none'}), "
            f"so there is nothing to differentiate",
            "pass floats, 3.0 for 3",
            Where(),
        )
    try:
        with blamed_on(path):
            agreement = check_derivatives(function, *args, order=order, tolerance=tolerance)
    except DerivativeMismatch as mismatch:
        click.echo(f"FAILED: {message(mismatch)}")
        sys.exit(1)
    click.echo(f"ok: {agreement}")


# --- trace -------------------------------------------------------------------------------


@main.command("trace")
@click.argument("target", metavar="FILE:FUNCTION")
@click.option("--args", "given", help="Arguments as a Python literal: '(1.0, [2.0, 3.0])'.")
@click.option("--gradient", is_flag=True, help="The graph of the value and gradient.")
@click.option("--profile", is_flag=True, help="Compile it too; print how long each step takes.")
def trace_command(target: str, given: str | None, gradient: bool, profile: bool) -> None:
    """Print the graph of FUNCTION, with source lines, and what it costs.

    It is called with --args, or with FUNCTION_args or example_args of the file.
    """
    from clew.calculus import value_and_grad
    from clew.evaluate import trace
    from clew.simplify import simplify

    function, args, path = _function(target, given)
    function = value_and_grad(function) if gradient else function
    measured = None
    with blamed_on(path):
        graph = trace(function)(*args)
        if profile:
            from clew.evaluate.profile import profile as measure

            measured = measure(function)(*args)
    graph = simplify(graph) if gradient else graph
    click.echo(str(graph))
    click.echo(str(graph.cost()))
    if measured is not None:
        click.echo(str(measured))


def _function(target: str, given: str | None) -> tuple[Any, tuple[Any, ...], Path]:
    path, name = split_name(target)
    module = load_module(path)
    function = find(module, path, name, "function", callable, defined_in(module))
    label = name or getattr(function, "__name__", "function")
    args = example_arguments(module, label, given)
    check_call(function, args, label)
    return function, args, path
