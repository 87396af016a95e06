"""The constants of pointwise operations: the operation itself, run on the constants that go in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from secateur.shrinking.channels.compressed import compress, full, jointly, spread
from secateur.shrinking.channels.node import Node

_ROUNDING = 2.0**-20  # what computing in float32 may do to a constant, relative
_CONDITION = 32  # how much larger the result's may be; a step makes more of it
_NOISE = 1e-4  # what may be left, in float32, of numbers that cancel each other
CANCELLED = 1e-3  # what is smaller than this, relative to what it was made of, is such
_FLOAT32 = torch.finfo(torch.float32).eps
_LARGEST = torch.finfo(torch.float32).max / 2
_WHOLE = 2.0**53  # beyond it, float64 does not hold every integer
_MATTERS = {"copy": 1, "fill": 1, "to": 0, "type_as": 0}  # the argument that alone says what comes out
_TRAINING = {
    "alpha_dropout": 2,
    "dropout": 2,
    "feature_dropout": 2,
    "rrelu": 3,
}  # which argument turns randomness on


class Values(dict[Node, Any]):
    """Of every node float64 of its shape, NaN where the value depends on the input.

    ``soft`` are the nodes where something is known up to an absolute error alone, such as the zeros that a mean leaves
    which is taken off.
    """

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.soft: set[Node] = set()


def pointwise(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Any:
    """Known where all operands are, or where those that are known decide; unknown where rounding decides.

    A constant that float32 may round to either side of a step, such as that of ``round`` or ``>``, is no constant.
    """
    reads = node.inputs
    shapes = [read.shape for read in reads]
    if node.dtype is None or not reads or torch.broadcast_shapes(*shapes) != torch.Size(node.shape):
        return unknown(node)
    small = dict(zip(reads, jointly([values[r] for r in reads], node.shape), strict=True))
    known = torch.stack([~part.isnan() for part in small.values()]).all(0)
    if (index := _MATTERS.get(node.op)) is not None:
        only = node.args[index]
        known = ~small[only].isnan() if isinstance(only, Node) else torch.ones_like(known)
    if (
        _random(node)
        or node.dtype.is_complex
        or any(r.dtype is not None and r.dtype.is_complex for r in reads)
    ):
        known = torch.zeros_like(known)
    out = torch.full(known.shape, torch.nan, dtype=torch.float64)
    if bool(known.any()):
        out = torch.where(known, _evaluated(node, small, values, fixed), torch.nan)
    return compress(_decided(node, small, out).expand(node.shape))


def prelu(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Tensor:
    """Its slopes lie along axis 1."""
    slope = values[node.args[1]]
    slope = spread(slope, 1, node.shape) if slope.numel() > 1 else slope.reshape(()).expand(node.shape)
    x, slope = jointly([values[node.args[0]], slope], node.shape)
    return compress(torch.where((x == 0) | (x > 0), x, x * slope).expand(node.shape))


def triangle(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> Tensor:
    """Zeros stay zeros."""
    return compress(torch.where(values[node.args[0]] == 0, 0.0, torch.nan))


def native_dropout(values: Values, node: Node, fixed: Mapping[Node, Tensor]) -> list[Tensor]:
    """Zeros stay zeros, and in inference all does; what was kept is not known."""
    x, kept = values[node.args[0]], unknown(node)[1]
    return [compress(torch.where(x == 0, 0.0, torch.nan)) if node.args[2] else x, kept]


def unknown(node: Node) -> Any:
    """Nothing is constant of what ``node`` gives."""
    if node.shape and isinstance(node.shape[0], tuple):
        return [full(torch.nan, one, torch.float64) for one in node.shape]
    return full(torch.nan, node.shape, torch.float64)


def real(value: Tensor) -> Tensor:
    """A tensor as float64; of complex and very large whole numbers, what is not zero is not known."""
    if value.is_complex():
        return torch.where(value == 0, 0.0, torch.nan).double()
    wide = value.double()
    return wide if value.is_floating_point() else torch.where(wide.abs() < _WHOLE, wide, torch.nan)


def _random(node: Node) -> bool:
    if torch.Tag.nondeterministic_seeded not in getattr(node.call, "tags", ()):
        return False
    place = _TRAINING.get(node.op)
    return place is None or bool(node.argument(place, "training" if node.op == "rrelu" else "train", False))


def _evaluated(
    node: Node, small: Mapping[Node, Tensor], values: Values, fixed: Mapping[Node, Tensor]
) -> Tensor:
    """What the operation gives; NaN where that changes by more than rounding when what was computed is rounded."""
    computed = [r for r in small if r.op != "parameter" and r not in fixed and _floats(r)]
    noise = {r: _NOISE if r in values.soft else 0.0 for r in small}

    def run(sign: Mapping[Node, float]) -> Tensor:
        given = {
            r: _typed(r, x * (1 + sign.get(r, 0.0) * _ROUNDING) + sign.get(r, 0.0) * noise[r])
            for r, x in small.items()
        }
        found = node.run(given.__getitem__, wide=True)
        return torch.full_like(found.real, torch.nan) if found.is_complex() else real(found)

    try:
        out = run({})
        out = torch.where(
            out.isfinite() & (out.abs() > _LARGEST), torch.nan, out
        )  # nan_to_num has one of each type
        if _narrows(node):
            out = torch.where(out.to(node.dtype).double() == out, out, torch.nan)
        sizes = [x.abs().nan_to_num(0.0, 0.0, 0.0) for x in (out, *small.values())]
        largest = torch.stack(torch.broadcast_tensors(*sizes)).amax(0)
        allowed = _CONDITION * (_ROUNDING * largest + max(noise.values()))
        allowed = allowed if _floats(node) else torch.zeros_like(allowed)
        moved = torch.zeros_like(out)
        for first in (1.0, -1.0) if computed else ():
            for following in (1.0, -1.0) if len(computed) > 1 else (1.0,):
                other = run({r: first * following**place for place, r in enumerate(computed)})
                change = torch.where(out == other, 0.0, (out - other).abs())
                moved = torch.maximum(moved, change)
                out = torch.where(change <= allowed, out, torch.nan)
    except (RuntimeError, NotImplementedError):  # not of these types
        return torch.full((), torch.nan, dtype=torch.float64)
    if bool((~out.isnan() & (moved * CANCELLED > _ROUNDING * out.abs())).any()):
        values.soft.add(node)
    return out


def _narrows(node: Node) -> bool:
    """Whether it makes a floating type of one that is more exact."""
    kinds = [read.dtype for read in node.inputs[:1]] + [node.dtype]
    first, last = (torch.finfo(k).eps if k is not None and k.is_floating_point else 0.0 for k in kinds)
    return node.op in ("_to_copy", "copy", "to", "type_as") and 0 < first < last and last > _FLOAT32


def _floats(node: Node) -> bool:
    return node.dtype is None or node.dtype.is_floating_point


def _typed(node: Node, x: Tensor) -> Tensor:
    """A value in the type that the node has; floating ones stay float64."""
    return x if node.dtype is None or _floats(node) else x.nan_to_num().to(node.dtype)


def _decided(node: Node, small: Mapping[Node, Tensor], out: Tensor) -> Tensor:
    """``out``, with what is known though not all operands are."""

    def operand(index: int) -> Tensor:
        given = node.args[index]
        return small[given] if isinstance(given, Node) else torch.tensor(given, dtype=torch.float64)

    rule = _DECIDED.get(node.op)
    if rule is None or any(isinstance(given, complex) for given in node.args):
        return out
    found = rule(operand, len(node.args))
    if found is None:
        return out
    found = torch.where(found.isnan(), torch.nan, real(_typed(node, found)))
    return torch.where(out.isnan(), found, out)


Operand = Callable[[int], Tensor]


def _product(x: Operand, count: int) -> Tensor:
    zero = (x(0) == 0) & ~x(1).isinf() | (x(1) == 0) & ~x(0).isinf()
    return torch.where(zero, 0.0, torch.nan)


def _quotient(x: Operand, count: int) -> Tensor:
    """What is not known is taken for no zero."""
    return torch.where((x(0) == 0) & (x(1) != 0), 0.0, torch.nan)


def _either(x: Operand, count: int) -> Tensor:
    return torch.where((x(0).abs() > 0) | (x(1).abs() > 0), 1.0, torch.nan)


def _choice(x: Operand, count: int) -> Tensor | None:
    if count != 3:
        return None
    chooser, yes, no = x(0), x(1), x(2)
    unknown = torch.where(yes == no, yes, torch.nan)
    return torch.where(chooser.isnan(), unknown, torch.where(chooser != 0, yes, no))


def _filled(x: Operand, count: int) -> Tensor:
    unknown = torch.where(x(0) == x(2), x(0), torch.nan)
    return torch.where(x(1).isnan(), unknown, torch.where(x(1) != 0, x(2), x(0)))


def _between(x: Operand, count: int) -> Tensor:
    return torch.where(x(0) == x(1), x(0), torch.nan)


def _sum_with_product(x: Operand, count: int) -> Tensor:
    return torch.where((x(1) == 0) | (x(2) == 0), x(0), torch.nan)


def _sum_with_quotient(x: Operand, count: int) -> Tensor:
    return torch.where(x(1) == 0, x(0), torch.nan)


def _dropped(x: Operand, count: int) -> Tensor:
    return torch.where(x(0) == 0, 0.0, torch.nan)


_DECIDED: dict[str, Callable[[Operand, int], Tensor | None]] = {
    "addcdiv": _sum_with_quotient,
    "addcmul": _sum_with_product,
    "bitwise_and": _product,
    "div": _quotient,
    "dropout": _dropped,
    "feature_dropout": _dropped,
    "lerp": _between,
    "logical_and": _product,
    "logical_or": _either,
    "masked_fill": _filled,
    "mul": _product,
    "rrelu": _dropped,
    "true_divide": _quotient,
    "where": _choice,
}
