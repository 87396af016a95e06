"""Options of training, and what the recipes that we pack are for."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from secateur.runs.parser import nearest
from secateur.runs.written import options_of, read_recipe

BETAS = (0.9, 0.999)
LEAST = {
    "steps": 1,
    "batch": 1,
    "accumulate": 1,
    "tries": 1,
    "snapshots": 1,
    "validate_every": 0,
    "workers": 0,
    "seed": 0,
    "lr": 0,
    "weight_decay": 0,
    "warmup": 0,
}
"""Option to the least that it may be."""
_RECIPES = Path(__file__).parent / "recipes"


def recipes() -> list[str]:
    """Names of the packaged recipes."""
    return sorted(p.name.removesuffix(".yaml") for p in _RECIPES.iterdir() if p.name.endswith(".yaml"))


def recipe_path(name: str) -> Path:
    """The packaged recipe called ``name``, or the user's own file.

    Raises:
        ValueError: If there is neither.
    """
    packaged = _RECIPES / f"{name}.yaml"
    path = packaged if packaged.is_file() else Path(name)
    if not path.is_file():
        raise ValueError(
            f"No recipe {name!r}: neither a file nor one of {', '.join(recipes())}.{nearest(name, recipes())}"
        )
    return path


def check_recipe(path: Path, content: Mapping[str, Any], typed: str | None) -> None:
    """Holds the recipe that a file of options names against what is in the file; it does not bring that recipe's settings.

    Args:
        path: The file.
        content: What it holds. What ``--print_config`` printed has every setting of the recipe that it names.
        typed: The recipe on the command line.

    Raises:
        ValueError: If it names a recipe that is not there or not the typed one, or lacks settings of it.
    """
    named = content.get("recipe")
    if named is None or named == typed:
        return
    alone = f"name it on the command line (secateur train {named} --config {path}), or take the line out."
    try:
        if not isinstance(named, str):
            raise ValueError("give the name of a recipe")
        held = recipe_path(named)
    except ValueError as error:
        raise ValueError(f"{path}: recipe is {named!r}: {error} Or take the line out.") from error
    if typed is not None and recipe_path(typed).resolve() != path.resolve():
        raise ValueError(f"{path} is for the recipe {named}, and the command line names {typed}; {alone}")
    if held.resolve() == path.resolve():
        return
    if lacking := list(_lacking(read_recipe(held), content, path)):
        raise ValueError(f"{path} names the recipe {named} and lacks {', '.join(lacking)} of it; {alone}")


def _lacking(recipe: Mapping[str, Any], content: Mapping[str, Any], path: Path) -> Iterator[str]:
    """Settings of ``recipe`` that ``content`` does not have; of a part of another name none is missed."""
    for key, value in recipe.items():
        if not isinstance(value, Mapping) or "name" not in value:
            if key not in content:
                yield key
            continue
        own = options_of(content, key, path)
        if own.get("name", value["name"]) == value["name"]:
            yield from (f"{key}.{name}" for name in value if name not in own)


def listing() -> str:
    """The packaged recipes, a line or two each: the first sentence of the comment that their file begins with."""
    said = {name: _first_sentence(recipe_path(name).read_text(encoding="utf-8")) for name in recipes()}
    wide = max(map(len, said)) + 2
    lines = [
        textwrap.fill(f"{name:{wide}}{text}", 96, initial_indent="  ", subsequent_indent=" " * (wide + 2))
        for name, text in said.items()
    ]
    return "recipes:\n" + "\n".join(lines) + "\n"


def _first_sentence(text: str) -> str:
    comment = " ".join(line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#"))
    return re.split(r"(?<=\.)\s+(?=[A-Z`])", comment, maxsplit=1)[0]


def training(
    steps: int = 2000,
    batch: int = 16,
    size: str | None = None,
    seed: int = 0,
    lr: float = 1e-3,
    betas: tuple[float, float] = BETAS,
    weight_decay: float = 0.0,
    decay: Literal["cosine", "staircase", "constant"] = "cosine",
    device: str = "auto",
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true",
    workers: int = 0,
    validate_every: int = 0,
    teacher: str | None = None,
    distill: float = 1.0,
    recalibrate: int | None = None,
    floors: dict[str, float] | None = None,
    tries: int = 5,
    aggregator: str | dict[str, Any] | None = None,
    map_error: Literal["absolute", "squared"] | None = None,
    accumulate: int | None = None,
    clip: float | None = None,
    warmup: float | None = None,
    callbacks: list[str | dict[str, Any]] | None = None,
) -> None:
    """Options of training.

    Args:
        steps: Optimizer steps.
        batch: Images a step, of all devices together.
        size: Height x width of the images, such as 60x80; the data set's own if left out.
        seed: Seed of weights, data order and dropout.
        lr: Learning rate, of Adam where no optimizer is named.
        betas: Moments of Adam.
        weight_decay: Coupled L2 decay of Adam.
        decay: Course of the learning rate; staircase halves it in every fifth of the steps.
        device: cpu, cuda, cuda:1, or auto: a GPU where there is one.
        precision: Precision of the arithmetic.
        workers: Processes that load data.
        validate_every: Steps between validations; 0 for none, or a twentieth of the steps where callbacks look at them.
        teacher: Run folder of a dense network that the pruned one learns from beside the labels.
        distill: Factor of the mismatch to the teacher, beside each task's loss.
        recalibrate: Batches to measure BatchNorm's statistics on anew after pruning; none if left out.
        floors: Task to the share of its validation metrics that it may lose against dense, such as '{seg: 0.02}'; the
            density is raised until all hold.
        tries: Trainings at most under floors.
        aggregator: Of conflicting gradients: a class of TorchJD such as UPGrad, or an import path, or '{name: CAGrad, c: 0.5}'
            with settings; adds them up if left out.
        map_error: Error that depth and other maps of values are trained on; the data set's own, absolute, if left out.
        accumulate: Batches to a step, whose gradients are averaged; 1 if left out.
        clip: Largest norm of all gradients together; not clipped if left out.
        warmup: Share of the steps over which the learning rate rises from 0; none if left out.
        callbacks: What happens beside the steps, such as '[{name: EarlyStopping, metric: depth.rel}, {name: KeepBest, metric:
            delta_t}, EMA]'; ours by name, or an import path.
    """
