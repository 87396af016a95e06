"""Whether values that are swept make a run at all, asked before anything trains: its parts are made once, and thrown away."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch

from secateur.data import Data
from secateur.problem import preserved_rng
from secateur.pruning import Sparsifier
from secateur.runs.arguments import trusted
from secateur.runs.beside import make_callbacks, make_optimizer, make_schedule
from secateur.runs.config import Config, build, parse_size
from secateur.runs.names import Trust, find
from secateur.runs.problems import make_problem
from secateur.training import aggregator, check_floors

if TYPE_CHECKING:
    from secateur.runs.study.cells import Cell

_SUBJECT = ("data", "model", "size", "batch", "map_error", "floors", "tries")
_COUNTS = {"steps": 1, "batch": 1, "validate_every": 0, "tries": 1, "accumulate": 1}


def check_sound(cells: Sequence[Cell]) -> None:
    """Raises ValueError if a cell cannot be made with the values of what is swept.

    FileNotFoundError: If data are missing.
    """
    seen: set[str] = set()
    for cell in cells:
        words = " ".join(f"{option}={value}" for option, value in cell.settings)
        trust = trusted(cell.arguments)
        try:
            _check_parts(cell.config, trust)
            subject = json.dumps([cell.config.get(key) for key in _SUBJECT], sort_keys=True, default=str)
            if subject not in seen and any(o.partition(".")[0] in _SUBJECT for o, _ in cell.settings):
                with preserved_rng():
                    problem, _ = make_problem(unread(cell.config), trust=trust)
                if (floors := cell.config["floors"]) is not None:
                    method = cast(Sparsifier, build("method", cell.config, trust))
                    check_floors(problem, method, floors, cell.config["tries"])
            seen.add(subject)
        except (OSError, ImportError):
            raise
        except Exception as error:  # what a part does with values that make no sense is of every kind
            raise ValueError(f"--over {words}, of {cell.recipe}: {error}") from error


def check_methods(cells: Sequence[Cell]) -> None:
    """Raises ValueError if the method of a cell cannot be made as it is asked: the dense runs come first, and would be trained before it is seen."""
    seen: set[str] = set()
    for cell in cells:
        asked = json.dumps(cell.config["method"], sort_keys=True, default=str)
        if asked in seen:
            continue
        seen.add(asked)
        try:
            build("method", cell.config, trusted(cell.arguments))
        except (OSError, ImportError):
            raise
        except Exception as error:  # a class of the user's own may refuse in any words
            raise ValueError(f"{cell.recipe} cannot be trained so: {error}") from error


def unread(config: Config) -> Config:
    """The same, its data looked at alone: what is decoded beforehand would be decoded for nothing."""
    data = config["data"]
    return {**config, "data": {**data, **({"cache": 0.0} if "cache" in data else {})}}


def look_at(config: Config, trust: Trust) -> Data:
    """The data set of a configuration, its samples not read.

    Raises:
        ValueError: If it refuses its options.
        FileNotFoundError: If it is not there.
    """
    linked = {"size": parse_size(config["size"]), "batch": config["batch"], "seed": config["seed"]}
    found: Any = build("data", unread(config), trust, **linked, workers=0)
    return found


def _check_parts(config: Config, trust: Trust) -> None:
    for name, least in _COUNTS.items():
        value = config.get(name)
        if value is not None and value < least:
            raise ValueError(f"{name} is {value}; give at least {least}.")
    build("method", config, trust)
    build("weighting", config, trust)
    aggregator(config["aggregator"], partial(find, "aggregator", trust=trust))
    make_optimizer(config, trust)([{"params": [torch.nn.Parameter(torch.zeros(1))]}])
    make_schedule(config)
    make_callbacks(config, trust)
