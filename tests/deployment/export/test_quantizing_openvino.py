"""A file of OpenVINO in int8, by NNCF: zeros stay, heads stay in float, errors are told, and a budget is met by it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from secateur import Budget, Problem, Task, export, prune
from secateur.budget import record_of
from secateur.deployment.bench import bench
from secateur.deployment.engines import EngineMissingError, load_engine
from secateur.deployment.export import describe, int8_suffix
from secateur.measures.metrics import MeanOf

nncf = pytest.importorskip("nncf", reason="needs nncf: pip install 'secateur[nncf]'")
openvino = pytest.importorskip("openvino")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()
        )
        self.a, self.b = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 1, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.body(x)
        return {"a": self.a(y), "b": self.b(y)}


def pruned(density: float = 0.2) -> Net:
    torch.manual_seed(0)
    net = Net()
    with torch.no_grad():
        net.body[2].weight *= torch.rand(net.body[2].weight.shape) < density
    return net.eval()


def images(count: int = 3, scale: float = 1.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [scale * torch.randn(2, 3, 16, 16, generator=generator) for _ in range(count)]


def bytes_of(path: Path) -> dict[tuple[int, ...], np.ndarray]:
    """Weights in int8, by their shape."""
    model = openvino.Core().read_model(path)
    held = [op for op in model.get_ordered_ops() if op.get_type_name() == "Constant"]
    return {tuple(op.shape): op.data for op in held if op.get_element_type() == openvino.Type.i8}


@pytest.mark.parametrize("quantize", [None, "int8"])
def test_the_same_network_is_the_same_file_however_many_were_written_before(
    tmp_path: Path, quantize: Literal["int8"] | None
) -> None:
    how = {"quantize": quantize, "calibrate": images()} if quantize else {}
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.PixelShuffle(2)).eval()
    call = lambda model, x: {"a": model(x)}  # noqa: E731
    files = [export(net, images()[0], tmp_path / f"{n}.xml", call=call, **how) for n in "ab"]
    assert files[0].read_bytes() == files[-1].read_bytes()


def test_zeros_stay_zeros_and_the_file_is_smaller(tmp_path: Path) -> None:
    net, before = pruned(), copy.deepcopy(pruned().state_dict())
    path = export(net, images()[0], tmp_path / "net.xml", quantize="int8", calibrate=images())
    exact = export(net, images()[0], tmp_path / "f.xml")
    held = bytes_of(path)
    assert set(held) == {(32, 3, 3, 3), (32, 32, 3, 3), (2, 32, 1, 1), (1, 32, 1, 1)}
    weight = net.body[2].weight.numpy(force=True)
    assert not held[(32, 32, 3, 3)][weight == 0].any()
    assert held[(32, 32, 3, 3)].any()
    model = openvino.Core().read_model(path)
    assert "Subtract" not in {op.get_type_name() for op in model.get_ordered_ops()}, (
        "no offset, or zeros would move"
    )
    assert path.with_suffix(".bin").stat().st_size < 0.5 * exact.with_suffix(".bin").stat().st_size
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert describe(path)["dynamic"] == ["batch", "height", "width"]


def test_the_error_that_the_file_tells_is_the_error_of_the_file(tmp_path: Path) -> None:
    net = pruned()
    path = export(net, images()[0], tmp_path / "net.xml", quantize="int8", calibrate=images(), dynamic=False)
    told = describe(path)["quantized"]
    assert told["tool"].startswith("nncf ")
    assert (told["type"], told["lossy"], told["samples"]) == ("int8", True, 6)
    worst = dict.fromkeys("ab", 0.0)
    for x in images():
        found, expected = load_engine(path)(x.numpy()), net(x)
        for task in worst:
            wrong = (
                np.abs(found[task] - expected[task].numpy(force=True)).max()
                / expected[task].abs().max().item()
            )
            worst[task] = max(worst[task], float(wrong))
    assert 0 < worst["a"] <= told["errors"]["a"] + 1e-6
    assert 0 < worst["b"] <= told["errors"]["b"] + 1e-6


@pytest.mark.parametrize(
    ("keep", "floats"), [(["b"], {(1, 32, 1, 1)}), (["body.2", "a"], {(32, 32, 3, 3), (2, 32, 1, 1)})]
)
def test_what_is_kept_stays_in_float(keep: list[str], floats: set[tuple[int, ...]], tmp_path: Path) -> None:
    net = pruned()
    path = export(net, images()[0], tmp_path / "n.xml", quantize="int8", calibrate=images(), keep_float=keep)
    assert set(bytes_of(path)) == {(32, 3, 3, 3), (32, 32, 3, 3), (2, 32, 1, 1), (1, 32, 1, 1)} - floats
    assert describe(path)["quantized"]["float"] == keep


def test_what_has_no_layer_of_its_own_and_what_is_too_far_off_leave_no_file(tmp_path: Path) -> None:
    net, x = pruned(), images()[0]
    with pytest.raises(ValueError, match=r"keep_float names 'body\.1', of which no layer"):
        export(
            net,
            x,
            tmp_path / "n.xml",
            quantize="int8",
            calibrate=images(),
            keep_float=["body.1"],
            dynamic=False,
        )
    with pytest.raises(ValueError, match="in int8 'a' is off by"):
        export(net, x, tmp_path / "n.xml", quantize="int8", calibrate=images(scale=1e-3))
    with pytest.raises(ValueError, match=r"for onnx and openvino, and the format is 'pt2'"):
        export(net, x, tmp_path / "n.pt2", quantize="int8", calibrate=images())
    assert not list(tmp_path.iterdir())


def test_padded_convolutions_of_what_varies_by_place_are_not_off_on_average(tmp_path: Path) -> None:
    """NNCF's correction takes each channel for the same at every place, which at padded borders is another output."""
    net = nn.Sequential(nn.Conv2d(3, 16, 3, padding=3, dilation=3), nn.ReLU(), nn.Conv2d(16, 1, 1)).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(0.1)
    window = torch.zeros(12, 12)
    window[4:8, 4:8] = 1  # what is bright is in the middle, as in most pictures
    pictures = [window * (1 + 0.1 * x[..., :12, :12]) for x in images()]
    call = lambda model, x: {"a": model(x)}  # noqa: E731
    path = export(
        net,
        pictures[0],
        tmp_path / "n.xml",
        call=call,
        quantize="int8",
        calibrate=pictures,
        largest_error=9.0,
    )
    expected = net(pictures[0]).numpy(force=True)
    off = float((load_engine(path)(pictures[0].numpy())["a"] - expected).mean()) / float(expected.mean())
    assert abs(off) < 0.01
    assert describe(path)["quantized"]["errors"]["a"] < 0.02


def test_where_nncf_is_missing_it_is_said_before_work_and_openvino_takes_the_onnx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util
    import sys

    assert int8_suffix("openvino") == ".xml"
    assert int8_suffix("onnxruntime") == int8_suffix("sparse") == ".onnx"
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(EngineMissingError, match=r"secateur\[nncf\]"):
        export(pruned(), images()[0], tmp_path / "n.xml", quantize="int8", calibrate=images())
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert int8_suffix("openvino") == ".onnx"


@pytest.mark.slow
def test_bench_times_it_and_prune_judges_it(tmp_path: Path) -> None:
    made = bench({"net": pruned()}, images()[0], ["openvino"], repeats=1, quantize="int8")
    assert made.settings["precision"] == "int8"
    torch.manual_seed(0)
    data = [(x, {"a": x[:, :2], "b": x[:, :1]}) for x in images(4)]
    tasks = {name: Task(l1_loss, {"mae": MeanOf(l1_loss, higher_is_better=False)}) for name in "ab"}
    problem = Problem(pruned(1.0), tasks, data, data)
    small = prune(
        problem, Budget(mb="0.9x", engine="openvino"), floors={"a": 0.9, "b": 0.9}, steps=0, quantize="int8"
    )
    record = record_of(small)
    assert record is not None
    path = export(
        small, data[0][0], tmp_path / "n.xml", quantize="int8", calibrate=problem, keep_float=record.keep_float, dynamic=False,
        largest_error=9.0,
    )  # fmt: skip
    size = (path.stat().st_size + path.with_suffix(".bin").stat().st_size) / 1e6
    assert size == pytest.approx(record.costs["mb"], rel=0.02), "megabytes are those of OpenVINO's own file"
