"""From a configuration, or from that of a run folder, to the problem that it describes."""

from __future__ import annotations

from argparse import ArgumentError
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch

from secateur.data import Data, squared_errors
from secateur.problem import Problem, preserved_rng
from secateur.runs.config import Config, build, parse_size, parser_of
from secateur.runs.folder import RunFolder
from secateur.runs.names import Kind, Trust, find
from secateur.runs.written import check_values, options_of, said

# What of a run's configuration is needed to read its network and data.
_READ = ("batch", "data", "model", "seed", "size")


def make_problem(config: Config, workers: int = 0, trust: Trust | None = None) -> tuple[Problem, Data]:
    """The problem that a configuration describes, its model freshly initialised from the seed."""
    linked = {
        "size": parse_size(config["size"]),
        "batch": config["batch"],
        "seed": config["seed"],
        "workers": workers,
    }
    data = cast(Data, build("data", config, trust, **linked))
    if config.get("map_error") == "squared":  # a run of before there was a choice has no such key
        data = replace(data, tasks=squared_errors(data.tasks))
    torch.manual_seed(config["seed"])
    model = build("model", config, trust, tasks=data.channels)
    return Problem(model, data.tasks, data.train, data.val, data.test), data


def read_problem(folder: RunFolder, trust: Trust | None = None) -> tuple[Problem, Data]:
    """The problem of a run folder, its model freshly initialised; random state is left as it was.

    Raises:
        FileNotFoundError: If this is no run folder.
        ValueError: If its configuration names what is neither ours nor trusted, or cannot be built.
    """
    trust = (trust or Trust()).reading(folder.config)
    config = folder.read_config()
    check_written(folder.config, config, trust)
    try:
        with preserved_rng():  # the weights are drawn, and read over
            return make_problem(config, trust=trust)
    except (OSError, ImportError):
        raise
    except Exception as error:  # what a part does with numbers that make no sense is of every kind
        if isinstance(error, ValueError) and str(folder.config) in str(error):
            raise
        raise ValueError(
            f"{folder.config}: what it names cannot be made ({type(error).__name__}: {said(error, 400)}); check its options."
        ) from error


def check_written(path: Path, config: Config, trust: Trust) -> None:
    """Holds what a folder's configuration says of data and model against the options that there are.

    Args:
        path: The file, for errors.
        config: Its content.
        trust: Whose parts may be imported, reading ``path``.

    Raises:
        ValueError: If something is missing, or of another type than its option; names file and option.
    """
    if missing := [key for key in _READ if key not in config]:
        raise ValueError(
            f"{path} lacks {missing[0]}; it was cut short or changed: train anew into another folder."
        )
    kinds: tuple[Kind, ...] = ("data", "model")
    targets: dict[Kind, tuple[str, Callable[..., Any]]] = {}
    for kind in kinds:
        name = options_of(config, kind, path).get("name")
        targets[kind] = (str(name), find(kind, name, trust))
        check_values(path, options_of(config, kind, path), targets[kind][1], kind)
    checking = parser_of(None, targets, exits=False)
    told = {key: config[key] for key in (*_READ, "map_error") if key in config}
    try:
        checking.parse_object(told)
    except (ArgumentError, ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} is not what train writes ({said(error, 400)}); check that option."
        ) from error
