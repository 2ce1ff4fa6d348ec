"""Types, graphs, the verifier, the printer, trees, errors."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import clew
from clew.core import errors, pytree
from clew.core.graph import Equation, Graph, Literal, Var
from clew.core.kinds import elementwise
from clew.core.primitive import PRIMITIVES
from clew.core.source import Where
from clew.core.types import Type, type_of
from clew.core.verify import verify
from clew.ops.elementwise import add, multiply

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
F64 = Type((), np.float64)


def test_types_are_values():
    assert Type((2,), "f8") == Type((2,), np.float64)
    assert len({Type((2,), "f8"), Type((2,), np.float64)}) == 1
    assert [repr(type_of(x)) for x in (1.0, 1, True, 1j, np.float32(1), np.ones((2, 3)))] == [
        "f64", "i64", "bool", "c128", "f32", "f64[2,3]",
    ]  # fmt: skip
    with pytest.raises(AttributeError):
        Type((), float).dtype = 3


def test_the_verifier_rejects_bad_graphs():
    x, y, z = Var(F64), Var(F64), Var(F64)
    good = Graph([x], [Equation(multiply, (x, x), {}, (y,))], [y])
    assert verify(good) is good
    bad = {
        "assigned twice": Graph([x], [Equation(multiply, (x, x), {}, (x,))], [x]),
        "not assigned before": Graph([x], [Equation(add, (x, z), {}, (y,))], [y]),
        "return": Graph([x], [], [z]),
        "outputs are": Graph([x], [Equation(add, (x, x), {}, (Var(Type((2,), float)),))], [x]),
    }
    for words, graph in bad.items():
        with pytest.raises(errors.GraphError, match=words):
            verify(graph)


def test_dead_equations_go_and_guards_stay():
    graph = clew.trace(lambda x: (np.sin(x), x * 2 if x > 0 else x)[1])(1.0)
    names = [equation.primitive.name for equation in graph.equations]
    assert "sin" not in names
    assert "guard" in names


def model(x, w):
    with clew.scope("encoder"):
        hidden = np.tanh(x @ w)
    with clew.scope("head"):
        hidden[0] *= 2.0
        if hidden[0] > -1e9:
            hidden = hidden + np.arange(3)
    return {"loss": np.sum(hidden**2, axis=0)}


def test_printer_is_golden():
    graph = clew.trace(model)(np.ones(2), np.ones((2, 3)))
    text = str(graph) + "\n"
    stored = GOLDEN / "model.txt"
    lines = [line.split("  # ")[0].rstrip() for line in text.splitlines()]
    assert "\n".join(lines) + "\n" == stored.read_text()
    notes = [line.split("  # ")[1] for line in text.splitlines() if "  # " in line]
    assert all(note.startswith("test_core.py:") for note in notes)
    assert any(note.endswith("encoder") for note in notes)
    assert any(note.endswith("head") for note in notes)


def test_literals_print_as_numbers():
    assert str(Literal(np.float64(2.5))) == "2.5"


def test_trees_of_dataclasses_and_shared_leaves():
    @dataclasses.dataclass(frozen=True)
    class Pair:
        a: object
        b: object
        label: str = "p"

    pytree.register(Pair, static=("label",))
    w = np.ones(2)
    leaves, structure = pytree.flatten({"p": Pair(w, 2.0, "q"), "w": w})
    assert len(leaves) == 2
    assert structure.names == ("p.a", "p.b")
    again = structure.unflatten([w + 1, 3.0])
    assert again["p"].label == "q"
    assert again["p"].a is again["w"]
    assert len(pytree.flatten({"p": Pair(w, 2.0), "w": w}, shared=False)[0]) == 3
    with pytest.raises(errors.InputError, match="not a dataclass"):
        pytree.register(int)
    with pytest.raises(errors.InputError, match="trees differ"):
        pytree.map(lambda a, b: a, {"x": 1.0}, {"x": 1.0, "y": 2.0})


def test_scalars_are_not_shared():
    leaves, _ = pytree.flatten((3.0, 3.0, np.float64(3.0)))
    assert len(leaves) == 3


@pytest.mark.parametrize(
    "kind",
    [errors.ShapeError, errors.DtypeError, errors.TraceError, errors.DerivativeError,
     errors.InputError, errors.IndexingError, errors.GraphError],
)  # fmt: skip
def test_errors_have_three_parts(kind):
    error = kind("asked for this", "do that")
    text = str(error)
    assert text.splitlines()[0] == "asked for this"
    assert "at: test_core.py:" in text
    assert text.splitlines()[-1] == "  fix: do that"
    assert str(kind("asked", "fix", Where())).count("at:") == 0


def test_records_must_be_complete_and_named_once():
    with pytest.raises(ValueError, match="two primitives are named"):
        elementwise("add", eval=lambda xp, x: x, partials=lambda y, x: 1)
    with pytest.raises(ValueError, match="state one of"):
        elementwise("without_rule", eval=lambda xp, x: x)
    assert "without_rule" not in PRIMITIVES


def test_promotion_is_numpys():
    single = np.ones(2, np.float32)
    for function in (lambda x: x * 2.0, lambda x: x * np.float64(2.0), lambda x: x / 3, np.sin,
                     lambda x: x + 1j, lambda x: x > 0.1, lambda x: x + np.arange(2)):  # fmt: skip
        for x in (single, np.arange(2), np.ones(2)):
            graph = clew.trace(function)(x)
            assert graph.outputs[0].type.dtype == function(x).dtype
