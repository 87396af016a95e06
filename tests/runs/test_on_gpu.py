"""What makes trainings on a GPU fast computes the same; what needs the GPU itself is not run here."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

BENCHMARKS = Path(__file__).parents[2] / "benchmarks" / "gpu"


@pytest.fixture
def graphed(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("graphed")


@pytest.mark.parametrize("dilation", [2, 6, 9, 24])
@pytest.mark.parametrize("size", [(8, 10), (15, 6)])
def test_gathered_pixels_are_a_dilated_convolution(
    graphed: Any, size: tuple[int, int], dilation: int
) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.double, requires_grad=True)
    weight = torch.randn(4, 3, 3, 3, dtype=torch.double, requires_grad=True)
    y, same = graphed.atrous(x, weight, dilation), F.conv2d(x, weight, padding=dilation, dilation=dilation)
    torch.testing.assert_close(y, same)
    along = torch.randn_like(y)
    ours, theirs = (torch.autograd.grad(out, (x, weight), along) for out in (y, same))
    torch.testing.assert_close(ours, theirs)


def test_only_dilated_convolutions_that_keep_the_size_are_gathered(graphed: Any) -> None:
    kept = nn.Conv2d(4, 4, 3, padding=2, dilation=2)
    others = [
        nn.Conv2d(4, 4, 3, padding=1),
        nn.Conv2d(4, 4, 3, padding=1, dilation=2),
        nn.Conv2d(4, 4, 3, 2, padding=2, dilation=2),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2, padding_mode="reflect"),
        nn.Conv2d(4, 4, 5, padding=4, dilation=2),
    ]
    assert graphed.is_atrous(kept)
    assert not any(map(graphed.is_atrous, others))


def test_a_threshold_outside_the_network_is_found(graphed: Any) -> None:
    layer, threshold = nn.Linear(3, 2), nn.Parameter(torch.tensor(0.1))
    found = graphed._leaves({"a": layer(torch.ones(1, 3)) * threshold})
    assert {id(leaf) for leaf in found} == {id(layer.weight), id(layer.bias), id(threshold)}


def test_without_a_gpu_the_network_is_called(graphed: Any) -> None:
    network = nn.Linear(3, 2)
    x = torch.randn(4, 3)
    assert torch.equal(graphed.Graphed(network)(x), network(x))


def test_a_plan_is_trained_in_its_order(graphed: Any, tmp_path: Path) -> None:
    on_gpu = importlib.import_module("on_gpu")
    out = tmp_path / "runs"
    (tmp_path / "plan.txt").write_text(
        f"# the first\nsecateur compare dense magnitude --density 0.1 --seeds 2 --out {out}\n"
        f"secateur compare dense snip --density 0.2 --workers 3 --out {out}\n"
    )
    jobs = on_gpu.jobs_of(tmp_path / "plan.txt")
    names = [job.path.name.split("-seg")[0] + job.path.name[-2:] for job in jobs]
    assert names == ["denses0", "denses1", "magnitude-d0.1s0", "magnitude-d0.1s1", "snip-d0.2s0"]
    assert [job.workers for job in jobs] == [0, 0, 0, 0, 3]
