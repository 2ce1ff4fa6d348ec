"""The kinds of primitive record, and what each derives from what its author wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from clew.core.errors import DerivativeError, DtypeError, ShapeError
from clew.core.primitive import (
    PRIMITIVES,
    REALS,
    Array,
    Interval,
    NoDerivative,
    Primitive,
    innermost,
)
from clew.core.tape import Tape, TapeType
from clew.core.types import Type, type_of

Rule = Callable[..., Any]
_PYTHON_SCALARS = (float, int, bool, complex)


# --- elementwise -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class Elementwise(Primitive):
    """Each output element is a function of the operands' elements at the same place.

    Operands broadcast. The derivative is stated once: one ``partials`` function per operand,
    given the output and the operands; or ``push`` where no partial exists (not holomorphic);
    or ``transpose`` for an operation that is linear and not a product. ``masks`` says, given
    where the cotangent can be nonzero, where each operand's can: only a choice narrows it.
    ``emit(e, *operands, **params)`` writes the operation on single numbers as native code; None,
    or a rule that returns None for a dtype, means that there it has no native form.
    """

    partials: tuple[Rule | NoDerivative, ...] | NoDerivative | None = None
    push_rule: Rule | None = None
    transpose: Rule | None = None
    linear_in: tuple[int, ...] = ()
    operands: Literal["inexact", "same", "any", "select"] = "inexact"
    domain: Interval | tuple[Interval, ...] = REALS
    masks: Rule | None = None
    emit: Rule | None = None

    def __post_init__(self) -> None:
        stated = [self.partials, self.push_rule, self.transpose]
        if sum(rule is not None for rule in stated) != 1:
            raise ValueError(f"{self.name}: state one of partials, push, transpose")
        super().__post_init__()

    def __call__(self, *operands: Array, **params: Any) -> Any:
        """Apply elementwise: promote dtypes as NumPy does (NEP 50), then record or evaluate."""
        builder = innermost(operands)
        if builder is None:
            return self.eval(np, *operands, **params)
        return builder.record(self, self.promoted(operands), params)

    def promoted(self, operands: Sequence[Array]) -> list[Array]:
        """Convert operands to the dtypes that the evaluation runs in."""
        kinds = tuple(type(x) if type(x) in _PYTHON_SCALARS else type_of(x).dtype for x in operands)
        targets = _promotions.get((self, kinds))
        if targets is None:
            targets = self._promotion(kinds)
            _promotions[self, kinds] = targets
        result = []
        for operand, kind, target in zip(operands, kinds, targets, strict=True):
            if type(kind) is type:
                operand = target.type(operand)
            elif kind != target:
                operand = PRIMITIVES["convert"](operand, dtype=target)
            result.append(operand)
        return result

    def _promotion(self, kinds: tuple[Any, ...]) -> list[np.dtype]:
        weak = [kind(0) if type(kind) is type else kind for kind in kinds]
        if self.operands == "select":
            common = np.result_type(*weak[1:])
            return [np.dtype(bool), common, common]
        common = np.result_type(*weak)
        if self.operands == "any":
            return [common if type(kind) is type else kind for kind in kinds]
        if self.operands == "inexact" and common.kind not in "fc":
            given = tuple(common if type(kind) is type else kind for kind in kinds)
            common = self._result_dtype(given, {})
        return [common] * len(kinds)

    def result_type(self, types: Sequence[Type], params: dict[str, Any]) -> Type:
        """Broadcast the shapes; find the dtype by evaluating on empty arrays, once."""
        shape = types[0].shape
        if any(other.shape != shape for other in types):
            try:
                shape = np.broadcast_shapes(*(other.shape for other in types))
            except ValueError:
                shapes = " and ".join(str(other.shape) for other in types)
                raise ShapeError(
                    f"{self.name}: shapes {shapes} do not broadcast",
                    "make the trailing axes equal or 1 (reshape, or index with None)",
                ) from None
        dtypes = tuple(other.dtype for other in types)
        key = (self, dtypes, params.get("dtype"))
        dtype = _result_dtypes.get(key)
        if dtype is None:
            dtype = self._result_dtype(dtypes, params)
            _result_dtypes[key] = dtype
        return Type(shape, dtype)

    def _result_dtype(self, dtypes: tuple[np.dtype, ...], params: dict[str, Any]) -> np.dtype:
        try:
            with np.errstate(all="ignore"):
                return self.eval(np, *(np.ones(1, dtype) for dtype in dtypes), **params).dtype
        except TypeError:
            names = ", ".join(dtype.name for dtype in dtypes)
            raise DtypeError(
                f"{self.name}: not defined for {names}",
                "convert the operands first, for instance with x.astype(...)",
            ) from None

    def push(
        self, primals: Sequence[Array], tangents: Sequence[Array], outputs: Any, params: dict
    ) -> Any:
        """Sum ``partial * tangent`` over the operands that have a tangent."""
        if self.push_rule is not None:
            return self.push_rule(primals, tangents, outputs, **params)
        if self.transpose is not None:
            return _push_linear(self, primals, tangents, params)
        if not isinstance(self.partials, tuple):
            return None
        total = None
        for partial, tangent in zip(self.partials, tangents, strict=True):
            if tangent is None or isinstance(partial, NoDerivative):
                continue
            term = scaled(partial(outputs, *primals, **params), tangent)
            total = term if total is None else PRIMITIVES["add"](total, term)
        if total is None:
            return None
        return broadcast_like(total, type_of(outputs))

    def pull(self, cotangent: Any, operands: Sequence[Any], params: dict) -> Sequence[Array]:
        """Scale the cotangent by the partial, and sum over the axes that were broadcast."""
        return self.pull_masked(cotangent, None, operands, params)[0]

    def pull_masked(
        self, cotangent: Array, mask: Array, operands: Sequence[Any], params: dict
    ) -> tuple[list[Array], list[Array]]:
        """As ``pull``, with every product zeroed outside the mask before it is summed."""
        wanted = [i for i, operand in enumerate(operands) if type(operand) is Type]
        if self.transpose is not None:
            raw = self.transpose(cotangent, *operands, **params)
        elif isinstance(self.partials, tuple) and set(wanted) <= set(self.linear_in):
            raw = [
                scaled(partial(None, *operands, **params), cotangent)
                if i in wanted and not isinstance(partial, NoDerivative)
                else None
                for i, partial in enumerate(self.partials)
            ]
        else:
            raise _not_linear(self)
        masks = [mask] * len(operands)
        if self.masks is not None:
            masks = self.masks(mask, *operands)
        cotangents: list[Array] = [None] * len(operands)
        shrunk: list[Array] = [None] * len(operands)
        for i in wanted:
            term = raw[i]
            if masks[i] is not None:
                term = PRIMITIVES["where"](masks[i], term, 0)
                shrunk[i] = unbroadcast_mask(masks[i], operands[i].shape)
            cotangents[i] = unbroadcast(term, operands[i].shape)
        return cotangents, shrunk

    def batched(
        self, size: int, operands: Sequence[Array], batched: Sequence[bool], params: dict
    ) -> Any:
        """Line the operands' own axes up behind the batch axis and broadcast."""
        rank = max(
            type_of(x).ndim - is_batched for x, is_batched in zip(operands, batched, strict=True)
        )
        aligned = []
        for operand, is_batched in zip(operands, batched, strict=True):
            shape = type_of(operand).shape
            missing = rank + 1 - len(shape)
            if is_batched and missing:
                shape = (shape[0], *(1,) * missing, *shape[1:])
                operand = PRIMITIVES["reshape"](operand, shape=shape)
            aligned.append(operand)
        return self(*aligned, **params)


_promotions: dict[Any, list[np.dtype]] = {}
_result_dtypes: dict[Any, np.dtype] = {}


def scaled(partial: Array, tangent: Array) -> Array:
    """Return ``partial * tangent``, without an equation for the factors 1 and -1."""
    if type(partial) is int:
        if partial == 1:
            return tangent
        if partial == -1:
            return PRIMITIVES["negative"](tangent)
    return PRIMITIVES["multiply"](partial, tangent)


def broadcast_like(value: Array, type: Type) -> Array:
    """Broadcast a value to a type's shape, without an equation when it has it."""
    if type_of(value).shape == type.shape:
        return value
    return PRIMITIVES["broadcast_to"](value, shape=type.shape)


def unbroadcast(value: Array, shape: tuple[int, ...]) -> Array:
    """Sum over the axes along which an operand of this shape was broadcast."""
    full = type_of(value).shape
    if full == shape:
        return value
    extra = len(full) - len(shape)
    axes = tuple(
        axis
        for axis, length in enumerate(full)
        if axis < extra or (length != 1 and shape[axis - extra] == 1)
    )
    if axes:
        value = PRIMITIVES["sum"](value, axis=axes)
    if type_of(value).shape != shape:
        value = PRIMITIVES["reshape"](value, shape=shape)
    return value


def unbroadcast_mask(mask: Array, shape: tuple[int, ...]) -> Array:
    """Reduce a mask by "any" over the axes along which an operand was broadcast.

    A mask may itself be broadcast against what it masks: it may lack leading axes, and have
    length 1 where the operand is longer.
    """
    full = type_of(mask).shape
    extra = len(full) - len(shape)
    axes = tuple(
        axis
        for axis, length in enumerate(full)
        if axis < extra or (length != 1 and shape[axis - extra] == 1)
    )
    if not axes:
        return mask
    kept = tuple(1 if axis in axes else full[axis] for axis in range(max(extra, 0), len(full)))
    mask = PRIMITIVES["any"](mask, axis=axes)
    return PRIMITIVES["reshape"](mask, shape=kept)


# --- linear and bilinear ---------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class Structured(Primitive):
    """A primitive that states its type rule and its batching."""

    type_rule: Rule = None  # type: ignore[assignment]
    batch: Rule = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        for field in ("type_rule", "batch"):
            if getattr(self, field) is None:
                raise ValueError(f"{self.name}: {field} is missing")
        super().__post_init__()

    def result_type(self, types: Sequence[Type], params: dict[str, Any]) -> Any:
        """Apply the author's type rule."""
        return self.type_rule(*types, **params)

    def batched(
        self, size: int, operands: Sequence[Array], batched: Sequence[bool], params: dict
    ) -> Any:
        """Apply the author's batching rule."""
        return self.batch(size, tuple(operands), tuple(batched), **params)

    def pull_masked(
        self, cotangent: Array, mask: Array, operands: Sequence[Any], params: dict
    ) -> tuple[Sequence[Array], Sequence[Array]]:
        """Pull back, then zero everything if the whole cotangent is masked out."""
        cotangents = self.pull(cotangent, operands, params)
        if mask is None:
            return cotangents, [None] * len(operands)
        some = PRIMITIVES["any"](mask, axis=tuple(range(type_of(mask).ndim)))
        where = PRIMITIVES["where"]
        cotangents = [None if c is None else where(some, c, 0) for c in cotangents]
        return cotangents, [None if c is None else some for c in cotangents]


@dataclass(frozen=True, eq=False, repr=False)
class Linear(Structured):
    """Linear, jointly, in the operands ``linear_in``: its push-forward is itself.

    ``moves`` says that the operation only moves or adds elements (coefficients 0 and 1), so
    that it carries masks exactly.
    """

    transpose: Rule = None  # type: ignore[assignment]
    linear_in: tuple[int, ...] | None = (0,)
    moves: bool = False

    def __post_init__(self) -> None:
        if self.transpose is None:
            raise ValueError(f"{self.name}: transpose is missing")
        super().__post_init__()

    def push(
        self, primals: Sequence[Array], tangents: Sequence[Array], outputs: Any, params: dict
    ) -> Any:
        """Apply the primitive itself to the tangents."""
        return _push_linear(self, primals, tangents, params)

    def pull(self, cotangent: Any, operands: Sequence[Any], params: dict) -> Sequence[Array]:
        """Apply the author's transpose."""
        return self.transpose(cotangent, *operands, **params)

    def pull_masked(
        self, cotangent: Array, mask: Array, operands: Sequence[Any], params: dict
    ) -> tuple[Sequence[Array], Sequence[Array]]:
        """Carry the mask through the same transpose where elements are only moved or added."""
        if mask is None or not self.moves:
            return super().pull_masked(cotangent, mask, operands, params)
        cotangents = self.pull(cotangent, operands, params)
        return cotangents, _carried_masks(self, cotangent, mask, operands, params)


@dataclass(frozen=True, eq=False, repr=False)
class Bilinear(Structured):
    """Linear in each of its two operands when the other is held: products, convolutions."""

    transposes: tuple[Rule, Rule] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.transposes is None:
            raise ValueError(f"{self.name}: transposes is missing")
        super().__post_init__()

    def push(
        self, primals: Sequence[Array], tangents: Sequence[Array], outputs: Any, params: dict
    ) -> Any:
        """Apply the product rule."""
        left, right = primals
        terms = []
        if tangents[0] is not None:
            terms.append(self(tangents[0], right, **params))
        if tangents[1] is not None:
            terms.append(self(left, tangents[1], **params))
        return terms[0] if len(terms) == 1 else PRIMITIVES["add"](*terms)

    def pull(self, cotangent: Any, operands: Sequence[Any], params: dict) -> Sequence[Array]:
        """Transpose the side that is linear here."""
        left, right = operands
        if type(left) is Type and type(right) is not Type:
            return [self.transposes[0](cotangent, left, right, **params), None]
        if type(right) is Type and type(left) is not Type:
            return [None, self.transposes[1](cotangent, left, right, **params)]
        raise _not_linear(self)

    def pull_masked(
        self, cotangent: Array, mask: Array, operands: Sequence[Any], params: dict
    ) -> tuple[Sequence[Array], Sequence[Array]]:
        """Zero the elements of the held operand that only meet masked cotangents."""
        if mask is None:
            return super().pull_masked(cotangent, mask, operands, params)
        side = 0 if type(operands[0]) is Type else 1
        linear, held = operands[side], operands[1 - side]
        weight = PRIMITIVES["convert"](mask, dtype=linear.dtype)
        weight = broadcast_like(weight, type_of(cotangent))
        ones = PRIMITIVES["broadcast_to"](linear.dtype.type(1), shape=type_of(held).shape)
        swapped = [ones, ones]
        swapped[1 - side] = type_of(held)
        swapped[side] = PRIMITIVES["broadcast_to"](linear.dtype.type(1), shape=linear.shape)
        met = self.pull(weight, swapped, params)[1 - side]
        held = PRIMITIVES["where"](PRIMITIVES["not_equal"](met, 0), held, 0)
        cleaned = [held, held]
        cleaned[side] = linear
        reach = [ones, ones]
        reach[side] = linear
        mask = PRIMITIVES["not_equal"](self.pull(weight, reach, params)[side], 0)
        masks: list[Array] = [None, None]
        masks[side] = mask
        return self.pull(cotangent, cleaned, params), masks


def _push_linear(
    primitive: Elementwise | Linear,
    primals: Sequence[Array],
    tangents: Sequence[Array],
    params: dict,
) -> Any:
    linear_in = primitive.linear_in
    if linear_in is None:
        linear_in = range(len(primals))
    operands = list(primals)
    for i in linear_in:
        tangent = tangents[i]
        operands[i] = zeros(type_of(primals[i])) if tangent is None else tangent
    return primitive(*operands, **params)


def _carried_masks(
    primitive: Linear, cotangent: Array, mask: Array, operands: Sequence[Any], params: dict
) -> list[Array]:
    real = np.dtype(np.float64)
    weight = PRIMITIVES["convert"](mask, dtype=real)
    weight = broadcast_like(weight, type_of(cotangent))
    kinds = [Type(x.shape, real) if type(x) is Type else x for x in operands]
    carried = primitive.pull(weight, kinds, params)
    return [None if c is None else PRIMITIVES["not_equal"](c, 0) for c in carried]


def zeros(type: Type) -> Array:
    """Return zeros of a type, as a broadcast scalar where a graph is being built."""
    if isinstance(type, TapeType):
        return Tape(type, None)
    return PRIMITIVES["broadcast_to"](type.dtype.type(0), shape=type.shape)


def _not_linear(primitive: Primitive) -> DerivativeError:
    return DerivativeError(
        f"{primitive.name}: cannot be transposed, it is not linear in the operand asked for",
        "write the push rule with operations that are linear in the tangents",
    )


# --- general ---------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class General(Structured):
    """Any other primitive: its push-forward is stated, its pull-back follows by transposing.

    ``transpose`` may be stated besides, where the operation is linear in some operands.
    """

    push_rule: Rule | NoDerivative = None  # type: ignore[assignment]
    transpose: Rule | None = None

    def __post_init__(self) -> None:
        if self.push_rule is None:
            raise ValueError(f"{self.name}: push is missing (or NoDerivative with the reason)")
        super().__post_init__()

    def push(
        self, primals: Sequence[Array], tangents: Sequence[Array], outputs: Any, params: dict
    ) -> Any:
        """Apply the author's push rule."""
        if isinstance(self.push_rule, NoDerivative):
            return (None,) * len(outputs) if self.multiple else None
        return self.push_rule(tuple(primals), tuple(tangents), outputs, **params)

    def pull(self, cotangent: Any, operands: Sequence[Any], params: dict) -> Sequence[Array]:
        """Apply the author's transpose, where there is one."""
        if self.transpose is None:
            raise _not_linear(self)
        return self.transpose(cotangent, *operands, **params)


# --- control -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class Control(Primitive):
    """Holds graphs: loops, branches, checkpointed calls. Its transforms are those of its graphs.

    Unlike the other kinds it works on whole equations: a push-forward takes the equation's
    place (values and tangents come out of one loop), and the split into what does not depend
    on tangents and what does goes through it.
    """

    def pushed(self, builder: Any, equation: Any, tangents: Sequence[Array]) -> Sequence[Array]:
        """Record an equation for the outputs and their tangents; return the tangents."""
        raise NotImplementedError(self.name)

    def split(self, equation: Any, dependent: Sequence[bool]) -> tuple[list, list] | None:
        """Return equations that need no dependent operand, and the linear rest.

        Between them they assign the equation's outputs. None if all of it is linear.
        """
        raise NotImplementedError(self.name)

    def measured(self, equation: Any) -> Any:
        """Return the equation's :class:`clew.core.cost.Measure`."""
        raise NotImplementedError(self.name)


# --- the spellings used by ops/ ----------------------------------------------------------


def elementwise(
    name: str,
    *,
    eval: Rule,
    partials: Rule | tuple[Rule | NoDerivative, ...] | NoDerivative | None = None,
    push: Rule | None = None,
    transpose: Rule | None = None,
    linear_in: tuple[int, ...] = (),
    operands: Literal["inexact", "same", "any", "select"] = "inexact",
    domain: Interval | tuple[Interval, ...] = REALS,
    masks: Rule | None = None,
    emit: Rule | None = None,
    source: str = "",
) -> Elementwise:
    """Make an elementwise record; a single partial may stand without its tuple."""
    if callable(partials):
        partials = (partials,)
    return Elementwise(
        name,
        eval,
        source,
        False,
        partials,
        push,
        transpose,
        linear_in,
        operands,
        domain,
        masks,
        emit,
    )


def linear(
    name: str,
    *,
    eval: Rule,
    type: Rule,
    transpose: Rule,
    batch: Rule,
    linear_in: tuple[int, ...] | None = (0,),
    moves: bool = False,
    source: str = "",
) -> Linear:
    """Make a linear record; ``linear_in=None`` means in all operands."""
    return Linear(name, eval, source, False, type, batch, transpose, linear_in, moves)


def bilinear(
    name: str,
    *,
    eval: Rule,
    type: Rule,
    transposes: tuple[Rule, Rule],
    batch: Rule,
    source: str = "",
) -> Bilinear:
    """Make a bilinear record."""
    return Bilinear(name, eval, source, False, type, batch, transposes)


def general(
    name: str,
    *,
    eval: Rule,
    type: Rule,
    push: Rule | NoDerivative,
    batch: Rule,
    transpose: Rule | None = None,
    multiple: bool = False,
    source: str = "",
) -> General:
    """Make a general record; ``multiple`` says that ``eval`` returns a tuple."""
    return General(name, eval, source, multiple, type, batch, push, transpose)
