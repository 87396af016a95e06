"""A trace that torch need not decompose says what the decomposed one says."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import pytest
import torch
from torch import Tensor, fx, nn

from secateur.shrinking import compact, compaction
from secateur.shrinking.channels.trace import trace
from secateur.shrinking.names import named

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
MODULE = import_module("secateur.shrinking.channels.trace")
NEVER: Callable[[fx.Graph], None] = lambda _: None  # noqa: E731


class Moves(nn.Module):
    """Branches, shuffled groups, in place, dropout, BatchNorm, flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1, groups=2)
        self.c, self.norm, self.head = nn.Conv2d(4, 8, 1), nn.BatchNorm2d(8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = torch.relu_(self.norm(self.a(x)))
        y = self.b(x).view(len(x), 2, 4, *x.shape[2:]).transpose(1, 2).contiguous().reshape(x.shape)
        y = nn.functional.relu(y + x, inplace=True)
        left, right = y.chunk(2, 1)
        found = nn.functional.dropout(self.c(left), 0.5, self.training, inplace=True)
        pooled = nn.functional.adaptive_avg_pool2d(found, 1)
        return {"kind": self.head(torch.flatten(pooled, 1)), "seg": right.unflatten(1, (2, 2)).flatten(1, 2)}


class Writes(nn.Module):
    """In place where others see it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        y = x[:, :4]
        y.relu_()
        return self.b(x)


def cut(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 4:
                parameter[1::3] = 0
                parameter[:, 1::3] = 0
    return model.eval()


@pytest.mark.parametrize(("kind", "less"), [(Moves, True), (Writes, False)])
def test_the_same_is_cut(kind: type[nn.Module], less: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = cut(kind())
    fast = compact(model, X)
    monkeypatch.setattr(MODULE, "functional", NEVER)
    slow = compact(model, X)
    one, two = compaction(fast), compaction(slow)
    assert one is not None
    assert two is not None
    assert one.channels == two.channels
    assert one.kept == two.kept
    assert (one.channels[1] < one.channels[0]) == less
    assert all(torch.equal(value, named(slow)[name]) for name, value in named(fast).items())


def test_where_each_operation_comes_from_is_known_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Moves().eval()
    fast = trace(model, X)
    monkeypatch.setattr(MODULE, "functional", NEVER)
    slow = trace(model, X)
    layers = ("parameter", "buffer", "conv2d", "linear", "_native_batch_norm_legit_no_training", "relu")
    said = [
        [(n.op, n.shape, n.target, n.owner, n.source) for n in nodes if n.op in layers]
        for nodes in (fast, slow)
    ]
    assert set(said[0]) == set(said[1])
    assert len(said[0]) == 20
    assert {node.op for node in fast} - {node.op for node in slow} == {"chunk", "contiguous", "flatten", "reshape", "unflatten"}  # fmt: skip


def test_torch_decomposes_what_has_no_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    real = torch.export.ExportedProgram.run_decompositions
    monkeypatch.setattr(
        torch.export.ExportedProgram,
        "run_decompositions",
        lambda program, table: (asked.append(table), real(program, table))[1],
    )
    trace(Moves().eval(), X)
    assert not asked
    trace(nn.Sequential(nn.Conv2d(3, 4, 1), nn.InstanceNorm2d(4)).eval(), X)
    assert asked == [{}]


class Copies(nn.Module):
    """Layers with copies of copies of their weights."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.b.weight.detach().contiguous().to(torch.float64).float()
        return self.c(nn.functional.conv2d(self.a(x).relu(), weight, self.b.bias.clone()).relu())


def test_a_copy_of_a_copy_of_a_weight_is_followed() -> None:
    nodes = trace(Copies(), X)
    assert not [
        node.name
        for node in nodes
        if node.op in ("_to_copy", "clone", "detach", "to") and len(node.shape) > 1
    ]
    small = compact(cut(Copies()), X)
    assert (small.a.out_channels, small.b.in_channels, small.b.out_channels) == (5, 5, 5)
