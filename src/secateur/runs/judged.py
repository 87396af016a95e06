"""The metrics of an exported file itself, run by its engine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor

from secateur.data import Data
from secateur.measures import evaluate
from secateur.problem import Batch, Problem, check_count, preserved_rng
from secateur.runs.config import Config, build, parse_size
from secateur.runs.exported import Exported
from secateur.runs.folder import RunFolder
from secateur.runs.names import Trust
from secateur.runs.problems import check_written

_NONE = "is for the network itself, not for its file; evaluate the run folder, or leave the task out with --data.tasks."


@preserved_rng()
def evaluate_file(
    path: Path,
    split: Literal["val", "test"] = "test",
    *,
    data: Mapping[str, Any] | None = None,
    batch: int | None = None,
    size: tuple[int, int] | None = None,
    engine: str | None = None,
    outputs: Mapping[str, str] | None = None,
    trust: Trust | None = None,
) -> dict[str, dict[str, float]]:
    """Metrics of what an exported file predicts: those of the network that it was made of, to rounding.

    Args:
        path: The file.
        split: Which data.
        data: The name of a data set and its options; None takes those of the run folder that the file lies in.
        batch: Samples a pass; None takes the run's, or 1.
        size: ``(height, width)`` of pictures; None takes the run's, or that of the file.
        engine: ``sparse`` for secateur-runtime, of an ``.onnx`` file.
        outputs: Of a file that ``export`` did not write: task to the name of its output. It is given pictures as the data normalise them.
        trust: Whose parts may be imported; ours alone if None.

    Raises:
        FileNotFoundError: If there is no such file, or data are missing.
        EngineMissingError: If the engine is not installed; it says what to install.
        ValueError: If the file is damaged or in no run folder and no data are named, does none of the tasks, or does not
            take the data's pictures.
    """
    if batch is not None:
        check_count("batch", batch)
    model = Exported(path, engine, outputs)
    made = _data(model, data, batch, size, trust or Trust())
    tasks = [task for task in made.tasks if task in model.tasks]
    if not tasks:
        raise ValueError(
            f"{path} does {', '.join(model.tasks)}, the data have {', '.join(made.tasks)}: no task is in both."
        )
    for task in tasks:
        has, needs = model.about["tasks"][task].get("channels"), made.channels[task]
        if made.tasks[task].decode is not None:
            raise ValueError(f"{path}: what the metrics of {task!r} look at {_NONE}")
        if has != needs and not (has is None and outputs):  # somebody else's output of any size
            raise ValueError(
                f"{path} predicts {has} channels for {task!r}, and the data ask for {needs}; name the data that it was trained "
                "on, with their options."
            )
    scale, shift = _renormalised(model.about, made)

    def unpack(found: Batch) -> Batch:
        x, targets = found
        if len(scale):
            x = x * scale + shift if isinstance(x, Tensor) else {n: v * scale + shift for n, v in x.items()}
        return x, {task: target for task, target in targets.items() if task in tasks}

    chosen = {task: made.tasks[task] for task in tasks}
    return evaluate(Problem(model, chosen, made.train, made.val, made.test, unpack), split)


def _data(
    model: Exported,
    data: Mapping[str, Any] | None,
    batch: int | None,
    size: tuple[int, int] | None,
    trust: Trust,
) -> Data:
    if data is not None:
        shapes = [given["example"] for given in model.about["inputs"].values()]
        own = (shapes[0][2], shapes[0][3]) if len(shapes[0]) == 4 and all(shapes[0][2:]) else None
        said = model.about.get("size")
        trained = cast(Any, tuple(said)) if isinstance(said, list) and len(cast(Any, said)) == 2 else own
        config: Config = {"data": dict(data)}
        return cast(Data, build("data", config, trust, size=size or trained, batch=batch or 1, workers=0))
    folder = RunFolder(model.path.parent)
    if not folder.config.is_file():
        raise FileNotFoundError(
            f"{model.path} lies in no run folder, so say which data it is judged on: --data NAME --data.root DIR."
        )
    trust = trust.reading(folder.config)
    config = folder.read_config()
    check_written(folder.config, config, trust)
    linked = {"size": size or parse_size(config["size"]), "batch": batch or config["batch"]}
    return cast(Data, build("data", config, trust, **linked, seed=config["seed"], workers=0))


def _renormalised(about: Mapping[str, Any], data: Data) -> tuple[Tensor, Tensor]:
    """What to multiply by and to add, so that pictures normalised as the data's are as the file's; empty where they are."""
    mean, std = about.get("mean"), about.get("std")
    if not mean or not std or not data.mean or (list(data.mean), list(data.std)) == (list(mean), list(std)):
        return torch.empty(0), torch.empty(0)
    try:
        ours, theirs = (
            [torch.tensor(v, dtype=torch.float32).view(3, 1, 1) for v in pair]
            for pair in ((data.mean, data.std), (mean, std))
        )
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"mean or std in the file is not 3 numbers ({error}); export it again.") from error
    return ours[1] / theirs[1], (ours[0] - theirs[0]) / theirs[1]
