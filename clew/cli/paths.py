"""``clew paths``: the paths of a gradient, counted, weighed and drawn."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import click

from clew.cli.loading import (
    blamed_on,
    check_call,
    defined_in,
    example_arguments,
    find,
    load_module,
    split_name,
)
from clew.cli.output import FILE, make_folders, write_json
from clew.core.errors import InputError
from clew.core.source import Where
from clew.solve import Problem


def _numbers(_context: click.Context, _parameter: click.Parameter, text: str) -> list[int]:
    try:
        return [int(each) for each in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of numbers, such as 0,2.") from None


def _level(_context: click.Context, _parameter: click.Parameter, text: str) -> str | list[str]:
    return text if text == "equation" or text.startswith("scope:") else text.split(",")


def _end(_context: click.Context, _parameter: click.Parameter, text: str | None) -> Any:
    return int(text) if text is not None and text.isdecimal() else text


@click.command("paths")
@click.argument("target", metavar="FILE[:NAME]")
@click.option("--args", "given", help="Arguments as a Python literal: '(1.0, [2.0, 3.0])'.")
@click.option("--argnums", default="0", callback=_numbers, help="Those differentiated: 0,2.")
@click.option(
    "--level",
    default="equation",
    callback=_level,
    help="What a node is: equation, scope:DEPTH, or scope names: a,b.",
)
@click.option("--from", "source", callback=_end, help="Only this parameter or scope, taken apart.")
@click.option("--to", "sink", callback=_end, help="From this scope, or output by number, back.")
@click.option("--report", type=FILE, help="Write the interactive picture, an HTML page.")
@click.option("--svg", type=FILE, help="Write a drawing.")
@click.option("--dot", type=FILE, help="Write the graph in Graphviz' language.")
@click.option("--json", "output", type=FILE, help="Write the figures.")
def paths_command(
    target: str,
    given: str | None,
    argnums: list[int],
    level: str | list[str],
    source: str | int | None,
    sink: str | int | None,
    report: Path | None,
    svg: Path | None,
    dot: Path | None,
    output: Path | None,
) -> None:
    """Show how the gradient of FILE's problem, or of the function NAME, gets to its parameters.

    A function is called with --args, or with FUNCTION_args or example_args of the file, and
    differentiated in its first argument if --argnums names no others.
    """
    from clew.cli.path_figures import figures_of, told
    from clew.paths import flow

    make_folders(report, svg, dot, output)
    path, name = split_name(target)
    subject, args = _subject(load_module(path), path, name, given)
    with blamed_on(path):
        paths = flow(subject, argnums, level)(*args)
        figures = figures_of(paths, source, sink)
    click.echo(told(figures))
    if output is not None:
        write_json(output, figures)
        click.echo(f"figures: {output}")
    if report is not None:
        paths.report(report, sink)
        click.echo(f"report: {report}")
    if svg is not None:
        paths.svg(svg, sink)
        click.echo(f"drawing: {svg}")
    if dot is not None:
        dot.write_text(paths.dot(sink) + "\n", encoding="utf-8")
        click.echo(f"graph: {dot}")


def _subject(
    module: ModuleType, path: Path, name: str, given: str | None
) -> tuple[Any, tuple[Any, ...]]:
    """Return what the file defines under a name, or its problem or only function, and arguments."""
    own = defined_in(module)
    if not name and any(map(_is_problem, vars(module).values())):
        subject = find(module, path, name, "problem", _is_problem)
    else:
        subject = find(
            module,
            path,
            name,
            "function",
            lambda each: callable(each) or _is_problem(each),
            lambda each: own(each) or _is_problem(each),
        )
    if not _is_problem(subject):
        label = name or getattr(subject, "__name__", "function")
        args = example_arguments(module, label, given)
        check_call(subject, args, label)
        return subject, args
    if given is not None:
        raise InputError(
            "paths: --args are for functions; a problem is looked at from its start",
            f"leave --args out, or name a function: {path}:NAME",
            Where(),
        )
    return subject, ()


def _is_problem(each: Any) -> bool:
    return isinstance(each, Problem)
