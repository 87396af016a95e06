"""A number that the code takes from the input's size is another at another size: what is removed holds at all of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from secateur import compact
from secateur.shrinking import compaction

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
NUMBERS: dict[str, Callable[[Tensor], Tensor]] = {
    "width": lambda z: z / z.shape[-1],
    "area": lambda z: z + z.shape[-1] * z.shape[-2],
    "samples": lambda z: z * len(z),
    "tensor": lambda z: z * torch.tensor(float(z.shape[-1])),
    "filled": lambda z: z + torch.full((1, 1, 1, 1), z.shape[-1] * 1.0),
    "counted": lambda z: z + torch.ones_like(z[:, :1]).sum(),
    "positions": lambda z: z + torch.arange(z.shape[-1]).float().mean(),
}


class Scaled(nn.Module):
    """Two of the eight channels give zero, three a constant."""

    def __init__(self, number: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.number = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1), number
        with torch.no_grad():
            self.a.weight[:5], self.a.bias[:5] = 0, torch.tensor([0, 0, 1.5, -2, 3])

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"t": self.b(self.number(self.a(x)))}


class ByWidth(nn.Module):
    """Another layer for another width."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow, self.wide, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)
        with torch.no_grad():
            self.last.weight[:, :5] = 0

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.narrow(x) if x.shape[-1] == 8 else self.wide(x))


@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS)
def test_a_constant_is_folded_only_if_it_is_one_at_every_size(number: Callable[[Tensor], Tensor]) -> None:
    model = Scaled(number).eval()
    small = compact(model, X)
    for x in (X, torch.randn(1, 3, 6, 10), torch.randn(3, 3, 5, 7)):
        torch.testing.assert_close(small(x)["t"], model(x)["t"])
    assert "others at other sizes" in str(compaction(small))


def test_zeros_that_stay_zeros_go_nevertheless() -> None:
    assert compact(Scaled(NUMBERS["width"]).eval(), X).a.out_channels == 6


def test_code_that_goes_another_way_at_another_size_is_told() -> None:
    with pytest.warns(UserWarning, match="exact at the size of the example alone"):
        small = compact(ByWidth().eval(), X)
    assert "exact at the size of the example alone" in str(compaction(small))
