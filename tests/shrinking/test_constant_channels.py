"""Channels that are constant on the side of the layer that makes them: through which operations they go, or the line that keeps them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dead_channels import same
from secateur import compact, compaction, load, save
from secateur.shrinking import Compaction, exact

ZERO, CONSTANT, LIVE = 1, 2, 3  # channels of each branch


class Branch(nn.Module):
    def __init__(self, between: Any) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 2, 1)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.between(self.a(x)))


class Branches(nn.Module):
    """All operations in one network, since tracing takes the time."""

    def __init__(self, table: dict[str, Any]) -> None:
        super().__init__()
        self.of = nn.ModuleDict({name: Branch(make()) for name, (make, *_) in table.items()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {name: branch(x) for name, branch in self.of.items()}


def plain(function: Callable[[Tensor], Tensor]) -> Callable[[], Callable[[Tensor], Tensor]]:
    return lambda: function


def square_grid(z: Tensor) -> Tensor:
    return F.affine_grid(torch.eye(2, 3).expand(len(z), 2, 3) * 1.2, [len(z), 6, 4, 4], align_corners=False)


GO, ONE_STAYS, ZEROS_GO, STAY = LIVE, LIVE + 1, LIVE + CONSTANT, LIVE + CONSTANT + ZERO
# Operation, channels left, and what the line that keeps the rest is called.
TABLE: dict[str, tuple[Callable[[], Any], int] | tuple[Callable[[], Any], int, str]] = {
    "prelu": (nn.PReLU, GO),
    "prelu_of_each": (lambda: nn.PReLU(6), GO),
    "softshrink": (nn.Softshrink, GO),
    "hardshrink": (nn.Hardshrink, GO),
    "rrelu": (nn.RReLU, GO),
    "dropout": (nn.Dropout, GO),
    "nan_to_num": (plain(torch.nan_to_num), GO),
    "sign": (plain(torch.sign), GO),
    "tan": (plain(torch.tan), GO),
    "bessel": (plain(torch.special.i0), GO),
    "rounded": (plain(torch.round), GO),
    "whole": (plain(lambda z: z.int().float()), GO),
    "where": (plain(lambda z: torch.where(z > 0, z, 0.1 * z)), GO),
    "gated": (plain(lambda z: z * (z > 0.4)), GO),
    "masked_fill": (plain(lambda z: z.masked_fill(z < 0, 0.5)), GO),
    "lerp": (plain(lambda z: torch.lerp(z, z.tanh(), 0.3)), GO),
    "atan2": (plain(lambda z: torch.atan2(z, z + 1)), GO),
    "fmod": (plain(lambda z: torch.fmod(z, 0.7)), GO),
    "hypot": (plain(lambda z: torch.hypot(z, torch.full_like(z, 0.7))), GO),
    "larger": (plain(lambda z: torch.max(z, torch.full_like(z, 0.1))), GO),
    "addcdiv": (plain(lambda z: torch.addcdiv(z, z.tanh(), z.exp(), value=0.5)), GO),
    "clip": (plain(lambda z: torch.clip(z, z.tanh() - 0.1, z.sigmoid())), GO),
    "instance_norm": (lambda: nn.InstanceNorm2d(6), GO),
    "group_norm": (lambda: nn.GroupNorm(6, 6), GO),
    "row_norm": (plain(lambda z: F.layer_norm(z, (4,))), GO),
    "reflected": (lambda: nn.ReflectionPad2d(1), GO),
    "replicated": (plain(lambda z: F.pad(z, (1, 1, 1, 1), mode="replicate")), GO),
    "circular": (lambda: nn.Conv2d(6, 6, 3, padding=1, padding_mode="circular", groups=6), GO),
    "cropped": (plain(lambda z: F.pad(z, (-1, 0, 0, -1))), GO),
    "avg_pool": (lambda: nn.AvgPool2d(3, 2, ceil_mode=True), GO),
    "avg_pool_of_what_is_there": (lambda: nn.AvgPool2d(2, padding=1, count_include_pad=False), GO),
    "lp_pool": (lambda: nn.LPPool2d(2, 2), GO),
    "area": (plain(lambda z: F.interpolate(z, scale_factor=2, mode="area")), GO),
    "bicubic": (plain(lambda z: F.interpolate(z, scale_factor=2, mode="bicubic")), GO),
    "grid_border": (plain(lambda z: F.grid_sample(z, square_grid(z), padding_mode="border", align_corners=False)), GO),
    "largest": (plain(lambda z: z.max(3, keepdim=True)[0]), GO),
    "sorted": (plain(lambda z: z.sort(3)[0]), GO),
    "deviation": (plain(lambda z: z.std(3, keepdim=True)), GO),
    "any": (plain(lambda z: (z > 0.1).any(3, keepdim=True).float()), GO),
    "pad": (plain(lambda z: F.pad(z, (1, 1, 1, 1))), ONE_STAYS, "pad"),
    "pad_value": (lambda: nn.ConstantPad2d(1, 0.25), ONE_STAYS, "pad"),
    "padded_conv": (lambda: nn.Conv2d(6, 6, 3, padding=1), ONE_STAYS, "conv2d"),
    "transposed": (lambda: nn.ConvTranspose2d(6, 6, 2, 2), ONE_STAYS, "conv_transpose2d"),
    "padded_pool": (lambda: nn.AvgPool2d(2, padding=1), ONE_STAYS, "avg_pool2d"),
    "grid_zeros": (plain(lambda z: F.grid_sample(z, square_grid(z), align_corners=False)), ONE_STAYS, "grid_sampler"),
    "cumsum": (plain(lambda z: z.cumsum(3)), ONE_STAYS, "cumsum"),
    "sum": (plain(lambda z: z.sum((2, 3), keepdim=True)), ONE_STAYS, "sum"),
    "padded_depthwise": (lambda: nn.Conv2d(6, 6, 3, padding=1, groups=6), ZEROS_GO, "conv2d"),
    "norm": (plain(lambda z: z.norm(dim=3, keepdim=True)), ZEROS_GO, "linalg_vector_norm"),
    "triangle": (plain(torch.tril), ZEROS_GO, "tril"),
    "striped": (plain(lambda z: torch.where(torch.arange(z.shape[3]) > 1, z, 0.0)), ZEROS_GO, "where"),
    "matmul": (plain(lambda z: z @ torch.eye(4)), ZEROS_GO, "matmul"),
    "halved": (plain(lambda z: z.half().float()), ZEROS_GO, "_to_copy"),
    "a_step_by_rounding": (plain(lambda z: torch.round(z, decimals=1)), ONE_STAYS, "round"),
    "softmax": (plain(lambda z: z.softmax(3)), STAY, "softmax"),
    "logsumexp": (plain(lambda z: z.logsumexp(3, keepdim=True)), STAY, "logsumexp"),
}  # fmt: skip
X = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
SIZED = {"row_norm", "matmul"}  # the code has the size of X in it


@pytest.fixture(scope="module")
def networks() -> tuple[Branches, Any, Compaction]:
    torch.manual_seed(0)
    model = Branches(TABLE).eval()
    with torch.no_grad():
        for branch in model.of.values():
            branch.a.weight[:3] = 0
            branch.a.bias[:3] = torch.tensor([0.0, 0.3, 0.55])
    small = compact(model, X)
    made = compaction(small)
    assert made is not None
    return model, small, made


@pytest.mark.parametrize("name", TABLE)
@torch.no_grad()
def test_a_constant_channel_goes_or_its_line_is_named(name: str, networks: Any) -> None:
    model, small, made = networks
    _, left, *line = TABLE[name]
    branch = small.of[name]
    assert branch.a.out_channels == left
    for x in (X, torch.rand(3, 3, *((4, 4) if name in SIZED else (6, 7)))):
        assert same(model.of[name](x), branch(x))
    reasons = [
        reason
        for reason in [*made.constant, *made.pinned]
        if f"'of.{name}'" in reason or f"'of.{name}." in reason
    ]
    assert [reason.split()[0] for reason in reasons] == line
    assert all(f"{__file__}:" in reason for reason in reasons)


@torch.no_grad()
def test_the_text_says_which_line_keeps_a_constant(tmp_path: Any) -> None:
    model = Branch(lambda z: z.norm(dim=3, keepdim=True)).eval()
    model.a.weight[:2], model.a.bias[:2] = 0, 0.3
    small = compact(model, X)
    text = compaction(small).text()
    assert "2 channels stay though they give a constant: linalg_vector_norm" in text
    assert "every channel that may go is in use" not in text
    loaded = load(Branch(model.between), save(small, tmp_path / "s.safetensors"))
    assert compaction(loaded).text() == text


@torch.no_grad()
def test_what_is_drawn_anew_is_no_constant() -> None:
    """It was taken for what one draw gave."""
    model = Branch(lambda z: F.dropout(z, 0.5, True)).eval()
    model.a.weight[:2], model.a.bias[:2] = 0, 0.3
    assert compact(model, X).a.out_channels == 6


@torch.no_grad()
def test_where_rounding_decides_nothing_is_constant() -> None:
    """A mean that is taken off is zero but for rounding, of which ``floor`` makes -1."""
    torch.manual_seed(0)
    model = Branch(lambda z: torch.floor(F.instance_norm(z))).eval()
    model.a.weight[:2], model.a.bias[:2] = 0, torch.tensor([0.1, 0.7])
    small = compact(model, torch.randn(2, 3, 5, 3))
    assert small.a.out_channels == 6
    assert [reason.split()[0] for reason in compaction(small).constant] == ["floor"]


@torch.no_grad()
def test_a_constant_that_is_none_keeps_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole network was refused; what needs no constant to go goes."""
    real = exact.constant_values

    def wrong(nodes: Any, *given: Any) -> Any:
        values = real(nodes, *given)
        for node in nodes:
            if node.op == "tanh":
                values[node] = torch.ones(node.shape).double()
        return values

    torch.manual_seed(0)
    model = nn.Sequential(Branch(torch.tanh), nn.Conv2d(2, 3, 1), Branch(torch.relu)).eval()
    model[2].b.weight[:, 4:] = 0
    monkeypatch.setattr(exact, "constant_values", wrong)
    small = compact(model, X)
    assert same(model(X), small(X))
    assert small[2].a.out_channels == 4
    assert "rounding decides" in compaction(small).text()
