"""Layers that get nothing in the example, such as an expert that no token chose or a task without an input: it is said."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dead_channels import same
from secateur import compact, compaction
from secateur.shrinking import coupled_groups

V = torch.randn(2, 8)


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


class Apart(nn.Module):
    """An input for each task; a layer that is used by its weights, and one that is not used."""

    def __init__(self, heads: str) -> None:
        super().__init__()
        self.f, self.q = nn.Linear(8, 8), nn.Linear(8, 8)
        self.h = nn.ModuleDict({task: nn.Linear(8, 2) for task in heads})
        self.u = nn.Linear(8, 3) if heads == "pr" else None

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        return {k: self.h[k](F.linear(self.f(v), self.q.weight, self.q.bias).relu()) for k, v in x.items()}


def test_the_task_that_is_missing_is_named_and_no_layer_that_nobody_uses() -> None:
    with pytest.raises(ValueError, match=r"these are not reached: h\.s\.weight; give .* here \['s'\] too"):
        compact(Apart("prs"), {"p": V, "r": V})
    with pytest.warns(UserWarning, match=r"these are not reached: u\.weight; they stay"):
        compact(Apart("pr"), {"p": V, "r": V})
    compact(Apart("prs"), dict.fromkeys("prs", V))


class ByNumber(nn.Module):
    """An input for each task, and heads that no name leads to."""

    def __init__(self) -> None:
        super().__init__()
        self.f, self.g, self.heads = (
            nn.Linear(8, 6),
            nn.Linear(6, 6),
            nn.ModuleList([nn.Linear(6, 2), nn.Linear(6, 3)]),
        )

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        return {k: self.heads[len(k) - 7](self.g(self.f(v).relu()).relu()) for k, v in x.items()}


class ByTable(Apart):
    """Its tasks are called otherwise than the heads."""

    def __init__(self) -> None:
        super().__init__("prs")
        self.table = {"fine": "p", "coarse": "r", "both": "s"}

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        found = super().forward({self.table[k]: v for k, v in x.items()})
        return {k: found[self.table[k]] for k in x}


def test_layers_that_no_longer_fit_are_refused_and_others_said() -> None:
    model = ByNumber()
    with pytest.warns(UserWarning, match=r"these are not reached: heads\.1\.weight; they stay"):
        compact(model, {"surface": V})  # nothing goes that it could read
    with torch.no_grad():
        model.g.weight[:, :2] = 0
    with pytest.raises(ValueError, match=r"heads\.1\.weight may not fit .* an input for every task"):
        compact(model, {"surface": V})
    compact(model, {"surface": V, "vehicles": V})
    with pytest.raises(ValueError, match=r"an input for every task of the network, here \['both'\] too"):
        compact(ByTable(), {"fine": V, "coarse": V})


class Pretrained(Apart):
    """The classifier of its pretraining is still there, and nothing reaches it."""

    def __init__(self) -> None:
        super().__init__("ab")
        self.fc = nn.Linear(8, 10)


def test_a_layer_of_no_task_is_accepted_where_the_network_names_its_tasks() -> None:
    model = Pretrained()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert coupled_groups(model, {"a": V, "b": V}).count == 16
    with torch.no_grad():
        model.q.weight[:, :4] = 0
    with pytest.warns(
        UserWarning, match=r"not reached: fc\.weight; they stay as they are; fc\.weight may not fit"
    ):
        small = compact(model, {"a": V, "b": V})
    assert (small.f.out_features, small.fc.in_features) == (4, 8)
    assert "left as they are: fc." in compaction(small).text()


@pytest.mark.parametrize(
    ("model", "x"), [(ByNumber(), {"surface": V}), (ByTable(), {"fine": V, "coarse": V})]
)
def test_what_compact_refuses_coupled_groups_refuse_before(model: nn.Module, x: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match=r"coupled_groups: with inputs for .* an input for every task"):
        coupled_groups(model, x)
