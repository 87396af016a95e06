"""What the engines' tools do to the process that they are used in is undone: random state, logging, environment."""

from __future__ import annotations

import logging
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from problems import TwoHeads
from secateur import export
from secateur.deployment.engines import need
from secateur.deployment.export import to_pt2

X = torch.randn(1, 3, 8, 8)


def test_a_tool_that_draws_where_it_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(to_pt2, "require", lambda: (random.random(), np.random.rand(), torch.rand(1)))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    model = TwoHeads()
    before = random.getstate(), np.random.get_state()[2], torch.get_rng_state()
    export(model, X, tmp_path / "net.pt2")
    assert random.getstate() == before[0]
    assert np.random.get_state()[2] == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
    assert str(tmp_path) not in os.environ.get("TORCHINDUCTOR_CACHE_DIR", "")


def test_a_tool_that_sets_up_logging_where_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tool_that_logs.py").write_text(
        "import logging\nlogging.setLoggerClass(type('Own', (logging.Logger,), {}))\nlogging.basicConfig(level=10)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    root, made = logging.getLogger(), logging.getLoggerClass()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", logging.WARNING)
    need("onnx", "tool_that_logs")
    assert (logging.getLoggerClass(), root.handlers, root.level) == (made, [], logging.WARNING)


def test_a_tool_that_sets_up_logging_while_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, root = to_pt2.write, logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(to_pt2, "write", lambda *given: (logging.basicConfig(), write(*given)))
    export(TwoHeads(), X, tmp_path / "net.pt2", dynamic=False)
    assert root.handlers == []


def test_a_tool_that_logs_while_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(module, reason="needs onnx: pip install 'secateur[onnx]'")
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    export(TwoHeads(), X, tmp_path / "net.onnx", quantize="int8", calibrate=[X], dynamic=False)
    assert root.handlers == []


def test_a_constant_output_is_said_in_our_words_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for module in ("onnx", "onnxscript"):
        pytest.importorskip(module, reason="needs onnx: pip install 'secateur[onnx]'")
    model, fixed = TwoHeads(), torch.ones(1, 2, 4, 4)
    with pytest.warns(UserWarning, match="'same' is dead"):
        export(
            model,
            X,
            tmp_path / "net.onnx",
            dynamic=False,
            call=lambda m, x: {**m(x), "same": (fixed * 2).sum(1)},
        )
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_module_that_keeps_an_activation_is_no_matter(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    class Keeps(TwoHeads):
        last: torch.Tensor | None = None

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            found = super().forward(x)
            self.last = found["colour"]
            return found

    model = Keeps()
    export(model, X, tmp_path / "net.pt2")
    assert model.last is None
    assert not [str(one.message) for one in recwarn if "assigned" in str(one.message)]
