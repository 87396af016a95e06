"""What a report says about one run, as frozen records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Results = Mapping[str, Mapping[str, float]]  # task -> metric -> value
Picture = NDArray[np.uint8]  # (H, W, 3)


@dataclass(frozen=True)
class Density:
    """Kept fraction of the prunable weights: overall, per component, per layer (parameter name)."""

    overall: float
    components: Mapping[str, float]
    layers: Mapping[str, float]


@dataclass(frozen=True)
class Macs:
    """Multiply-adds of one forward pass, (dense, sparse) for each component.

    The pass is on ``images`` inputs (C, H, W), one a task; empty where an input is several tensors.
    """

    dense: float
    sparse: float
    components: Mapping[str, tuple[float, float]]
    input: tuple[int, ...]
    images: int = 1


@dataclass(frozen=True)
class Floors:
    """What each task might lose at most (a share), and the trainings it took: (density, task -> share lost, stopped by).

    Densities that the method could not have were not trained.
    """

    asked: Mapping[str, float]
    attempts: tuple[tuple[float, Mapping[str, float], tuple[str, ...]], ...]
    unreachable: tuple[float, ...] = ()


@dataclass(frozen=True)
class TrainRow:
    """What training logged at one step; the mappings are empty where nothing was logged."""

    step: int
    loss: Mapping[str, float]
    weight: Mapping[str, float]
    density: Density
    threshold: Mapping[str, float]


@dataclass(frozen=True)
class RunRecord:
    """Everything a report says about one run. Unknown numbers are NaN."""

    folder: Path
    name: str
    dense: bool
    method: str
    weighting: str
    tasks: Results
    higher_is_better: Mapping[str, Mapping[str, bool]]
    density: Density
    params: Mapping[str, float]  # total, prunable, nonzero
    macs: Macs
    seed: int
    steps: int
    command: str
    hardware: str
    versions: Mapping[str, str]
    train_seconds: float
    config: Mapping[str, Any]
    config_text: str
    train: tuple[TrainRow, ...]
    validation: tuple[tuple[int, Results], ...]  # (step, results)
    samples: Mapping[str, Picture]  # "input/0", "<task>/truth/0", "<task>/prediction/0"
    floors: Floors
    legends: Mapping[str, Mapping[str, Any]]  # task -> colours, scale and note of its pictures
    overlap: Mapping[str, Any] | None  # of overlap.json
    before: tuple[float, float] | None = (
        None  # parameters and multiply-adds of the network that it was cut out of
    )
    split: str = "test"  # of the figures
    dead: tuple[str, ...] = ()  # tasks whose prediction is the same whatever the input

    @property
    def kept(self) -> float:
        """Share of its weights that a network keeps: those that are not zero, or of one that was cut, of all parameters it had."""
        if self.before is None:
            return self.density.overall
        return (
            self.density.overall * self.params["total"] / self.before[0] if self.before[0] else float("nan")
        )
