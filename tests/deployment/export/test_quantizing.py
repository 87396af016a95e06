"""An ONNX file in int8 keeps zeros, says that it is lossy and by how much, and runs as stock engines and ours do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from secateur import Problem, Task, export
from secateur.deployment.engines import load_engine
from secateur.deployment.export import describe


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()
        )
        self.a, self.b = nn.Conv2d(64, 2, 1), nn.Conv2d(64, 1, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = self.body(x)
        return {"a": self.a(y), "b": self.b(y)}


def pruned(density: float = 0.1) -> Net:
    torch.manual_seed(0)
    net = Net()
    with torch.no_grad():
        for layer in net.body[::2]:
            layer.weight *= torch.rand(layer.weight.shape) < density
    return net.eval()


def images(count: int = 3, size: int = 16, scale: float = 1.0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [scale * torch.randn(2, 3, size, size, generator=generator) for _ in range(count)]


def test_zeros_stay_and_are_stored_as_such(tmp_path: Path) -> None:
    net = pruned()
    path = export(net, images()[0], tmp_path / "net.onnx", quantize="int8", calibrate=images())
    whole = export(
        net, images()[0], tmp_path / "w.onnx", quantize="int8", calibrate=images(), weights="dense"
    )
    exact = export(net, images()[0], tmp_path / "f.onnx")
    about = describe(path)
    assert about["quantized"]["type"] == "int8"
    assert about["quantized"]["lossy"] is True
    assert about["quantized"]["samples"] == 6
    assert about["dynamic"] == ["batch", "height", "width"]
    assert "quantized" not in describe(exact)
    assert path.stat().st_size < 0.5 * whole.stat().st_size
    assert path.stat().st_size < 0.9 * exact.stat().st_size  # whose weights are sparse too
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(whole).graph.initializer}
    (weight,) = (w for w in stored.values() if w.dtype == np.int8 and w.shape == (64, 64, 3, 3))
    assert not weight[net.body[2].weight.numpy(force=True) == 0].any()
    assert {n.op_type for n in ir.load(path).graph} >= {
        "ScatterElements",
        "QuantizeLinear",
        "DequantizeLinear",
    }
    x = images(5, 24)[4].numpy()
    found, wanted = load_engine(path)(x), load_engine(whole)(x)
    assert all(np.array_equal(found[task], wanted[task]) for task in wanted)


def test_the_error_that_the_file_tells_is_the_error_of_the_file(tmp_path: Path) -> None:
    net, inputs = pruned(), images()
    path = export(net, inputs[0], tmp_path / "net.onnx", quantize="int8", calibrate=inputs)
    engine, told = load_engine(path), describe(path)["quantized"]["errors"]
    assert told.keys() == {"a", "b"}
    for x in inputs:
        found, wanted = engine(x.numpy()), net(x)
        for task, value in wanted.items():
            off = np.abs(found[task] - value.numpy(force=True)).max() / value.abs().max().item()
            assert off <= told[task] + 1e-6
    assert all(1e-4 < error < 0.1 for error in told.values())


def test_a_problem_calibrates_by_its_training_batches(tmp_path: Path) -> None:
    batches = [(x, {"a": torch.zeros(2, 2, 16, 16)}) for x in images(20)]
    tasks = {name: Task(lambda p, t: (p - t).abs().mean()) for name in "ab"}
    problem = Problem(pruned(), tasks, batches)
    by_problem = export(problem.model, batches[0][0], tmp_path / "p.onnx", quantize="int8", calibrate=problem)
    by_inputs = export(
        problem.model, batches[0][0], tmp_path / "i.onnx", quantize="int8", calibrate=images(20)[:16]
    )
    assert by_problem.read_bytes() == by_inputs.read_bytes()
    assert describe(by_problem)["quantized"]["samples"] == 32


def test_a_fixed_batch_gets_pieces_of_it(tmp_path: Path) -> None:
    net, example = pruned(), torch.cat(images(2))[:3]
    path = export(
        net, example, tmp_path / "net.onnx", dynamic=False, quantize="int8", calibrate=images(), tasks=["b"]
    )
    assert load_engine(path)(example.numpy())["b"].shape == (3, 1, 16, 16)
    with pytest.raises(ValueError, match="example's size"):
        export(net, example, tmp_path / "n.onnx", dynamic=False, quantize="int8", calibrate=images(1, 24))


def test_ranges_of_other_inputs_leave_nothing_and_no_file(tmp_path: Path) -> None:
    net = pruned(1.0)
    for name, value in net.named_parameters():
        nn.init.zeros_(value) if name.endswith("bias") else None
    with pytest.raises(ValueError, match=r"in int8 .* is off by"):
        export(net, images()[0], tmp_path / "net.onnx", quantize="int8", calibrate=images(scale=0.02))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("path", "options", "said"),
    [
        ("net.pt2", {"quantize": "int8", "calibrate": images()}, "for onnx and openvino"),
        ("net.onnx", {"quantize": "int8"}, "calibrate=problem"),
        ("net.onnx", {"calibrate": images()}, "add quantize='int8'"),
        ("net.onnx", {"keep_float": ["a"]}, "keep_float is given, but nothing"),
        ("net.xml", {"largest_error": 0.01}, "largest_error is given, but nothing"),
        ("net.onnx", {"quantize": "int4", "calibrate": images()}, "'int4'"),
        ("net.onnx", {"quantize": "int8", "calibrate": []}, "holds no input"),
        ("net.onnx", {"quantize": "int8", "calibrate": [{"a": 1}]}, "such as example"),
        ("net.onnx", {"quantize": "int8", "calibrate": [torch.rand(2, 3)]}, "give such inputs"),
        ("net.onnx", {"quantize": "int8", "calibrate": images(), "weights": "sparse_float16"}, "bytes"),
    ],
)
def test_what_does_not_go_together_is_refused_before_work(
    tmp_path: Path, path: str, options: dict, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        export(pruned(), images()[0], tmp_path / path, **options)
    assert not list(tmp_path.iterdir())


def test_our_runtime_runs_its_layers(tmp_path: Path) -> None:
    pytest.importorskip("secateur_runtime")
    path = export(pruned(0.05), images()[0], tmp_path / "net.onnx", quantize="int8", calibrate=images())
    ours, stock = load_engine(path, engine="sparse"), load_engine(path)
    assert len(ours.layers) == 4
    x = images()[1].numpy()
    found, wanted = ours(x), stock(x)
    for task in wanted:  # a rounding of a byte, where instructions saturate
        assert np.abs(found[task] - wanted[task]).max() <= 0.05 * np.abs(wanted[task]).max()


@pytest.mark.parametrize("groups", [1, 2, 4, 8])
def test_grouped_transposed_convolutions(tmp_path: Path, groups: int) -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 8 if groups < 8 else 16, 2, 2, groups=groups)
    )
    x = images()
    path = export(net, x[0], tmp_path / "net.onnx", quantize="int8", calibrate=x, dynamic=False, call=as_a)
    assert describe(path)["quantized"]["errors"]["a"] < 0.05
    stored = [one for one in onnx.load(path).graph.initializer if len(one.dims) == 4]
    assert [one.data_type for one in stored] == [onnx.TensorProto.INT8] * 2


def as_a(model: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"a": model(x)}


def test_one_tensor_is_one_batch_to_calibrate_on(tmp_path: Path) -> None:
    x = torch.cat(images())
    path = export(pruned(), x[:2], tmp_path / "net.onnx", quantize="int8", calibrate=x, dynamic=False)
    assert describe(path)["quantized"]["samples"] == 6


def test_what_the_tool_raises_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxruntime import quantization

    def broken(*_: object, **__: object) -> None:
        raise ValueError("shapes (8,) (4,)")

    monkeypatch.setattr(quantization, "quantize_static", broken)
    with pytest.raises(
        ValueError, match=r"onnxruntime.quantization does not take the model \(ValueError: shapes"
    ):
        export(pruned(), images()[0], tmp_path / "n.onnx", quantize="int8", calibrate=images(), dynamic=False)
