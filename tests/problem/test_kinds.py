"""Which weights serve attention is seen in a forward pass, whatever the modules are called."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

from problems import two_heads
from secateur import Problem, SoftThreshold, Task, components, density, fit
from secateur.problem.components import prunable
from secateur.problem.kinds import kinds


class Plain(nn.Module):
    """Attention written out, under names that say nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d, self.e, self.f = (nn.Linear(8, 8) for _ in range(6))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        q, k, v = self.b(x), self.c(x), self.d(x)
        scores = torch.softmax(q @ k.transpose(1, 2) / 8**0.5, -1)
        x = x + self.a(nn.functional.dropout(scores, 0.1, self.training) @ v)
        x = x + self.f(torch.relu(self.e(x)))
        return {"y": torch.softmax(x, -1)}


def test_attention_written_out() -> None:
    model = Plain()
    found = kinds(model, torch.randn(2, 3, 8), prunable(model))
    assert [name[0] for name, kind in found.items() if kind == "attention"] == ["a", "b", "c", "d"]
    assert [name[0] for name, kind in found.items() if kind == "feed_forward"] == ["e", "f"]
    assert model.training


@pytest.mark.parametrize("build", [torchvision.models.swin_t, torchvision.models.vit_b_32])
def test_networks_of_torchvision(build) -> None:
    model = build(weights=None)
    found = kinds(model, torch.randn(1, 3, 224, 224), prunable(model))
    for name, kind in found.items():
        attention = "attn" in name or "self_attention" in name
        reduction = "reduction" in name or "head" in name or "mlp" in name
        assert kind == ("attention" if attention else "feed_forward" if reduction else "convolution"), name


def test_layers_of_torch() -> None:
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1)
    found = kinds(model, torch.randn(1, 3, 8), prunable(model))
    assert {name: kind for name, kind in found.items() if kind == "feed_forward"} == {
        "layers.0.linear1.weight": "feed_forward",
        "layers.0.linear2.weight": "feed_forward",
    }
    assert len(found) == 4


def test_a_component_of_each_kind() -> None:
    problem = two_heads()
    assert list(components(problem, "kind")) == ["convolution"]
    data = [(torch.randn(2, 3, 8), {"y": torch.rand(2, 3, 8)})]
    problem = Problem(Plain(), {"y": Task(nn.functional.l1_loss)}, data)
    parts = components(problem, "kind")
    assert {name: len(members) for name, members in parts.items()} == {"attention": 4, "feed_forward": 2}
    method = SoftThreshold(0.2, "kind", allocation="scale")
    rows = fit(problem, method, steps=30, log_every=10).rows
    assert set(rows[0]["threshold"]) == {"attention", "feed_forward"}
    assert density(problem.model, parts).overall == pytest.approx(0.2, abs=0.002)
