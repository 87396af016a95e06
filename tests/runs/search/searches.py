"""Searches whose trainings are made up here: figures that are a function of the settings, in no time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from secateur.runs.config import parse, resolved
from secateur.runs.folder import RunFolder
from secateur.runs.search import Found, reference, search
from secateur.runs.study import Trainer
from secateur.storage import write_text
from tiny_runs import TINY

OVER = "{method.density: [0.1, 0.9], lr: log 1e-4 1e-2}"
Figures = Callable[[Mapping[str, Any]], dict[str, dict[str, float]]]
BETTER = {"depth": {"abs": False, "rel": False}}


def bowl(config: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Better the nearer the density is to one half; worse than dense below a quarter."""
    far = abs(config["method"]["density"] - 0.5)
    return {"depth": {"abs": 0.5 + far, "rel": 0.5 + far}}


class Made:
    """Stands for training and for the evaluation on the test split.

    Args:
        patch: Of the test.
        figures: Configuration to metrics on the validation split; what it raises is what training said.
        dead: Configuration to whether the network is dead.
    """

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        figures: Figures = bowl,
        dead: Callable[[Mapping[str, Any]], bool] = lambda config: False,
    ) -> None:
        self.figures = figures
        self.trained: list[str] = []
        self.tested: list[str] = []
        self.before: Callable[[str], object] = lambda name: None
        made = self

        def train(trainer: Trainer, name: str, arguments: list[str]) -> str | None:
            made.before(name)
            made.trained.append(name)
            config = resolved(parse(arguments, exits=False))
            folder = RunFolder(trainer.out / name)
            folder.claim(config)
            try:
                tasks = {"depth": {"abs": 0.7, "rel": 0.7}} if name == "dense" else made.figures(config)
            except FloatingPointError as error:
                return str(error)
            density = config["method"].get("density", 1.0)
            folder.weights.write_bytes(b"")
            report = {
                "split": "val",
                "dense": name == "dense",
                "tasks": tasks,
                "higher_is_better": BETTER,
                "seed": 0,
                "dead": ["depth"] if name != "dense" and dead(config) else [],
            }
            report |= {"density": {"overall": density}, "params": {"nonzero": 1000 * density}}
            report |= {"macs": {"sparse": 2000 * density}, "hardware": "a machine", "versions": {}}
            write_text(folder.report, json.dumps(report))  # as runs do: other threads read it
            return None

        def judge(path: Path, **_: Any) -> dict[str, Any]:
            report = json.loads((path / "report.json").read_text())
            if report["split"] == "val":
                made.tested.append(path.name)
                report |= {"split": "test", "validation": report["tasks"], "delta_t": {"mean": 1.0}}
                write_text(RunFolder(path).report, json.dumps(report))
            return report

        patch.setattr(Trainer, "train", train)
        patch.setattr(reference, "judge", judge)

    def __call__(self, out: Path, trials: int = 6, over: str = OVER, **more: Any) -> Found:
        options = [*TINY, "--data.tasks", "[depth]"]
        return search("magnitude", options, over=over, trials=trials, out=out, **more)


def settings(found: Found) -> list[dict[str, Any]]:
    return [dict(trial.settings) for trial in found.trials]
