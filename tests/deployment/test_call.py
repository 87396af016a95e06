"""Models that are called in their own way, from training to the file: keywords in, an object out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from secateur import (
    GroupLasso,
    Problem,
    Task,
    bench,
    compact,
    components,
    cost,
    density,
    evaluate,
    export,
    fit,
    load,
    save,
)
from secateur.deployment.engines import load_engine


@dataclass
class Output:
    """No mapping, no tuple: fields."""

    seg: Tensor
    hidden: Tensor


class Keywords(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()
        )
        self.seg = nn.Conv2d(32, 5, 1)

    def forward(self, *, pixels: Tensor, mask: Tensor) -> Output:
        features = self.trunk(pixels)
        return Output(self.seg(features) * mask, features)


def call(model: nn.Module, x: Any) -> dict[str, Tensor]:
    return {"seg": model(**x).seg}


def data() -> list[dict[str, Tensor]]:
    draw = torch.Generator().manual_seed(0)
    images = [torch.randn(4, 3, 8, 8, generator=draw) for _ in range(4)]
    return [{"pixels": x, "mask": torch.ones(4, 1, 8, 8), "labels": x.argmax(1)} for x in images]


def unpack(batch: dict[str, Tensor]) -> Any:
    return {k: v for k, v in batch.items() if k != "labels"}, {"seg": batch["labels"]}


def test_from_training_to_the_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tasks = {"seg": Task(F.cross_entropy, [F.cross_entropy])}
    problem = Problem(Keywords(), tasks, data(), data(), unpack=unpack, call=call)
    fit(problem, GroupLasso(density=0.5), steps=40)
    x, _ = unpack(data()[0])
    found = components(problem)
    assert density(problem.model, found).overall == pytest.approx(0.5, abs=0.03)
    assert cost(problem.model, x, found, call).macs.dense > cost(problem.model, x, found, call).macs.sparse
    small = compact(problem.model, x, call=call)
    assert type(small) is Keywords
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in problem.model.parameters())
    with torch.no_grad():
        expected = call(problem.model.eval(), x)["seg"]
        assert torch.allclose(call(small, x)["seg"], expected, atol=1e-5)
    assert evaluate(Problem(small, tasks, data(), data(), unpack=unpack, call=call), "val") == {
        "seg": {"cross_entropy": pytest.approx(evaluate(problem, "val")["seg"]["cross_entropy"], rel=1e-4)}
    }
    save(small, tmp_path / "small.safetensors")
    assert torch.equal(load(Keywords(), tmp_path / "small.safetensors").seg.weight, small.seg.weight)
    path = export(small, x, tmp_path / "small.onnx", call=call)
    engine = load_engine(path)
    assert set(engine.about["tasks"]) == {"seg"}


@pytest.mark.slow
def test_bench_calls_it_too() -> None:
    x, _ = unpack(data()[0])
    dense = Keywords()
    with torch.no_grad():
        for parameter in dense.trunk[0].parameters():
            parameter[:16] = 0
    small = compact(dense, x, call=call)
    assert small.trunk[0].out_channels == 16
    assert bench({"dense": dense, "small": small}, x, repeats=1, processes=1, call=call).measures


def test_without_call_it_is_said() -> None:
    x, _ = unpack(data()[0])
    model = Keywords()
    model.forward = lambda x: Output(x["pixels"], x["mask"])  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValueError, match=r"export: the model returned Output; .*call=lambda model, x"):
        export(model, x, "never.onnx")
    with pytest.raises(ValueError, match=r"export: example is tuple of 2"):
        export(Keywords(), tuple(x.values()), "never.onnx", call=call)  # pyright: ignore[reportArgumentType]
