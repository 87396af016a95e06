"""What predicts: the network of a run folder, or an exported file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from secateur.problem import preserved_rng
from secateur.runs.config import build
from secateur.runs.exported import Exported
from secateur.runs.folder import RunFolder
from secateur.runs.hardware import check_processor, torch_device
from secateur.runs.kept import load_weights, weights_about
from secateur.runs.names import Trust
from secateur.runs.predict.drawing import Facts, facts_of
from secateur.runs.problems import check_written, read_problem

Size = tuple[int, int]


@dataclass(frozen=True)
class Network:
    """A network that takes one picture at a time.

    Args:
        place: The file or folder.
        tasks: What it predicts.
        size: ``(height, width)`` that it is given.
        facts: How pictures become inputs, and predictions pictures.
        call: A normalised picture (1, 3, H, W) to ``{task: prediction}``.
    """

    place: Path
    tasks: tuple[str, ...]
    size: Size
    facts: Facts
    call: Callable[[Tensor], Mapping[str, Tensor]]


@preserved_rng()
def network_of(
    source: Path,
    *,
    size: Size | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    pictures: Mapping[str, str] | None = None,
    engine: str | None = None,
    outputs: Mapping[str, str] | None = None,
    trust: Trust | None = None,
    device: str = "cpu",
) -> Network:
    """The network of a run folder, or of a file of :func:`secateur.export`; what is not given is as it was trained.

    Args:
        source: Folder or file.
        size: ``(height, width)`` of the input, where the network takes others.
        mean: Of RGB in [0, 1].
        std: Of RGB in [0, 1].
        pictures: Task to the kind of its picture: segmentation, normal, depth, inverse_depth, map, yes_or_no, class.
        engine: ``sparse`` for secateur-runtime, of an ``.onnx`` file.
        outputs: Of a file that ``export`` did not write: task to the name of its output.
        trust: Whose parts may be imported, of a run folder; ours alone if None.
        device: Of the network of a run folder.

    Raises:
        FileNotFoundError: If there is neither, or the run has no weights yet.
        EngineMissingError: If the engine is not installed; it says what to install.
        ValueError: If the file is not as ``export`` wrote it, takes no pictures or not of this size, or does not say what
            is needed; it says which option gives it.
    """
    if not source.exists():
        raise FileNotFoundError(f"{source} does not exist; give a run folder, or an exported file.")
    given: dict[str, Any] = {"mean": mean, "std": std, "pictures": pictures}
    if source.is_dir():
        if engine is not None:
            raise ValueError(
                f"{source} is a run folder, which no engine runs; leave --engine out, or give its .onnx."
            )
        if outputs is not None:
            raise ValueError(f"{source} is a run folder, which knows its tasks; leave --outputs out.")
        return _of_run(source, size, given, trust, device)
    check_processor(device, "predict")
    model = Exported(source, engine, outputs)
    shape = _picture_shape(model)
    fixed, free = shape, not all(isinstance(side, int) for side in shape[2:])
    example = next(iter(model.about["inputs"].values()))["example"]
    chosen = size or (_pair(model.about.get("size")) if free else None) or (example[2], example[3])
    if any(isinstance(side, int) and side != asked for side, asked in zip(fixed[2:], chosen, strict=True)):
        raise ValueError(
            f"{source} is for {'x'.join(map(str, fixed[2:]))} alone, and size is {chosen[0]}x{chosen[1]}; leave --size out, or "
            "export a file whose size may vary."
        )
    if not all(chosen):
        raise ValueError(f"{source} does not say the size of its pictures; give --size 120x160.")
    facts = facts_of(model.about, str(source), **given)
    return Network(
        source, tuple(model.tasks), chosen, facts, _caller(model, model.owners, torch.device("cpu"))
    )


def _picture_shape(model: Exported) -> list[Any]:
    """Of the input, or of each task's: (batch, 3, height, width), numbers or names of what varies."""
    shapes = [given["shape"] for given in model.about["inputs"].values()]
    alone = model.owners == [None] or model.apart
    if (
        not alone
        or any(len(shape) != 4 or shape[1] != 3 for shape in shapes)
        or len({str([size if isinstance(size, int) else None for size in shape]) for shape in shapes}) > 1
    ):
        raise ValueError(
            f"{model.path} takes {shapes}, no pictures (batch, 3, height, width); predict is for networks of pictures."
        )
    return shapes[0]


def _of_run(
    path: Path, size: Size | None, given: dict[str, Any], trust: Trust | None, device: str
) -> Network:
    folder, place = RunFolder(path), torch_device(device)
    config = folder.read_config()
    trust = (trust or Trust()).reading(folder.config)
    check_written(folder.config, config, trust)
    about = weights_about(folder.weights)
    tasks = about.get("tasks")
    if not isinstance(tasks, dict) or not all(type(n) is int and n > 0 for n in cast(Any, tasks).values()):
        raise ValueError(f"{folder.weights} does not say its tasks; train anew into another folder.")
    facts = None
    if not set(cast(Any, tasks)) <= {*about.get("pictures", ()), *(given["pictures"] or ())}:
        problem, _ = read_problem(folder, trust)  # of before pictures were told, or of somebody's own
        drawn = {name: task.picture for name, task in problem.tasks.items() if task.picture is not None}
        found = facts_of({**about, "pictures": {}}, str(folder.weights), **given)
        facts = replace(found, draw={**drawn, **found.draw})
        model = problem.model
    else:
        facts = facts_of(about, str(folder.weights), **given)
        model = cast(nn.Module, build("model", config, trust, tasks=tasks))
    load_weights(model, folder.weights)
    chosen = size or _pair(about.get("size"))
    if chosen is None:
        raise ValueError(f"{folder.weights} does not say the size of its pictures; give --size 120x160.")
    return Network(path, tuple(tasks), chosen, facts, _caller(model.to(place).eval(), [None], place))


def _caller(
    model: nn.Module, owners: Sequence[str | None], place: torch.device
) -> Callable[[Tensor], Mapping[str, Tensor]]:
    def call(x: Tensor) -> Mapping[str, Tensor]:
        x = x.to(place)
        with torch.no_grad():
            return model(x if list(owners) == [None] else dict.fromkeys(owners, x))

    return call


def _pair(value: Any) -> Size | None:
    sides = cast(list[Any], value) if isinstance(value, list) else []
    return (sides[0], sides[1]) if len(sides) == 2 and all(type(s) is int and s > 0 for s in sides) else None
