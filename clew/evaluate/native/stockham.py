"""Fourier transforms of several columns at once, as code: passes of small radices, and chirps.

A pass of radix r turns n numbers into r transforms of n/r; Stockham's order of the results leaves
nothing to be sorted at the end, and neighbouring columns stay neighbours, so that loops over them
are vector code. Lengths with a prime factor above 13 are chirp transforms (Bluestein), which are
convolutions of a length without. Real and imaginary parts are apart; exchanging them turns
a transform round.

Sources: C. Van Loan (1992), Computational Frameworks for the Fast Fourier Transform, 1.7 and 4.2;
L. I. Bluestein (1970), "A linear filtering approach to the computation of discrete Fourier
transform".
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence

import numpy as np

from clew.evaluate.native.emitter import INT64, Emitter, Module, Value, part_dtype

_RADICES = (4, 2, 3, 5, 7, 11, 13)

Pair = tuple[str, str]
"""Addresses of real and of imaginary parts."""


def exchanged(pair: Pair) -> Pair:
    """Return the parts exchanged: a transform of them is one the other way."""
    return pair[1], pair[0]


def radices(length: int) -> list[int] | None:
    """Return the radices of a transform's passes; None if it has a large prime factor.

    >>> radices(60), radices(34)
    ([4, 3, 5], None)
    """
    found = []
    for radix in _RADICES:
        while length % radix == 0:
            found.append(radix)
            length //= radix
    return found if length == 1 else None


def working_length(length: int) -> int:
    """Return how many numbers a transform works on: those of the convolution, if it is one.

    >>> working_length(60), working_length(17)
    (60, 33)
    """
    if radices(length) is not None:
        return length
    return next(n for n in range(2 * length - 1, 4 * length) if radices(n) is not None)


def unit_roots(powers: np.ndarray, length: int) -> np.ndarray:
    """Return ``exp(-2 pi i k / n)`` for whole k, each part rounded from an angle below pi/4.

    >>> unit_roots(np.array([0, 1, 2]), 4).tolist()
    [(1+0j), -1j, (-1+0j)]
    """
    eighths, rest = np.divmod(8 * (powers % length), length)
    odd = eighths % 2 == 1
    angle = np.where(odd, length - rest, rest) * (math.pi / 4 / length)
    cosine, sine = np.cos(angle), np.sin(angle)
    quarter = np.where(odd, sine + 1j * cosine, cosine + 1j * sine)
    turned = np.array([1, 1j, -1, -1j])[eighths // 2 % 4]
    return np.conj(quarter * turned) + 0.0


class Table:
    """Constant numbers of a transform, which the program is given as one array."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = part_dtype(dtype)
        self._parts: list[np.ndarray] = []
        self._starts: dict[bytes, int] = {}
        self._size = 0

    def add(self, values: np.ndarray) -> tuple[int, int]:
        """Add complex numbers, once; return where their real and imaginary parts begin."""
        key = values.tobytes()
        start = self._starts.get(key)
        if start is not None:
            return start, start + values.size
        start = self._starts[key] = self._size
        self._parts += [np.real(values).ravel(), np.imag(values).ravel()]
        self._size += 2 * values.size
        return start, start + values.size

    def array(self) -> np.ndarray:
        """Return all numbers."""
        return np.concatenate([*self._parts, np.zeros(1)]).astype(self.dtype)


class Transform:
    """Writes transforms of ``width`` columns of a length, stored row by row.

    ``table`` is an address of the numbers that are added to ``Table``.
    """

    def __init__(self, e: Emitter, dtype: np.dtype, length: int, width: int, table: Table) -> None:
        self.e = e
        self.dtype = dtype
        self.part = part_dtype(dtype)
        self.length = length
        self.width = width
        self.table = table

    def write(self, x: Pair, y: Pair, given: str) -> Pair:
        """Write the transform of ``x``, with ``y`` to work in; return where the result is."""
        found = radices(self.length)
        if found is None:
            return self._chirp(x, y, given)
        return self._passes(found, x, y, given)

    def _passes(self, found: Sequence[int], x: Pair, y: Pair, given: str) -> Pair:
        length, width = math.prod(found), self.width
        for radix in found:
            rows = length // radix
            powers = np.outer(np.arange(1, radix), np.arange(rows))
            start, _ = self.table.add(unit_roots(powers, length))
            symbol = _pass(self.e.module, self.dtype, radix, rows, width)
            place = self.e.address(given, self.part, start)
            pointers = ", ".join(f"ptr {name}" for name in (*x, *y, place))
            self.e.line(f"call void {symbol}({pointers})")
            x, y = y, x
            length, width = rows, width * radix
        return x

    def _chirp(self, x: Pair, y: Pair, given: str) -> Pair:
        """``y_k = c_k sum over j of (x_j c_j) / c_(k-j)``, ``c_j = exp(-pi i j^2 / n)``."""
        n, length = self.length, working_length(self.length)
        passes = radices(length)
        assert passes is not None
        squares = np.arange(n) ** 2 % (2 * n)
        chirp = unit_roots(squares, 2 * n)
        around = np.zeros(length, complex)
        around[:n] = np.conj(chirp)
        around[length - n + 1 :] = np.conj(chirp[:0:-1])
        spectrum = self.table.add(np.fft.fft(around) / length)
        chirps = self.table.add(chirp)
        self._scale(x, n, chirps, given)
        for part in x:
            with self.e.loop(n * self.width, length * self.width) as place:
                self.e.store(part, self.e.constant(self.part, 0), place)
        z = self._passes(passes, x, y, given)
        self._scale(z, length, spectrum, given)
        other = y if z == x else x
        found = exchanged(self._passes(passes, exchanged(z), exchanged(other), given))
        self._scale(found, n, chirps, given)
        return found

    def _scale(self, x: Pair, rows: int, factors: tuple[int, int], given: str) -> None:
        """Multiply each row by a number of the table."""
        e = self.e
        with e.loop(0, rows) as row:
            starts = [e.add(row, e.constant(INT64, start)) for start in factors]
            factor = e.joined(self.dtype, *(e.load(given, self.part, start) for start in starts))
            base = e.mul(row, e.constant(INT64, self.width))
            with e.loop(0, self.width) as column:
                place = e.add(base, column)
                value = load(e, self.dtype, x, place)
                store(e, x, e.mul(value, factor), place)


def load(e: Emitter, dtype: np.dtype, pair: Pair, place: Value) -> Value:
    """Return a complex number whose parts are apart."""
    return e.joined(dtype, *(e.load(pointer, part_dtype(dtype), place) for pointer in pair))


def store(e: Emitter, pair: Pair, value: Value, place: Value) -> None:
    """Write a complex number with its parts apart."""
    for pointer, part in zip(pair, e.parts(value), strict=True):
        e.store(pointer, part, place)


# --- one pass ---------------------------------------------------------------------------------


def _pass(module: Module, dtype: np.dtype, radix: int, rows: int, width: int) -> str:
    """Add a pass over ``radix`` times ``rows`` times ``width`` numbers; return its symbol."""
    name = f"fft_{dtype.str[1:]}_{radix}_{rows}_{width}"
    if module.has(name):
        return f"@{name}"
    names = ("xr", "xi", "yr", "yi", "roots")
    e = Emitter(module, name, [("ptr", each, "noalias") for each in names])
    x, y = ("%xr", "%xi"), ("%yr", "%yi")
    with contextlib.ExitStack() as loops:
        row = loops.enter_context(e.loop(0, rows))
        roots = [_root(e, dtype, rows * j, rows * (radix - 1), row) for j in range(radix - 1)]
        column = loops.enter_context(e.loop(0, width)) if width > 1 else e.constant(INT64, 0)
        start = e.add(e.mul(row, e.constant(INT64, width)), column)
        end = e.add(e.mul(row, e.constant(INT64, width * radix)), column)
        given = [
            load(e, dtype, x, e.add(start, e.constant(INT64, rows * width * k)))
            for k in range(radix)
        ]
        for j, value in enumerate(_small(e, given)):
            if j and rows > 1:
                value = e.mul(value, roots[j - 1])
            store(e, y, value, e.add(end, e.constant(INT64, width * j)))
    e.ret()
    return module.add(e)


def _root(e: Emitter, dtype: np.dtype, start: int, apart: int, row: Value) -> Value:
    """Return a factor of a row from a table of real, then of imaginary parts."""
    place = e.add(row, e.constant(INT64, start))
    other = e.add(row, e.constant(INT64, start + apart))
    part = part_dtype(dtype)
    return e.joined(dtype, e.load("%roots", part, place), e.load("%roots", part, other))


def _small(e: Emitter, x: Sequence[Value]) -> list[Value]:
    """Return the transform of a few numbers."""
    if len(x) == 2:
        return [e.add(x[0], x[1]), e.sub(x[0], x[1])]
    if len(x) == 4:
        (a, b), (c, d) = _small(e, x[0::2]), _small(e, x[1::2])
        d = _turned(e, d)
        return [e.add(a, c), e.add(b, d), e.sub(a, c), e.sub(b, d)]
    return _small_odd(e, x)


def _small_odd(e: Emitter, x: Sequence[Value]) -> list[Value]:
    """Pairs of numbers share their cosines, and but for the sign their sines."""
    n = len(x)
    half = range(1, n // 2 + 1)
    sums = [e.add(x[k], x[n - k]) for k in half]
    differences = [e.sub(x[k], x[n - k]) for k in half]
    found = [x[0]] * n
    for total in sums:
        found[0] = e.add(found[0], total)
    for j in half:
        roots = unit_roots(j * np.arange(1, n // 2 + 1), n)
        even = e.add(x[0], _combined(e, np.real(roots), sums))
        odd = _turned(e, _combined(e, -np.imag(roots), differences))
        found[j], found[n - j] = e.add(even, odd), e.sub(even, odd)
    return found


def _combined(e: Emitter, weights: np.ndarray, x: Sequence[Value]) -> Value:
    """Return a sum of complex numbers with real weights."""
    dtype = x[0].dtype
    parts = []
    for each in zip(*map(e.parts, x), strict=True):
        terms = [e.mul(p, e.like(p, float(w))) for w, p in zip(weights, each, strict=True)]
        total = terms[0]
        for term in terms[1:]:
            total = e.add(total, term)
        parts.append(total)
    return e.joined(dtype, *parts)


def _turned(e: Emitter, z: Value) -> Value:
    """Return ``-i z``."""
    real, imag = e.parts(z)
    return e.joined(z.dtype, imag, e.neg(real))
