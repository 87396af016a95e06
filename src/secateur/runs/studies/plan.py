"""From a study and a command line to its grid, checked before anything trains: options, tasks, and whose folder it is."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from secateur.runs.arguments import spelt_out, trusted
from secateur.runs.config import Config, build, parse_size, telling, train_parser
from secateur.runs.folder import differences
from secateur.runs.studies.study import Study
from secateur.runs.study import Cell, grid
from secateur.runs.written import said
from secateur.storage import is_leftover, remove_leftovers, write_new

_CLAIM = "study.claim.json"
_RUN = ("method", "seed", "weighting")  # of a configuration: what differs from run to run


def words_of(study: Study, options: Sequence[str]) -> list[str]:
    """Options of all runs: the study's, those for this data set, the tasks that it needs, and last the user's own.

    With a network of the user's the study's options of its own network are left out.

    Raises:
        ValueError: If a network is asked of a study that compares networks, or an option does not exist.
    """
    asked = {spelt_out(a).partition("=")[0] for a in options}
    networks = [row for row in study.rows if any(word.startswith("--model=") for word in row.options)]
    if networks and "--model.name" in asked:
        raise ValueError(f"study {study.name} compares networks of its own; leave --model out.")
    common = _without_network(study.options.get("", ()), asked)
    made = train_parser([study.rows[0].recipe, *common, *options], exits=False)
    data = made.parts["data"]
    words = [*common, *_without_network(study.options.get(data, ()), asked)]
    if study.needs(data) and "--data.tasks" not in asked and "--data.tasks" in made.options:
        words.append(f"--data.tasks=[{', '.join(study.needs(data))}]")
    return [*words, *options]


def _without_network(words: Sequence[str], asked: Collection[str]) -> list[str]:
    return [word for word in words if not word.startswith("--model") or "--model.name" not in asked]


def planned(
    study: Study,
    options: Sequence[str],
    out: Path,
    *,
    seeds: int | Sequence[int] = 1,
    densities: Sequence[float] = (),
) -> list[Cell]:
    """The study's grid, and ``out`` made its folder.

    Raises:
        ValueError: As :func:`cells_of`, or if ``out`` holds a study with other options.
        FileNotFoundError: If data are missing.
    """
    cells = cells_of(study, options, seeds=seeds, densities=densities)
    claim(out, study.name, settings_of(cells))
    return cells


def cells_of(
    study: Study, options: Sequence[str], *, seeds: int | Sequence[int] = 1, densities: Sequence[float] = ()
) -> list[Cell]:
    """The study's grid, its data looked at.

    Args:
        study: Which.
        options: Of ``secateur train``, the user's own.
        seeds: How many, from 0; or which.
        densities: Kept fractions instead of the study's.

    Raises:
        ValueError: If a run cannot be made with these options, or the data lack a task that the study needs.
        FileNotFoundError: If data are missing.
    """
    words = words_of(study, options)
    cells = grid(
        study.rows,
        words,
        densities=densities or study.densities,
        seeds=seeds,
        combinations=study.combinations,
        single=study.single,
        same=study.same,
    )
    _check_tasks(study, max(cells, key=lambda cell: len(cell.tasks)).config, words)
    return cells


def _check_tasks(study: Study, config: Config, words: Sequence[str]) -> None:
    name = str(config["data"]["name"])
    needed = study.needs(name)
    asking = f"study {study.name} needs {_counted(needed, study.least)}"
    # Looked at, not read: what is decoded beforehand would be decoded for nothing.
    data = {**config["data"], **({"cache": 0.0} if "cache" in config["data"] else {})}
    linked = {"size": parse_size(config["size"]), "batch": config["batch"], "seed": config["seed"]}
    try:
        found = build("data", {**config, "data": data}, trusted(words), **linked, workers=0)
    except ValueError as error:
        raise ValueError(f"{asking}. --data {name}: {error}") from error
    has = list(found.tasks)
    lacks = [task for task in needed if task not in has]
    if lacks or len(has) < study.least:
        without = f" and lacks {', '.join(lacks)}" if lacks else ""
        raise ValueError(
            f"{asking}; {name} as asked has {', '.join(has)}{without}. Give other --data or --data.tasks, or put "
            "the recipes into a table of your own: secateur compare."
        )


def _counted(needed: Sequence[str], least: int) -> str:
    return f"the tasks {', '.join(needed)}" if needed else f"{least} tasks at least"


def claim(out: Path, study: str, settings: Mapping[str, Any], *, make: bool = True) -> None:
    """Makes ``out`` the folder of this study with these settings; without ``make`` it only looks whether it may be.

    Raises:
        ValueError: If it holds another study, one with other settings, or something else.
    """
    asked = {"study": study, **settings}
    path = out / _CLAIM
    if not path.exists():
        if out.exists() and (not out.is_dir() or not all(map(is_leftover, out.iterdir()))):
            raise ValueError(f"{out} exists and is no study's folder; choose another --out.")
        if make and out.is_dir():
            remove_leftovers(out)
        if not make or write_new(path, json.dumps(asked, indent=1, sort_keys=True) + "\n"):
            return
    try:
        held: Any = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read ({said(error)}); choose another --out.") from error
    if not isinstance(held, Mapping):
        raise ValueError(f"{path} holds no settings; choose another --out.")
    if told := list(differences(held, json.loads(json.dumps(asked)))):
        raise ValueError(
            f"{out} holds a study with other options: {'; '.join(told[:4])}. Choose another --out, or delete the folder."
        )
    if make:
        remove_leftovers(out)


def settings_of(cells: Sequence[Cell]) -> dict[str, Any]:
    """What a study's runs have in common: more seeds and densities may join, other data or steps may not."""
    first = max(cells, key=lambda cell: (cell.dense, len(cell.tasks)))
    return {key: value for key, value in telling(first.config).items() if key not in _RUN} | {
        "weighting": first.config["weighting"]["name"]
    }
