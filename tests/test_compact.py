"""A compacted network computes the same, whatever the network and whatever is dead."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torchvision
from torch import Tensor, nn

from problems import TwoHeads, two_heads
from secateur import GroupLasso, compact, compaction, components, density, fit, load, save
from secateur.channels import find_channels
from secateur.zoo import deeplab_resnet34

CLASSIFIERS = [
    "resnet18", "resnext50_32x4d", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "densenet121",
    "regnet_y_400mf", "convnext_tiny", "shufflenet_v2_x0_5", "swin_t", "mnasnet0_5", "squeezenet1_0", "googlenet",
]  # fmt: skip
SEGMENTERS = ["deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large", "fcn_resnet50"]


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name in SEGMENTERS:
        return getattr(torchvision.models.segmentation, name)(weights=None, weights_backbone=None).eval()
    extra = {"init_weights": False} if name == "googlenet" else {}
    return getattr(torchvision.models, name)(weights=None, **extra).eval()


@torch.no_grad()
def kill(model: nn.Module, share: float = 0.5, seed: int = 0) -> None:
    """Random dead rows and columns everywhere, and BatchNorm that leaves constants behind them."""
    draw = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.1, generator=draw)
            module.running_var.uniform_(0.5, 1.5, generator=draw)
            module.weight.uniform_(0.5, 1.5, generator=draw)
            module.bias.normal_(0, 0.3, generator=draw)
        elif isinstance(module, (nn.Conv2d, nn.Linear, nn.ConvTranspose2d)):
            weight = module.weight
            weight[torch.rand(weight.shape[0], generator=draw) < share] = 0
            if weight.shape[1] > 1:
                weight[:, torch.rand(weight.shape[1], generator=draw) < share] = 0


def size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def same(a: object, b: object, tolerance: float = 1e-5) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k], tolerance) for k in a)
    return a.shape == b.shape and float((a - b).abs().max()) <= tolerance * float(a.abs().max())


@pytest.mark.parametrize("name", [*CLASSIFIERS, *SEGMENTERS])
def test_networks_of_torchvision_with_random_dead_channels(name: str) -> None:
    model, x = build(name), torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    kill(model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    small = compact(model, x)
    assert size(small) < 0.9 * size(model)
    with torch.no_grad():
        assert same(model(x), small(x))
        other = torch.randn(2, 3, 96, 96)
        assert same(model(other), small(other)), "another batch and size"
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_attention_whose_code_fixes_its_sizes_is_pinned_and_said() -> None:
    torch.manual_seed(0)
    model = torchvision.models.VisionTransformer(32, 16, 2, 4, 32, 64, num_classes=5).eval()
    nn.init.normal_(model.heads.head.weight)
    kill(model, 0.3)
    with torch.no_grad():
        model.encoder.layers[0].self_attention.out_proj.weight[:, :8] = 0  # a dead head
    x = torch.randn(2, 3, 32, 32)
    small = compact(model, x)
    with torch.no_grad():
        assert same(model(x), small(x))
    assert small.encoder.layers[0].mlp[0].out_features < 64
    assert any("MultiheadAttention" in reason for reason in compaction(small).pinned)
    assert any("normalises over all channels" in reason for reason in compaction(small).pinned)


class Scaled(nn.Module):
    """Tensors made in the forward pass."""

    def __init__(self, table: list[float]) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 8), nn.Linear(8, 3)
        self.table = table

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.relu(self.one(x)) * torch.tensor(self.table).to(x.dtype))


@pytest.mark.parametrize("table", [[0.5], [1.0, 2.0] * 4])
@torch.no_grad()
def test_a_tensor_made_in_the_forward_pass_is_a_constant(table: list[float]) -> None:
    model, x = Scaled(table), torch.randn(5, 4)
    model.two.weight[:, :3] = 0
    small = compact(model, x)
    assert same(model(x), small(x))
    assert small.one.out_features == (
        5 if len(table) == 1 else 8
    )  # that the user wrote out 8 numbers is respected


def test_a_residual_stream_is_one_channel_wherever_it_is_read() -> None:
    """ResNet-18, by hand."""
    channels = find_channels(build("resnet18"), torch.zeros(1, 3, 64, 64))
    stream = channels.axes["layer1.0.conv2.weight", 0]
    assert torch.equal(stream, channels.axes["layer1.1.conv1.weight", 1])
    assert torch.equal(stream, channels.axes["layer2.0.downsample.0.weight", 1])
    assert torch.equal(stream, channels.axes["conv1.weight", 0])
    assert torch.equal(channels.axes["layer4.1.bn2.running_var", 0], channels.axes["fc.weight", 1])
    inner = channels.axes["layer1.0.conv1.weight", 0]
    assert not set(inner.tolist()) & set(stream.tolist())
    assert bool((channels.axes["fc.weight", 0] == -1).all())
    assert bool((channels.axes["conv1.weight", 1] == -1).all())


class Parts(nn.Module):
    """Operations that couple channels in their own ways; a trunk used twice; several inputs of one dict."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.PReLU(16))
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 4, 1), nn.ReLU(), nn.Conv2d(4, 16, 1), nn.Sigmoid()
        )
        self.wide = nn.Conv2d(16, 32, 1)
        self.dense = nn.Linear(8 * 4 * 4, 10)
        self.gate = nn.Conv2d(16, 1, 1)
        self.position = nn.Parameter(torch.randn(1, 16, 1, 1))

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        a, b = self.trunk(x["a"]), self.trunk(x["b"])
        a = a * self.squeeze(a) + self.position
        a = a * torch.sigmoid(self.gate(a))
        first, second = self.wide(a).chunk(2, dim=1)
        up = self.up(torch.nn.functional.interpolate(first * second, scale_factor=0.5) + b[:, :, ::2, ::2])
        shuffled = torch.nn.functional.pixel_shuffle(self.wide(b), 2)
        return {"a": self.dense(torch.nn.functional.adaptive_avg_pool2d(up, 4).flatten(1)), "b": shuffled}


@pytest.mark.parametrize("seed", range(4))
def test_operations_that_couple_in_their_own_ways(seed: int) -> None:
    torch.manual_seed(seed)
    model = Parts().eval()
    kill(model, 0.4, seed)
    x = {"a": torch.randn(2, 3, 8, 8), "b": torch.randn(2, 3, 8, 8)}
    small = compact(model, x)
    with torch.no_grad():
        assert same(model(x), small(x))


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


def test_an_unknown_operation_pins_and_says_so() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(torch.linalg.qr(self.a(x))[0])

    model = Odd().eval()
    with torch.no_grad():
        model.b.weight[:, :4] = 0
    small = compact(model, torch.randn(1, 3, 4, 4))
    assert small.a.out_channels == 8
    assert any("linalg_qr" in reason and "linalg.qr" in reason for reason in compaction(small).pinned)


def test_a_model_that_cannot_be_traced_names_the_line() -> None:
    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Conv2d(3, 8, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            return y if y.sum() > 0 else -y

    with pytest.raises(
        ValueError, match=r"cannot be traced at .*test_compact.py:\d+: return y if y.sum\(\) > 0"
    ):
        compact(Branch(), torch.randn(1, 3, 4, 4))


def test_an_example_of_the_wrong_shape_is_named() -> None:
    with pytest.raises(ValueError, match="example has the shape"):
        compact(TwoHeads(16), torch.randn(1, 4, 8, 8))
    with pytest.raises(ValueError, match="round_to is 0"):
        compact(TwoHeads(16), torch.randn(1, 3, 8, 8), round_to=0)
