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

# From the top down; packages of one rank are on one line. Imports run downward; beside, only as
# BESIDE says.
LAYERS = [
    ["cli"],
    ["nn", "render", "signal", "control"],
    ["solve", "paths", "numpy", "random", "testing"],
    ["evaluate"],
    ["integrate"],
    ["implicit"],
    ["loops"],
    ["calculus"],
    ["batch"],
    ["simplify"],
    ["trace"],
    ["ops"],
    ["core"],
]
RANK = {name: len(LAYERS) - number for number, names in enumerate(LAYERS) for name in names}
BESIDE = {("random", "numpy")}
FORWARD = ("nn", "render", "signal", "control")  # models know no optimiser, though it is below
HEAVY = (
    "IPython",
    "click",
    "jinja2",
    "llvmlite",
    "matplotlib",
    "rich",
    "safetensors",
    "scipy.optimize",
)


def layer_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports_of(path: Path) -> list[tuple[int, str]]:
    """Every ``clew.x`` a module imports, with its line; relative imports written out."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = path.relative_to(ROOT).parts[: -node.level]
                base = ".".join((*package, *([base] if base else [])))
            if base == "clew":
                found += [(node.lineno, f"clew.{alias.name}") for alias in node.names]
            else:
                found.append((node.lineno, base))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            found += [(node.lineno, each.value) for each in node.args if is_text(each)]
    return [(line, name) for line, name in found if name == "clew" or name.startswith("clew.")]


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def breaks_the_order(own: str, name: str) -> bool:
    other = [*name.split("."), "__init__"][1]
    if own in ("__init__", "__main__") or other == own:
        return False
    if other not in RANK:  # the package itself, or a public name of it
        return True
    if own in FORWARD and other == "solve":
        return True
    return RANK[other] > RANK[own] or (RANK[other] == RANK[own] and (own, other) not in BESIDE)


def test_every_part_has_a_layer():
    parts = {layer_of(path) for path in MODULES} - {"__init__", "__main__"}
    assert parts <= RANK.keys()


def test_imports_run_downward():
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in MODULES
        for line, name in imports_of(path)
        if breaks_the_order(layer_of(path), name)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("file", "source", "wrong"),
    [
        ("nn/a.py", "from clew.solve import solve", True),
        ("nn/a.py", "def f():\n    from ..solve import solve", True),
        ("nn/a.py", "from .. import solve", True),
        ("nn/deep/a.py", "from ...solve.run import solve", True),
        ("nn/a.py", "from clew import grad", True),
        ("nn/a.py", "import clew", True),
        ("core/a.py", "import clew.ops.elementwise", True),
        ("ops/a.py", "import importlib\nimportlib.import_module('clew.trace')", True),
        ("solve/a.py", "from clew.numpy import sin", True),
        ("nn/a.py", "from .dense import Dense\nfrom ..core import graph", False),
        ("random.py", "import clew.numpy", False),
        ("cli/a.py", "from clew.solve import solve", False),
    ],
)
def test_the_order_notices(monkeypatch, tmp_path, file, source, wrong):
    path = tmp_path / "clew" / file
    path.parent.mkdir(parents=True)
    path.write_text(source)
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path / "clew")
    found = [breaks_the_order(layer_of(path), name) for _, name in imports_of(path)]
    assert any(found) == wrong


@pytest.mark.parametrize("package", FORWARD)
def test_forward_models_import_no_optimiser_by_any_route(package):
    imported = {name: set() for name in RANK}
    for path in MODULES:
        own = layer_of(path)
        if own in RANK:
            imported[own] |= {name.split(".")[1] for _, name in imports_of(path)}
    assert "core" in imported[package], f"no modules in {package}"
    reached, waiting = set(), [package]
    while waiting:
        new = imported[waiting.pop()] - reached
        reached |= new
        waiting += new
    assert "solve" not in reached


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
                size -= len((ast.get_docstring(node, clean=False) or "").splitlines())
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
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
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
        inline = re.findall(r"`((?:make|python|clew|git|source) [^`\n]*)`", text)
        fences = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        return inline + [line for kind, body in fences if not kind for line in body.splitlines()]

    assert commands("README.md") == commands("README.zh-CN.md")
    assert "make demo" in commands("README.md")
    assert "clew check model.py:loss" in commands("README.md")


def test_the_readme_runs_every_example():
    text = (ROOT / "README.md").read_text()
    scripts = sorted(path.relative_to(ROOT) for path in (ROOT / "examples").glob("*/*.py"))
    assert len(scripts) >= 10
    assert [str(path) for path in scripts if f"`python {path.as_posix()}`" not in text] == []
