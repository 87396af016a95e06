"""What a finished run leaves: weights, pictures and figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from secateur.data import Data, legend, picture_kind
from secateur.deployment.bench import versions
from secateur.measures import Unmoved, cost, evaluate, higher_is_better
from secateur.problem import Problem, apart, components, one, sample_shape, to_device
from secateur.runs.config import Config
from secateur.runs.folder import RunFolder
from secateur.runs.hardware import hardware
from secateur.runs.samples import save_samples
from secateur.storage import save

Report = dict[str, Any]


def keep(folder: RunFolder, config: Config, problem: Problem, data: Data) -> None:
    """Writes the weights, with what a deployer needs to know of them, and pictures of test images."""
    about = {"tasks": dict(data.channels), "model": config["model"], "size": list(data.size)}
    about |= {"mean": list(data.mean), "std": list(data.std), **drawing(data)}
    save(problem.model, folder.weights, about)
    save_samples(problem, data, folder.samples)


def drawing(data: Data) -> dict[str, Any]:
    """How the predictions of each task are drawn, as plain values: the kind of picture, and the names of its classes."""
    kinds = {name: picture_kind(task.picture) for name, task in data.tasks.items()}
    names = {
        name: data.classes.get(name) or getattr(task.picture, "keywords", {}).get("names", ())
        for name, task in data.tasks.items()
    }
    return {
        "pictures": {name: kind for name, kind in kinds.items() if kind},
        "classes": {name: list(found) for name, found in names.items() if found},
    }


def figures(config: Config, problem: Problem, data: Data, seconds: float, command: str) -> Report:
    """The figures of a network on the test split, and where they come from; what is named after the run is left to the caller."""
    x, _ = next(iter(data.test))
    example = to_device(one(x), device := next(problem.model.parameters()).device)
    watch = Unmoved()
    found = cost(problem.model, example, components(problem)).to_dict()
    inputs = list(example.values()) if apart(example, problem.tasks) else [example]
    found["macs"] |= {"input": sample_shape(inputs[0]), "images": len(inputs)}
    packages = ("secateur", "torch", "torchvision", "lightning-fabric", "torchmetrics")
    return {
        "name": "",
        "dense": found["density"]["overall"] == 1.0,
        "method": config["method"]["name"],
        "weighting": config["weighting"]["name"],
        "tasks": evaluate(problem, "test", watch=watch),
        "dead": watch.tasks,
        "higher_is_better": higher_is_better(problem.tasks),
        **found,
        "legends": {
            name: legend(task.picture, data.classes.get(name, ())) for name, task in problem.tasks.items()
        },
        "seed": config["seed"],
        "steps": config["steps"],
        "command": command,
        "hardware": hardware(device),
        "versions": versions(packages),
        "train_seconds": round(seconds, 1),
    }


def finite(value: Any) -> Any:
    """``value`` with NaN and infinities as None, which JSON can hold."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
