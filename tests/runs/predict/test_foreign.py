"""Files that secateur did not write are predicted with and judged once their outputs are named; nothing of them is guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from secateur.cli import main
from secateur.deployment.engines import load_engine

TASKS = {"seg": 13, "depth": 1}
OUTPUTS = {"seg": "logits", "depth": "metres"}
SAID = "{seg: logits, depth: metres}"
ROOMS = ["--data", "rooms", "--data.tasks", "[seg,depth]", "--data.train_count", "4", "--data.val_count", "4", "--data.test_count", "4"]  # fmt: skip
NORMAL = ["--mean", "0.4,0.5,0.6", "--std", "0.2,0.3,0.25"]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.heads = nn.ModuleDict({task: nn.Conv2d(8, channels, 1) for task, channels in TASKS.items()})

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        y = self.body(image)
        return tuple(head(y) for head in self.heads.values())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """net.onnx, free.onnx whose height and width vary, net.xml, two.onnx with two inputs."""
    import openvino

    folder = tmp_path_factory.mktemp("foreign")
    torch.manual_seed(0)
    net, x = Net().eval(), torch.rand(1, 3, 24, 32)
    names: dict[str, Any] = {"input_names": ["image"], "output_names": list(OUTPUTS.values())}
    torch.onnx.export(net, (x,), folder / "net.onnx", **names, dynamo=True, verbose=False)
    sides = {2: torch.export.Dim("h", min=8), 3: torch.export.Dim("w", min=8)}
    torch.onnx.export(
        net, (x,), folder / "free.onnx", **names, dynamo=True, dynamic_shapes={"image": sides}, verbose=False
    )
    model = openvino.convert_model(folder / "net.onnx")
    model.inputs[0].get_tensor().add_names({"picture"})  # a port may have several names
    openvino.save_model(model, folder / "net.xml", compress_to_fp16=False)
    two = onnx.load(folder / "net.onnx")
    two.graph.input.append(onnx.helper.make_tensor_value_info("mask", onnx.TensorProto.FLOAT, [1]))
    onnx.save(two, folder / "two.onnx")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)).save(folder / "a.png")
    return folder


@pytest.mark.parametrize(
    ("file", "engine"), [("net.onnx", None), ("net.onnx", "openvino"), ("net.xml", None)]
)
def test_an_engine_takes_the_outputs_that_are_named(made: Path, file: str, engine: str | None) -> None:
    torch.manual_seed(0)
    net, x = Net().eval(), torch.rand(1, 3, 24, 32)
    found = load_engine(made / file, engine=engine, outputs=OUTPUTS)(x.numpy())
    for task, expected in zip(TASKS, net(x), strict=True):
        np.testing.assert_allclose(found[task], expected.detach().numpy(), rtol=1e-4, atol=1e-5)
    assert list(load_engine(made / file, outputs={"d": "metres"}).about["tasks"]) == ["d"]


@pytest.mark.parametrize("file", ["net.onnx", "net.xml"])
def test_it_predicts_and_is_judged(made: Path, tmp_path: Path, file: str) -> None:
    words = [
        "predict",
        str(made / file),
        str(made / "a.png"),
        "--out",
        str(tmp_path / "seen"),
        "--outputs",
        SAID,
    ]
    assert main([*words, *NORMAL, "--pictures", "{seg: segmentation, depth: depth}"]) == 0
    assert (tmp_path / "seen" / "a.seg.png").exists()
    assert main(["evaluate", str(made / file), "--outputs", SAID, *ROOMS]) == 0


def test_a_size_that_varies_is_asked_for(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["predict", str(made / "free.onnx"), str(made / "a.png"), "--out", str(tmp_path / "seen")]
    words += ["--outputs", SAID, *NORMAL, "--raw"]
    assert main(words) == 1
    assert "--size 120x160" in " ".join(capsys.readouterr().err.split())
    assert main([*words, "--size", "16x24"]) == 0
    with np.load(tmp_path / "seen" / "a.npz") as arrays:
        assert arrays["seg"].shape == (13, 16, 24)
    assert main(["evaluate", str(made / "free.onnx"), "--outputs", SAID, *ROOMS, "--size", "16x24"]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["net.onnx"], "--outputs '{seg: output}'"),
        (["net.xml"], "--outputs '{seg: output}'"),
        (["net.onnx", "--outputs", "{seg: logit}"], "no output 'logit', which is to be 'seg'; it has 'logits', 'metres'"),
        (["net.onnx", "--outputs", "{seg: logits, depth: logits}"], "two tasks are to be the same output"),
        (["net.onnx", "--outputs", "{}"], "outputs is empty"),
        (["two.onnx", "--outputs", SAID], "has the inputs 'image', 'mask'"),
        (["net.onnx", "--outputs", SAID], "--mean 0.5,0.5,0.5 and --std 0.5,0.5,0.5"),
        (["net.onnx", "--outputs", SAID, *NORMAL], "--pictures '{seg: depth}'"),
    ],
    ids=["no outputs", "xml", "misspelt", "twice", "empty", "two inputs", "no mean", "no pictures"],
)  # fmt: skip
def test_what_is_missing_is_said(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture, words: list[str], said: str
) -> None:
    out = tmp_path / "seen"
    assert main(["predict", str(made / words[0]), str(made / "a.png"), "--out", str(out), *words[1:]]) == 1
    assert said in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


def test_a_file_of_ours_speaks_for_itself(tmp_path: Path) -> None:
    from secateur import export

    class One(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"a": x * 2}

    path = export(One(), torch.rand(1, 3, 8, 8), tmp_path / "net.onnx")
    with pytest.raises(ValueError, match="says itself"):
        load_engine(path, outputs={"a": "a"})
    with pytest.raises(ValueError, match=r"\.onnx and \.xml files alone"):
        load_engine(export(One(), torch.rand(1, 3, 8, 8), tmp_path / "net.pt2"), outputs={"a": "a"})
