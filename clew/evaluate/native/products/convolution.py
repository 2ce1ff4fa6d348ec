"""Convolutions as native code: contractions whose axes overlap.

``y[b, o, t] = sum over c, k of x[b, c, stride t + dilation k - before] w[o, c, k]`` is a product
of a matrix of windows of the signal, which need not be laid out because the strides of ``t`` and
``k`` in x describe it, and of the kernels. Where windows reach beyond the signal, either each
example is copied into a frame of zeros, or (when whole places lack the same terms, as in the
gradient of the kernels) the sums are cut to the terms that exist. Zeros between the samples of
the signal (``spread``) are never met: the places of each residue are a convolution of their own.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass, replace

import numpy as np

from clew.evaluate.native.emitter import INT64, Module, Value
from clew.evaluate.native.host import Host
from clew.evaluate.native.products.contraction import Axis, Contraction, Window
from clew.evaluate.native.products.copies import strided_copy
from clew.evaluate.native.products.driver import Emitted, Nest, Place, emit_plan, ranges_of
from clew.evaluate.native.products.plan import (
    FAR,
    NEAR,
    Pieces,
    Plan,
    balanced,
    chunks_for,
    make_plan,
    pieces,
    work,
)
from clew.evaluate.native.products.product import emit_nothing
from clew.evaluate.native.products.writer import VectorEmitter

Ints = tuple[int, ...]


@dataclass(frozen=True)
class Convolution:
    """A convolution as ``clew.ops.conv.conv`` defines it, and where its arrays lie.

    Parameters
    ----------
    dtype : numpy.dtype
        float32 or float64.
    batch, groups : int
    taken, made : int
        Channels in and out, of each group.
    space, lengths, places : tuple of int
        Sizes of signal, kernel and result along each axis of space.
    stride, dilation, spread, before : tuple of int
        For each axis of space; ``before`` is the padding in front (it may be negative).
    signal, kernel, result : tuple of int
        Strides in elements, of x over (batch, channel, *space), of w over (channel out, channel
        in, *space) and of y over (batch, channel, *space); channels count through all groups.
    accumulate : bool
        Add to what y holds.
    """

    dtype: np.dtype
    batch: int
    groups: int
    taken: int
    made: int
    space: Ints
    lengths: Ints
    places: Ints
    stride: Ints
    dilation: Ints
    spread: Ints
    before: Ints
    signal: Ints
    kernel: Ints
    result: Ints
    accumulate: bool = False

    def reaches(self, axis: int) -> int:
        """Return how many samples, in a frame, the windows along an axis cover."""
        return (
            (self.places[axis] - 1) * self.stride[axis]
            + (self.lengths[axis] - 1) * self.dilation[axis]
            + 1
        )

    def padded(self, axis: int) -> bool:
        """Say whether windows along an axis reach beyond the signal."""
        before = self.before[axis]
        return before > 0 or self.reaches(axis) - before > self.space[axis]

    def contraction(self, frame: Ints | None = None, windows: bool = False) -> Contraction:
        """Return the axes; ``frame`` are the strides of a framed copy of one example."""
        signal = self.signal if frame is None else frame
        places, taps, ends = [], [], []
        for i, (along, on, across) in enumerate(
            zip(signal[2:], self.kernel[2:], self.result[2:], strict=True)
        ):
            names = (f"place{i}", f"tap{i}") if windows and self.padded(i) else ("", "")
            places.append(
                Axis(self.places[i], self.stride[i] * along, result=across, name=names[0])
            )
            taps.append(Axis(self.lengths[i], self.dilation[i] * along, on, name=names[1]))
            if names[0]:
                steps = (self.stride[i], self.dilation[i], self.before[i], self.space[i])
                ends.append(Window(*names, *steps))
        examples = 1 if frame is not None else self.batch
        return Contraction(
            np.dtype(self.dtype),
            (
                Axis(
                    self.groups,
                    self.taken * signal[1],
                    self.made * self.kernel[0],
                    self.made * self.result[1],
                ),
            ),
            (Axis(examples, signal[0], result=self.result[0]), *places),
            (Axis(self.taken, signal[1], self.kernel[1]), *taps),
            (Axis(self.made, right=self.kernel[0], result=self.result[1]),),
            self.accumulate,
            windows=tuple(ends),
        ).simplified()


@dataclass(frozen=True)
class Way:
    """One way to compute a convolution without spread: what is copied, and a plan for the rest.

    ``frame`` are the strides of a copied example, ``turned`` whether the kernels are copied with
    channels out innermost.
    """

    convolution: Convolution
    plan: Plan
    frame: Ints | None
    turned: bool
    parts: int
    cost: float


def emit_convolution(module: Module, convolution: Convolution, host: Host) -> Emitted:
    """Write ``void(ptr y, ptr x, ptr w, ptr scratch, i64 chunk)``; see :class:`Emitted`."""
    one = convolution
    inner = one.taken * math.prod(one.lengths) * math.prod(one.space)
    if not (one.batch and one.groups and one.made and math.prod(one.places)):
        return emit_nothing(module, one.dtype)
    if not inner:
        if one.accumulate:
            return emit_nothing(module, one.dtype)
        empty = replace(one, taken=0, lengths=(1,) * len(one.space), before=(0,) * len(one.space))
        return emit_plan(module, make_plan(empty.contraction(), host), host, "convolution")
    if max(one.spread) == 1:
        return _emit_way(module, cheapest(one, host), host)
    return _emit_residues(module, one, host)


# --- zeros between samples ---------------------------------------------------------------


def _residues(one: Convolution, axis: int) -> list[tuple[Ints, Ints, Ints]]:
    """Cut an axis into the places that meet the same taps.

    Each is (places: first, step, count), (taps: first, step, count), (stride, dilation, before).
    """
    spread, stride, dilation = one.spread[axis], one.stride[axis], one.dilation[axis]
    apart, every = spread // math.gcd(spread, stride), spread // math.gcd(spread, dilation)
    cut = []
    for first in range(min(apart, one.places[axis])):
        many = -(-(one.places[axis] - first) // apart)
        start = stride * first - one.before[axis]
        taps = [k for k in range(one.lengths[axis]) if (start + dilation * k) % spread == 0]
        begin = taps[0] if taps else 0
        steps = (
            stride * apart // spread,
            dilation * every // spread,
            -(start + dilation * begin) // spread,
        )
        cut.append(((first, apart, many), (begin, every, len(taps)), steps))
    return cut


def _emit_residues(module: Module, one: Convolution, host: Host) -> Emitted:
    """Write a convolution for each residue, and a function that chooses among their chunks."""
    w = VectorEmitter(module, "residues", np.dtype(one.dtype), "c a b scratch chunk", "nounwind")
    begin, scratch = 0, 0
    for cut in itertools.product(*(_residues(one, axis) for axis in range(len(one.space)))):
        places, taps, steps = zip(*cut, strict=True)
        y = sum(p[0] * s for p, s in zip(places, one.result[2:], strict=True))
        k = sum(t[0] * s for t, s in zip(taps, one.kernel[2:], strict=True))
        part = replace(
            one,
            places=tuple(p[2] for p in places),
            lengths=tuple(t[2] for t in taps),
            stride=tuple(s[0] for s in steps),
            dilation=tuple(s[1] for s in steps),
            before=tuple(s[2] for s in steps),
            spread=(1,) * len(one.space),
            result=(
                *one.result[:2],
                *(p[1] * s for p, s in zip(places, one.result[2:], strict=True)),
            ),
            kernel=(
                *one.kernel[:2],
                *(t[1] * s for t, s in zip(taps, one.kernel[2:], strict=True)),
            ),
        )
        made = emit_convolution(module, part, host)
        chunk = w.minus(Value(INT64, "%chunk"), begin)
        mine = w.e.and_(w.e.le(w.word(0), chunk), w.e.lt(chunk, w.word(made.chunks)))
        with w.e.when(mine):
            pointers = f"ptr {w.at('%c', y)}, ptr %a, ptr {w.at('%b', k)}, ptr %scratch"
            w.e.line(f"call void {made.symbol}({pointers}, i64 {chunk.name})")
        begin += made.chunks
        scratch = max(scratch, made.scratch)
    return Emitted(w.finish(), begin, scratch)


# --- copies ------------------------------------------------------------------------------


@functools.lru_cache(maxsize=64)
def cheapest(one: Convolution, host: Host) -> Way:
    """Return the way that should take the fewest cycles."""
    ways = []
    for turned in (False, True):
        convolution = replace(one, kernel=_turned(one)) if turned else one
        ways.append(_in_place(convolution, host, turned, one))
        ways += [_framed(convolution, host, frame, turned, one) for frame in _frames(one)]
    return min(ways, key=lambda way: way.cost)


def _turned(one: Convolution) -> Ints:
    """Strides of a copy of the kernels, channels out innermost, channels in next to them."""
    made = one.groups * one.made
    return (1, made, *_contiguous(one.lengths, made * one.taken))


def _contiguous(sizes: Ints, start: int = 1) -> Ints:
    strides = []
    for size in reversed(sizes):
        strides.append(start)
        start *= size
    return tuple(strides[::-1])


def _frames(one: Convolution) -> list[Ints]:
    """Strides of framed copies of an example: as the source lies, channels last, channels first."""
    reach = tuple(one.reaches(axis) for axis in range(len(one.space)))
    sizes = (one.groups * one.taken, *reach)
    source = sorted(range(len(sizes)), key=lambda i: -abs(one.signal[1 + i]))
    spatial = list(range(1, len(sizes)))
    frames: list[Ints] = []
    for order in (source, [*spatial, 0], [0, *spatial]):
        strides = _contiguous(tuple(sizes[i] for i in order))
        frame = [0] * len(sizes)
        for i, stride in zip(order, strides, strict=True):
            frame[i] = stride
        if (0, *frame) not in frames:
            frames.append((0, *frame))
    return frames


def _kernel_cost(one: Convolution, turned: bool) -> float:
    return one.groups * one.made * one.taken * math.prod(one.lengths) * 1.5 if turned else 0.0


def _in_place(one: Convolution, host: Host, turned: bool, given: Convolution) -> Way:
    plan = make_plan(one.contraction(windows=True), host)
    cost = plan.cost + plan.extra + plan.chunks * _kernel_cost(one, turned)
    return Way(given, plan, None, turned, 1, cost)


def _framed(one: Convolution, host: Host, frame: Ints, turned: bool, given: Convolution) -> Way:
    contraction = one.contraction(frame)
    multiplications = work(contraction)
    wanted = chunks_for(one.batch * multiplications)
    # A chunk clears its frame and copies the kernels: a hundredth of the work at most.
    reach = math.prod(one.reaches(axis) for axis in range(len(one.space)))
    begin = _kernel_cost(one, turned) + one.groups * one.taken * reach / 8
    vectors = 2 * host.lanes(np.dtype(one.dtype).itemsize)
    most = int(one.batch * multiplications / vectors / 100 / begin)
    parts = balanced(one.batch, min(wanted, max(most, host.workers()[-1])))
    plan = make_plan(contraction, host, max(1, wanted // parts) if one.batch < wanted else 1)
    read = one.groups * one.taken * math.prod(one.space)
    written = one.groups * one.made * math.prod(one.places)
    orders = zip(np.argsort(frame[1:]), np.argsort(one.signal[1:]), strict=True)
    contiguous = all(a == b for a, b in orders) and min(one.signal[1:]) == 1
    size = np.dtype(one.dtype).itemsize
    beyond = one.batch * (read + written) * size > host.level2 // 2
    moved = (read * plan.chunks + 2 * written) * size / (FAR if beyond else NEAR)
    copies = read * plan.chunks * (0.2 if contiguous else 1.5)
    cost = one.batch * (plan.cost + plan.extra + copies + moved)
    cost += parts * plan.chunks * begin
    return Way(given, plan, frame, turned, parts, cost)


def _emit_way(module: Module, way: Way, host: Host) -> Emitted:
    one, plan = way.convolution, way.plan
    dtype = np.dtype(one.dtype)
    w = VectorEmitter(module, "convolution", dtype, "c a b scratch chunk", "nounwind noinline")
    nest = Nest(w, plan, host)
    scratch = lines(nest.scratch)
    kernels = "%b"
    if way.turned:
        kernels = w.e.assign(f"getelementptr i8, ptr %scratch, i64 {scratch}")
        scratch += lines(
            one.groups * one.made * one.taken * math.prod(one.lengths) * dtype.itemsize
        )
        w.e.line(f"call void {_kernel_copy(module, one)}(ptr {kernels}, ptr %b)")
    ranges, part = ranges_of(w, plan, Value(INT64, "%chunk"))

    def emit(c: str, signal: str) -> None:
        operands = (kernels, signal) if plan.contraction.exchanged else (signal, kernels)
        nest.emit(Place(c, *operands), ranges)

    if way.frame is None:
        before = sum(b * s for b, s in zip(one.before, one.signal[2:], strict=True))
        emit("%c", w.at("%a", -before))
        return Emitted(w.finish(), plan.chunks, scratch, pieces(plan, not nest.overlaps))
    frame = w.e.assign(f"getelementptr i8, ptr %scratch, i64 {scratch}")
    reach = math.prod(one.reaches(axis) for axis in range(len(one.space)))
    size = one.groups * one.taken * reach * dtype.itemsize
    scratch += lines(size)
    name = "llvm.memset.p0.i64"
    module.declare(name, f"void @{name}(ptr, i8, i64, i1)")
    w.e.line(f"call void @{name}(ptr align 64 {frame}, i8 0, i64 {size}, i1 false)")
    copy, to, source = _frame_copy(module, one, way.frame)
    with w.loop(*w.share(one.batch, part, way.parts)) as b:
        target, example = w.at(frame, to), w.at(w.at("%a", b, one.signal[0]), source)
        w.e.line(f"call void {copy}(ptr {target}, ptr {example})")
        emit(w.at("%c", b, one.result[0]), frame)
    pieced = examples(one, way.parts) if plan.chunks == 1 else None
    return Emitted(w.finish(), way.parts * plan.chunks, scratch, pieced)


def examples(one: Convolution, parts: int) -> Pieces | None:
    """Return which elements are those of each part of a batch, if that is a run of them."""
    each = one.result[0]
    if each != one.groups * one.made * math.prod(one.places):
        return None
    return Pieces(tuple(each * (one.batch * p // parts) for p in range(parts + 1)), True)


def lines(size: int) -> int:
    """Return a number of bytes rounded up to whole lines."""
    return -(-size // 64) * 64


def _kernel_copy(module: Module, one: Convolution) -> str:
    sizes = (one.groups * one.made, one.taken, *one.lengths)
    axes = [
        Axis(size, left=source, result=target)
        for size, source, target in zip(sizes, one.kernel, _turned(one), strict=True)
    ]
    return strided_copy(module, np.dtype(one.dtype), tuple(axes))


def _frame_copy(module: Module, one: Convolution, frame: Ints) -> tuple[str, int, int]:
    """Add the copy of an example into its frame; return it, and where it begins in both."""
    axes = [Axis(one.groups * one.taken, left=one.signal[1], result=frame[1])]
    to = source = 0
    for i, before in enumerate(one.before):
        first = max(0, -before)
        last = max(first, min(one.space[i], one.reaches(i) - before))
        axes.append(Axis(last - first, left=one.signal[2 + i], result=frame[2 + i]))
        to += (first + before) * frame[2 + i]
        source += first * one.signal[2 + i]
    return strided_copy(module, np.dtype(one.dtype), tuple(axes)), to, source
