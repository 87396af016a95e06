"""The grid of a comparison: which runs there are, checked before the first one trains."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations as subsets
from typing import cast

from secateur.pruning import Sparsifier
from secateur.runs.arguments import trusted
from secateur.runs.config import Config, build, telling
from secateur.runs.names import find
from secateur.runs.study.over import Chosen, Settings, check_known, choices, folder_words, takes_density
from secateur.runs.study.seeds import seeds_of
from secateur.runs.study.sound import check_methods, check_sound
from secateur.runs.study.sweeps import Over, read_sweeps
from secateur.runs.study.variants import Configs, Variant, stem

SAME = (
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
        recipe: Name of the recipe or variant, as reports call it.
        density: Kept fraction asked, None where the method takes none.
        tasks: The tasks it is trained on.
        seed: Of weights, order and augmentation.
        dense: Nothing is pruned: the reference of its seed and tasks.
        arguments: Of ``secateur train``, without ``--out``.
        config: What they come to.
        equal: Its steps were divided by its rounds.
        settings: Options that are swept, and their values here.
        apart: Those of them that are not what the run has without.
    """

    recipe: str
    density: float | None
    tasks: tuple[str, ...]
    seed: int
    dense: bool
    arguments: tuple[str, ...]
    config: Config
    equal: bool = False
    settings: Settings = ()
    apart: Settings = ()

    @property
    def name(self) -> str:
        """Of its folder."""
        density = "" if self.density is None else f"d{self.density:g}"
        parts = [stem(self.recipe), "equal" if self.equal else "", density, *folder_words(self.apart)]
        return "-".join([*filter(None, [*parts, "+".join(self.tasks)]), f"s{self.seed}"])


def grid(
    recipes: Sequence[str | Variant],
    options: Sequence[str] = (),
    *,
    densities: Sequence[float] = (),
    seeds: int | Sequence[int] = 1,
    over: Over = (),
    combinations: bool = False,
    single: bool = False,
    equal_steps: bool = False,
    same: Sequence[str] = SAME,
) -> list[Cell]:
    """Runs of every recipe at every density and seed, the dense references first.

    A dense run is added where no recipe is one. Methods that take no density run once, and so do recipes that have no
    option that is swept.

    Args:
        recipes: Packaged names or paths, or variants of them.
        options: Of ``secateur train``, for all of them.
        densities: Kept fractions; empty leaves each recipe its own.
        seeds: How many, from 0; or which.
        over: Options that each run has several values of: ``["lr=1e-3,3e-3"]`` or ``{"lr": [1e-3, 3e-3]}``; several multiply.
        combinations: Every non-empty subset of the tasks instead of all tasks together.
        single: Dense networks for each task alone as well.
        equal_steps: Methods with several rounds share the steps out among them instead of taking all of them in each.
        same: What all runs must have alike, but for what is swept.

    Raises:
        ValueError: If a recipe cannot be run with these options, or the runs would not be comparable.
    """
    for option in ("--seed", "--out", "--method.density"):
        if any(given == option or given.startswith(option + "=") for given in options):
            raise ValueError(f"{option} differs from run to run; use --seeds, --out or --density.")
    if any(given.partition("=")[0] == "--split" for given in options):
        raise ValueError("A table is of the test split; `secateur search` chooses settings by validation.")
    numbers, sweeps, configs = seeds_of(seeds), read_sweeps(over, options), Configs(options)
    if combinations and any(sweep.option == "data.tasks" for sweep in sweeps):
        raise ValueError(
            "--over data.tasks: --combinations has every subset of them; leave one of the two out."
        )
    variants = [r if isinstance(r, Variant) else Variant(r, r) for r in recipes]
    dense = [v for v in variants if _is_dense(v, configs.of(v), options)]
    if not dense:
        dense = [Variant("dense", "dense")]
        variants = [*dense, *variants]
    chosen = {variant.name: choices(sweeps, variant, configs) for variant in variants}
    check_known(sweeps, variants, [one for several in chosen.values() for one in several], options)
    cells: list[Cell] = []
    for variant in variants:
        for one in chosen[variant.name]:
            config = configs.of(variant, one.words)
            tasks: tuple[str, ...] = tuple(config["data"].get("tasks") or ())
            if not tasks and (combinations or single):
                raise ValueError("This data set has no option `tasks`, so there are no subsets of them.")
            levels: list[float | None] = [None]
            if densities and takes_density(config):
                levels = [*densities]
            chosen_tasks = list(_subsets(tasks)) if combinations else [tasks]
            asked = [(density, subset) for density in levels for subset in chosen_tasks]
            if single and not combinations and len(tasks) > 1 and variant is dense[0]:
                asked += [(None, (task,)) for task in tasks]
            make = _Maker(variant, one, configs, equal_steps)
            cells += [make.cell(density, subset, seed) for density, subset in asked for seed in numbers]
    _check_folders(cells)
    _check_comparable(cells, same)
    check_sound([cell for cell in cells if cell.settings])
    check_methods([cell for cell in cells if not cell.settings])
    order = {variant.name: place for place, variant in enumerate(variants)}
    return sorted(cells, key=lambda cell: (not cell.dense, numbers.index(cell.seed), order[cell.recipe]))


@dataclass(frozen=True)
class _Maker:
    """Makes the cells of a recipe with one value of each option that is swept."""

    variant: Variant
    chosen: Chosen
    configs: Configs
    equal_steps: bool

    def cell(self, density: float | None, tasks: tuple[str, ...], seed: int) -> Cell:
        variant, options = self.variant, self.configs.options
        extra = [] if density is None else [f"--method.density={density!r}"]
        if tasks:
            extra.append(f"--data.tasks={json.dumps(tasks, ensure_ascii=False)}")
        config = self.configs.of(variant, [*self.chosen.words, *extra], seed)
        if config["floors"] is not None and not takes_density(
            config
        ):  # a reference has none to back off from
            extra.append("--floors=null")
            config = self.configs.of(variant, [*self.chosen.words, *extra], seed)
        method = Sparsifier()
        if self.equal_steps:
            method = cast(Sparsifier, build("method", config, trusted(options)))
        shared = method.rounds > 1
        if shared:
            enough = [s for s in range(1, config["steps"] + 1) if method.total(s) <= config["steps"]]
            extra.append(f"--steps={max(enough, default=1)}")
            config = self.configs.of(variant, [*self.chosen.words, *extra], seed)
        return Cell(
            variant.name,
            density,
            tasks,
            seed,
            _is_dense(variant, config, options),
            self.configs.words(variant, [*self.chosen.words, f"--seed={seed}", *extra]),
            config,
            shared,
            self.chosen.settings,
            tuple(setting for setting in self.chosen.apart if setting[0] != "data.tasks"),
        )


def reference_of(cell: Cell, cells: Sequence[Cell]) -> Cell | None:
    """The dense run of the same seed and tasks that has the same values of what is swept, where it has the option."""
    same = [c for c in cells if c.dense and (c.tasks, c.seed) == (cell.tasks, cell.seed)]
    return next((c for c in same if {*c.settings} <= {*cell.settings}), None)


def _is_dense(variant: Variant, config: Config, options: Sequence[str]) -> bool:
    return variant.reference or find("method", config["method"]["name"], trusted(options)) is Sparsifier


def _subsets(tasks: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every non-empty subset, small ones first."""
    for count in range(1, len(tasks) + 1):
        yield from subsets(tasks, count)


def _check_folders(cells: Sequence[Cell]) -> None:
    """Raises ValueError if two runs would have the same folder."""
    held: dict[str, Cell] = {}
    for cell in cells:
        other = held.setdefault(cell.name, cell)
        if other is cell:
            continue
        if other.recipe != cell.recipe:
            remedy = f"recipes {other.recipe} and {cell.recipe} are called the same; rename one"
        elif other.density != cell.density or other.arguments == cell.arguments:
            remedy = "a recipe, a density or a value is there twice; leave one out"
        else:
            remedy = "values are too much alike; leave one out"
        raise ValueError(f"Two runs would have the folder {cell.name}: {remedy}.")


def _check_comparable(cells: Sequence[Cell], same: Sequence[str]) -> None:
    """All runs must have the same data, network and length of training, or what of these is asked, but for what is swept."""
    swept = {option.partition(".")[0] for cell in cells for option, _ in cell.settings}
    first: dict[Settings, Cell] = {}
    for cell in cells:
        alike = tuple(s for s in cell.settings if s[0].partition(".")[0] in same)
        pairs = [(first.setdefault(alike, cell), same), (cells[0], [key for key in same if key not in swept])]
        for other, keys in pairs:
            for key in keys:
                if cell.equal and key == "steps":
                    continue
                mine, held = _fixed(other, key), _fixed(cell, key)
                if mine != held:
                    raise ValueError(
                        f"{other.recipe} and {cell.recipe} differ in {key} ({mine} and {held}), so they cannot be compared; "
                        f"give --{key} for all of them."
                    )


def _fixed(cell: Cell, key: str) -> object:
    value = telling(cell.config)[key]
    return {k: v for k, v in value.items() if k != "tasks"} if key == "data" else value
