"""Which blocks the tasks share: separate bottoms, shared bottoms, nothing; on any backbone of torchvision."""

from __future__ import annotations

import copy

import pytest
import torch
import torchvision
from torch import Tensor, nn

from dead_channels import kill
from secateur import DiSparse, Problem, SoftThreshold, Task, compact, components, density, fit
from secateur.cost import count_macs
from secateur.zoo import independent, mobilenetv2_aspp, separate_bottom, shared_bottom
from secateur.zoo.blocks import blocks
from secateur.zoo.sharing import TaskNorm, match_budget, own_parameters, split_at

DOMAINS = {"photo": 3, "sketch": 4}
FAMILIES = [
    "alexnet", "vgg11_bn", "squeezenet1_0", "densenet121", "googlenet", "resnet18", "resnext50_32x4d", "mobilenet_v2",
    "mobilenet_v3_small", "mnasnet0_5", "shufflenet_v2_x0_5", "efficientnet_b0", "regnet_y_400mf", "convnext_tiny",
    "swin_t", "vit_b_16", "maxvit_t",
]  # fmt: skip


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


@pytest.mark.parametrize("name", FAMILIES)
def test_any_classification_network_is_a_chain_of_its_own_features(name: str) -> None:
    torch.manual_seed(0)
    chain, channels = blocks(name)
    torch.manual_seed(0)
    extra = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    whole = torchvision.models.get_model(name, weights=None, **extra).eval()
    x = torch.randn(1, 3, 224, 224)
    seen: list[Tensor] = []
    tapped = {
        "vit_b_16": "encoder",
        "mnasnet0_5": "layers",
        "shufflenet_v2_x0_5": "conv5",
        "maxvit_t": "blocks.3",
    }
    if name in tapped or name in ("mobilenet_v2", "squeezenet1_0", "densenet121"):
        layer = whole.get_submodule(tapped.get(name, "features"))
        layer.register_forward_hook(lambda _, __, out: seen.append(out))
    else:
        pool = next(m for m in whole.children() if isinstance(m, nn.AdaptiveAvgPool2d))
        pool.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        whole(x)
        y = x
        for block in chain.values():
            y = block.eval()(y)
    expected = seen[0].relu() if name == "densenet121" else seen[0]
    if name == "vit_b_16":
        expected = expected[:, 1:].transpose(1, 2).unflatten(2, (14, 14))
    assert y.shape[1] == channels
    torch.testing.assert_close(y, expected)


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


def test_a_split_names_a_block_a_stage_or_a_number() -> None:
    chain, _ = blocks("resnet18", 0.125)
    assert list(chain)[:3] == ["stem", "layer1_0", "layer1_1"]
    assert (
        split_at(chain, "layer2")
        == split_at(chain, "layer2_0")
        == split_at(chain, 3)
        == split_at(chain, "3")
        == 3
    )
    for wrong in ("layer9", 99, "99"):
        with pytest.raises(ValueError, match="layer1_0"):
            split_at(chain, wrong)


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


@pytest.mark.parametrize("norm", ["shared", "separate"])
@pytest.mark.parametrize("pattern", [separate_bottom, shared_bottom])
def test_dead_channels_are_removed(pattern: type, norm: str) -> None:
    torch.manual_seed(0)
    model = pattern(DOMAINS, "resnet18", "layer3", width=0.25, norm=norm).eval()
    kill(model)
    x = images(1)
    small = compact(model, x)
    assert parameters(small) < 0.7 * parameters(model)
    with torch.no_grad():
        for task, value in model(x).items():
            torch.testing.assert_close(small(x)[task], value, rtol=1e-4, atol=1e-5)


def test_pretrained_weights_of_the_user_are_loaded(tmp_path) -> None:
    torch.manual_seed(0)
    whole = torchvision.models.resnet18(weights=None)
    path = tmp_path / "resnet18.pth"
    torch.save(whole.state_dict(), path)
    model = separate_bottom(DOMAINS, "resnet18", "layer2", weights=str(path))
    for task in DOMAINS:
        assert torch.equal(model.own[task].stem[0].weight, whole.conv1.weight)
    assert torch.equal(model.shared.layer4_1.conv2.weight, whole.layer4[1].conv2.weight)
    with pytest.raises(ValueError, match="not of this network"):
        separate_bottom(DOMAINS, "resnet34", "layer2", weights=str(path))
    with pytest.raises(FileNotFoundError, match="no file"):
        separate_bottom(DOMAINS, "resnet18", "layer2", weights=str(tmp_path / "none.pth"))


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
