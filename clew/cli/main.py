"""The commands. Exit codes: 0 done, 1 not converged or a failed check, 2 wrong use."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np

from clew.cli.loading import example_arguments, find, load_module, model_error, split_name
from clew.core import pytree
from clew.core.errors import ClewError
from clew.solve import METHODS, Problem, Solution, solve


class _Commands(click.Group):
    """Turn errors of ours into one clear message and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ClewError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(2)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="clew")
def main() -> None:
    """Write the forward process; find its causes; see how the gradient got back."""


# --- solve -------------------------------------------------------------------------------


@main.command("solve")
@click.argument("target", metavar="FILE[:NAME]")
@click.option("--method", default="auto", help=f"One of {', '.join(sorted(METHODS))}, or auto.")
@click.option("--steps", type=int, default=None, help="The most steps.")
@click.option("--report", type=click.Path(path_type=Path), help="Write an HTML report.")
@click.option("--json", "output", type=click.Path(path_type=Path), help="Write the answer.")
@click.option("--resume", type=click.Path(path_type=Path), help="Continue from this file.")
def solve_command(
    target: str,
    method: str,
    steps: int | None,
    report: Path | None,
    output: Path | None,
    resume: Path | None,
) -> None:
    """Solve the problem that FILE defines (the one called `problem`, or NAME)."""
    path, name = split_name(target)
    module = load_module(path)
    problem = find(module, path, name, "problem", lambda each: isinstance(each, Problem))
    try:
        solution = solve(problem, method, steps=steps, resume=resume)
    except ClewError:
        raise
    except Exception as error:
        raise model_error(error, path) from error
    click.echo(str(solution))
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(_answer(solution), indent=2) + "\n")
        click.echo(f"answer: {output}")
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        solution.report(report)
        click.echo(f"report: {report}")
    sys.exit(0 if solution.converged else 1)


def _answer(solution: Solution) -> dict[str, Any]:
    leaves, structure = pytree.flatten(solution.params)
    values = [_plain(leaf) for leaf in leaves]
    return {
        "problem": solution.problem.name,
        "converged": solution.converged,
        "status": str(solution.status),
        "loss": float(solution.loss),
        "steps": solution.steps,
        "params": dict(zip(structure.names, values, strict=True)),
    }


def _plain(leaf: Any) -> Any:
    array: Any = np.asarray(leaf)
    if array.dtype.kind == "c":
        return {"real": array.real.tolist(), "imag": array.imag.tolist()}
    return array.tolist()


# --- check -------------------------------------------------------------------------------


@main.command("check")
@click.argument("target", metavar="FILE:FUNCTION")
@click.option("--args", "given", help="Arguments as a Python literal: '(1.0, [2.0, 3.0])'.")
@click.option("--order", type=click.IntRange(1, 3), default=1, help="Up to this derivative.")
@click.option("--tolerance", type=float, default=1e-6, help="Relative error allowed.")
def check_command(target: str, given: str | None, order: int, tolerance: float) -> None:
    """Check the derivatives of FUNCTION against differences; name the worst entry."""
    from clew.testing import DerivativeMismatch, check_derivatives

    function, args, path = _function(target, given)
    try:
        agreement = check_derivatives(function, *args, order=order, tolerance=tolerance)
    except DerivativeMismatch as mismatch:
        click.echo(f"FAILED: {mismatch}")
        sys.exit(1)
    except ClewError:
        raise
    except Exception as error:
        raise model_error(error, path) from error
    click.echo(f"ok: {agreement}")


# --- trace -------------------------------------------------------------------------------


@main.command("trace")
@click.argument("target", metavar="FILE:FUNCTION")
@click.option("--args", "given", help="Arguments as a Python literal: '(1.0, [2.0, 3.0])'.")
@click.option("--gradient", is_flag=True, help="The graph of the value and gradient.")
def trace_command(target: str, given: str | None, gradient: bool) -> None:
    """Print the graph of FUNCTION, with source lines, and what it costs."""
    from clew.calculus import value_and_grad
    from clew.evaluate import trace
    from clew.evaluate.cost import cost
    from clew.simplify import simplify

    function, args, path = _function(target, given)
    try:
        graph = trace(value_and_grad(function) if gradient else function)(*args)
    except ClewError:
        raise
    except Exception as error:
        raise model_error(error, path) from error
    graph = simplify(graph) if gradient else graph
    click.echo(str(graph))
    click.echo(str(cost(graph)))


def _function(target: str, given: str | None) -> tuple[Any, tuple[Any, ...], Path]:
    path, name = split_name(target)
    module = load_module(path)
    own = module.__name__

    def defined_here(each: Any) -> bool:
        return callable(each) and getattr(each, "__module__", own) == own

    function = find(module, path, name, "function", defined_here)
    label = name or getattr(function, "__name__", "function")
    return function, example_arguments(module, label, given), path
