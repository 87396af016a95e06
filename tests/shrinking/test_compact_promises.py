"""What compaction promises: constants folded, outputs kept, sizes rounded, optimizers and files carried along."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from dead_channels import build, kill, same, size
from problems import TwoHeads, two_heads
from secateur import GroupLasso, compact, compaction, components, density, fit, load, save
from secateur.zoo import deeplab_resnet34


def test_constants_with_padding_are_carried_by_one_channel() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 4, 3, padding=1),
    ).eval()
    with torch.no_grad():
        model[0].weight[:8] = 0
        model[1].bias.uniform_(0.5, 1.0)
    x = torch.randn(1, 3, 9, 9)
    small = compact(model, x)
    assert small[0].out_channels == 5  # four that live, and one for the eight constants and the border
    with torch.no_grad():
        assert same(model(x), small(x))


def test_constants_without_padding_move_into_bias_or_batchnorm() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 12, 1), nn.ReLU(), nn.Conv2d(12, 6, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 1, bias=False)
    ).eval()  # fmt: skip
    with torch.no_grad():
        model[0].weight[:8] = 0
        model[0].bias.fill_(0.7)
        model[2].weight[:2] = 0
        model[3].bias.fill_(0.4)
    x = torch.randn(1, 3, 5, 5)
    small = compact(model, x)
    assert (small[0].out_channels, small[2].out_channels) == (4, 4)
    assert compaction(small).biases == ["5"]
    with torch.no_grad():
        assert same(model(x), small(x))


def test_a_dead_residual_branch_goes_as_a_branch() -> None:
    model, x = build("resnet18"), torch.randn(1, 3, 64, 64)
    kill(model, 0.0)
    with torch.no_grad():
        model.layer3[1].conv2.weight.zero_()
    small = compact(model, x)
    assert {"layer3.1.conv1", "layer3.1.conv2"} <= compaction(small).constants.keys()
    assert size(model) - size(small) > 2 * 256 * 256 * 9 - 2000
    with torch.no_grad():
        assert same(model(x), small(x))


def test_outputs_of_tasks_are_never_removed() -> None:
    model = TwoHeads(16).eval()
    with torch.no_grad():
        model.colour.weight.zero_()
    with pytest.warns(UserWarning, match="outputs colour no element depends"):
        small = compact(model, torch.randn(1, 3, 8, 8))
    with torch.no_grad():
        assert small(torch.randn(2, 3, 8, 8))["colour"].shape == (2, 5, 8, 8)


def test_round_to_fills_up_with_the_strongest() -> None:
    model = deeplab_resnet34({"seg": 5, "depth": 1}, width=0.25).eval()
    kill(model, 0.5)
    x = torch.randn(1, 3, 32, 32)
    exact, rounded = compact(model, x), compact(model, x, round_to=8)
    assert size(exact) < size(rounded) < size(model)
    for name, module in rounded.named_modules():
        if isinstance(module, nn.Conv2d) and not name.startswith("heads"):
            assert module.out_channels % 8 == 0, name
    with torch.no_grad():
        assert same(model(x), rounded(x))


def test_it_saves_and_loads_into_the_users_class_and_keeps_indices_over_rounds(tmp_path) -> None:
    problem = two_heads(width=32)
    x = problem.train[0][0]
    fit(problem, GroupLasso(density=0.4, of="channels", groups="coupled"), steps=40)
    first = compact(problem.model, x)
    kept = compaction(first).kept["trunk.4.weight"][0]
    with torch.no_grad():
        first.colour.weight[:, :2] = 0
        first.shade[0].weight[:, :2] = 0
    second = compact(first, x)
    assert compaction(second).kept["trunk.4.weight"][0] == kept[2:]
    assert compaction(second).channels[0] == compaction(first).channels[0]
    loaded = load(TwoHeads(32), save(second, tmp_path / "small.safetensors")).eval()
    with torch.no_grad():
        assert same(loaded(x), second.eval()(x), 0.0)
    untouched = TwoHeads(16)
    before = copy.deepcopy(untouched.state_dict())
    with pytest.raises(ValueError, match="network"):
        load(untouched, tmp_path / "small.safetensors")
    assert all(torch.equal(before[k], v) for k, v in untouched.state_dict().items())


def test_optimizer_state_is_carried_along() -> None:
    problem = two_heads(width=32)
    x, targets = problem.train[0]
    fit(problem, GroupLasso(density=0.4, of="channels", groups="coupled"), steps=40)
    model = problem.model
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    sum(problem.tasks[t].loss(p, targets[t]) for t, p in model(x).items()).backward()
    optimizer.step()
    moment = optimizer.state[model.trunk[0].weight]["exp_avg"].clone()
    small = compact(model, x, optimizer=optimizer)
    kept = compaction(small).kept["trunk.0.weight"][0]
    assert torch.equal(optimizer.state[small.trunk[0].weight]["exp_avg"], moment[kept])
    sum(problem.tasks[t].loss(p, targets[t]) for t, p in small(x).items()).backward()
    optimizer.step()
    assert {id(p) for g in optimizer.param_groups for p in g["params"]} == {id(p) for p in small.parameters()}


@pytest.mark.parametrize("of", ["parameters", "channels", "macs"])
def test_coupled_groups_can_all_be_removed(of: str) -> None:
    problem = two_heads(width=32)
    x = problem.train[0][0]
    fit(problem, GroupLasso(density=0.3, of=of, groups="coupled"), steps=60)
    small = compact(problem.model, x)
    assert density(small, components(two_heads(width=32))).overall == 1.0, "no zero is left over"
    if of == "parameters":
        weights = [sum(p.numel() for p in m.parameters() if p.dim() > 1) for m in (small, problem.model)]
        assert math.isclose(weights[0] / weights[1], 0.3, abs_tol=0.04)  # 72 channels: one is worth 3 points


@pytest.mark.parametrize("kind", [torch.optim.Adafactor, torch.optim.Adam])
def test_new_biases_are_trained_and_factored_moments_cut(kind: type[torch.optim.Optimizer]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8, bias=False), nn.ReLU(), nn.Linear(8, 3))
    with torch.no_grad():
        model[0].weight[:3], model[0].bias[:3] = 0, 0.5
    named = [(f"my.{name}", p) for name, p in model.named_parameters()]
    optimizer = kind([{"params": named[:2]}, {"params": named[2:], "lr": 1e-3}])
    model(torch.randn(5, 4)).square().sum().backward()
    optimizer.step()
    with torch.no_grad():
        model[0].weight[:3], model[0].bias[:3] = 0, 0.5
    rows = optimizer.state[model[0].weight].get("row_var")
    small = compact(model, torch.randn(5, 4), optimizer=optimizer)
    assert compaction(small).biases == ["2"]
    assert any(p is small[2].bias for p in optimizer.param_groups[1]["params"])
    kept = compaction(small).kept["0.weight"][0]
    if rows is not None:
        assert torch.equal(optimizer.state[small[0].weight]["row_var"], rows[kept])
    small(torch.randn(5, 4)).square().sum().backward()
    optimizer.step()
    assert {id(p) for g in optimizer.param_groups for p in g["params"]} == {id(p) for p in small.parameters()}
    assert [group["param_names"] for group in optimizer.param_groups] == [
        ["my.0.weight", "my.0.bias"],
        ["my.2.weight", "my.4.weight", "my.4.bias", "2.bias"],
    ]
