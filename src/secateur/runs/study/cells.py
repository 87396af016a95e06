"""The grid of a comparison: which runs there are, checked before the first one trains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations as subsets
from pathlib import Path
from typing import cast

from secateur.pruning import Sparsifier
from secateur.runs.arguments import trusted
from secateur.runs.config import Config, build, parse, resolved, telling
from secateur.runs.names import find

_SAME = (
    "data",
    "model",
    "size",
    "batch",
    "steps",
)  # what a comparison must hold fixed; steps may be shared out


@dataclass(frozen=True)
class Cell:
    """One run of a comparison.

    Args:
        recipe: Name of the recipe, as reports call it.
        density: Kept fraction asked, None where the method takes none.
        tasks: The tasks it is trained on.
        seed: Of weights, order and augmentation.
        dense: Nothing is pruned: the reference of its seed and tasks.
        arguments: Of ``secateur train``, without ``--out``.
        config: What they come to.
        equal: Its steps were divided by its rounds.
    """

    recipe: str
    density: float | None
    tasks: tuple[str, ...]
    seed: int
    dense: bool
    arguments: tuple[str, ...]
    config: Config
    equal: bool = False

    @property
    def name(self) -> str:
        """Of its folder."""
        density = "" if self.density is None else f"d{self.density:g}"
        parts = [Path(self.recipe).stem, "equal" if self.equal else "", density, "+".join(self.tasks)]
        return "-".join([*filter(None, parts), f"s{self.seed}"])


def grid(
    recipes: Sequence[str],
    options: Sequence[str] = (),
    *,
    densities: Sequence[float] = (),
    seeds: int = 1,
    combinations: bool = False,
    single: bool = False,
    equal_steps: bool = False,
) -> list[Cell]:
    """Runs of every recipe at every density and seed, the dense references first.

    A dense run is added where no recipe is one. Methods that take no density run once.

    Args:
        recipes: Packaged names or paths.
        options: Of ``secateur train``, for all of them.
        densities: Kept fractions; empty leaves each recipe its own.
        seeds: How many, from 0.
        combinations: Every non-empty subset of the tasks instead of all tasks together.
        single: Dense networks for each task alone as well.
        equal_steps: Methods with several rounds share the steps out among them instead of taking all of them in each.

    Raises:
        ValueError: If a recipe cannot be run with these options, or the runs would not be comparable.
    """
    if seeds < 1:
        raise ValueError(f"--seeds is {seeds}; at least 1 is needed.")
    for option in ("--seed", "--out", "--method.density"):
        if any(given == option or given.startswith(option + "=") for given in options):
            raise ValueError(f"compare: {option} differs from run to run; use --seeds, --out or --density.")
    tasks: tuple[str, ...] = tuple(_config(recipes[0], options)["data"].get("tasks") or ())
    if not tasks and (combinations or single):
        raise ValueError("compare: this data set has no option `tasks`, so there are no subsets of them.")
    if not any(_is_dense(_config(recipe, options), options) for recipe in recipes):
        recipes = ["dense", *recipes]
    chosen: list[tuple[str, ...]] = list(_subsets(tasks)) if combinations else [tasks]
    asked = [
        (recipe, density, subset, seed)
        for recipe in recipes
        for density in _densities(recipe, options, densities)
        for subset in chosen
        for seed in range(seeds)
    ]
    if single and not combinations and len(tasks) > 1:
        reference = next(recipe for recipe in recipes if _is_dense(_config(recipe, options), options))
        asked += [(reference, None, (task,), seed) for task in tasks for seed in range(seeds)]
    cells = [
        _cell(recipe, options, density, subset, seed, equal_steps) for recipe, density, subset, seed in asked
    ]
    _check_comparable(cells)
    order = {recipe: place for place, recipe in enumerate(recipes)}
    return sorted(cells, key=lambda cell: (not cell.dense, cell.seed, order[cell.recipe]))


def _cell(
    recipe: str,
    options: Sequence[str],
    density: float | None,
    tasks: tuple[str, ...],
    seed: int,
    equal_steps: bool,
) -> Cell:
    extra = [f"--seed={seed}"]
    if density is not None:
        extra.append(f"--method.density={density!r}")
    if tasks:
        extra.append(f"--data.tasks=[{', '.join(tasks)}]")
    config = _config(recipe, [*options, *extra])
    method = cast(Sparsifier, build("method", config, trusted(options))) if equal_steps else Sparsifier()
    shared = method.rounds > 1
    if shared:
        enough = [steps for steps in range(1, config["steps"] + 1) if method.total(steps) <= config["steps"]]
        extra.append(f"--steps={max(enough, default=1)}")
        config = _config(recipe, [*options, *extra])
    return Cell(
        recipe,
        density,
        tasks,
        seed,
        _is_dense(config, options),
        (recipe, *options, *extra),
        config,
        shared,
    )


def _densities(recipe: str, options: Sequence[str], densities: Sequence[float]) -> Sequence[float | None]:
    """Those asked, where the recipe's method takes one."""
    method = _config(recipe, options)["method"]
    return densities if densities and "density" in method else [None]


def _config(recipe: str, options: Sequence[str]) -> Config:
    try:
        return resolved(parse([recipe, *options], exits=False))
    except ValueError as refused:
        raise ValueError(
            f"compare: recipe {recipe!r} cannot be run with {' '.join(options)}: {refused}"
        ) from refused


def _is_dense(config: Config, options: Sequence[str]) -> bool:
    return find("method", config["method"]["name"], trusted(options)) is Sparsifier


def _subsets(tasks: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every non-empty subset, small ones first."""
    for count in range(1, len(tasks) + 1):
        yield from subsets(tasks, count)


def _check_comparable(cells: Sequence[Cell]) -> None:
    """All runs must have the same data, network and length of training."""
    first = cells[0]
    for cell in cells[1:]:
        for key in _SAME[:-1] if cell.equal else _SAME:
            mine, other = _fixed(first, key), _fixed(cell, key)
            if mine != other:
                raise ValueError(
                    f"{first.recipe} and {cell.recipe} differ in {key} ({mine} and {other}), so they cannot be compared; "
                    f"give --{key} for all of them."
                )


def _fixed(cell: Cell, key: str) -> object:
    value = telling(cell.config)[key]
    return {k: v for k, v in value.items() if k != "tasks"} if key == "data" else value
