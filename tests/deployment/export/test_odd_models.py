"""Names, outputs and inputs that a file could have trouble with."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from secateur.deployment.engines import load_engine
from secateur.deployment.export import describe, export

X = torch.randn(2, 3, 8, 8)


def needs(suffix: str) -> None:
    module = {".onnx": "onnxscript", ".xml": "openvino"}.get(suffix, "torch")
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} not installed")


class Named(nn.Module):
    def __init__(self, *names: Any) -> None:
        super().__init__()
        self.names = names
        self.stem, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> dict[Any, Tensor]:
        y = self.stem(x).relu() + 1
        y = y * y.mean((2, 3), keepdim=True)
        return {name: self.head(y) * (2 + place) for place, name in enumerate(self.names)}


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_a_task_may_be_called_as_anything_in_the_graph_is(tmp_path: Path, suffix: str) -> None:
    needs(suffix)
    names = ("relu", "add", "mul", "mean", "conv2d", "input", "model.stem.weight", "depth map/ü", "a,b")
    model = Named(*names)
    engine = load_engine(export(model, X, tmp_path / f"net{suffix}", dynamic=False))
    with torch.no_grad():
        expected = model(X)
    for name, found in engine(X.numpy()).items():
        np.testing.assert_allclose(found, expected[name].numpy(), rtol=1e-3, atol=1e-4)
    assert list(engine(X.numpy())) == list(names)


@pytest.mark.parametrize("name", ["", 0, "a\nb"])
def test_a_task_without_a_name_is_refused(tmp_path: Path, name: Any) -> None:
    with pytest.raises(ValueError, match=r"the task .* has no name that a file can hold; .*call=lambda"):
        export(Named("b", name), X, tmp_path / "net.pt2")


def test_inputs_keep_apart_where_names_are_taken(tmp_path: Path) -> None:
    class Sum(nn.Module):
        def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"a": x["a"] + x["a_"], "b": x["a_"] * 2}

    path = export(Sum(), {"a": X, "a_": X + 1}, tmp_path / "net.pt2")
    assert len(describe(path)["inputs"]) == 2


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.conv(x)
        return {"a": y, "b": y, "copy": y.clone(), "dropped": torch.dropout(y, 0.5, False), "x": x}


@pytest.mark.parametrize("suffix", [".onnx", ".xml", ".pt2"])
def test_one_tensor_may_be_several_tasks(tmp_path: Path, suffix: str) -> None:
    needs(suffix)
    path = export(Twice(), X, tmp_path / f"net{suffix}", dynamic=False)
    found = load_engine(path)(X.numpy())
    assert list(found) == ["a", "b", "copy", "dropped", "x"]
    assert np.array_equal(found["x"], X.numpy())
    assert np.array_equal(found["a"], found["dropped"])


@pytest.mark.parametrize("value", ["-inf", "nan"])
def test_masked_scores_are_compared_where_they_are_numbers(tmp_path: Path, value: str) -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)
            self.register_buffer("mask", torch.tensor([0.0, float(value), 0.0, 0.0]))

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"score": self.linear(x) + self.mask}

    describe(export(Masked(), torch.randn(2, 4), tmp_path / "net.pt2"))


def test_a_difference_beside_infinities_counts() -> None:
    from secateur.deployment.export.parity import _difference  # pyright: ignore[reportPrivateUsage]

    expected = torch.tensor([float("-inf"), 2.0])
    assert _difference(np.array([-np.inf, 2.0]), expected) == 0
    assert _difference(np.array([-np.inf, 1.0]), expected) == 0.5
    assert not _difference(np.array([0.0, 2.0]), expected) <= 1
    assert not _difference(np.array([-np.inf, np.nan]), expected) <= 1


def test_a_train_that_returns_nothing(tmp_path: Path) -> None:
    class Frozen(Twice):
        def train(self, mode: bool = True) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            super().train(mode)

    model = Frozen()
    describe(export(model, X, tmp_path / "net.pt2", dynamic=False))
    assert model.training


class Rebuilt(nn.Module):
    """Two of its tasks bear the names of its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.seg, self.image = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1), nn.Conv2d(4, 3, 1)

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        y = self.stem(x["image"]).relu() * x["mask"]
        return {"seg": self.seg(y), "image": self.image(y), "mask": y.mean(1, keepdim=True)}


@pytest.mark.parametrize("tasks", [None, ["seg"], ["image"], ["mask", "image"]])
def test_what_is_built_again_is_no_task_with_its_own_input(tmp_path: Path, tasks: list[str] | None) -> None:
    x = {"image": X, "mask": torch.ones(2, 1, 8, 8)}
    path = export(Rebuilt(), x, tmp_path / "net.pt2", tasks=tasks, dynamic=False)
    assert len(describe(path)["inputs"]) == 2
    found = load_engine(path)({name: value.numpy() for name, value in x.items()})
    assert list(found) == (tasks or ["seg", "image", "mask"])


def test_a_cast_to_the_type_that_the_model_had_is_named(tmp_path: Path) -> None:
    class Cast(Twice):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return super().forward(x.to(torch.bfloat16))

    with pytest.raises(
        ValueError, match=r"runs in float32, .* weights in torch.bfloat16: a cast .*self.conv.weight.dtype"
    ):
        export(Cast().bfloat16(), X.bfloat16(), tmp_path / "net.pt2")


class Reader(nn.Module):
    """Reads a sequence of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.topic = nn.Embedding(11, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"topic": self.topic(self.table(x).mean(1))}


def test_sequences_keep_their_length_and_the_file_says_so(tmp_path: Path) -> None:
    model, x = Reader().eval(), torch.randint(11, (2, 5))
    path = export(model, x, tmp_path / "reader.onnx")
    about = describe(path)
    assert about["dynamic"] == ["batch"]
    assert about["fixed"] == {"length": "axis 1 of input is that of the example"}
    more = torch.randint(11, (3, 5))
    found = load_engine(path)(more)["topic"]
    torch.testing.assert_close(torch.as_tensor(found), model(more)["topic"])
