"""Pools whose sizes are rounded up: every engine gives what torch does, at every size."""

import importlib.metadata
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from secateur import export
from secateur.deployment.engines import load_engine

SIZES = [(2, 3, 16, 16), (1, 3, 11, 14), (3, 3, 23, 9), (1, 3, 12, 17)]
maximum, mean = partial(F.max_pool2d, ceil_mode=True), partial(F.avg_pool2d, ceil_mode=True)
POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "begins in the padding": lambda x: maximum(x, 2, 3, 1),
    "dilated": lambda x: maximum(x, 2, 3, 1, 2),
    "oblong": lambda x: maximum(x, (3, 2), (2, 3), (1, 0)),
    "of one axis": lambda x: F.max_pool1d(x.flatten(2), 2, 3, 1, ceil_mode=True),
    "of three": lambda x: F.max_pool3d(x[:, None], 2, 3, 1, ceil_mode=True),
    "mean, begins in the padding": lambda x: mean(x, 2, 3, 1),
    "mean of padding": lambda x: mean(x, 3, 2, 1),
    "mean of padding, oblong": lambda x: mean(x, (5, 3), (3, 2), (2, 1)),
    "mean of one axis": lambda x: F.avg_pool1d(x.flatten(2), 3, 2, 1, ceil_mode=True),
    "mean of three": lambda x: F.avg_pool3d(x[:, None], 3, 3, 1, ceil_mode=True),
    "mean by a divisor": lambda x: F.avg_pool2d(x, 3, 2, 1, divisor_override=5),
    "mean by a divisor, up": lambda x: mean(x, 3, 2, 1, divisor_override=5),
    "mean of one image": lambda x: torch.stack([mean(each, 3, 2, 1) for each in x.unbind(1)], 1),
}


LATER = (
    "mean of padding",
    "mean of padding, oblong",
    "mean by a divisor, up",
)  # for ONNX Runtime 1.24 counts otherwise, which export says


def runs(name: str, suffix: str) -> bool:
    release = importlib.metadata.version("onnxruntime").split(".")[:2]
    return suffix != "onnx" or name not in LATER or tuple(map(int, release)) >= (1, 25)


class Pools(nn.Module):
    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        self.conv, self.names = nn.Conv2d(3, 3, 3, padding=1), list(names)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.conv(x)
        return {name: POOLS[name](x) for name in self.names}


@pytest.mark.parametrize("suffix", ["onnx", "xml"])
def test_every_engine_rounds_up_as_torch_does(tmp_path: Path, suffix: str) -> None:
    model = Pools(name for name in POOLS if runs(name, suffix)).eval()
    path = export(model, torch.randn(SIZES[0]), tmp_path / f"pools.{suffix}")
    engines = {"onnx": ["onnxruntime", "openvino"], "xml": ["openvino"]}[suffix]
    for engine in [load_engine(path, engine=name) for name in engines]:
        assert engine.about["dynamic"]
        for size in SIZES:
            x = torch.randn(size)
            with torch.no_grad():
                expected = model(x)
            for task, found in zip(engine.about["tasks"], engine.call([x.numpy()]), strict=True):
                torch.testing.assert_close(
                    torch.from_numpy(found),
                    expected[task],
                    msg=lambda m, t=task, e=engine: f"{t} in {e.name}: {m}",
                )
