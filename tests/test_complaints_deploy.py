"""What users of other tools complain about: shrinking, engines, installation, data; see tests/test_complaints.py."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

import secateur.data
from problems import TwoHeads, equal, two_heads, weights
from secateur import GroupLasso, SoftThreshold, compact, export, fit, load, save
from secateur.data import FRAMES
from secateur.deployment.engines import load_engine
from secateur.measures.cost import count_macs

ROOT = Path(__file__).resolve().parents[1]


def test_01_the_pruned_model_is_no_faster_no_smaller(tmp_path: Path) -> None:
    problem = two_heads(width=64)
    x = problem.train[0][0]
    dense = sum(count_macs(problem.model, x).values())
    whole = save(problem.model, tmp_path / "dense.safetensors").stat().st_size
    fit(problem, GroupLasso(density=0.2, groups="coupled"), steps=60)
    small = compact(problem.model, x)
    assert sum(count_macs(small, x).values()) < 0.3 * dense
    assert save(small, tmp_path / "small.safetensors").stat().st_size < 0.4 * whole


def test_05_accuracy_collapses_at_once_after_shrinking() -> None:
    problem = two_heads(width=64)
    x = problem.train[0][0]
    fit(problem, GroupLasso(density=0.3, groups="coupled"), steps=60)
    small = compact(problem.model, x).eval()
    with torch.no_grad():
        before, after = problem.model.eval()(x), small(x)
    for task, value in before.items():
        assert torch.allclose(value, after[task], rtol=1e-5, atol=1e-5 * float(value.abs().max()))


@pytest.mark.filterwarnings("ignore:compact. of the network's outputs")  # which are dead here
def test_06_the_shrinker_prunes_the_outputs_of_tasks() -> None:
    problem = two_heads(width=16)
    with torch.no_grad():
        for parameter in problem.model.parameters():
            parameter.zero_()
    x = problem.train[0][0]
    found = compact(problem.model, x).eval()(x)
    assert {task: value.shape[1] for task, value in found.items()} == {"colour": 5, "shade": 1}


def test_14_odd_channel_counts_make_inference_slower() -> None:
    problem = two_heads(width=64)
    x = problem.train[0][0]
    fit(problem, GroupLasso(density=0.3, groups="coupled"), steps=60)
    small = compact(problem.model, x, round_to=8)
    assert all(m.out_channels % 8 == 0 for m in small.trunk if isinstance(m, torch.nn.Conv2d))


def test_02_engines_ignore_zeros(tmp_path: Path) -> None:
    """So none are left for them: of a compacted network the weights hold next to no zeros, and it computes the same."""
    problem = two_heads(width=64)
    x = problem.train[0][0]
    fit(problem, GroupLasso(density=0.2, groups="coupled"), steps=60)
    model = problem.model.eval()
    files = {"zeros": model, "none": compact(model, x).eval()}
    paths = {name: export(net, x, tmp_path / f"{name}.onnx", weights="dense") for name, net in files.items()}
    held: dict[str, np.ndarray] = {}
    for name, path in paths.items():
        arrays = [onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer]
        held[name] = np.concatenate([a.flatten() for a in arrays if a.ndim > 1])
    assert (held["zeros"] == 0).mean() > 0.5
    assert (held["none"] == 0).mean() < 0.05
    assert held["none"].size < 0.4 * held["zeros"].size
    found = load_engine(paths["none"])
    with torch.no_grad():
        for task, value in model(x).items():
            np.testing.assert_allclose(found(x.numpy())[task], value.numpy(), rtol=1e-3, atol=1e-4)


class Joined(nn.Module):
    """Two branches side by side: what dies in one is no business of the other."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(3, 16, 3, padding=1)
        self.head = nn.Conv2d(32, 2, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"seg": self.head(torch.cat([self.left(x).relu(), self.right(x).relu()], 1))}


def test_06_the_shrinker_couples_what_should_not_be_coupled() -> None:
    model = Joined().eval()
    with torch.no_grad():
        model.head.weight[:, :6] = 0  # channels 0 to 5 of the left branch
        model.head.weight[:, 26:28] = 0  # channels 10 and 11 of the right
    small = compact(model, torch.randn(1, 3, 8, 8))
    assert (small.left.out_channels, small.right.out_channels, small.head.in_channels) == (10, 14, 24)
    assert torch.equal(small.left.weight, model.left.weight[6:])


# Runs with packages missing, as if they had never been installed.
WITHOUT = """
import importlib, importlib.metadata, importlib.util, pkgutil, sys
blocked = set(sys.argv[1].split(","))
class Blocked:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    @staticmethod
    def find_distributions(context=None):
        return []
known = importlib.metadata.Distribution.from_name
def from_name(name):
    if name in blocked:
        raise importlib.metadata.PackageNotFoundError(name)
    return known(name)
importlib.metadata.Distribution.from_name = from_name
spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name.split(".")[0] in blocked else spec(name, package)
sys.meta_path.insert(0, Blocked)
import torch
import secateur
for found in pkgutil.walk_packages(secateur.__path__, "secateur."):
    if found.name.startswith("secateur.integrations."):
        try:
            importlib.import_module(found.name)
        except ImportError as error:
            assert "pip install 'secateur[" in str(error), error
    elif not found.name.endswith("__main__"):
        importlib.import_module(found.name)
from secateur.cli import main
small = ["--model.width", "0.05", "--size", "16x16", "--batch", "2", "--steps", "2", "--device", "cpu"]
small += ["--data.train_count", "4", "--data.val_count", "2", "--data.test_count", "2", "--data.tasks=[depth]"]
assert main(["train", "adapmtl", *small, "--method.density", "0.5", "--out", sys.argv[2] + "/run"]) == 0
assert not blocked & set(sys.modules)
from secateur.training.aggregators import aggregator
from secateur.zoo import transformer_encoder
net = torch.nn.Conv2d(3, 2, 1).eval()
x = torch.randn(1, 3, 4, 4)
wants = {
    "onnx": lambda: secateur.export(net, x, sys.argv[2] + "/net.onnx", format="onnx"),
    "openvino": lambda: secateur.export(net, x, sys.argv[2] + "/net.xml", format="openvino"),
    "executorch": lambda: secateur.export(net, x, sys.argv[2] + "/net.pte", format="executorch"),
    "torchjd": lambda: aggregator("UPGrad"),
    "transformers": lambda: transformer_encoder({"topic": 3}, {"model_type": "bert", "hidden_size": 8}),
}
for extra, call in wants.items():
    try:
        call()
    except ImportError as error:
        assert f"pip install 'secateur[{extra}]'" in str(error), error
    else:
        raise AssertionError(extra)
"""


def test_11_the_toolkit_vanished(tmp_path: Path) -> None:
    """With every extra gone all modules import, a network trains and is reported, and what is missing is named."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = [wanted for extra in project["optional-dependencies"].values() for wanted in extra]
    blocked = [re.split(r"[\[>=<~ ]", wanted)[0] for wanted in listed if not wanted.startswith("secateur[")]
    assert {"onnx", "openvino", "executorch", "torchjd", "transformers", "pyarrow"} <= set(blocked)
    script = tmp_path / "without.py"
    script.write_text(WITHOUT, encoding="utf-8")
    command = [sys.executable, str(script), ",".join(blocked), str(tmp_path)]
    done = subprocess.run(command, timeout=300, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_13_data_links_rot() -> None:
    """Nothing is fetched from anywhere, and there is data that needs no file."""
    for path in Path(secateur.data.__file__).parent.rglob("*.py"):
        code = path.read_text(encoding="utf-8")
        assert not re.search(
            r"^\s*(import|from) (urllib|requests|http|huggingface_hub|datasets)\b", code, re.M
        ), path
        assert "load_dataset(" not in code
    made = secateur.data.rooms(size=(16, 16), batch=2, train_count=2, val_count=2, test_count=2)
    assert next(iter(made.train))[0].shape == (2, 3, 16, 16)


@pytest.mark.parametrize("name", sorted(FRAMES))
def test_13_formats_are_unclear(name: str, tmp_path: Path) -> None:
    """Every data set has its format in the docs, and says what is missing where."""
    pages = [(ROOT / "docs" / page).read_text(encoding="utf-8") for page in ("data.md", "transformers.md")]
    assert f"`{name}`" in pages[0]
    public = getattr(secateur.data, name)
    if "root" not in inspect.signature(public).parameters:
        return
    options = {"labels": {"kind": "label"}} if name == "hf_images" else {}
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "nowhere"))):
        public(root=str(tmp_path / "nowhere"), **options)
    headings = [line for line in pages[0].splitlines() if line.startswith("## ")]
    assert any(f"`{name}`" in line for line in headings)


def test_03_the_pruned_model_cannot_be_saved_and_loaded_cleanly(tmp_path: Path) -> None:
    """It loads into one's own class, from a file that holds no code and is smaller."""
    problem = two_heads(width=64)
    whole = save(problem.model, tmp_path / "dense.safetensors").stat().st_size
    fit(problem, SoftThreshold(0.1), steps=10)
    path = save(problem.model, tmp_path / "pruned.safetensors")
    assert equal(load(TwoHeads(64), path).state_dict(), weights(problem))
    assert path.stat().st_size < whole / 5
