"""Dead layers that something else looks at, that have several names, or that are not trained."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from dead_channels import same, size
from secateur import compact, compaction
from secateur.shrinking import plain, rebuild

X = torch.randn(2, 3, 8, 8)


class Louder(nn.Conv2d):
    """Gives more than a convolution does."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


class Residual(nn.Module):
    """Branches that are dead, one of which is looked at."""

    def __init__(self, look: str = "", kind: type[nn.Conv2d] = nn.Conv2d) -> None:
        super().__init__()
        self.look, self.a, self.b = look, nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 2, 3, padding=1)
        self.r = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))
        self.q: Any = kind(8, 8, 3, padding=1)
        with torch.no_grad():
            self.a.weight[:4] = 0
            for layer in (self.q, *self.r):
                layer.weight.zero_()
                layer.bias.fill_(0.1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        if self.look == "kind" and not isinstance(self.q, nn.Conv2d):
            raise TypeError("not a convolution")
        x = self.a(x).relu()
        if self.look == "dtype":
            x = x.to(self.q.weight.dtype)
        if self.look == "kernel" and self.q.kernel_size[0] != 3:
            x = x * 2
        for layer in self.r:
            x = x + layer(x).relu()
        return {"o": self.b(x + self.q(x).relu())}


@pytest.mark.parametrize(
    ("look", "kind"), [("dtype", nn.Conv2d), ("kernel", nn.Conv2d), ("", Louder)], ids=["dtype", "kernel", "subclass"]
)  # fmt: skip
def test_one_layer_that_is_looked_at_stays_alone(look: str, kind: type[nn.Conv2d]) -> None:
    model = Residual(look, kind)
    small = compact(model, X)
    made = compaction(small)
    assert made is not None
    assert made.constants.keys() == {"r.0", "r.1"}
    assert not any("not counted on" in reason for reason in made.pinned)
    assert small.a.out_channels < 8
    with torch.no_grad():
        assert same(model(X), small(X))


def test_a_layer_with_a_hook_stays() -> None:
    model = Residual()
    model.q.register_forward_hook(lambda module, given, found: found * 2)
    made = compaction(compact(model, X))
    assert made is not None
    assert made.constants.keys() == {"r.0", "r.1"}


def test_nothing_is_said_to_be_in_use_that_is_kept_for_another_reason() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.LayerNorm([8, 8, 8]), nn.Conv2d(8, 2, 1))
    with torch.no_grad():
        model[0].weight[:4] = 0
    made = compaction(compact(model, X))
    assert made is not None
    assert "is in use" not in made.text()
    dense = compaction(compact(nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)), X))
    assert dense is not None
    assert "is in use" in dense.text()


class Named(nn.Module):
    """A dead layer that is called by its second name, or out of a plain list."""

    def __init__(self, listed: bool) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)
        self.layers = nn.ModuleList([nn.Conv2d(8, 16, 1), nn.Conv2d(16, 8, 1)])
        self.last: Any = [self.layers[1]] if listed else self.layers[1]
        with torch.no_grad():
            self.layers[1].weight.zero_()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x, last = self.a(x), self.last[0] if isinstance(self.last, list) else self.last
        return {"o": self.b(x + last(self.layers[0](x).relu()))}


@pytest.mark.parametrize("listed", [False, True])
def test_a_dead_layer_goes_by_all_its_names(listed: bool) -> None:
    model = Named(listed)
    small = compact(model, X)
    assert size(small) < 100 < size(model)
    with torch.no_grad():
        assert same(model(X), small(X))
    again = rebuild(Named(listed), compaction(small))
    again.load_state_dict(small.state_dict())
    with torch.no_grad():
        assert same(model(X), again(X))


def test_what_is_frozen_stays_so() -> None:
    model = Residual()
    for layer in (model.r, model.q, model.b):
        layer.requires_grad_(False)
    small = compact(model, X)
    assert {n for n, p in small.named_parameters() if p.requires_grad} == {"a.weight", "a.bias"}
    again = rebuild(Residual().requires_grad_(False).to(torch.bfloat16), compaction(small))
    assert not any(p.requires_grad for p in again.parameters())
    assert {p.dtype for p in again.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("norm", [parametrizations.weight_norm, nn.utils.spectral_norm])
def test_a_frozen_weight_under_a_norm_stays_frozen(norm: Any) -> None:
    for trained in (True, False):
        model = nn.Sequential(norm(nn.Linear(4, 4, bias=False)))
        model.requires_grad_(trained)
        assert [p.requires_grad for p in plain(model)[0].parameters()] == [trained]


class Nested(nn.Module):
    """Two tasks, each with outputs of the same names."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> dict[str, dict[str, Tensor]]:
        x = self.a(x).relu()
        return {"x": {"out": self.b(x)}, "y": {"out": self.c(x)}}


@pytest.mark.parametrize(("layer", "path"), [("b", "x.out"), ("c", "y.out")])
def test_dead_outputs_are_named_by_their_path(layer: str, path: str) -> None:
    model = Nested()
    with torch.no_grad():
        getattr(model, layer).weight.zero_()
    with pytest.warns(UserWarning, match=f"outputs {path} no element"):
        made = compaction(compact(model, X))
    assert made is not None
    assert made.dead == [path]


@torch.no_grad()
def test_a_kind_that_is_asked_for_is_seen_before_channels_are_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    module, tried = import_module("secateur.shrinking.exact"), [0]
    once: Any = module._attempt

    def counted(*args: Any, **more: Any) -> Any:
        tried[0] += 1
        return once(*args, **more)

    monkeypatch.setattr(module, "_attempt", counted)
    model = Residual("kind")
    small = compact(model, X)
    assert compaction(small).constants.keys() == {"r.0", "r.1"}  # pyright: ignore
    assert tried == [2]
    assert same(model(X), small(X))
