"""Folding is exact, and happens only where it may."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from secateur.deployment.engines import load_engine
from secateur.deployment.engines.engine import quiet
from secateur.deployment.export import export
from secateur.deployment.export.folding import fold_batch_norm
from secateur.measures import DeadTaskWarning


def folded(model: nn.Module, x: Tensor) -> tuple[nn.Module, list[str]]:
    with torch.no_grad(), quiet():
        module = torch.export.export(model.eval(), (x,)).run_decompositions({}).module()
    for node in [n for n in module.graph.nodes if n.op == "call_module" and not n.users]:
        module.graph.erase_node(node)
    made = fold_batch_norm(module)
    return made, [str(node.target) for node in made.graph.nodes if node.op == "call_function"]


def random_norm(channels: int, kind: type[nn.Module] = nn.BatchNorm2d, **settings: bool) -> nn.Module:
    norm = kind(channels, **settings)
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        if tensor is not None:
            nn.init.uniform_(tensor, 0.2, 2.0)
    return norm


@pytest.mark.parametrize(
    "layers",
    [
        (nn.Conv2d(4, 6, 3, bias=False), random_norm(6)),
        (nn.Conv2d(4, 6, 3, padding="same", groups=2), random_norm(6, affine=False)),
        (nn.ConvTranspose2d(4, 6, 2, 2), random_norm(6)),
        (nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False), random_norm(6)),
        (nn.Flatten(2), nn.Conv1d(4, 8, 3), random_norm(8, nn.BatchNorm1d)),
    ],
    ids=["conv", "grouped", "transposed", "transposed grouped", "1d"],
)
def test_exact(layers: tuple[nn.Module, ...]) -> None:
    model, x = nn.Sequential(*layers), torch.randn(2, 4, 8, 8)
    made, operations = folded(model, x)
    assert not [name for name in operations if "norm" in name]
    with torch.no_grad():
        torch.testing.assert_close(made(x), model(x), rtol=1e-5, atol=1e-5)


class Reads(nn.Module):
    """The convolution's output is read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3), random_norm(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) + y


class Computed(nn.Module):
    """The kernel is the result of a computation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3), random_norm(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(nn.functional.conv2d(x, self.conv.weight - self.conv.weight.mean()))


@pytest.mark.parametrize(
    "model",
    [
        Reads(),
        Computed(),
        nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU(), random_norm(4)),
        nn.Sequential(random_norm(4), nn.Conv2d(4, 4, 3)),
    ],
    ids=["read twice", "computed kernel", "activation between", "before"],
)
def test_left_alone(model: nn.Module) -> None:
    x = torch.randn(2, 4, 8, 8)
    made, operations = folded(model, x)
    assert [name for name in operations if "norm" in name]
    with torch.no_grad():
        torch.testing.assert_close(made(x), model(x))


def test_a_module_called_twice_is_folded_once() -> None:
    block = nn.Sequential(nn.Conv2d(4, 4, 3), random_norm(4))
    made, operations = folded(nn.Sequential(block, block), torch.randn(1, 4, 8, 8))
    assert len(operations) == 2
    assert sorted(name for name, _ in made.named_parameters()) == ["1.0.folded_0_bias", "1.0.folded_0_weight"]


@pytest.mark.parametrize("suffix", [".onnx", ".pt2", ".xml"])
def test_a_prediction_that_is_a_parameter_is_exported(tmp_path: Path, suffix: str) -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.value = nn.Conv2d(3, 2, 1), nn.Parameter(torch.randn(1, 2))

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {
                "seg": self.head(x),
                "scene": self.value + 0.0 * x.shape[0],
            }  # torch 2.11 writes no parameter and integer

    model, x = Constant(), torch.randn(1, 3, 4, 4, requires_grad=True)
    with pytest.warns(DeadTaskWarning, match="'scene' is dead"):
        path = export(model, x, tmp_path / f"net{suffix}", dynamic=False)
    np.testing.assert_array_equal(
        load_engine(path)(x.detach().numpy())["scene"], model.value.detach().numpy()
    )
