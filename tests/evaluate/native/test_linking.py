"""Modules cut into parts, and what they require, become one library."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

import clew
from clew.evaluate.native import linking, module
from clew.evaluate.native.emitter import INT64, Emitter, Module, Value
from clew.evaluate.native.program import Program
from clew.evaluate.native.toolchain import Unit

WORD = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)


def chain(count: int) -> Module:
    """Functions ``f0`` to ``f<count>``: each adds one to what the one before it gives."""
    made = Module()
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
    assert chain(3).parts() == ((chain(3).text(), None),)


def test_parts_call_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PART", 10)
    made = chain(20)
    assert 2 <= len(made.parts()) <= 8
    library = linking.linked(made, ["f20"])
    assert WORD(library.address("f20"))(5) == 5 + sum(range(21))


def test_parts_hold_each_function_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PART", 10)
    made = chain(20)
    lines = "\n".join(text for text, _ in made.parts()).splitlines()
    for number in range(21):
        assert sum(line.startswith("define") and f"@f{number}(" in line for line in lines) == 1


def test_programs_in_parts_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x):
        for _ in range(3):
            x = np.sin(x) @ np.cos(x.T) / (1.0 + np.sum(np.exp(-x * x)))
        return np.sum(x)

    x = np.random.default_rng(0).normal(size=(30, 30))
    expected = clew.value_and_grad(f)(x)
    monkeypatch.setattr(module, "_PART", 20)
    program = Program(clew.trace(clew.value_and_grad(f))(x))
    assert len(program.module.parts()) > 1
    found = clew.jit(clew.value_and_grad(f))(x)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)
    np.testing.assert_allclose(found[1], expected[1], rtol=0, atol=1e-12 * abs(expected[1]).max())


def test_required_units_are_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "define i64 @clew_test_twice(i64 %x) { %y = mul i64 %x, 2  ret i64 %y }"
    made = []
    codes = linking.codes
    monkeypatch.setattr(linking, "codes", lambda units: made.append(len(units)) or codes(units))
    for _ in range(2):
        caller = Module()
        caller.require(Unit((text,), ("clew_test_twice",)))
        caller.declare("clew_test_twice", "i64 @clew_test_twice(i64)")
        e = Emitter(caller, "f", [("i64", "x", "")], "i64", linkage="")
        e.ret(f"i64 {e.assign('call i64 @clew_test_twice(i64 %x)')}")
        caller.add(e)
        assert WORD(linking.linked(caller, ["f"]).address("f"))(4) == 8
    assert made == [2, 1]
