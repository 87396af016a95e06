"""Modules may have any name that torch takes, such as that of a head in a ModuleDict."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from secateur.deployment.bench import bench
from secateur.deployment.engines import load_engine
from secateur.deployment.export import export


class Heads(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.stem = name, nn.Conv2d(3, 4, 3, padding=1)
        self.heads = nn.ModuleDict({name: nn.Conv2d(4, 2, 1), "sem_seg": nn.Conv2d(4, 1, 1)})
        self.heads[name].register_buffer("sc-ale", torch.randn(1, 2, 1, 1))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        z, head = self.stem(x).relu(), self.heads[self.name]
        return {"one": head(z) * getattr(head, "sc-ale"), "two": self.heads["sem_seg"](z)}


NAMES = ["sem-seg", "sem seg", "a/b:'c", 'a"b', "a\\b", "a\nb", "class", "größe", "0", "x" * 300]


@pytest.mark.parametrize("name", NAMES)
def test_a_program_of_torch_takes_it(tmp_path: Path, name: str) -> None:
    model, x = Heads(name).eval(), torch.randn(2, 3, 8, 8)
    found = load_engine(export(model, x, tmp_path / "net.pt2"))(x.numpy())
    with torch.no_grad():
        for task, expected in model(x).items():
            assert torch.allclose(torch.from_numpy(found[task]), expected, atol=1e-6)


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
@pytest.mark.parametrize("name", ["sem-seg", "class"])
def test_the_other_formats_take_it(tmp_path: Path, name: str, suffix: str) -> None:
    pytest.importorskip("onnxruntime" if suffix == ".onnx" else "openvino")
    model, x = Heads(name).eval(), torch.randn(2, 3, 8, 8)
    assert list(load_engine(export(model, x, tmp_path / f"net{suffix}"))(x.numpy())) == ["one", "two"]


def test_it_is_timed(tmp_path: Path) -> None:
    assert bench(
        {"net": Heads("sem-seg")}, torch.randn(1, 3, 8, 8), engines=["torch"], repeats=1, processes=1
    )
