"""Layers that get nothing in the example, such as an expert that no token chose: they stay as they are, and it is said."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dead_channels import same
from secateur import compact, compaction


class Routed(nn.Module):
    """Every token goes to the expert that its first numbers choose."""

    def __init__(self, *, masks: bool) -> None:
        super().__init__()
        self.masks = masks
        self.stem = nn.Linear(6, 8)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 8)) for _ in range(3)
        )
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        chosen, x = x[:, :3].argmax(-1), torch.relu(self.stem(x))
        y = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            where = chosen == number
            if self.masks:
                y[where] = expert(x[where])
            else:
                places = where.nonzero().flatten()
                y = y.index_add(0, places, expert(x[places]))
        return self.head(y)


@pytest.mark.parametrize("masks", [False, True])
@torch.no_grad()
def test_an_expert_that_no_token_chose_stays(masks: bool) -> None:
    torch.manual_seed(0)
    model = Routed(masks=masks).eval()
    for expert in model.experts:
        expert[2].weight[:, :2] = 0
    x = torch.randn(9, 6)
    x[:, 2] = -9
    small = compact(model, x)
    assert [expert[0].out_features for expert in small.experts] == [3, 3, 5]
    assert "gets nothing from the example" in compaction(small).text()
    for given in (x, torch.randn(9, 6)):
        assert same(model(given), small(given))


def test_that_there_was_nothing_to_take_out_is_said_with_what_to_do() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    for zeroed in (False, True):
        with torch.no_grad():
            model[2].weight[:, 1] *= not zeroed  # pyright: ignore
        text = compaction(compact(model, torch.randn(1, 3, 2, 2))).text()  # pyright: ignore
        assert ("nothing to take out" in text) is not zeroed
        assert ("`secateur prune`" in text) is not zeroed
