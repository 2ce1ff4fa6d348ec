"""``clew paths``: the paths of a gradient, counted, weighed and drawn."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

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
from clew.cli.output import FILE, make_folders, plain, write_json
from clew.core.errors import InputError
from clew.core.source import Where
from clew.solve import Problem

if TYPE_CHECKING:
    from clew.paths import Flow

_MOST_USES = 12
"""Uses that are printed; --json writes all."""


@click.command("paths")
@click.argument("target", metavar="FILE[:NAME]")
@click.option("--args", "given", help="Arguments as a Python literal: '(1.0, [2.0, 3.0])'.")
@click.option("--level", default="equation", help="equation, scope:DEPTH, or scope names: a,b.")
@click.option("--from", "source", help="Only this parameter or scope, taken apart.")
@click.option("--to", "sink", help="Count paths from this scope back, not from the output.")
@click.option("--report", type=FILE, help="Write the interactive picture, an HTML page.")
@click.option("--svg", type=FILE, help="Write a drawing.")
@click.option("--dot", type=FILE, help="Write the graph in Graphviz' language.")
@click.option("--json", "output", type=FILE, help="Write the figures.")
def paths_command(
    target: str,
    given: str | None,
    level: str,
    source: str | None,
    sink: str | None,
    report: Path | None,
    svg: Path | None,
    dot: Path | None,
    output: Path | None,
) -> None:
    """Show how the gradient of FILE's problem, or of the function NAME, gets to its parameters.

    A function is called with --args, or with FUNCTION_args or example_args of the file, and
    differentiated in its first argument.
    """
    path, name = split_name(target)
    make_folders(report, svg, dot, output)
    paths = _flow(load_module(path), path, name, given, level)
    found = _overview(paths) if source is None else _taken_apart(paths, source, sink)
    click.echo(str(paths) if source is None else _printed(found))
    if output is not None:
        write_json(output, found)
        click.echo(f"figures: {output}")
    if report is not None:
        paths.report(report)
        click.echo(f"report: {report}")
    if svg is not None:
        paths.svg(svg)
        click.echo(f"drawing: {svg}")
    if dot is not None:
        dot.write_text(paths.dot(), encoding="utf-8")
        click.echo(f"graph: {dot}")


def _flow(module: ModuleType, path: Path, name: str, given: str | None, level: str) -> Flow:
    """Run what the file defines under a name, or its problem, or its only function."""
    from clew.paths import flow

    chosen = level if level == "equation" or level.startswith("scope:") else level.split(",")
    named = getattr(module, name, None) if name else getattr(module, "problem", None)
    if isinstance(named, Problem):
        if given is not None:
            raise InputError(
                "paths: --args are for functions; a problem is looked at from its start",
                f"leave --args out, or name a function: {path}:NAME",
                Where(),
            )
        with blamed_on(path):
            return flow(named, level=chosen)()
    function = find(module, path, name, "function", callable, defined_in(module))
    label = name or getattr(function, "__name__", "function")
    args = example_arguments(module, label, given)
    check_call(function, args, label)
    with blamed_on(path):
        return flow(function, level=chosen)(*args)


def _overview(paths: Flow) -> dict[str, Any]:
    """Return the verdicts on all parameters, and the spectrum of each."""
    picture = paths.picture()
    return {
        "title": picture["title"],
        "sink": picture["sink"],
        "parameters": picture["table"],
        "lengths": picture["lengths"],
    }


def _taken_apart(paths: Flow, source: str, sink: str | None) -> dict[str, Any]:
    """Return all that is known of one source."""
    found: dict[str, Any] = {
        "source": source,
        "sink": sink,
        "paths": paths.count(source, sink),
        "shortest": paths.shortest(source, sink),
        "longest": paths.longest(source, sink),
        "lengths": [
            {"length": length, "paths": count}
            for length, count in paths.lengths(source, sink).items()
        ],
    }
    if sink is not None:
        return found
    split = paths.gradient_by_length(source)
    shares = zip(split.lengths, plain(split.norms), plain(split.shares), strict=True)
    counts = {each["length"]: each for each in found["lengths"]}
    for length, norm, share in shares:
        counts[length] |= {"norm": norm, "share": share}
    found["uses"] = [
        {
            "source": use.source,
            "node": use.node,
            "at": str(use.where),
            "steps": list(use.steps),
            "norm": use.norm,
            "share": use.share,
        }
        for use in paths.by_use(source)
    ]
    return found


def _printed(found: dict[str, Any]) -> str:
    """Return the figures of one source as text."""
    to = f" from {found['sink']}" if found["sink"] else ""
    lines = [
        f"{found['source']}: {found['paths']:,} gradient paths{to}, "
        f"of length {found['shortest']} to {found['longest']}",
        "",
        f"{'length':>8}{'paths':>24}{'gradient':>12}{'share':>9}",
    ]
    for each in found["lengths"]:
        count = each["paths"]
        shown = f"{count:,}" if count < 10**15 else f"about 10^{len(str(count)) - 1}"
        line = f"{each['length']:8}{shown:>24}"
        if "norm" in each:
            line += f"{each['norm']:12.3g}{each['share']:9.1%}"
        lines.append(line)
    uses = sorted(found.get("uses", ()), key=lambda use: -use["norm"])
    if uses:
        lines += ["", f"{'gradient':>12}{'share':>9}  used by"]
    for use in uses[:_MOST_USES]:
        step = f", step {', '.join(map(str, use['steps']))}" if use["steps"] else ""
        at = f" at {use['at']}" if use["at"] else ""
        lines.append(f"{use['norm']:12.3g}{use['share']:9.1%}  {use['node']}{step}{at}")
    if len(uses) > _MOST_USES:
        lines.append(f"{'':21}  and {len(uses) - _MOST_USES} more")
    return "\n".join(lines)
