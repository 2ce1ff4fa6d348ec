"""Calls of compiled programs: what is accepted, what comes back, whose memory it is."""

from __future__ import annotations

import array
import dataclasses
import gc
import pickle
import sys
import threading
import weakref

import numpy as np
import pytest

import clew
from clew.core import pytree
from clew.core.kinds import general
from clew.core.primitive import PRIMITIVES, NoDerivative
from clew.core.types import Type
from clew.evaluate.native import entry as entries
from clew.evaluate.native import toolchain
from clew.evaluate.native.calling import Native
from clew.evaluate.native.entry import MISS, Constant, Operand


def compiled(f, *args):
    return Native(clew.trace(f)(*args))


@pytest.fixture(params=["entry", "ctypes"])
def way(request, monkeypatch):
    """Programs are called through an entry, and where there can be none, through ctypes."""
    if request.param == "ctypes":
        monkeypatch.setattr(entries, "_machinery", lambda: None)
    return request.param


def test_there_are_entries_here():
    assert compiled(lambda x: x + 1, 1.0)._entry is not None


ODD = {
    "int": 3,
    "numpy int": np.int32(3),
    "list": [1, 2, 3],
    "buffer": array.array("d", [1.0, 2.0, 3.0]),
    "single": np.arange(3, dtype=np.float32),
    "swapped": np.arange(3, dtype=">f8"),
    "strided": np.arange(9.0)[::3],
    "reversed": np.arange(3.0)[::-1],
    "unaligned": np.frombuffer(bytes(1) + np.arange(3.0).tobytes(), np.uint8)[1:].view(float),
    "read-only": np.broadcast_to(2.0, 3),
    "matrix row": np.asfortranarray(np.arange(6.0).reshape(2, 3))[1],
}


@pytest.mark.parametrize("name", list(ODD))
def test_any_layout_is_read(way, name):
    value = ODD[name]
    x = np.asarray(value, float)
    double = compiled(lambda x: x * 2, x)
    (found,) = double(value)
    np.testing.assert_array_equal(found, x * 2)
    assert found.dtype == np.float64


NUMBERS = [
    (True, bool),
    (-5, int),
    (2.5, float),
    (1 - 2j, complex),
    *((kind(3), kind) for kind in (np.float32, np.int8, np.uint16, np.complex64, np.bool_)),
]


@pytest.mark.parametrize(("value", "kind"), NUMBERS, ids=str)
def test_numbers_come_back_as_numpy_scalars(way, value, kind):
    same = compiled(lambda x: np.where(x == x, x, x), value)
    expected = np.dtype(kind).type(value)
    for given in (value, expected, np.array(value, kind)):
        (found,) = same(given)
        assert type(found) is type(expected)
        assert found == expected


def test_a_number_that_does_not_fit_is_not_cut():
    double = compiled(lambda x: x * 2, 1)
    with pytest.raises(OverflowError):
        double(2**70)


@pytest.mark.parametrize("shape", [(0,), (3, 0, 2), (1, 1, 1, 1, 1), (2, 3)])
def test_shapes(way, shape):
    x = np.arange(float(np.prod(shape))).reshape(shape)
    for found in compiled(lambda x: (x + 1, x * 2), x)(x):
        assert found.shape == shape
        assert found.flags.c_contiguous
        assert found.flags.owndata


def test_wrong_shapes_and_counts_are_refused(way):
    double = compiled(lambda x: x * 2, np.ones(3))
    with pytest.raises(ValueError):
        double(np.ones(4))
    with pytest.raises((TypeError, ValueError)):
        double(np.ones(3), np.ones(3))


def test_equal_dtypes_that_are_other_objects_are_read_in_place():
    x = np.arange(3.0)
    copy = pickle.loads(pickle.dumps(x))
    assert copy.dtype is not x.dtype
    (found,) = compiled(lambda x: x * 2, x)._entry.call(copy)
    np.testing.assert_array_equal(found, x * 2)
    assert compiled(lambda x: x * 2, x)._entry.call(x.astype(np.int64)) is MISS
    assert compiled(lambda x: x * 2, x)._entry.call(x.astype(">f8")) is MISS


# --- trees ---------------------------------------------------------------------------------------

X, Y = np.arange(3.0), np.arange(3.0) + 10


def tree_entry(result=0):
    """An entry for ``{"a": (x, [y, None]), "b": x}``: x is shared."""
    program = compiled(lambda x, y: (x + y, np.sum(x)), X, Y)
    kinds = [Operand(Type((3,), np.float64), place, 0) for place in range(2)]
    return program.entry(kinds, [{"a": (0, [1, None]), "b": 0}], result).call


@pytest.mark.parametrize(
    "wrong",
    [
        {"a": (X, [Y, None]), "b": X.copy()},
        {"a": (X, [X, None]), "b": X},
        {"a": (X, [Y, None]), "c": X},
        {"a": (X, [Y, None])},
        {"a": [X, [Y, None]], "b": X},
        {"a": (X, (Y, None)), "b": X},
        {"a": (X, [Y, 0]), "b": X},
        {"a": (X, [Y]), "b": X},
        {"a": (X, [Y[:2], None]), "b": X},
        {"a": (X, [list(Y), None]), "b": X},
        X,
        None,
        "ab",
    ],
    ids=lambda tree: str(tree)[:50],
)
def test_an_entry_takes_its_own_structure_only(wrong):
    call = tree_entry()
    np.testing.assert_array_equal(call({"b": X, "a": (X, [Y, None])}), X + Y)
    assert call(wrong) is MISS
    assert call() is MISS
    assert call(wrong, wrong) is MISS


def test_results_are_put_together():
    held = object()
    shape = {"z": [1, (0,)], "a": None, "k": Constant(held)}
    found = tree_entry(shape)({"a": (X, [Y, None]), "b": X})
    assert list(found) == ["z", "a", "k"]
    assert found["z"][0] == 3.0
    assert type(found["z"][1]) is tuple
    np.testing.assert_array_equal(found["z"][1][0], X + Y)
    assert found["a"] is None
    assert found["k"] is held


@dataclasses.dataclass(frozen=True)
class Layer:
    weight: object
    inner: object = None
    width: object = (3, "same")
    activation: object = np.tanh


pytree.register(Layer, static=("width", "activation"))


class Other(Layer):
    pass


def layer_call():
    """``jit`` of a function of layers, past Python only; it was called twice."""

    def forward(layer, x):
        y = layer.activation(layer.weight * x) + layer.inner["b"]
        return dataclasses.replace(layer, weight=y, width=(layer.width[0] + 1, None))

    fast = clew.jit(forward)
    layer = Layer(X, {"b": Y})
    for _ in range(2):
        fast(layer, 2.0)
    (call,) = fast.paths.calls[()]
    return call, layer


def test_dataclasses_are_read_and_made():
    call, layer = layer_call()
    for _ in range(3):
        found = call(layer, 2.0)
        assert type(found) is Layer
        np.testing.assert_allclose(found.weight, np.tanh(X * 2) + Y, rtol=1e-15)
        np.testing.assert_array_equal(found.inner["b"], Y)
        assert found.width == (4, None)
        assert found.activation is np.tanh


@pytest.mark.parametrize(
    "wrong",
    [
        Other(X, {"b": Y}),
        Layer(X, {"b": Y}, width=(4, "same")),
        Layer(X, {"b": Y}, width=(3, "same", 1)),
        Layer(X, {"b": Y}, width=(3, np.array("same"))),
        Layer(X, {"b": Y}, activation=np.sin),
        Layer(X, {"b": Y[:2]}),
        Layer(X),
        object.__new__(Layer),
    ],
    ids=range(8),
)
def test_other_dataclasses_do_not_fit(wrong):
    call, layer = layer_call()
    assert call(wrong, 2.0) is MISS
    assert type(call(layer, 2.0)) is Layer
    assert type(call(Layer(X, {"b": Y}, width=(int("3"), "".join(["sa", "me"]))), 2.0)) is Layer


def test_classes_that_compute_their_fields_are_left_to_python():
    made = dataclasses.make_dataclass("Holder", ["weight"], init=False)
    made.weight = property(
        lambda self: vars(self)["held"] * 1.0, lambda self, value: vars(self).update(held=value)
    )
    pytree.register(made)
    assert pytree.fields_of(made) is None
    assert pytree.fields_of(Layer) == (("weight", "inner"), ("width", "activation"))
    held = made()
    held.weight = X
    double = clew.jit(lambda h: h.weight * 2)
    for _ in range(3):
        np.testing.assert_array_equal(double(held), X * 2)
    assert not double.paths.calls.get(())


def test_many_leaves_of_which_two_are_one():
    leaves = [np.full(2, float(i)) for i in range(500)]
    total = clew.jit(lambda w: sum(np.sum(each) for each in w))
    expected = 2.0 * sum(range(500))
    assert total(leaves) == total(leaves) == expected
    counts = clew.jit(clew.grad(lambda w: np.sum(w[3] * w[400])))
    for _ in range(3):
        assert counts(leaves)[3][0] == 400.0
        assert counts([*leaves[:400], leaves[3], *leaves[401:]])[3][0] == 6.0


# --- memory --------------------------------------------------------------------------------------


def test_no_reference_is_lost_or_kept():
    key = "a name that nobody else has"
    f = clew.jit(
        lambda tree, n: {key: tree[key] * n, "other": (np.sum(tree[key]), Layer(tree["l"].weight))}
    )
    x, n = np.arange(3.0), np.float64(2.5)
    watched = (x, n, key, np.dtype(np.float64), MISS, Layer, np.tanh, f.paths.function)

    def counts():
        return [sys.getrefcount(each) for each in watched]

    for _ in range(3):
        f({key: x, "l": Layer(n)}, n)
    before = counts()
    for _ in range(2000):
        f({key: x, "l": Layer(n)}, n)
        f({key: x.astype(np.float32), "l": Layer(n)}, n)
    assert np.abs(np.subtract(counts(), before)).max() < 100
    result = weakref.ref(f({key: x, "l": Layer(n)}, n)[key])
    assert result() is None


def test_programs_are_freed():
    program = compiled(lambda x: np.sort(x) @ x, np.ones(300))
    program(np.ones(300))
    held = [weakref.ref(each) for each in (program, program.routine, program.routine.arenas)]
    gc.disable()
    try:
        del program
        assert [each() for each in held] == [None] * 3
    finally:
        gc.enable()


def test_an_entry_outlives_its_program_object():
    call = compiled(lambda x: np.exp(x) @ np.sin(x), X)._entry.call
    gc.collect()
    assert call(X)[0] == pytest.approx(np.exp(X) @ np.sin(X), rel=1e-14)


def test_arenas_are_kept_few():
    program = compiled(lambda x: np.cumsum(x)[::-1] @ np.sort(x), np.ones(3000))
    assert program.arena > 0
    waiting = program.routine.arenas.table[2:]
    expected = program(np.ones(3000))[0]
    assert np.count_nonzero(waiting) == 1
    before = waiting.tolist()
    assert program(np.ones(3000))[0] == expected
    assert waiting.tolist() == before
    assert len(waiting) <= 4


# --- errors, threads, calls from within -----------------------------------------------------------


def checked(x):
    clew.loops.check(x > 0, "not above 0: {0}", "pass more", x)
    return np.sqrt(x)


def test_errors_belong_to_the_thread_that_made_them(way):
    root = compiled(checked, 1.0)
    wrong = []
    gate = threading.Barrier(4)

    def work(number):
        gate.wait()
        for i in range(200):
            try:
                root(-float(number * 1000 + i))
            except clew.RunError as error:
                if f"{-float(number * 1000 + i)}" not in str(error):
                    wrong.append(str(error))
            else:
                wrong.append("no error")
            if root(4.0) != [2.0]:
                wrong.append("not 2")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_error_is_not_remembered(way):
    root = compiled(checked, 1.0)
    with pytest.raises(clew.RunError) as caught:
        root(-1.0)
    held = weakref.ref(caught.value)
    del caught
    gc.collect()
    assert held() is None


def test_a_program_may_be_called_from_within_itself(way):
    def descend(xp, x):
        return x if x <= 0 else x + program(x - 1.0)[0]

    step = general(
        "descend in a test",
        eval=descend,
        type=lambda x: x,
        push=NoDerivative("a test"),
        batch=NoDerivative("a test"),
    )
    try:
        program = compiled(lambda x: step(x) * 1.0, 0.0)
        assert program(5.0) == [15.0]
        assert program(np.float64(4.0)) == [10.0]
    finally:
        del PRIMITIVES["descend in a test"]


def test_other_threads_run_during_long_programs():
    f = clew.jit(lambda x: clew.fori_loop(0, 60_000_000, lambda i, c: c * 0.5 + x, x))
    f(1.0)
    begun, ended = threading.Event(), threading.Event()

    def work():
        begun.set()
        f(1.0)
        ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    turns = 0
    while not ended.is_set():
        ended.wait(1e-3)
        turns += 1
    thread.join()
    assert turns > 3


def test_arguments_live_as_long_as_a_long_program():
    f = clew.jit(lambda d: clew.fori_loop(0, 3_000_000, lambda i, c: c * 0.5 + d["x"][0], 0.0))
    held = {"x": np.full(100_000, 3.0)}
    f(held)
    found = []
    thread = threading.Thread(target=lambda: found.append(f(held)))
    thread.start()
    held["x"] = None
    junk = [np.full(100_000, float(i)) for i in range(20)]
    thread.join(60)
    assert junk[3][0] == 3.0
    assert found in ([6.0], [])  # the dictionary may have been emptied before it was read


# --- where objects lie otherwise -----------------------------------------------------------------


def test_unknown_interpreters_have_no_entries(monkeypatch):
    assert entries._objects_are_known()
    monkeypatch.setattr(sys, "byteorder", "big")
    assert not entries._objects_are_known()
    monkeypatch.undo()
    monkeypatch.setattr(entries, "_is_known", lambda array: array.dtype.isnative)
    assert not entries._objects_are_known()


def test_garbage_is_collected_while_another_thread_holds_the_compilers_lock() -> None:
    programs = [compiled(lambda x: np.cumsum(np.sin(x) @ x), np.ones((40, 40)))]
    programs[0]([np.ones((40, 40))])
    assert programs[0].arena > 0

    def collect() -> None:
        programs.clear()
        gc.collect()

    with toolchain.lock:
        thread = threading.Thread(target=collect, daemon=True)
        thread.start()
        thread.join(20.0)
    assert not thread.is_alive()
