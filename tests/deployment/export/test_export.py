"""Every format: same predictions, same names, nothing left behind when it goes wrong."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from problems import TwoHeads
from secateur.deployment.engines import Engine, EngineMissingError, load_engine
from secateur.deployment.export import describe, export, require

NEEDS = {"pt2": ("torch",), "onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",), "executorch": ("executorch",)}  # fmt: skip
SUFFIX = {"pt2": ".pt2", "onnx": ".onnx", "openvino": ".xml", "executorch": ".pte"}


def every_format_slow_but(*quick: str) -> pytest.MarkDecorator:
    """Of what is done before a format writes."""
    given = [n if n in quick else pytest.param(n, marks=pytest.mark.slow) for n in NEEDS]
    return pytest.mark.parametrize("suffix", given, indirect=True)


@pytest.fixture(params=NEEDS)
def suffix(request: pytest.FixtureRequest) -> str:
    missing = [m for m in NEEDS[request.param] if importlib.util.find_spec(m) is None]
    if missing:
        pytest.skip(f"{missing} not installed: pip install 'secateur[{request.param}]'")
    try:
        require(request.param)
    except EngineMissingError as error:
        pytest.skip(str(error))
    return SUFFIX[request.param]


class Mixed(nn.Module):
    """Skip connections, a grouped transposed convolution, BatchNorm where it folds and where it does not."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        )
        self.up = nn.Sequential(nn.ConvTranspose2d(8, 8, 2, 2, groups=2), nn.BatchNorm2d(8))
        self.shared = nn.Conv2d(8, 8, 1)
        self.norm = nn.BatchNorm2d(8)
        self.seg = nn.Conv2d(8, 5, 1)
        self.depth = nn.Sequential(
            nn.Conv2d(8, 4, 1), nn.ReLU(inplace=True), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1)
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.up(self.down(x))
        both = self.shared(features)  # read by its BatchNorm and by the sum
        features = self.norm(both) + both
        seg = F.interpolate(self.seg(features), size=x.shape[-2:], mode="bilinear", align_corners=False)
        return {"seg": seg, "depth": self.depth(features)}


class Own(nn.Module):
    """An input for each task."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Conv2d(3, 4, 3)
        self.heads = nn.ModuleDict({"a": nn.Linear(4, 2), "b": nn.Linear(4, 3)})

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        return {task: self.heads[task](self.trunk(image).mean((2, 3))) for task, image in x.items()}


def lively(model: nn.Module) -> nn.Module:
    """BatchNorm with statistics, shifts and scales that are not those of a new one."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
    return model


def agree(model: nn.Module, engine: Engine, x: Tensor) -> None:
    model.eval()
    with torch.no_grad():
        expected = model(x)
    for task, found in engine(x.numpy()).items():
        np.testing.assert_allclose(
            found, expected[task].numpy(), rtol=0, atol=1e-4 * float(expected[task].abs().max())
        )


@every_format_slow_but("onnx", "openvino", "pt2")
def test_predicts_the_same_at_every_size(tmp_path: Path, suffix: str) -> None:
    model, example = lively(Mixed()), torch.randn(1, 3, 16, 24)
    larger = torch.randn(3, 3, 32, 48)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    about = {"mean": [0.5, 0.5, 0.5], "classes": {"seg": list("abcde")}}
    path = export(model, example, tmp_path / f"net{suffix}", about=about, inputs=[larger])
    assert all(module.training for module in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    engine = load_engine(path, threads=1)
    agree(model, engine, example)
    agree(model, engine, larger)
    wide = engine(larger.double().numpy())  # as NumPy makes arrays
    assert all(np.array_equal(wide[task], value) for task, value in engine(larger.numpy()).items())
    found = describe(path)
    assert found["tasks"] == {"seg": {"channels": 5}, "depth": {"channels": 1}}
    assert found["dynamic"] == ["batch", "height", "width"]
    assert found["inputs"]["input"]["shape"] == ["batch", 3, "height", "width"]
    assert found["mean"] == about["mean"]
    assert found["classes"] == about["classes"]
    assert "fixed" not in found
    written = {path.name, "net.bin"} if suffix == ".xml" else {path.name}
    assert {file.name for file in tmp_path.iterdir()} == written


@every_format_slow_but("pt2")
def test_a_subset_leaves_the_other_heads_out(tmp_path: Path, suffix: str) -> None:
    model, example = lively(Mixed()), torch.randn(1, 3, 16, 24)
    engine = load_engine(export(model, example, tmp_path / f"net{suffix}", tasks=["depth"], dynamic=False))
    assert list(engine(example.numpy())) == ["depth"]
    agree(model, engine, example)


def test_an_input_for_each_task(tmp_path: Path, suffix: str) -> None:
    model, example = Own(), {"a": torch.randn(2, 3, 16, 16), "b": torch.randn(2, 3, 12, 20)}
    engine = load_engine(export(model, example, tmp_path / f"net{suffix}"))
    found = engine({task: x.numpy() for task, x in example.items()})
    with torch.no_grad():
        expected = model(example)
    assert list(found) == ["a", "b"]
    for task in found:
        np.testing.assert_allclose(found[task], expected[task].numpy(), atol=1e-5)
    with pytest.raises(ValueError, match="this network takes"):
        engine({"a": example["a"].numpy()})
    with pytest.raises(ValueError, match="one array"):
        engine(example["a"].numpy())


@every_format_slow_but("onnx")
def test_a_subset_takes_its_own_inputs_alone(tmp_path: Path, suffix: str) -> None:
    model, example = Own(), {"a": torch.randn(2, 3, 16, 16), "b": torch.randn(2, 3, 12, 20)}
    only = load_engine(export(model, example, tmp_path / f"b{suffix}", tasks=["b"]))
    assert list(only({"b": example["b"].numpy()})) == ["b"]


def test_a_sum_of_branches_takes_every_size(tmp_path: Path) -> None:
    """The shapes of a stack are shared by what it is made of."""
    pytest.importorskip("onnxscript", reason="onnxscript not installed")

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"seg": torch.stack([self.one(x), self.two(x)]).sum(0)}

    model = Branches()
    path = export(model, torch.randn(1, 3, 8, 8), tmp_path / "net.onnx")
    found = describe(path)
    assert found["dynamic"] == ["batch", "height", "width"]
    assert "fixed" not in found
    agree(model, load_engine(path, threads=1), torch.randn(2, 3, 10, 12))


def test_openvino_is_told_every_size_that_does_not_vary(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino", reason="openvino not installed")
    x = torch.randn(1, 3, 16, 24)
    for dynamic, expected in ((False, "[1,3,16,24]"), (True, "[?,3,?,?]")):
        path = export(lively(Mixed()), x, tmp_path / f"{dynamic}.xml", dynamic=dynamic)
        (port,) = openvino.Core().read_model(path).inputs
        assert str(port.partial_shape) == expected


def test_what_must_stay_fixed_stays_fixed_and_says_why(tmp_path: Path) -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3 * 8 * 8, 4)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"kind": self.linear(x.flatten(1))}

    found = describe(export(Flat(), torch.randn(1, 3, 8, 8), tmp_path / "net.pt2"))
    assert found["dynamic"] == ["batch"]
    assert list(found["fixed"]) == ["batch and size"]
    with pytest.raises(ValueError, match=r"inputs\[0\] is \[\[1, 3, 4, 16\]\]"):
        export(
            Flat(),
            torch.randn(1, 3, 8, 8),
            tmp_path / "no.pt2",
            dynamic=False,
            inputs=[torch.randn(1, 3, 4, 16)],
        )


def test_a_wrong_prediction_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from secateur.deployment.export import to_pt2

    write = to_pt2.write

    def broken(traced, path, about):
        state = traced.program.state_dict
        for name in [name for name in state if "colour" in name]:
            state[name] = nn.Parameter(state[name] + 0.1)
        write(traced, path, about)

    monkeypatch.setattr(to_pt2, "write", broken)
    with pytest.raises(ValueError, match=r"predicts 'colour' with a relative error of"):
        export(TwoHeads(), torch.randn(1, 3, 8, 8), tmp_path / "net.pt2")
    assert not list(tmp_path.iterdir())


def test_onnx_holds_names_metadata_and_nothing_of_this_machine(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx not installed")
    pytest.importorskip("onnxscript", reason="onnxscript not installed")
    path = export(lively(Mixed()), torch.randn(1, 3, 16, 24), tmp_path / "net.onnx")
    model = onnx.load(path)
    assert [value.name for value in model.graph.output] == ["seg", "depth"]
    sizes = [dim.dim_param or dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    assert sizes == ["batch", 3, "height", "width"]
    assert json.loads(model.metadata_props[0].value)["version"] == 1
    assert [node.op_type for node in model.graph.node].count(
        "BatchNormalization"
    ) == 2  # those that cannot be folded
    assert str(Path(__file__).parent).encode() not in path.read_bytes()
