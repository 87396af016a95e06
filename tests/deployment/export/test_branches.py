"""Code that decides by sizes more than once, or by what agrees near the example: other ways are traced too."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from secateur.deployment.engines import Engine, load_engine
from secateur.deployment.export import describe, export
from secateur.deployment.export.network import network
from secateur.deployment.export.parity import check_elsewhere
from secateur.deployment.export.tracing import trace


class Net(nn.Module):
    """Between whose layers ``way`` looks at sizes."""

    def __init__(self, way: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.way = way
        self.stem, self.head = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"seg": self.head(self.way(x, self.stem(x).relu()))}


def by_quotient(x: Tensor, y: Tensor) -> Tensor:
    return y * (x.shape[2] // 48) if x.shape[2] > 48 else y


def by_second_threshold(x: Tensor, y: Tensor) -> Tensor:
    y = y.relu() if x.shape[2] > 48 else y
    return y * 2 if x.shape[2] > 80 else y


def by_swallowed_threshold(x: Tensor, y: Tensor) -> Tensor:
    if x.shape[2] > 48:
        pass  # which changes nothing
    return y * 2 if x.shape[2] > 80 else y


def by_nested_threshold(x: Tensor, y: Tensor) -> Tensor:
    if x.shape[2] > 60 and x.shape[3] > 90:
        y = y * 2
    return y


def by_integer(x: Tensor, y: Tensor) -> Tensor:
    return y * max(int(x.shape[2] // 48), 1)


def by_area_behind_height(x: Tensor, y: Tensor) -> Tensor:
    y = y.relu() if x.shape[2] > 50 else y
    return y * 2 if x.shape[2] * x.shape[3] > 9000 else y


def by_number(x: Tensor, y: Tensor) -> Tensor:
    return y * (1 if x.shape[2] <= 100 else 1 + x.shape[2] // 1000)


DECIDED = {
    "quotient": (by_quotient, "height <= 48"),
    "second threshold": (by_second_threshold, "height <= "),
    "swallowed threshold": (by_swallowed_threshold, "height <= 80"),
    "nested threshold": (by_nested_threshold, "height <= 60"),
    "integer": (by_integer, "height // 48 == 1"),
    "area behind height": (by_area_behind_height, "height <= 50"),
    "number": (by_number, "height <= 100"),
}


@pytest.mark.parametrize("name", DECIDED)
def test_what_agrees_near_the_example_and_not_far_from_it(tmp_path: Path, name: str) -> None:
    way, condition = DECIDED[name]
    found = describe(export(Net(way), torch.randn(1, 3, 48, 48), tmp_path / "net.pt2"))
    assert found["dynamic"] == ["batch"]
    assert condition in found["fixed"]["batch and size"]


def asserted(x: Tensor, y: Tensor) -> Tensor:
    assert x.shape[2] % 8 == 0
    assert x.shape[3] <= 600
    return y


def unchanged(x: Tensor, y: Tensor) -> Tensor:
    if x.shape[2] > 60:
        y.size(0)
    return y


def resized_if_it_must_be(x: Tensor, y: Tensor) -> Tensor:
    y = F.max_pool2d(y, 2)
    return F.interpolate(y, size=x.shape[-2:]) if y.shape[-2:] != x.shape[-2:] else y


def padded_if_it_must_be(x: Tensor, y: Tensor) -> Tensor:
    height = x.shape[2]
    if height % 16:
        y = F.pad(y, (0, 0, 0, (16 - height % 16) % 16))
    return y


def joined_or_resized(x: Tensor, y: Tensor) -> Tensor:
    up = F.interpolate(F.max_pool2d(y, 2), scale_factor=2.0)
    if up.shape != y.shape:
        up = F.interpolate(up, size=y.shape[2:])
    return up + y


FREE = {
    "assertions": (asserted, 48),
    "the same on both ways": (unchanged, 48),
    "what is there for every size": (resized_if_it_must_be, 48),
    "no padding where there is nothing to pad": (padded_if_it_must_be, 40),
    "what the file refuses": (joined_or_resized, 48),
}


@pytest.mark.parametrize("name", FREE)
def test_ways_that_are_the_same_stay_free(tmp_path: Path, name: str) -> None:
    way, size = FREE[name]
    model = Net(way).eval()
    path = export(model, torch.randn(1, 3, size, size), tmp_path / "net.pt2")
    found = describe(path)
    assert found["dynamic"] == ["batch", "height", "width"]
    x = torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        assert torch.allclose(
            torch.from_numpy(load_engine(path).call([x.numpy()])[0]), model(x)["seg"], atol=1e-5
        )


def test_a_comparison_with_a_number_is_called_one(tmp_path: Path) -> None:
    class Embedded(Net):
        def __init__(self) -> None:
            super().__init__(lambda x, y: y)
            self.place = nn.Parameter(torch.randn(1, 3, 16, 16))

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            place = self.place
            if place.shape[2:] != x.shape[2:]:
                place = F.interpolate(place, size=x.shape[2:], mode="bilinear")
            return super().forward(x + place)

    found = describe(export(Embedded(), torch.randn(1, 3, 16, 16), tmp_path / "net.pt2"))
    assert found["dynamic"] == ["batch"]
    assert "its code compares a size with a number" in found["fixed"]["batch and size"]


def test_what_notes_decisions_is_gone_afterwards(tmp_path: Path) -> None:
    before = torch.SymBool.__bool__, torch.SymInt.__index__
    export(Net(lambda x, y: y), torch.randn(1, 3, 16, 16), tmp_path / "net.pt2")
    with pytest.raises(ValueError, match="cannot be traced"):
        export(
            Net(lambda x, y: y * float(y.sum().item() > 0)), torch.randn(1, 3, 16, 16), tmp_path / "net.pt2"
        )
    assert before == (torch.SymBool.__bool__, torch.SymInt.__index__)


WRONG = {
    "a batch of 1": (lambda batch, height: batch == 1, True),
    "a map of 1": (lambda batch, height: (height + 7) // 8 == 1 and height > 1, True),
    "a height of 1": (lambda batch, height: height == 1, False),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_engine_that_is_wrong_where_something_is_1(name: str) -> None:
    def pooled(x: Tensor, y: Tensor) -> Tensor:
        y = F.conv2d(F.max_pool2d(F.pad(y, (0, 0, 0, 7)), 8), y.new_ones(6, 6, 1, 1))
        return F.interpolate(y, size=x.shape[-2:])

    wrong, refused = WRONG[name]
    made = network(Net(pooled), torch.randn(2, 3, 48, 48), None, None)
    traced = trace(made, frozenset({"batch", "size"}))

    def call(arrays: list[Any]) -> list[Any]:
        (found,) = made.predict([torch.from_numpy(array) for array in arrays]).values()
        return [found.numpy() + float(wrong(arrays[0].shape[0], arrays[0].shape[2]))]

    engine = Engine("odd", "1", {}, call)
    with pytest.raises(ValueError, match="'seg' is another") if refused else nullcontext():
        check_elsewhere(traced, engine)
