"""Native code gives what the reference gives: reductions, moves, joins, gathers, products."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from clew.core.primitive import PRIMITIVES
from tests.evaluate.native.comparing import WRAPS, mismatches
from tests.evaluate.native.operands import DTYPES, ordinary, special

SHAPES = [(3,), (5,), (17,), (4, 4), (100,), (33, 7), (2, 3, 4, 5), (0,), (3, 0, 2), (9, 0)]
REAL = [dtype for dtype in DTYPES if dtype[0] != "c"]
NUMBERS = [dtype for dtype in DTYPES if dtype != "?"]
FEW = ["f8", "f4", "c16", "i2", "?"]


def drawn(dtype, shape, seed=3):
    return ordinary(np.random.default_rng(seed), dtype, shape)


def draws(shapes, dtypes=("f8",)):
    """Return named arrays, every shape with some dtype and every dtype with some shape."""
    found = []
    generator = np.random.default_rng(7)
    for number in range(max(len(shapes), len(dtypes))):
        shape, dtype = shapes[number % len(shapes)], dtypes[number % len(dtypes)]
        found.append((f"{dtype}{shape}", ordinary(generator, dtype, shape)))
    return found


def check(arrays, variants, scaled=True):
    """Compare what ``variants(name, array)`` yields, of operands as they are and computed."""

    def build(given):
        found = []
        for (name, _), x in zip(arrays, given, strict=True):
            shifted = np.logical_not(x) if x.dtype.kind == "b" else x + x * 0
            for label, operand in (("", x), ("computed ", shifted)):
                for what, value in variants(operand):
                    found.append((f"{label}{name} {what}", value))
                    if value.dtype.kind in "fc":
                        found.append((f"{label}{name} {what} used", value * 0.5))
        return found

    wrong = mismatches(build, [x for _, x in arrays], lambda label: scaled)
    assert not wrong, "\n".join(wrong)


def axes_of(x):
    return [
        axes
        for count in range(1, x.ndim + 1)
        for axes in itertools.combinations(range(x.ndim), count)
    ]


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "any", "all"])
def test_reductions(name):
    dtypes = REAL if name in ("max", "min") else DTYPES

    def variants(x):
        for axes in [(), *axes_of(x)]:
            if name in ("max", "min") and 0 in x.shape:
                continue  # an error
            yield f"{name} {axes}", PRIMITIVES[name](x, axis=axes)
        if x.ndim > 1 and (0 not in x.shape or name not in ("max", "min")):
            turned = x.T
            yield (
                f"{name} turned",
                PRIMITIVES[name](turned, axis=(0,) if 0 not in x.shape else (1,)),
            )

    large = (40, 50) if name == "prod" else (300, 300)  # rounding adds up
    arrays = draws([*SHAPES, (), large], dtypes)
    if name == "prod":  # neither 0 nor infinite
        arrays = [(n, np.abs(x) ** 0.01 if x.dtype.kind == "f" else x) for n, x in arrays]
        arrays = [(n, x / np.abs(x) if x.dtype.kind == "c" else x) for n, x in arrays]
    check(arrays, variants)


@pytest.mark.parametrize("name", ["max", "min", "any", "all", "argmax", "argmin"])
def test_reductions_of_special_values(name):
    wide = [(d, np.concatenate([special(d), special(d)[::-1]])) for d in REAL]
    rolled = [(d, np.roll(x, 3)) for d, x in wide] + [(d, x[:3]) for d, x in wide]

    def variants(x):
        axis = 0 if name.startswith("arg") else (0,)
        yield name, PRIMITIVES[name](x, axis=axis)
        yield f"{name} of part", PRIMITIVES[name](x[1:2], axis=axis)

    check([*wide, *rolled], variants)


@pytest.mark.parametrize("name", ["argmax", "argmin", "cumsum", "cumprod", "cummax", "cummin"])
def test_along_an_axis(name):
    position = name.startswith("arg")
    dtypes = REAL if position or name in ("cummax", "cummin") else DTYPES

    def variants(x):
        for axis in range(x.ndim):
            if position and x.shape[axis] == 0:
                continue
            yield f"{name} {axis}", PRIMITIVES[name](x, axis=axis)

    check(draws(SHAPES, dtypes), variants)


@pytest.mark.parametrize("name", ["sort", "argsort"])
def test_order(name):
    arrays = draws(SHAPES, DTYPES)
    arrays += [(f"special {d}", np.tile(special(d), 2)) for d in DTYPES if d[0] != "c"]

    def variants(x):
        for axis in range(x.ndim):
            yield f"{name} {axis}", PRIMITIVES[name](x, axis=axis)

    check(arrays, variants)


@pytest.mark.parametrize("side", ["left", "right"])
def test_searchsorted(side):
    search = PRIMITIVES["searchsorted"]
    arrays = draws([(17,), (5,), (4, 4), (2, 3, 4, 5), (33, 7), (0,)], REAL)
    arrays += [(f"special {d}", special(d)) for d in REAL]

    def variants(x):
        rows = np.sort(x, axis=-1)
        if x.ndim == 1:
            yield "own", search(rows, x, side=side)
            yield "many", search(rows, np.stack([x, x]), side=side)
        else:
            yield "rows", search(rows, x, side=side)

    check(arrays, variants)


def shapes_like(size):
    """Yield some shapes of a size."""
    yield (size,)
    yield (1, size, 1)
    for first in (2, 3, 4, 5, 7):
        if size and size % first == 0:
            yield (first, size // first)
            yield (size // first, first)
            if size // first % 2 == 0:
                yield (2, first, size // first // 2)


def test_reshape():
    def variants(x):
        for shape in shapes_like(x.size):
            yield f"reshape {shape}", np.reshape(x, shape)
            if x.ndim > 1:
                yield f"turned {shape}", np.reshape(x.T, shape)
                yield f"sliced {shape}", np.reshape(x[:, ::-1], shape)
            if x.ndim == 1 and x.size > 2:
                yield f"wide {shape}", np.reshape(np.broadcast_to(x, (3, *x.shape)).T, (-1,))

    check(draws([*SHAPES, (6, 10), (12, 5), (8, 3, 2), (3, 4)], FEW), variants)


def test_transpose_and_broadcast():
    def variants(x):
        for axes in itertools.permutations(range(x.ndim)):
            yield f"transpose {axes}", np.transpose(x, axes)
        for shape in ((2, *x.shape), (3, 1, *x.shape), (7, 5, *x.shape)):
            yield f"broadcast {shape}", np.broadcast_to(x, shape)
        if 0 not in x.shape:
            thin = x[..., :1]
            yield "thin", np.broadcast_to(thin, (*x.shape[:-1], 6))
            yield "thin turned", np.broadcast_to(thin.T, (6, *x.T.shape[1:]))

    check(draws(SHAPES, FEW), variants)


SLICES = [slice(None), slice(1, None), slice(None, None, -1), slice(None, None, 2),
          slice(-2, 0, -1), slice(5, 2), slice(0, 1), slice(None, 2, 1), 0, -1]  # fmt: skip


def parts_of(x):
    for part in SLICES:
        for place in range(x.ndim):
            if isinstance(part, slice) or x.shape[place]:
                yield (*(slice(None),) * place, part)
    if x.ndim > 1 and 0 not in x.shape:
        yield (slice(None, None, 2), -1)
        yield (0, slice(None, None, -1))
        yield (-1,) * x.ndim


def test_basic_slices_and_updates():
    cut, update = PRIMITIVES["basic_slice"], PRIMITIVES["update"]

    def variants(x):
        for part in parts_of(x):
            taken = cut(x, index=part)
            yield f"slice {part}", taken
            value = np.logical_not(taken) if x.dtype.kind == "b" else taken + taken
            yield f"update {part}", update(x, value, index=part)
            yield f"update turned {part}", update(x.T, value.T, index=tuple_turned(part, x.ndim))

    check(draws(SHAPES, FEW), variants)


def tuple_turned(part, rank):
    whole = (*part, *(slice(None),) * (rank - len(part)))
    return whole[::-1]


def test_updates_of_another_dtype():
    update = PRIMITIVES["update"]
    arrays = [(d, drawn(d, (17,))) for d in DTYPES if d[0] != "c"]
    arrays += [(f"{d} small", drawn(d, (3,))) for d in DTYPES if d[0] != "c"]
    if not WRAPS:
        arrays = [(name, np.abs(x) if name[0] == "f" else x) for name, x in arrays]

    def build(given):
        found = []
        for (name, _), x in zip(arrays, given, strict=True):
            for (other, _), y in zip(arrays, given, strict=True):
                if y.shape == x.shape:
                    part = (slice(1, 3),)
                    found.append((f"{name} <- {other}", update(x, y[1:3], index=part)))
        return found

    wrong = mismatches(build, [x for _, x in arrays], lambda label: True)
    assert not wrong, "\n".join(wrong)


def test_concatenate():
    join = PRIMITIVES["concatenate"]

    def variants(x):
        for axis in range(x.ndim):
            yield f"twice {axis}", join(x, x, axis=axis)
            yield f"turned {axis}", join(x.T, x.T[::-1], x.T, axis=axis)
            part = (*(slice(None),) * axis, slice(0, 1))
            yield f"part {axis}", join(x[part], x, axis=axis)
        yield "stacked", np.stack([x, x, x], axis=-1)

    check(draws(SHAPES, FEW), variants)


def test_concatenate_of_two_dtypes():
    arrays = draws([(3,), (17,), (2, 2), (33, 2)], DTYPES)

    def build(given):
        found = []
        for (name, _), x in zip(arrays, given, strict=True):
            for (other, _), y in zip(arrays, given, strict=True):
                if y.shape == x.shape:
                    for axis in range(x.ndim):
                        joined = PRIMITIVES["concatenate"](x, y, axis=axis)
                        found.append((f"{name} {other} {axis}", joined))
                        computed = PRIMITIVES["concatenate"](x * x, y * y, axis=axis)
                        found.append((f"{name} {other} {axis} computed", computed))
        return found

    wrong = mismatches(build, [x for _, x in arrays], lambda label: True)
    assert not wrong, "\n".join(wrong)


INDICES = [np.array([0, -1, 0, 1]), np.array(2), np.array([[2, 0], [1, -3]]),
           np.array([0, 0, 0], np.int8), np.array([1, 2], np.uint16), np.zeros(0, np.int64),
           np.arange(40) * 7 % 6 - 3, np.arange(60).reshape(20, 3) % 4 % 3]  # fmt: skip


@pytest.mark.parametrize("number", range(len(INDICES)))
def test_gather_and_scatter(number):
    places = INDICES[number]
    gather, add, put = (PRIMITIVES[n] for n in ("gather", "scatter_add", "scatter_set"))
    shapes = [(3,), (17,), (4, 4), (33, 7), (5, 3, 4)]
    arrays = [*draws(shapes, FEW), ("f4", drawn("f4", (400, 3)))]

    def variants(x):
        for axes in [(0,), (x.ndim - 1,), (0, x.ndim - 1)][: 3 if x.ndim > 1 else 1]:
            for own in (places, np.asarray(places) + np.zeros(places.shape, places.dtype)):
                taken = gather(x, *(own,) * len(axes), axes=axes)
                yield f"gather {axes}", taken
                more = np.logical_not(taken) if x.dtype.kind == "b" else taken + taken
                yield f"set {axes}", put(x, more, *(own,) * len(axes), axes=axes)
                if x.dtype.kind != "b":
                    yield f"add {axes}", add(x, more, *(own,) * len(axes), axes=axes)
                    yield f"sum {axes}", np.sum(np.abs(gather(x, own, axes=axes[:1])))

    check(arrays, variants)


def test_gather_at_computed_places():
    x = np.random.default_rng(3).normal(size=(50, 3))
    places = np.random.default_rng(3).integers(0, 50, 300)

    def build(given):
        x, places = given
        later = (places * 7 + 3) % 50
        taken = x[later]
        return [
            ("rows", taken),
            ("sum", np.sum(taken * taken, axis=0)),
            ("twice", x[places[places % 50]]),
            ("element", np.sin(x)[later, later % 3]),
        ]

    wrong = mismatches(build, [x, places], lambda label: True)
    assert not wrong, "\n".join(wrong)


PRODUCTS = [
    ("ij,jk->ik", (3, 4), (4, 2)), ("ij,jk->ik", (33, 7), (7, 19)), ("ij,j->i", (33, 7), (7,)),
    ("ij,j->i", (3, 3), (3,)), ("i,i->", (100,), (100,)), ("i,j->ij", (20,), (5,)),
    ("bij,bjk->bik", (6, 5, 7), (6, 7, 8)), ("bij,bjk->bik", (50, 3, 3), (50, 3, 3)),
    ("ij,kj->ki", (17, 9), (20, 9)), ("ijk,jk->i", (5, 6, 7), (6, 7)), ("ij,ij->", (9, 9), (9, 9)),
    ("ij,ij->j", (40, 3), (40, 3)), ("ij,jk->ik", (0, 4), (4, 2)), ("ij,jk->ik", (5, 0), (0, 6)),
    ("i,->i", (17,), ()), ("ij,jk->ki", (70, 65), (65, 90)), ("ij,k->jik", (4, 5), (6,)),
    ("ij,ji->", (30, 20), (20, 30)), ("bi,bi->b", (300, 3), (300, 3)),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(PRODUCTS)))
def test_contract(number):
    formula, left, right = PRODUCTS[number]
    names, out = formula.split("->")
    params = dict(
        zip(("left", "right"), (tuple(map(ord, n)) for n in names.split(",")), strict=True)
    )
    params["out"] = tuple(map(ord, out))
    dtypes = ("f8", "f4", "c16", "c8", "i4", "u1", "i8")
    operands = [drawn(d, shape, seed) for d in dtypes for seed, shape in enumerate((left, right))]
    contract = PRIMITIVES["contract"]

    def build(given):
        found = []
        for i, dtype in enumerate(dtypes):
            x, y = given[2 * i : 2 * i + 2]
            plain = contract(x, y, **params)
            found.append((f"{dtype}", plain))
            found.append((f"{dtype} computed", contract(x + x, y.T.T * y, **params)))
            found.append((f"{dtype} used", plain + plain * plain))
            back = contract(x.T, y.T, left=params["left"][::-1], right=params["right"][::-1],
                            out=params["out"])  # fmt: skip
            found.append((f"{dtype} turned", back))
        return found

    wrong = mismatches(build, operands, lambda label: True)
    assert not wrong, "\n".join(wrong)


def test_random_bits():
    bits = PRIMITIVES["random_bits"]
    keys = np.array([[1, 2], [0, 0], [2**32 - 1, 77]], np.uint32)

    def build(given):
        (keys,) = given
        found = [(f"keys {n}", bits(keys, shape=(n,))) for n in (0, 1, 2, 5, 64)]
        found += [(f"key {shape}", bits(keys[2], shape=shape)) for shape in ((), (3,), (7, 9))]
        return found

    wrong = mismatches(build, [keys], lambda label: True)
    assert not wrong, "\n".join(wrong)
