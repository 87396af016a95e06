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

SAME = (
    "data",
    "model",
    "size",
    "batch",
    "steps",
)  # what a comparison must hold fixed; steps may be shared out


@dataclass(frozen=True)
class Variant:
    """A recipe with settings of its own.

    Args:
        name: What tables and folders call it.
        recipe: Packaged name or path.
        options: Of ``secateur train``, for this one alone.
        reference: Counts as dense whatever its method, such as a penalty of strength 0.
    """

    name: str
    recipe: str
    options: tuple[str, ...] = ()
    reference: bool = False


@dataclass(frozen=True)
class Cell:
    """One run of a comparison.

    Args:
        recipe: Name of the recipe or variant, as reports call it.
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
    recipes: Sequence[str | Variant],
    options: Sequence[str] = (),
    *,
    densities: Sequence[float] = (),
    seeds: int = 1,
    combinations: bool = False,
    single: bool = False,
    equal_steps: bool = False,
    same: Sequence[str] = SAME,
) -> list[Cell]:
    """Runs of every recipe at every density and seed, the dense references first.

    A dense run is added where no recipe is one. Methods that take no density run once.

    Args:
        recipes: Packaged names or paths, or variants of them.
        options: Of ``secateur train``, for all of them.
        densities: Kept fractions; empty leaves each recipe its own.
        seeds: How many, from 0.
        combinations: Every non-empty subset of the tasks instead of all tasks together.
        single: Dense networks for each task alone as well.
        equal_steps: Methods with several rounds share the steps out among them instead of taking all of them in each.
        same: What all runs must have alike.

    Raises:
        ValueError: If a recipe cannot be run with these options, or the runs would not be comparable.
    """
    if seeds < 1:
        raise ValueError(f"--seeds is {seeds}; at least 1 is needed.")
    for option in ("--seed", "--out", "--method.density"):
        if any(given == option or given.startswith(option + "=") for given in options):
            raise ValueError(f"compare: {option} differs from run to run; use --seeds, --out or --density.")
    if any(given.partition("=")[0] == "--split" for given in options):
        raise ValueError(
            "compare: a table is of the test split; `secateur search` chooses settings by validation."
        )
    variants = [r if isinstance(r, Variant) else Variant(r, r) for r in recipes]
    configs = [_config(variant, options) for variant in variants]
    tasks: tuple[str, ...] = tuple(configs[0]["data"].get("tasks") or ())
    if not tasks and (combinations or single):
        raise ValueError("compare: this data set has no option `tasks`, so there are no subsets of them.")
    dense = [v for v, config in zip(variants, configs, strict=True) if _is_dense(v, config, options)]
    if not dense:
        dense = [Variant("dense", "dense")]
        variants = [*dense, *variants]
    chosen: list[tuple[str, ...]] = list(_subsets(tasks)) if combinations else [tasks]
    asked = [
        (variant, density, subset, seed)
        for variant in variants
        for density in _densities(variant, options, densities)
        for subset in chosen
        for seed in range(seeds)
    ]
    if single and not combinations and len(tasks) > 1:
        asked += [(dense[0], None, (task,), seed) for task in tasks for seed in range(seeds)]
    cells = [
        _cell(variant, options, density, subset, seed, equal_steps)
        for variant, density, subset, seed in asked
    ]
    _check_comparable(cells, same)
    order = {variant.name: place for place, variant in enumerate(variants)}
    return sorted(cells, key=lambda cell: (not cell.dense, cell.seed, order[cell.recipe]))


def _cell(
    variant: Variant,
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
    config = _config(variant, options, extra)
    method = cast(Sparsifier, build("method", config, trusted(options))) if equal_steps else Sparsifier()
    shared = method.rounds > 1
    if shared:
        enough = [steps for steps in range(1, config["steps"] + 1) if method.total(steps) <= config["steps"]]
        extra.append(f"--steps={max(enough, default=1)}")
        config = _config(variant, options, extra)
    return Cell(
        variant.name,
        density,
        tasks,
        seed,
        _is_dense(variant, config, options),
        (variant.recipe, *options, *variant.options, *extra),
        config,
        shared,
    )


def _densities(
    variant: Variant, options: Sequence[str], densities: Sequence[float]
) -> Sequence[float | None]:
    """Those asked, where the recipe's method takes one."""
    method = _config(variant, options)["method"]
    return densities if densities and "density" in method else [None]


def _config(variant: Variant, options: Sequence[str], extra: Sequence[str] = ()) -> Config:
    words = [*options, *variant.options, *extra]
    try:
        return resolved(parse([variant.recipe, *words], exits=False))
    except ValueError as refused:
        raise ValueError(
            f"compare: recipe {variant.recipe!r} cannot be run with {' '.join(words)}: {refused}"
        ) from refused


def _is_dense(variant: Variant, config: Config, options: Sequence[str]) -> bool:
    return variant.reference or find("method", config["method"]["name"], trusted(options)) is Sparsifier


def _subsets(tasks: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every non-empty subset, small ones first."""
    for count in range(1, len(tasks) + 1):
        yield from subsets(tasks, count)


def _check_comparable(cells: Sequence[Cell], same: Sequence[str]) -> None:
    """All runs must have the same data, network and length of training, or what of these is asked."""
    first = cells[0]
    for cell in cells[1:]:
        for key in same:
            if cell.equal and key == "steps":
                continue
            mine, other = _fixed(first, key), _fixed(cell, key)
            if mine != other:
                raise ValueError(
                    f"{first.recipe} and {cell.recipe} differ in {key} ({mine} and {other}), so they cannot be compared; "
                    f"give --{key} for all of them."
                )


def _fixed(cell: Cell, key: str) -> object:
    value = telling(cell.config)[key]
    return {k: v for k, v in value.items() if k != "tasks"} if key == "data" else value
