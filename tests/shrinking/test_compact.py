"""A compacted network computes the same, whatever the network and whatever is dead."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

from dead_channels import LIKE_OTHERS, NETWORKS, build, kill, same, size
from problems import TwoHeads
from secateur import compact, compaction
from secateur.shrinking.channels import find_channels


@pytest.mark.filterwarnings("ignore:compact. of the network:UserWarning")
@pytest.mark.parametrize("name", [*NETWORKS, *LIKE_OTHERS])
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


@pytest.mark.filterwarnings("ignore:compact. of the network:UserWarning")
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
    with pytest.raises(ValueError, match=r"fails on example=Tensor .* give one of the shape"):
        compact(TwoHeads(16), torch.randn(1, 4, 8, 8))
    for wrong in (0, 1.5):
        with pytest.raises(ValueError, match=f"round_to is {wrong}"):
            compact(TwoHeads(16), torch.randn(1, 3, 8, 8), round_to=wrong)  # pyright: ignore[reportArgumentType]
    other = torch.optim.SGD(TwoHeads(16).parameters(), lr=0.1)
    with pytest.raises(ValueError, match="optimizer steps no parameter of this model"):
        compact(TwoHeads(16), torch.randn(1, 3, 8, 8), optimizer=other)
