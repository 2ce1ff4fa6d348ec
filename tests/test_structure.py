"""The rules of the house, read off the source: layers, sizes, documentation, imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "clew"
MODULES = sorted(PACKAGE.rglob("*.py"))

# From the top down; packages of one rank are on one line. Imports run downward, or inside a rank
# to an earlier name only.
LAYERS = [
    ["cli"],
    ["nn", "render", "signal", "control"],
    ["solve", "paths", "numpy", "random", "testing"],
    ["evaluate"],
    ["calculus"],
    ["batch"],
    ["simplify"],
    ["trace"],
    ["ops"],
    ["core"],
]
RANK = {name: len(LAYERS) - number for number, names in enumerate(LAYERS) for name in names}
HEAVY = ("matplotlib", "scipy.optimize", "rich", "click", "jinja2", "llvmlite", "safetensors")


def layer_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports_of(path: Path) -> list[tuple[int, str]]:
    """Every ``clew.x`` a module imports, with its line."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "clew":
                found += [(node.lineno, f"clew.{alias.name}") for alias in node.names]
            else:
                found.append((node.lineno, node.module))
    return [(line, name) for line, name in found if name == "clew" or name.startswith("clew.")]


def test_imports_run_downward():
    wrong = []
    for path in MODULES:
        own = layer_of(path)
        if own in ("__init__", "__main__"):
            continue
        for line, name in imports_of(path):
            parts = name.split(".")
            other = parts[1] if len(parts) > 1 else "__init__"
            above = RANK.get(other, 99) > RANK[own]
            beside = RANK.get(other) == RANK[own] and other != own
            if above or (beside and own in ("nn", "render", "signal", "control")):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert wrong == []


@pytest.mark.parametrize("package", ["nn", "render", "signal", "control"])
def test_forward_models_import_no_optimiser(package):
    modules = list((PACKAGE / package).rglob("*.py"))
    assert modules, f"no modules in {package}"
    names = {name for path in modules for _, name in imports_of(path)}
    assert not {name for name in names if name.startswith("clew.solve")}


def test_sizes():
    long_modules = [
        f"{path.relative_to(ROOT)} ({count})"
        for path in MODULES
        if (count := path.read_text().count("\n")) > 600
    ]
    long_functions = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                size = (node.end_lineno or node.lineno) - node.lineno + 1
                if size > 60:
                    long_functions.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert long_modules == []
    assert long_functions == []


def test_public_names_are_documented():
    missing = []
    for path in MODULES:
        tree = ast.parse(path.read_text())
        if not ast.get_docstring(tree):
            missing.append(f"{path.relative_to(ROOT)}: module")
        missing += [
            f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
            for node in tree.body
            if isinstance(node, (ast.FunctionDef, ast.ClassDef))
            and not node.name.startswith("_")
            and not ast.get_docstring(node)
        ]
    assert missing == []


def test_import_is_light():
    code = "import sys, clew; print('\\n'.join(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    assert [name for name in HEAVY if name in loaded] == []


def test_nothing_depends_on_shared():
    files = [
        p
        for folder in ("clew", "examples", "tests", "docs", "benchmarks")
        for p in (ROOT / folder).rglob("*")
        if p.suffix in (".py", ".md", ".json")
    ]
    here = Path(__file__).resolve()
    assert [p for p in files if p.resolve() != here and "../shared" in p.read_text()] == []


def test_both_readmes_show_the_same_commands():
    def commands(name: str) -> list[str]:
        text = (ROOT / name).read_text()
        return re.findall(r"`((?:make|python|clew|git) [^`]*)`", text)

    assert commands("README.md") == commands("README.zh-CN.md")
    assert commands("README.md")
