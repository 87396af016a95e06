"""What the model's code decides by sizes is in no trace: such a size stays fixed, and the file says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from secateur.deployment.engines import load_engine
from secateur.deployment.export import describe, export


class Patches(nn.Module):
    """A stride of 4, before or after which ``way`` looks at sizes."""

    def __init__(self, before: Callable[[Tensor], Tensor], after: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.before, self.after = before, after
        self.embed, self.head = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"seg": self.after(x, self.head(self.embed(self.before(x)).relu()))}


def same(x: Tensor) -> Tensor:
    return x


def left(x: Tensor, y: Tensor) -> Tensor:
    return y


def padded(x: Tensor) -> Tensor:
    height, width = x.shape[-2:]
    if width % 4:
        x = F.pad(x, (0, 4 - width % 4))
    if height % 4:
        x = F.pad(x, (0, 0, 0, 4 - height % 4))
    return x


def padded_to_16(x: Tensor) -> Tensor:
    down, right = ((16 - size % 16) % 16 for size in x.shape[-2:])
    return F.pad(x, (0, right, 0, down)) if down or right else x


def joined(x: Tensor, y: Tensor) -> Tensor:
    return F.interpolate(y, scale_factor=4.0) + x[:, :2]  # which the model does for multiples of 4 alone


def joined_below_100(x: Tensor, y: Tensor) -> Tensor:
    y = joined(x, y)
    return y if x.shape[-1] <= 100 else y * 2


DECIDED = {
    "padding": (padded, left, "% 4 == 0", (34, 39)),
    "padding to 16": (padded_to_16, left, "% 16", (40, 50)),
    "a width": (same, lambda x, y: y * 2 if x.shape[-1] > 100 else y, "width <= 100", (32, 128)),
    "an area": (same, lambda x, y: y * 2 if x.shape[-1] * x.shape[-2] > 5000 else y, "5000", (128, 128)),
    "sides": (same, lambda x, y: y * 2 if x.shape[-2] > x.shape[-1] else y, "height <= width", (64, 32)),
    "one row": (same, lambda x, y: y * 2 if x.shape[-2] // 16 == 1 else y, "height // 16 != 1", (16, 32)),
    "behind a refusal": (same, joined_below_100, "width <= 100", (32, 128)),
}


@pytest.mark.parametrize("name", DECIDED)
def test_a_size_that_decides_stays_fixed(tmp_path: Path, name: str) -> None:
    before, after, condition, size = DECIDED[name]
    model = Patches(before, after)
    path = export(model, torch.randn(2, 3, 32, 32), tmp_path / "net.pt2")
    found = describe(path)
    assert found["dynamic"] == ["batch"]
    assert condition in found["fixed"]["batch and size"]
    with pytest.raises(Exception, match="Expected input"):
        load_engine(path).call([torch.randn(2, 3, *size).numpy()])


@pytest.mark.parametrize("count", [len, lambda x: x.shape[0]], ids=["len", "shape"])
@pytest.mark.parametrize("limit", [2, 8])
def test_a_batch_that_decides_stays_fixed(tmp_path: Path, count: Callable[[Tensor], int], limit: int) -> None:
    model = Patches(same, lambda x, y: y * 2 if count(x) >= limit else y)
    found = describe(export(model, torch.randn(2, 3, 8, 8), tmp_path / "net.pt2"))
    assert found["dynamic"] == ["height", "width"]
    assert ("x.shape[0] leaves it free" in found["fixed"]["batch"]) == (count is len)


@pytest.mark.parametrize("after", [left, joined, lambda x, y: F.interpolate(y, size=x.shape[-2:])])
def test_what_decides_nothing_stays_free(tmp_path: Path, after: Callable[[Tensor, Tensor], Tensor]) -> None:
    found = describe(export(Patches(same, after), torch.randn(1, 3, 32, 32), tmp_path / "net.pt2"))
    assert found["dynamic"] == ["batch", "height", "width"]
    assert "fixed" not in found


def test_a_size_that_the_model_refuses_is_no_reason(tmp_path: Path) -> None:
    def asserted(x: Tensor) -> Tensor:
        assert x.shape[-1] % 8 == 0
        assert x.shape[-1] <= 128
        return x

    found = describe(export(Patches(asserted, left), torch.randn(1, 3, 32, 32), tmp_path / "net.pt2"))
    assert found["dynamic"] == ["batch", "height", "width"]


def test_executorch_is_asked_below_its_largest(tmp_path: Path) -> None:
    from secateur.deployment.engines import EngineMissingError
    from secateur.deployment.export import require

    try:
        require("executorch")
    except EngineMissingError as error:
        pytest.skip(str(error))
    model, x = Patches(padded, left), torch.randn(1, 3, 32, 32)
    with pytest.raises(ValueError, match=r"only for the example's .*% 4 == 0"):
        export(model, x, tmp_path / "net.pte", inputs=[torch.randn(1, 3, 48, 48)])
