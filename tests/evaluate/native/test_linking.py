"""Modules cut into parts, and what they require, become one library."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

import clew
from clew.evaluate.native import module
from clew.evaluate.native.compiling import Compiler, Unit
from clew.evaluate.native.emitter import INT64, Emitter, Module, Value
from clew.evaluate.native.linking import Linker
from clew.evaluate.native.module import PLAIN, QUICK
from clew.evaluate.native.program import Program

WORD = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)


class Parts:
    """Takes what a module cuts off, instead of a linker."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.units: list[Unit] = []

    def part(self, text: str, _: int | None) -> None:
        self.texts.append(text)

    def require(self, unit: Unit) -> None:
        self.units.append(unit)


def chain(count: int, linker: Any = None) -> Module:
    """Functions ``f0`` to ``f<count>``: each adds one to what the one before it gives."""
    made = Module(linker)
    symbol = ""
    for number in range(count + 1):
        linkage = "" if number == count else "internal"
        e = Emitter(made, f"f{number}", [("i64", "x", "")], "i64", linkage=linkage)
        x = Value(INT64, "%x")
        if symbol:
            x = Value(INT64, e.assign(f"call i64 {symbol}(i64 %x)"))
        e.ret(f"i64 {e.add(x, e.constant(INT64, number)).name}")
        symbol = made.add(e)
    return made


def test_a_small_module_stays_whole() -> None:
    parts = Parts()
    made = chain(3, parts)
    assert parts.texts == []
    assert made.rest() == [(made.text(), None)]


def test_parts_call_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PART", 10)
    with Compiler() as compiler:
        linker = Linker(compiler)
        library = linker.library(chain(20, linker), ["f20"])
    assert len(linker._parts) > 2
    assert WORD(library.address("f20"))(5) == 5 + sum(range(21))


def test_parts_hold_each_function_once_and_what_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PART", 10)
    parts = Parts()
    rest = chain(20, parts).rest()
    texts = [*parts.texts, *(text for text, _ in rest)]
    for number in range(21):
        assert sum(f" @f{number}(" in head for head in heads(texts, "define")) == 1
    for text in texts:
        assert len(heads([text], "declare")) <= 1


def heads(texts: list[str], word: str) -> list[str]:
    return [line for text in texts for line in text.splitlines() if line.startswith(word)]


def test_parts_are_of_one_level() -> None:
    made = Module()
    for number, level in enumerate([None, QUICK, None, QUICK, PLAIN]):
        e = Emitter(made, f"f{number}", linkage="internal")
        e.line(f"fence seq_cst ; {number}")
        e.ret()
        made.add(e, level)
    found = {level: len(heads([text], "define")) for text, level in made.rest()}
    assert found == {None: 2, QUICK: 2, PLAIN: 1}


def test_a_part_goes_to_the_linker_while_others_are_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PART", 20)
    parts = Parts()
    x = np.random.default_rng(0).normal(size=(30, 30))
    at_end = []
    end = Program._end
    monkeypatch.setattr(Program, "_end", lambda self: at_end.append(len(parts.texts)) or end(self))
    Program(clew.trace(clew.grad(lambda x: np.sum(np.exp(np.sin(x) @ x))))(x), linker=parts)
    assert at_end[0] > 0


def test_programs_in_parts_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x):
        for _ in range(3):
            x = np.sin(x) @ np.cos(x.T) / (1.0 + np.sum(np.exp(-x * x)))
        return np.sum(x)

    x = np.random.default_rng(0).normal(size=(30, 30))
    expected = clew.value_and_grad(f)(x)
    monkeypatch.setattr(module, "_PART", 20)
    found = clew.jit(clew.value_and_grad(f))(x)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)
    np.testing.assert_allclose(found[1], expected[1], rtol=0, atol=1e-12 * abs(expected[1]).max())


def test_required_units_are_compiled_once() -> None:
    text = "define i64 @clew_test_twice(i64 %x) { %y = mul i64 %x, 2  ret i64 %y }"
    made = []
    for _ in range(2):
        with Compiler() as compiler:
            linker = Linker(compiler)
            caller = Module(linker)
            for _ in range(2):
                caller.require(Unit(text, ("clew_test_twice",)))
            caller.declare("clew_test_twice", "i64 @clew_test_twice(i64)")
            e = Emitter(caller, "f", [("i64", "x", "")], "i64", linkage="")
            e.ret(f"i64 {e.assign('call i64 @clew_test_twice(i64 %x)')}")
            caller.add(e)
            library = linker.library(caller, ["f"])
        made.append(len(linker._required))
        assert WORD(library.address("f"))(4) == 8
    assert made == [1, 0]
