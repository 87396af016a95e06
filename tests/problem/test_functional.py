"""Operations in place are replaced where nobody else sees what they change; the trace is then that of run_decompositions."""

from __future__ import annotations

import re
from importlib import import_module

import pytest
import torch
from torch import Tensor, fx, nn

from secateur.deployment.export.network import network
from secateur.deployment.export.tracing import trace
from secateur.problem import functional

X = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))


class Learns(nn.Module):
    """A BatchNorm that is never in inference: it changes what it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("variance", torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.batch_norm(x, self.mean, self.variance, training=True)


def operations(model: nn.Module) -> fx.GraphModule:
    with torch.no_grad():
        module = torch.export.export(model.eval(), (X,)).module()
    for node in [n for n in module.graph.nodes if n.op == "call_module" and not n.users]:
        module.graph.erase_node(node)
    return module


class Residual(nn.Module):
    """As torchvision writes one, with dropout before a BatchNorm."""

    def __init__(self, share: float = 0.5) -> None:
        super().__init__()
        self.share = share
        self.a, self.b = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.norm, self.last = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.act = nn.Hardswish(inplace=True)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.act(self.norm(self.a(x)))
        y = self.b(y)
        y = self.last(nn.functional.dropout(y, self.share, self.training) if self.share else y)
        y = nn.functional.dropout(y, self.share, self.training, inplace=True) if self.share else y
        y += x
        return {"seg": torch.relu_(y), "sums": y.mul(2).clamp_(0, 1)}


class ReadAfter(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = x * 2
        z = torch.relu_(y)
        return {"seg": y + z}


class Input(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu_(x)


class View(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x * 2
        y[:, :2].add_(1)
        return y


class ReadBefore(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x * 2
        z = y.flatten(1)
        y.relu_()
        return z


class Buffer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.seen.add_(1)
        return x + self.seen


class Halves(nn.Module):
    """In place the sum stays in half precision."""

    def forward(self, x: Tensor) -> Tensor:
        return (x.half() * 2).add_(x)


class Within(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda y: y + 1, lambda y: y - 1, (x,))


@pytest.mark.parametrize("kind", [Residual, ReadAfter])
def test_nothing_is_changed_in_place_and_the_same_is_computed(kind: type[nn.Module]) -> None:
    model = kind().eval()
    module = operations(model)
    before = str(module.graph)
    graph = functional(module.graph)
    assert graph is not None
    assert str(module.graph) == before
    made = fx.GraphModule(module, graph)
    found = [n.target for n in made.graph.nodes if isinstance(n.target, torch._ops.OpOverload)]
    assert found
    assert not [str(target) for target in found if target._schema.is_mutable]
    assert not {
        torch.ops.aten.dropout.default,
        torch.ops.aten.dropout_.default,
        torch.ops.aten.batch_norm.default,
    } & set(found)
    with torch.no_grad():
        torch.testing.assert_close(made(X), model(X))


@pytest.mark.parametrize("kind", [Input, View, ReadBefore, Buffer, Halves, Within, Learns])
def test_what_others_may_see_is_left_to_torch(kind: type[nn.Module]) -> None:
    assert functional(operations(kind()).graph) is None


def lines(graph: fx.Graph) -> list[str]:
    """Its operations, values numbered in order."""
    names = {node.name: f"%{number}" for number, node in enumerate(graph.nodes)}
    return [re.sub(r"%(\w+)", lambda found: names[found[1]], node.format_node()) for node in graph.nodes]


def test_a_trace_is_that_of_run_decompositions(monkeypatch: pytest.MonkeyPatch) -> None:
    made = network(Residual(0).eval(), X, None)  # torch 2.11 leaves dropout
    axes = frozenset({"batch", "size"})
    fast = trace(made, axes)
    monkeypatch.setattr(import_module("secateur.deployment.export.tracing"), "functional", lambda _: None)
    slow = trace(made, axes)
    assert lines(fast.program.graph) == lines(slow.program.graph)
    assert fast.shapes == slow.shapes
    assert fast.program.state_dict.keys() == slow.program.state_dict.keys()
    assert all(torch.equal(v, slow.program.state_dict[n]) for n, v in fast.program.state_dict.items())
