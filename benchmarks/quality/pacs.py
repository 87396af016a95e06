"""PACS from scratch: which blocks four visual domains should share, at what cost in task-specific parameters, three seeds.

    python benchmarks/quality/pacs.py --root data/pacs_64 --out runs/pacs

For each backbone: the learning rate at which full sharing has the best validation accuracy (seed 0); with it separate bottoms
and shared bottoms at every split and independent networks, all with one seed before the next; then the pattern with the best
validation accuracy pruned to 90 % with AdapMTL and DiSparse. Trains what is missing (about a minute a run on one core), then writes
docs/results/pacs_{backbone}.json, .md and .svg. Finished runs are not trained again, nor is what these files hold already; take
a row out of the .json to have it measured anew. The .json grows with every run and says until the end that it is unfinished;
.md and .svg are written at the end alone.

Another length, other seeds or splits stand in files of their own, with p values beside the pairs of equal budgets:

    python benchmarks/quality/pacs.py --root data/pacs_64 --out runs/pacs --backbones resnet18 --name resnet18_long --steps 1800
        --seeds 6 --splits separate_bottom/layer2_1 separate_bottom/layer3_1 layer4_0 layer4_1
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from nyuv2_small import RESULTS, SEEDS, arguments, write
from pacs_arms import SETTINGS, Arm, arms, places
from pacs_tables import budgets, figure, guess, mean, table

RATES = (0.001, 0.003, 0.01)
PRUNED = ("adapmtl", "disparse")


def validation(runs: Iterable[dict[str, Any]]) -> float:
    """What is chosen by; the test split plays no part."""
    return sum(mean(run["val"]) for run in runs)


def asked(command: list[str] | None = None) -> argparse.Namespace:
    """The options; what is not the default has a name of its own, so that no file mixes two settings."""
    parser = arguments(__doc__, "runs/pacs", "PACS")
    parser.add_argument("--backbones", nargs="+", choices=tuple(SETTINGS), default=tuple(SETTINGS), help="which")  # fmt: skip
    parser.add_argument("--steps", type=int, help="of each run; default: the backbone's own")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="how many, from 0")
    parser.add_argument("--splits", nargs="+", help="blocks, or pattern/block for one pattern; default: all")
    parser.add_argument("--pruned", nargs="*", choices=PRUNED, default=PRUNED, help="recipes for the best pattern")  # fmt: skip
    parser.add_argument("--name", help="of the results, pacs_NAME; default: the backbone")
    options = parser.parse_args(command)
    for name in ("steps", "seeds"):
        if (value := getattr(options, name)) is not None and value < 1:
            parser.error(f"--{name} {value} is none: give 1 or more")
    known = [{*places(backbone), *SETTINGS[backbone].splits} for backbone in options.backbones]
    for split in options.splits or ():
        if not all(split in names for names in known):
            parser.error(f"--splits {split} is no split of every backbone asked for: {sorted(known[0])}")
    other = [name for name in ("steps", "seeds", "splits", "pruned") if getattr(options, name) != parser.get_default(name)]  # fmt: skip
    if other and options.name is None:
        parser.error(f"--{other[0]} is not the default: give its results a --name of their own")
    if options.name is not None and (len(options.backbones) > 1 or options.name in SETTINGS):
        parser.error(f"--name {options.name}: give one of --backbones, and a name that is no backbone")
    if options.name is not None and not re.fullmatch(r"\w+", options.name, re.ASCII):
        parser.error(f"--name {options.name}: give letters, digits and underscores")
    return options


class Found:
    """What is measured, on disk with every run."""

    def __init__(self, path: Path, runs: int) -> None:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        self.path, self.runs = path, runs
        self.rates: dict[str, float] = kept.get("validation_of_rates", {})
        self.rows: dict[str, Any] = kept.get("rows", {})

    def has(self, arm: Arm, seed: int) -> bool:
        """Whether a run is there."""
        return any(run["seed"] == seed for run in self.rows.get(arm.name, {"runs": ()})["runs"])

    def add(self, arm: Arm, run: dict[str, Any]) -> None:
        """A finished run; the file stays marked as unfinished."""
        row = self.rows.setdefault(arm.name, {"recipe": arm.recipe, "own": arm.own, "runs": []})
        row["runs"] = sorted([*row["runs"], run], key=lambda run: run["seed"])
        done = sum(len(row["runs"]) for row in self.rows.values())
        raw = {"unfinished": f"{done} of {self.runs} runs", **self.raw}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f".{self.path.name}.partial")
        partial.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
        partial.replace(self.path)

    @property
    def raw(self) -> dict[str, Any]:
        """As it is written."""
        return {"validation_of_rates": self.rates, "rows": self.rows}

    def strange(self, steps: int, seeds: Iterable[int], names: Iterable[str]) -> Iterator[str]:
        """What the file holds of another setting."""
        for name, row in self.rows.items():
            if row["recipe"] == "dense" and name not in names:
                yield name
            for run in row["runs"]:
                if f" --steps {steps} " not in run["command"] or run["seed"] not in seeds:
                    yield f"{name}, seed {run['seed']}"


def measure(backbone: str, options: argparse.Namespace) -> None:
    """All of one backbone."""
    name, seeds = options.name or backbone, range(options.seeds)
    wanted = arms(backbone, options.splits)
    path = RESULTS / f"pacs_{name}.json"
    found = Found(path, len(seeds) * (len(wanted) + len(options.pruned)))
    steps = options.steps or SETTINGS[backbone].steps
    if strange := list(found.strange(steps, seeds, [arm.name for arm in wanted])):
        raise SystemExit(f"{path} holds what was not asked for, such as {strange[0]}: give another --name")
    with ThreadPoolExecutor(options.workers) as pool:

        def run(wanted: list[Arm], rate: float) -> None:
            jobs = [(arm, seed) for seed in seeds for arm in wanted if not found.has(arm, seed)]
            made = pool.map(lambda job: job[0].train(options, rate, job[1]), jobs)
            for (arm, _), result in zip(jobs, made, strict=True):
                found.add(arm, result)

        if not found.rates:
            tried = pool.map(
                lambda rate: Arm(backbone, "shared_bottom").train(options, rate, SEEDS[0]), RATES
            )
            found.rates = {str(rate): mean(run["val"]) for rate, run in zip(RATES, tried, strict=True)}
        rate = float(max(found.rates, key=lambda rate: found.rates[rate]))
        run(wanted, rate)
        sharing = [arm for arm in wanted if arm.pattern != "independent"]
        best = max(sharing, key=lambda arm: validation(found.rows[arm.name]["runs"]))
        run([Arm(backbone, best.pattern, best.split, recipe) for recipe in options.pruned], rate)
    for row, held in found.rows.items():
        if len(held["runs"]) < len(seeds):
            raise SystemExit(
                f"{path} holds {row} with fewer seeds than were asked for: take the row out of it"
            )
    rows = found.rows
    guessed = guess(Path(options.root))
    raw = {"most_frequent_class": guessed, **found.raw}
    write(f"pacs_{name}", raw, f"{table(rows, guessed)}\n\n{budgets(rows, wanted, options.name is not None)}")
    figure(rows, wanted, backbone, path.with_suffix(".svg"))


def main() -> None:
    """Trains, then writes the figures."""
    options = asked()
    for backbone in options.backbones:
        measure(backbone, options)


if __name__ == "__main__":
    main()
