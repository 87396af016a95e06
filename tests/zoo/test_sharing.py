"""Which blocks the tasks share: separate bottoms, shared bottoms, nothing; on any backbone of torchvision."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from dead_channels import kill
from secateur import DiSparse, Problem, SoftThreshold, Task, compact, components, density, fit
from secateur.measures.cost import count_macs
from secateur.problem.problem import example
from secateur.training.recalibration import recalibrate
from secateur.zoo import independent, mobilenetv2_aspp, separate_bottom, shared_bottom
from secateur.zoo.blocks import blocks
from secateur.zoo.sharing import HardSharing, TaskNorm, match_budget, own_parameters

DOMAINS = {"photo": 3, "sketch": 4}


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def images(count: int = 4) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(0)
    return {task: torch.randn(count, 3, 32, 32, generator=draw) for task in DOMAINS}


def problem(model: nn.Module) -> Problem:
    draw = torch.Generator().manual_seed(1)
    labels = {task: torch.randint(0, n, (4,), generator=draw) for task, n in DOMAINS.items()}
    task = Task(lambda p, t: nn.functional.cross_entropy(p, t))
    return Problem(model, dict.fromkeys(DOMAINS, task), [(images(), labels)] * 2)


def test_mobilenet_with_aspp_heads_is_the_published_network() -> None:
    with torch.device("meta"):
        model = mobilenetv2_aspp({"seg": 40, "normal": 3, "depth": 1})
    assert parameters(model) == 156_569_520
    assert parameters(model.shared) == 2_223_872
    macs = count_macs(model, torch.zeros(1, 3, 321, 321, device="meta"))
    assert sum(macs.values()) == pytest.approx(19.3459e9, rel=1e-5)
    with torch.device("meta"):
        assert mobilenetv2_aspp({"seg": 13})(torch.zeros(2, 3, 321, 321))["seg"].shape == (2, 13, 11, 11)


@pytest.mark.parametrize("norm", ["shared", "separate"])
def test_owners_follow_the_pattern(norm: str) -> None:
    model = separate_bottom(DOMAINS, "resnet18", "layer2", width=0.125, norm=norm)
    owners = problem(model).owners
    for name, tasks in owners.items():
        kind, rest = name.split(".", 1)
        if kind == "shared" and ".norms." not in rest:
            assert tasks == set(DOMAINS), name
        else:
            own = rest.split(".")[0] if kind in ("own", "heads") else rest.split(".norms.")[1].split(".")[0]
            assert tasks == {own}, name
    assert set(components(problem(model))) == {"backbone", *DOMAINS}
    assert not components(problem(independent(DOMAINS, "resnet18", width=0.125))).get("backbone")


@pytest.mark.parametrize("norm", ["shared", "separate"])
@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v2"])
def test_budgets_match_as_nearly_as_blocks_allow(backbone: str, norm: str) -> None:
    chain, _ = blocks(backbone, 0.25)
    for split in range(1, len(chain)):
        aim = own_parameters(chain, split, "bottom", norm)
        found = own_parameters(chain, match_budget(chain, split, norm), "top", norm)
        others = [own_parameters(chain, n, "top", norm) for n in range(len(chain) + 1)]
        assert abs(found - aim) == min(abs(o - aim) for o in others)
    model = separate_bottom(DOMAINS, backbone, "3", width=0.25, norm=norm)
    own = sum(
        p.numel() for n, p in model.named_parameters() if n.startswith("own.photo") or ".norms.photo." in n
    )
    assert own == own_parameters(chain, 3, "bottom", norm)


def test_separate_norms_see_their_own_images_alone() -> None:
    model = separate_bottom(DOMAINS, "resnet18", "layer1", width=0.125, norm="separate")
    first = next(m for m in model.shared.modules() if isinstance(m, TaskNorm))
    x = images()
    model.train()({"photo": x["photo"]})
    assert first.norms["photo"].num_batches_tracked == 1
    assert first.norms["sketch"].num_batches_tracked == 0


def test_shared_norms_see_all_images_as_one_batch() -> None:
    model = shared_bottom(DOMAINS, "resnet18", "layer1", width=0.125).train()
    stem = copy.deepcopy(model.shared).train()
    x = images()
    model(x)
    stem(torch.cat(list(x.values())))
    for own, alone in zip(model.shared.buffers(), stem.buffers(), strict=True):
        assert torch.equal(own, alone)
    alone_out = model.eval()({"photo": x["photo"]})["photo"]
    torch.testing.assert_close(model(x)["photo"], alone_out)


def test_compact_wants_an_input_for_every_task() -> None:
    model = separate_bottom(DOMAINS, "resnet18", "layer2", width=0.125).eval()
    with pytest.raises(
        ValueError,
        match=r"inputs for \['photo'\] alone, these are not reached: .*own\.sketch\.stem\.0\.weight.* input for every task",
    ):
        compact(model, {"photo": images(1)["photo"]})


def test_one_image_for_all_tasks_goes_through_a_shared_bottom_once() -> None:
    model = shared_bottom({"a": 2, "b": 2}, "resnet18", width=0.125).eval()
    calls: list[int] = []
    model.shared.stem.register_forward_hook(lambda *_: calls.append(1))
    assert set(model(torch.randn(2, 3, 32, 32))) == {"a", "b"}
    assert len(calls) == 1
    separate = separate_bottom({"a": 2, "b": 2}, "resnet18", width=0.125).eval()
    separate.shared.layer2_0.register_forward_hook(lambda *_: calls.append(1))
    separate(torch.randn(2, 3, 32, 32))
    assert len(calls) == 3


@pytest.mark.parametrize("method", [SoftThreshold, DiSparse])
@pytest.mark.parametrize("norm", ["shared", "separate"])
def test_methods_need_nothing_new(method: type, norm: str) -> None:
    torch.manual_seed(0)
    own = problem(separate_bottom(DOMAINS, "resnet18", "layer2", width=0.125, norm=norm))
    fit(own, method(density=0.2), steps=10)
    found = density(own.model, components(own))
    assert found.overall == pytest.approx(0.2, abs=1e-3)
    assert set(found.components) == {"backbone", *DOMAINS}


@pytest.mark.parametrize(
    "make",
    [
        partial(separate_bottom, split="layer3", norm="shared"),
        pytest.param(partial(separate_bottom, split="layer3", norm="separate"), marks=pytest.mark.slow),
        partial(shared_bottom, split="layer3", norm="separate"),
        pytest.param(partial(shared_bottom, split="layer3", norm="shared"), marks=pytest.mark.slow),
        pytest.param(independent, marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore:compact. of the network's outputs")  # some die with their channels
def test_dead_channels_are_removed(make: Callable[..., HardSharing]) -> None:
    torch.manual_seed(0)
    model = make(DOMAINS, "resnet18", width=0.25).eval()
    kill(model)
    x = images(1)
    small = compact(model, x)
    assert parameters(small) < 0.7 * parameters(model)
    with torch.no_grad():
        for task, value in model(x).items():
            torch.testing.assert_close(small(x)[task], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pattern", [separate_bottom, shared_bottom])
def test_recalibration_counts_the_images_of_all_tasks_as_one_batch(
    pattern: Callable[..., HardSharing],
) -> None:
    torch.manual_seed(0)
    own = problem(pattern(DOMAINS, "resnet18", "layer2", width=0.125).train())
    x, labels = own.train[0]
    x = {"photo": x["photo"] + 3.0, "sketch": x["sketch"] - 3.0}
    own = dataclasses.replace(own, train=[(x, labels)])
    trained = copy.deepcopy(own.model)
    for module in trained.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    trained(x)
    recalibrate(own, 1)
    for name, value in own.model.shared.named_buffers():
        torch.testing.assert_close(value, trained.shared.get_buffer(name))


class Mixes(nn.Module):
    """Runs all inputs through its shared layer as one batch, whatever the mode."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(4, 4)
        self.own = nn.ModuleDict({task: nn.Linear(4, 4) for task in "abc"})

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        mixed = self.shared(torch.cat([self.own[task](value) for task, value in x.items()]))
        return dict(zip(x, mixed.split([len(value) for value in x.values()]), strict=True))


@pytest.mark.parametrize("labelled", ["abc", "a"])
def test_inputs_that_are_mixed_in_a_batch_do_not_make_tasks_own_each_other(labelled: str) -> None:
    x, y = {task: torch.randn(2, 4) for task in "abc"}, {task: torch.randn(2, 4) for task in "abc"}
    data = [(x, {task: y[task] for task in labelled}), (x, y)]
    owners = Problem(Mixes(), dict.fromkeys("abc", Task(nn.functional.mse_loss)), data).owners
    assert owners == {
        name: frozenset("abc") if name.startswith("shared") else frozenset(name.split(".")[1])
        for name in owners
    }


def test_the_example_of_a_problem_has_every_task_that_comes() -> None:
    whole = problem(separate_bottom(DOMAINS, "resnet18", "layer2", width=0.125))
    x, labels = whole.train[0]
    apart = [({task: x[task]}, {task: labels[task]}) for task in DOMAINS]
    turns = dataclasses.replace(whole, train=apart)
    assert {task: value.shape for task, value in example(turns).items()} == {t: v.shape for t, v in x.items()}
    assert components(turns, "kind") == components(whole, "kind")


def test_dense_heads_on_any_backbone() -> None:
    model = shared_bottom({"seg": 13, "depth": 1}, "efficientnet_b0", width=0.5, head="deeplabv3").eval()
    assert model(torch.randn(1, 3, 64, 64))["seg"].shape == (1, 13, 2, 2)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="no such classification network"):
        separate_bottom(DOMAINS, "resnet19")
    with pytest.raises(ValueError, match="cannot be made narrower"):
        separate_bottom(DOMAINS, "swin_t", "block2", width=0.5)
    with pytest.raises(ValueError, match="give one of them"):
        shared_bottom(DOMAINS, "resnet18", split="layer2", budget_of="layer2")
    with pytest.raises(ValueError, match="at least 1 output"):
        separate_bottom({}, "resnet18")
    with pytest.raises(ValueError, match="width is 2"):
        separate_bottom(DOMAINS, "resnet18", width=2.0)
    with pytest.raises(ValueError, match=r"'resnext50_32x4d' cannot be had at width 0\.1"):
        separate_bottom(DOMAINS, "resnext50_32x4d", width=0.1)
    with pytest.raises(ValueError, match="head is 'linear'; choose one of"):
        separate_bottom(DOMAINS, "resnet18", width=0.125, head="linear")
    with pytest.raises(ValueError, match="norm is 'per_domain'; choose one of"):
        separate_bottom(DOMAINS, "resnet18", width=0.125, norm="per_domain")
    for name in ("values", "a.b"):
        with pytest.raises(ValueError, match=f"task is called '{name}'"):
            independent({name: 2}, "resnet18", width=0.125)
    model = separate_bottom(DOMAINS, "resnet18", width=0.125)
    with pytest.raises(ValueError, match=r"images for \['foto'\]; the network's tasks are"):
        model({"foto": torch.zeros(1, 3, 32, 32)})
    with pytest.raises(ValueError, match="images of one size"):
        model({"photo": torch.zeros(2, 3, 32, 32), "sketch": torch.zeros(2, 3, 64, 64)})


def test_heads_have_a_width_of_their_own() -> None:
    narrow, wide = (mobilenetv2_aspp({"seg": 2}, width=0.25, head_width=own) for own in (0.0625, None))
    assert max(p.shape[0] for p in wide.heads.parameters()) == 256
    assert max(p.shape[0] for p in narrow.heads.parameters()) == 64
    for none in (0, True):
        with pytest.raises(ValueError, match=f"head_width is {none}; give"):
            mobilenetv2_aspp({"seg": 2}, width=0.25, head_width=none)
