"""What a finished run leaves: weights, pictures and figures, of the test split, or of validation while settings are being chosen."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from secateur.data import Data, legend, picture_kind
from secateur.deployment.bench import versions
from secateur.measures import Unmoved, cost, evaluate, higher_is_better
from secateur.problem import Problem, apart, components, one, preserved_rng, sample_shape, to_device
from secateur.pruning import Sparsifier
from secateur.runs import references
from secateur.runs.config import Config
from secateur.runs.folder import RunFolder
from secateur.runs.hardware import hardware, torch_device
from secateur.runs.kept import load_weights
from secateur.runs.names import Trust, ours
from secateur.runs.problems import read_problem
from secateur.runs.samples import save_samples
from secateur.storage import save, write_text

Report = dict[str, Any]
Split = Literal["test", "val"]
# Weights that are zero where nothing was pruned: their share, or their number in a small network.
_BY_CHANCE, _A_FEW = 1e-6, 4


def keep(folder: RunFolder, config: Config, problem: Problem, data: Data) -> None:
    """Writes the weights, with what a deployer needs to know of them, and pictures of test images."""
    save(problem.model, folder.weights, {"tasks": dict(data.channels), **about_file(config, data)})
    save_samples(problem, data, folder.samples)


def about_file(config: Config, data: Data) -> dict[str, Any]:
    """What the weights and every file made of them say beside the tasks, as plain values."""
    said = {"model": config["model"], "size": list(data.size)}
    return said | {"mean": list(data.mean), "std": list(data.std), **drawing(data)}


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
        "dense": _is_dense(config, found["params"]),
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


def _is_dense(config: Config, params: Mapping[str, int]) -> bool:
    """Whether nothing was pruned: trained by Dense, with no more weights that are zero than chance gives.

    Of a hundred million weights that are drawn at random some are exactly zero. But channels that were dead before stay so, as
    no gradient reaches them.
    """
    if "prune" in config or ours("method").get(config["method"]["name"]) is not Sparsifier:
        return False
    return params["prunable"] - params["nonzero"] <= max(_A_FEW, _BY_CHANCE * params["prunable"])


def finite(value: Any) -> Any:
    """``value`` with NaN and infinities as None, which JSON can hold."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@preserved_rng()
def judge(
    path: Path, *, against: Path | None = None, trust: Trust | None = None, device: str = "auto"
) -> Report:
    """Evaluates a run that was trained with ``split="val"`` on the test split, once; of any other run its report as it is.

    Args:
        path: The run folder, finished.
        against: As of :func:`train`.
        trust: Whose parts may be imported; ours alone if None.
        device: As of :func:`train`.

    Returns:
        The content of ``report.json``; the figures on the validation split are in it as ``validation``.

    Raises:
        FileNotFoundError: If the run has no weights yet.
        ValueError: If it is not finished, or names what is neither ours nor trusted.
    """
    folder, place = RunFolder(path), torch_device(device)
    held = folder.read_report()
    if held is None:
        raise ValueError(f"{path} is not finished; run the same `secateur train` command again.")
    if held.get("split", "test") == "test":
        return held
    config = folder.read_config()
    reference = None if against is None else references.given(RunFolder(against), config, "test")
    problem, data = read_problem(folder, trust)
    load_weights(problem.model, folder.weights)
    problem.model.to(place)
    save_samples(problem, data, folder.samples)
    found = figures(config, problem, data, held["train_seconds"], held["command"])
    name = str(held["name"]).removesuffix(titled("", "val"))
    report = {**held, **found, "name": name, "split": "test", "validation": held["tasks"]}
    report["delta_t"] = references.found(report, reference, folder, config)
    write_text(folder.report, json.dumps(finite(report), indent=1))
    return report


def of_split(
    split: Split, done: Report, path: Path, against: Path | None, trust: Trust, device: str
) -> Report:
    """A finished run's report, on the test split where that is asked."""
    return judge(path, against=against, trust=trust, device=device) if split == "test" else done


def renewed(report: Report, reference: Report | None, folder: RunFolder, config: Config) -> Report:
    """A finished run's report with the reference that it is given now, or that has come to lie beside it; written where that is new."""
    if reference is None and (report["dense"] or report["delta_t"]["against"] is not None):
        return report
    made = finite({**report, "delta_t": references.found(report, reference, folder, config)})
    if made["delta_t"] != report["delta_t"]:
        try:
            write_text(folder.report, json.dumps(made, indent=1))
        except OSError as error:  # in a folder that may be read alone
            warnings.warn(f"The reference is not written into the report: {error}", stacklevel=2)
    return made


def showing(split: Split, problem: Problem, data: Data) -> tuple[Problem, Data]:
    """The two with the split that is asked in the place of the test split.

    Raises:
        ValueError: If there is no such split.
    """
    if split == "test":
        return problem, data
    if problem.val is None:
        raise ValueError("--split val: these data have no validation split; leave it out.")
    return replace(problem, test=problem.val), replace(data, test=data.val)


def titled(name: str, split: Split) -> str:
    """What reports call it, so that no table takes one for the other."""
    return name if split == "test" else f"{name} (validation)"
