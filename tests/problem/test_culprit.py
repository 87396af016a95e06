"""The line that stands in the way of a trace is found wherever the user's project lies, whatever torch's message says."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import secateur
from secateur.problem import lies_in, untraceable
from secateur.shrinking import compact

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        y = self.a(x)
        if y.mean() > 0:  # here
            y = y + 1
        return {"seg": y}
"""


@pytest.mark.parametrize("folder", ["secateur", "torch", "numpy/torch/src"])
def test_a_project_in_a_folder_that_is_called_like_a_library(tmp_path: Path, folder: str) -> None:
    file = tmp_path / folder / "net.py"
    file.parent.mkdir(parents=True)
    file.write_text(NET)
    spec = spec_from_file_location("net_of_the_user", file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(ValueError, match=rf"traced at {re.escape(str(file))}:11: if y.mean\(\) > 0:  # here"):
        compact(module.Net(), torch.randn(1, 3, 4, 4))


class Reads(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "numpy":
            return x + np.linalg.inv(np.zeros((2, 2))).sum()  # in NumPy
        return x + json.loads("no number")  # in the standard library


@pytest.mark.parametrize(("how", "where"), [("numpy", "# in NumPy"), ("python", "# in the standard library")])
def test_the_line_that_calls_a_library_is_named_not_the_library(how: str, where: str) -> None:
    with pytest.raises(
        ValueError, match=rf"(traced|float32) at \S*test_culprit.py:\d+: return x \+ .*{where} "
    ):
        compact(Reads(how), torch.randn(1, 3, 4, 4))


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_an_error_without_a_line_of_the_users_is_asked_for_its_cause_and_its_message() -> None:
    assert "traced at" not in untraceable(RuntimeError("no words"))
    later = RuntimeError("torch's own")
    later.__cause__ = raised(KeyError("x"))
    assert re.search(
        r"traced at \S*test_culprit.py:\d+: raise error \(RuntimeError: torch's own\)", untraceable(later)
    )
    place = f'  File "{__file__}", line 1, in forward\n  File "{torch.__file__}", line 2, in linear'
    assert f"traced at {__file__}:1: " in untraceable(RuntimeError(f"from user code:\n{place}"))


def test_a_context_that_the_script_was_handling_is_no_culprit() -> None:
    later = RuntimeError("torch's own")
    later.__context__ = raised(KeyError("x"))
    assert "traced at" not in untraceable(later)


def test_a_file_belongs_to_a_package_by_where_that_is_installed() -> None:
    assert lies_in(torch.nn.__file__, "torch")
    assert lies_in(secateur.__file__, "torch", "secateur")
    assert not lies_in(__file__, "torch", "secateur")
    assert not lies_in("/home/torch/secateur/net.py", "torch", "secateur")
    assert not lies_in(__file__, "no_such_package")


class Choosing(nn.Module):
    """What it does depends on how many values are positive."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        sys.stderr.write("said\n")
        return self.a(x) if x[x[:, 0] > 0].numel() == 0 else 2 * self.a(x)


def test_the_graph_that_could_not_be_traced_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="if x"):
        compact(Choosing().eval(), torch.ones(5, 4))
    assert set(capsys.readouterr().err.split()) == {"said"}


@dataclass
class Found:
    """What :class:`Answering` gives."""

    depth: Tensor
    seg: Tensor


class Answering(nn.Module):
    """Its tasks are attributes of what it gives."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.depth, self.seg = nn.Linear(4, 4), nn.Linear(4, 1), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Found:
        h = self.a(x)
        return Found(self.depth(h), self.seg(h))


def test_outputs_of_a_class_of_ones_own_are_told_to_torch_once() -> None:
    model = Answering().eval()
    with torch.no_grad():
        model.a.weight[2] = 0
        model.a.bias[2] = 0
    with pytest.raises(ValueError, match=r"gives a Found.*register_dataclass\(Found\)"):
        compact(model, torch.ones(5, 4))
    torch.export.register_dataclass(Found)
    assert cast(nn.Linear, compact(model, torch.ones(5, 4)).a).out_features == 3
