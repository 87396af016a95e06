"""The constants of pointwise operations: what is called known is what comes out, whatever the unknown operands are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from secateur.shrinking.channels import Node, constant_values
from secateur.shrinking.channels import operations as ops

KINDS = (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool)
SPECIAL = torch.tensor([0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 3.0])
GIVEN = {"bool": False, "int": 1, "float": 0.5}
NUMBERS = (0.75, 0.0, 1, 2, -1.0, True)
KEYWORDS = {
    "decimals": (0, 1),
    "dtype": (torch.float32, torch.int64, torch.bool),
    "rounding_mode": ("floor", "trunc"),
    "alpha": (1, 2),
    "value": (1, 3),
}


def operations() -> dict[str, Any]:
    """All overloads of torch that are followed as pointwise, by name."""
    names = {
        s.name.removeprefix("aten::") for s in torch._C._jit_get_all_schemas() if s.name.startswith("aten::")
    }
    found: dict[str, Any] = {}
    for name in sorted(names):
        packet = getattr(torch.ops.aten, name, None)
        for call in (getattr(packet, overload) for overload in packet.overloads()) if packet else ():
            listed = ops.name(call) in ops.POINTWISE and not call._schema.is_mutable
            single = [str(given.type) for given in call._schema.returns] == ["Tensor"]
            if ops.tagged(call) or (listed and single):
                found[f"{name}.{call._overloadname}"] = call
    return found


OPERATIONS = operations()


def operand(shape: tuple[int, ...], kind: torch.dtype, draw: torch.Generator) -> Tensor:
    """Small numbers, many of them special, all of them exact in every type."""
    special = SPECIAL[torch.randint(len(SPECIAL), shape, generator=draw)]
    other = (torch.randn(shape, generator=draw) * 4).round() / 4
    x = torch.where(torch.rand(shape, generator=draw) < 0.6, special, other)
    return (x > 0) if kind is torch.bool else x.to(kind)


def arguments(call: Any, kinds: list[torch.dtype], draw: torch.Generator) -> tuple[list[Any], dict[str, Any]]:
    """Tensors of these kinds in shapes that broadcast, and plain numbers."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    left = iter(kinds)
    for given in call._schema.arguments:
        kind = str(given.type)
        if kind == "Tensor" or (kind == "Optional[Tensor]" and not given.kwarg_only):
            shape = (2, 3, 4)[int(torch.randint(4, (), generator=draw)) :] if args else (2, 3, 4)
            args.append(operand(shape, next(left, kinds[-1]), draw))
        elif given.name in KEYWORDS and given.kwarg_only:
            choices = KEYWORDS[given.name]
            kwargs[given.name] = choices[int(torch.randint(len(choices), (), generator=draw))]
        elif given.kwarg_only:
            continue
        elif "number" in kind:
            args.append(NUMBERS[int(torch.randint(len(NUMBERS), (), generator=draw))])
        elif not given.has_default_value():
            args.append(GIVEN.get(kind, given.default_value))
        else:
            args.append(given.default_value)
    return args, kwargs


def check(call: Any, kinds: list[torch.dtype], draw: torch.Generator) -> bool:
    """Whether anything was known of what the operation gives; raises where it is wrong."""
    args, kwargs = arguments(call, kinds, draw)
    try:
        whole = call(*args, **kwargs)
    except (RuntimeError, NotImplementedError):
        return False  # not of these types
    if not isinstance(whole, Tensor) or whole.is_complex():
        return False
    ends = [
        Node(f"x{i}", "input", shape=tuple(a.shape), dtype=a.dtype)
        for i, a in enumerate(args)
        if isinstance(a, Tensor)
    ]
    tensors = [a for a in args if isinstance(a, Tensor)]
    place = iter(ends)
    put = tuple(next(place) if isinstance(a, Tensor) else a for a in args)
    known = [torch.rand(a.shape, generator=draw) < 0.6 for a in tensors]
    node = Node("y", ops.name(call), call, put, kwargs, tuple(whole.shape), dtype=whole.dtype)
    values = {
        end: torch.where(k, a.double(), torch.nan) for end, a, k in zip(ends, tensors, known, strict=True)
    }
    found = constant_values([node], {}, {}, values)[node]
    for _ in range(3):
        drawn = iter(zip(tensors, known, strict=True))
        wide = [
            torch.where(k, a, operand(tuple(a.shape), a.dtype, draw)).to(
                torch.float64 if a.is_floating_point() else a.dtype
            )
            for a, k in drawn
        ]
        place = iter(wide)
        try:
            got = call(*(next(place) if isinstance(a, Tensor) else a for a in args), **kwargs).double()
        except RuntimeError:  # a whole number divided by zero
            continue
        off = (found - got).abs() > 1e-6 * (1 + got.abs()) if whole.dtype.is_floating_point else found != got
        wrong = ~found.isnan() & ~got.isnan() & (found != got) & off
        assert not bool(wrong.any()), (found[wrong], got[wrong])
    return not bool(found.isnan().all())


@pytest.mark.parametrize("first", ["ab", "cdef", "ghijkl", "m", "nopqr", "s", "tuvwx"])
def test_what_is_known_comes_out_whatever_is_unknown(first: str) -> None:
    """Of operations by their first letters."""
    known = 0
    chosen = [name for name in OPERATIONS if name.lstrip("_")[0] in first]
    for number, name in enumerate(chosen):
        draw = torch.Generator().manual_seed(number)
        kinds = [KINDS[int(torch.randint(len(KINDS), (), generator=draw))] for _ in range(3)]
        for given in (kinds, [torch.float32] * 3, [torch.int64] * 3):
            known += check(OPERATIONS[name], given, draw)
    assert known > len(chosen) / 2


def test_steps_take_no_constant_that_rounding_moves() -> None:
    """Two thirds is the same in any type to rounding, and so is what most operations give of it; what is true of it is not."""
    x = Node("x", "input", shape=(3,), dtype=torch.float32)
    given = {x: torch.tensor([2 / 3, 0.5, torch.nan], dtype=torch.float64)}
    kinds = {"ge": torch.bool, "eq": torch.bool, "mul": torch.float32}
    for name, kind in kinds.items():
        node = Node("y", name, getattr(torch.ops.aten, name).Scalar, (x, 0.5), {}, (3,), dtype=kind)
        found = constant_values([node], {}, {}, given)[node]
        assert found.isnan().tolist() == [False, name != "mul", True]


def test_the_zero_of_two_that_cancel_is_no_side_of_a_step() -> None:
    x = Node("x", "input", shape=(2,), dtype=torch.float32)
    difference = Node("d", "sub", torch.ops.aten.sub.Tensor, (x, x), {}, (2,), dtype=torch.float32)
    shifted = Node("s", "add", torch.ops.aten.add.Scalar, (x, -0.25), {}, (2,), dtype=torch.float32)
    given = {x: torch.tensor([0.25, 0.5], dtype=torch.float64)}
    for name, node in (("sub", difference), ("add", shifted)):
        side = Node("y", "sign", torch.ops.aten.sign.default, (node,), {}, (2,), dtype=torch.float32)
        values = constant_values([node, side], {}, {}, given)
        assert not bool(values[node].isnan().any()), name
        assert bool(values[side][0].isnan()) == (name == "add"), name
