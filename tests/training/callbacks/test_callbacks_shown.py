"""The page docs/callbacks.md: its programs run, its commands parse and build what they say, and every callback of ours is on it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

import secateur
from loops.judged import error, judged, left
from secateur import Callback, fit
from secateur.measures.metrics import MeanOf
from secateur.runs import ours
from secateur.runs.beside import make_callbacks, make_optimizer
from secateur.runs.config import parse, resolved
from secateur.runs.names import Trust
from secateur.training import BACKENDS

PAGE = (Path(__file__).parents[3] / "docs" / "callbacks.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return [
        code.partition("\n")[2] for code in PAGE.split("```")[1::2] if code.partition("\n")[0] == language
    ]


def test_the_program_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    monkeypatch.chdir(tmp_path)
    made = judged()
    made.tasks["shade"].metrics["rel"] = MeanOf(error, higher_is_better=False)  # pyright: ignore
    code = blocks("python")[0].replace("depth.rel", "shade.rel").replace("epochs=30", "epochs=8")
    shown: dict[str, Any] = {"problem": made, "print": lambda *_: None}
    exec(compile(code, "callbacks.md", "exec"), shown)
    assert left(made) == pytest.approx(0.1, abs=0.0005)
    assert list((tmp_path / "tensorboard").rglob("events*"))


def test_the_callback_of_ones_own_stops_when_the_density_is_there() -> None:
    shown: dict[str, Any] = {}
    exec(compile(blocks("python")[1], "callbacks.md", "exec"), shown)
    problem = judged()
    history = fit(
        problem, secateur.SoftThreshold(density=0.1, ramp=(0.1, 0.5)), steps=20, callbacks=[shown["Budget"](0.0)],
        progress=False,
    )  # fmt: skip
    assert history.rows[-1]["step"] == 10
    assert history.stopped == "0 s are over"
    assert left(problem) == pytest.approx(0.1, abs=0.0005)


def test_the_commands_parse_and_build() -> None:
    (lines,) = blocks("")
    for line in lines.splitlines():
        arguments = parse(shlex.split(line)[2:])
        config = resolved(arguments)
        make_callbacks(config, Trust())
        assert callable(make_optimizer(config, Trust()))
        assert set(arguments.track or ()) <= set(BACKENDS)


def test_all_of_ours_and_all_hooks_are_on_the_page() -> None:
    assert all(f"| `{name}(" in PAGE for name in [*ours("callback"), "Snapshots", "Tracker"])
    assert all(f"| `{name}` |" in PAGE for name in BACKENDS)
    assert all(f"`{name}" in PAGE for name in vars(Callback) if not name.startswith("_"))
