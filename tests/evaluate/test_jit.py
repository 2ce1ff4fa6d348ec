"""jit: a tree of Python paths, its limit, its threads, and other transforms around it."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest

import clew
from clew import InputError, TraceError


def counting(f):
    """A function and the list that grows whenever its Python code runs."""
    ran = []

    def counted(*args, **kwargs):
        ran.append(1)
        return f(*args, **kwargs)

    return counted, ran


def collatz(x):
    steps = 0 * x
    while x > 1:
        x = x / 2 if x % 2 == 0 else 3 * x + 1
        steps = steps + 1
    return steps


def test_a_path_for_every_number_of_trips():
    counted, ran = counting(collatz)
    fast = clew.jit(counted)
    expected = [collatz(float(n)) for n in range(1, 10)]
    assert [float(fast(float(n))) for n in range(1, 10)] == expected
    assert len(ran) == 9
    assert [float(fast(float(n))) for n in range(1, 10)] == expected
    assert len(ran) == 9


ROUNDING = 1e-13
"""Native code rounds a product and the sum it goes into once, and has its own sine."""


def branchy(x, y):
    total = np.sin(x)
    if total > 0:
        total = total * y
    if y > x:
        total = total + np.exp(y)
        if total > 3:
            total = np.sqrt(total)
    return total


def test_every_branch_is_the_right_one():
    """No order of calls may lead down a wrong branch, first and compiled runs alike."""
    counted, ran = counting(branchy)
    fast = clew.jit(counted)
    generator = np.random.default_rng(0)
    for x, y in generator.uniform(-3, 3, (300, 2)):
        assert float(fast(x, y)) == pytest.approx(float(branchy(x, y)), rel=ROUNDING)
    assert len(ran) == 6


def test_what_paths_share_runs_once():
    fast = clew.jit(lambda x: np.exp(np.sin(x)) * (2.0 if np.sin(x) > 0 else 3.0))
    for x in (1.0, -1.0):
        assert float(fast(x)) == np.exp(np.sin(x)) * (2.0 if x > 0 else 3.0)
    (signature,) = fast.paths.signatures.values()
    names = [each.primitive.name for each in signature.numbering.order]
    assert names.count("sin") == 1
    assert names.count("exp") == 1
    assert len(signature.paths) == 2


def test_not_a_number_and_signed_zero_take_their_own_way():
    fast = clew.jit(lambda x: x * 2 if x > 0 else (x * 3 if x <= 0 else x * 0 + 7))
    assert float(fast(1.0)) == 2.0
    assert float(fast(-1.0)) == -3.0
    assert np.isnan(fast(np.nan))
    assert np.copysign(1.0, fast(-0.0)) == -1.0
    assert np.copysign(1.0, fast(0.0)) == 1.0


def test_values_that_become_python_numbers():
    fast = clew.jit(lambda x, n: x[int(n)] * len(range(int(n))))
    x = np.array([3.0, 5.0, 7.0])
    for n in (0, 1, 2, 1, 0):
        assert float(fast(x, n)) == x[n] * n


def test_conditions_inside_composites_and_checkpoints():
    inner = clew.composite(lambda x: x * 2 if x > 0 else x * 5)
    again = clew.checkpoint(lambda x: np.sin(x) if x > 1 else np.cos(x))
    fast = clew.jit(lambda x: inner(x) + again(x))
    plain = lambda x: (x * 2 if x > 0 else x * 5) + (np.sin(x) if x > 1 else np.cos(x))
    for x in (2.0, 0.5, -1.0, 3.0, 0.25, -2.0):
        assert float(fast(x)) == pytest.approx(plain(x), rel=ROUNDING)


def test_conditions_inside_loops_on_what_the_loop_holds():
    def f(x, sign):
        body = lambda c, a: (c + a * (2.0 if sign > 0 else -1.0), None)
        return clew.scan(body, 0.0, x)[0]

    fast = clew.jit(f)
    x = np.arange(4.0)
    for sign, expected in ((1.0, 12.0), (-1.0, -6.0), (2.0, 12.0), (-3.0, -6.0)):
        assert float(fast(x, sign)) == expected


def test_arguments_by_position_and_by_name():
    counted, ran = counting(lambda x, *, scale, shift: x * scale + shift)
    fast = clew.jit(counted)
    assert float(fast(2.0, scale=3.0, shift=1.0)) == 7.0
    assert float(fast(2.0, shift=4.0, scale=3.0)) == 10.0
    assert len(ran) == 1


def test_shapes_dtypes_and_structures_are_traced_apart():
    counted, ran = counting(lambda tree: np.sum(tree["a"]) * 2)
    fast = clew.jit(counted)
    for value in (np.ones(2), np.ones(3), np.ones(3, np.float32), np.ones(2)):
        assert float(fast({"a": value})) == 2 * value.size
    assert len(ran) == 3
    assert fast({"a": np.ones(3, np.float32)}).dtype == np.float32


def test_python_numbers_divide_as_arrays_do():
    fast = clew.jit(lambda x, y: x / y)
    for _ in range(3):
        assert np.isinf(fast(1.0, 0.0))


def test_the_limit_drops_the_path_not_used_for_longest_and_warns_once():
    counted, ran = counting(collatz)
    fast = clew.jit(counted, most_paths=3)
    for n in (1.0, 2.0, 4.0):
        fast(n)
    fast(1.0)
    with pytest.warns(RuntimeWarning, match="more than 3 different Python paths") as caught:
        fast(8.0)  # in place of the path of 2
    text = str(caught[0].message)
    assert "clew.while_loop" in text
    assert "np.where" in text
    assert text.count("test_jit.py") == 2
    assert caught[0].filename == __file__
    before = len(ran)
    for n in (1.0, 4.0, 8.0):
        assert float(fast(n)) == collatz(n)
    assert len(ran) == before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert float(fast(2.0)) == 1.0
    assert len(ran) == before + 1
    (signature,) = fast.paths.signatures.values()
    kept = {each for path in signature.paths for each in path.equations}
    assert set(signature.numbering.order) == kept


def test_a_limit_below_one_is_refused():
    with pytest.raises(InputError, match="most_paths=0"):
        clew.jit(collatz, most_paths=0)


def test_long_chains_of_conditions():
    @clew.jit
    def f(x, n):
        while n > 0:
            x = np.sin(x)
            n = n - 1
        return x

    def plain(x, n):
        for _ in range(n):
            x = np.sin(x)
        return x

    for n in (1500, 1500, 1499, 1500):
        assert float(f(1.0, n)) == pytest.approx(plain(1.0, n), rel=ROUNDING)


def test_jit_inside_jit_and_inside_grad():
    inner = clew.jit(lambda x: x * x if x > 0 else -3 * x)
    outer = clew.jit(lambda x: inner(x) + 1.0)
    gradient = clew.grad(inner)
    for x, value, slope in ((2.0, 5.0, 4.0), (-2.0, 7.0, -3.0), (3.0, 10.0, 6.0)):
        assert float(outer(x)) == value
        assert float(gradient(x)) == slope


def test_grad_inside_jit():
    counted, ran = counting(clew.grad(lambda x: x**3 if x > 0 else x))
    fast = clew.jit(counted)
    assert [float(fast(x)) for x in (2.0, -1.0, 3.0, -2.0)] == [12.0, 1.0, 27.0, 1.0]
    assert len(ran) == 2


def test_jit_of_a_loop_and_its_gradient():
    f = lambda x: clew.while_loop(lambda c: c < 10.0, lambda c: c * x, x)
    fast = clew.jit(clew.value_and_grad(f))
    for x, trips in ((2.0, 4), (3.0, 3), (2.0, 4), (1.5, 6)):
        value, slope = fast(x)
        assert float(value) == pytest.approx(x**trips, rel=1e-14)
        assert float(slope) == pytest.approx(trips * x ** (trips - 1), rel=1e-14)


def test_vmap_of_jit():
    fast = clew.jit(lambda x: np.sin(x) if x > 0 else x)
    x = np.array([0.5, 1.0])
    np.testing.assert_array_equal(clew.vmap(fast)(x), np.sin(x))
    with pytest.raises(TraceError, match="examples disagree"):
        clew.vmap(fast)(np.array([0.5, -1.0]))


def test_jit_of_vmap():
    fast = clew.jit(clew.vmap(lambda x: x * 2 if x.shape == () else x))
    np.testing.assert_array_equal(fast(np.arange(3.0)), [0.0, 2.0, 4.0])


def test_values_of_an_outer_trace_are_not_kept():
    def f(w):
        scaled = clew.jit(lambda x: w * x)
        return scaled(3.0) + scaled(4.0)

    assert float(clew.grad(f)(2.0)) == 7.0
    assert float(clew.grad(clew.grad(lambda w: f(w) ** 2))(2.0)) == 98.0


def test_closures_are_taken_as_they_are_when_traced():
    held = [2.0]
    fast = clew.jit(lambda x: x * held[0] if x > 0 else -x * held[0])
    assert float(fast(1.0)) == 2.0
    held[0] = 5.0
    assert float(fast(1.0)) == 2.0  # as documented: pass what changes as an argument
    assert float(fast(-1.0)) == 5.0


def test_many_threads_at_once():
    fast = clew.jit(collatz, most_paths=64)
    wrong = []
    gate = threading.Barrier(6)

    def work(seed):
        gate.wait()
        for n in np.random.default_rng(seed).integers(1, 40, 60):
            if float(fast(float(n))) != collatz(float(n)):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    (signature,) = fast.paths.signatures.values()
    ways = [tuple(path.conditions) for path in signature.paths]
    assert len(ways) == len(set(ways))
    assert sum(path.runs for path in signature.paths) == 360


def test_checks_still_run():
    def f(x):
        clew.loops.check(x > 0, "not above 0: {0}", "pass more", x)
        return np.sqrt(x)

    fast = clew.jit(f)
    assert float(fast(4.0)) == 2.0
    for _ in range(2):
        with pytest.raises(clew.RunError, match=r"not above 0: -1\.0"):
            fast(-1.0)


def test_constants_of_different_paths_are_not_confused():
    a, b = np.arange(4.0), np.arange(4.0) * 10
    fast = clew.jit(lambda x: x * (a if np.sum(x) > 0 else b))
    for sign in (1.0, -1.0, 2.0, -2.0):
        x = np.full(4, sign)
        np.testing.assert_array_equal(fast(x), x * (a if sign > 0 else b))


# --- calls that go past Python --------------------------------------------------------------------


def shortcuts(fast, *names):
    return fast.paths.calls.get(names, ())


def test_a_call_without_conditions_needs_no_search(monkeypatch):
    fast = clew.jit(lambda tree, s: {"sum": tree["a"] + tree["b"][0], "scaled": (tree["a"] * s,)})
    a, b = np.arange(3.0), np.ones(3)
    for _ in range(3):
        fast({"a": a, "b": [b]}, 2)
    assert len(shortcuts(fast)) == 1
    monkeypatch.setattr(fast.paths, "run", None)
    found = fast({"b": [b], "a": a}, 2)
    np.testing.assert_array_equal(found["sum"], a + b)
    np.testing.assert_array_equal(found["scaled"][0], 2 * a)
    assert clew.explain(fast).signatures[0].paths[0].runs == 4


def test_conditions_are_asked_between_native_steps(monkeypatch):
    def f(x, flag, n):
        y = np.exp(x)
        if flag:
            y = y * n
        if np.sum(y) > 3:
            return y - 1, n
        for _ in range(int(n)):
            y = y + x
        return y, 0.0

    fast = clew.jit(f)
    cases = [(v, flag, n) for v in (-1.0, 1.0) for flag in (True, False) for n in (1, 2)]
    plain = [f(np.full(2, v), flag, n) for v, flag, n in cases]
    for _ in range(2):
        for v, flag, n in cases:
            fast(np.full(2, v), flag, n)
    (signature,) = fast.paths.signatures.values()
    runs = sum(path.runs for path in signature.paths)
    monkeypatch.setattr(fast.paths, "run", None)
    for (v, flag, n), expected in zip(cases, plain, strict=True):
        y, m = fast(np.full(2, v), flag, n)
        np.testing.assert_allclose(y, expected[0], rtol=ROUNDING)
        assert m == expected[1]
    assert sum(path.runs for path in signature.paths) == runs + len(cases)


def test_a_new_answer_leaves_the_shortcut():
    counted, ran = counting(lambda x: x * 2 if x > 0 else (x if x == 0 else -x))
    fast = clew.jit(counted)
    for x in (1.0, 2.0, -1.0, 0.0, -2.0, 3.0, np.nan):
        assert fast(x) == pytest.approx(x * 2 if x > 0 else (x if x == 0 else -x), nan_ok=True)
    assert len(ran) == 3
    assert len(shortcuts(fast)) == 1


def test_keywords_in_any_order_have_shortcuts(monkeypatch):
    fast = clew.jit(lambda x, *, scale, shift: x * scale + shift)
    for _ in range(2):
        fast(2.0, scale=3.0, shift=1.0)
        fast(2.0, shift=1.0, scale=3.0)
    monkeypatch.setattr(fast.paths, "run", None)
    assert fast(2.0, scale=3.0, shift=1.0) == 7.0
    assert fast(2.0, shift=4.0, scale=3.0) == 10.0
    assert clew.explain(fast).signatures[0].paths[0].runs == 6


def test_many_signatures_in_turn():
    counted, ran = counting(lambda x: x * 2)
    fast = clew.jit(counted)
    for _ in range(3):
        for n in range(20):
            assert fast(np.ones(n)).shape == (n,)
    assert len(ran) == 20
    assert len(shortcuts(fast)) < 20


def test_shared_arrays_are_told_apart_at_every_call():
    gradient = clew.jit(clew.grad(lambda p: np.sum(p["a"] * p["b"])))
    x, y = np.arange(3.0), np.ones(3)
    for _ in range(3):
        apart = gradient({"a": x, "b": y})
        np.testing.assert_array_equal(apart["a"], y)
        np.testing.assert_array_equal(apart["b"], x)
        both = gradient({"a": x, "b": x})
        np.testing.assert_array_equal(both["a"], 2 * x)
    assert len(shortcuts(gradient)) == 2


def test_results_are_new_arrays():
    x = np.arange(3.0)
    fast = clew.jit(lambda x: (x, x.T, x + 0))
    for _ in range(3):
        found = fast(x)
        assert not any(np.shares_memory(x, each) for each in found)
        assert not np.shares_memory(found[0], found[1])


class OnlyDLPack:
    """An array of a library that knows NumPy through DLPack only."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_arrays_of_others_are_read_where_they_lie(monkeypatch):
    import array

    from clew.evaluate import arguments

    x = np.arange(3.0)
    fast = clew.jit(lambda tree: tree["x"] * 2)
    foreign = [OnlyDLPack(x), array.array("d", x), memoryview(x), x.astype(">f8")]
    for value in foreign:
        np.testing.assert_array_equal(fast({"x": value}), x * 2)
    assert len(fast.paths.signatures) == 1
    for value in foreign[:1] + foreign[2:3]:
        assert np.shares_memory(arguments.plain(value), x)
    with pytest.raises(clew.DtypeError, match="str, not an array"):
        fast({"x": "012"})


def test_tensors_are_read_where_they_lie():
    torch = pytest.importorskip("torch")
    from clew.evaluate import arguments

    x = torch.arange(3.0)
    assert arguments.plain(x).ctypes.data == x.data_ptr()
    fast = clew.jit(lambda x: x * 2)
    for _ in range(2):
        np.testing.assert_array_equal(fast(x), [0.0, 2.0, 4.0])


# --- donated arguments ----------------------------------------------------------------------------


def test_donated_memory_is_used_for_later_results():
    step = clew.jit(lambda state, x: ({"v": state["v"] * 0.5 + x}, np.sum(x)), donate_argnums=0)
    x = np.arange(1000.0)
    state, expected = {"v": np.zeros(1000)}, np.zeros(1000)
    places = set()
    for _ in range(20):
        state, total = step(state, x)
        expected = expected * 0.5 + x
        np.testing.assert_array_equal(state["v"], expected)
        assert total == x.sum()
        places.add(state["v"].ctypes.data)
    assert len(places) <= 4
    assert not np.shares_memory(state["v"], x)


def test_a_donated_array_given_again_is_not_written_while_it_is_read():
    fast = clew.jit(lambda x: np.cumsum(x[::-1]), donate_argnums=(0,))
    x = np.arange(100.0)
    results = [fast(x) for _ in range(4)]
    for each in results:
        np.testing.assert_array_equal(each, np.cumsum(np.arange(100.0)[::-1]))
        assert not np.shares_memory(each, x)


def test_what_cannot_be_reused_is_left_alone():
    fast = clew.jit(lambda x: x + 1, donate_argnums=0)
    base = np.zeros((4, 50))
    locked = np.zeros(50)
    locked.flags.writeable = False
    kept = [fast(np.zeros(50)) for _ in range(3)]
    for _ in range(3):
        for given in (base[1], locked, np.zeros(100)[::2], list(base[2])):
            np.testing.assert_array_equal(fast(np.asarray(given)), np.ones(50))
    assert not base.any()
    assert not locked.any()
    for each in kept:
        np.testing.assert_array_equal(each, np.ones(50))


def test_a_donated_array_that_was_changed_in_place_is_not_used():
    fast = clew.jit(lambda x: x + 1, donate_argnums=0)
    fast(np.zeros(1000))
    x = np.zeros(1000)
    fast(x)
    x.resize(10, refcheck=False)
    np.testing.assert_array_equal(fast(np.zeros(1000)), np.ones(1000))


def test_donated_arrays_die_with_the_function():
    import gc
    import weakref

    fast = clew.jit(lambda x: x + 1, donate_argnums=0)
    for _ in range(3):
        x = np.zeros(1000)
        fast(x)
    held = weakref.ref(x)
    del x
    assert held() is not None
    del fast
    gc.collect()
    assert held() is None


def test_donated_arguments_are_numbers_of_positions():
    for wrong in (-1, "x", (0, 1.5)):
        with pytest.raises(InputError, match="donate_argnums"):
            clew.jit(lambda x: x, donate_argnums=wrong)
