"""From a configuration to what stands beside method and weighting: the optimizer, the callbacks, the trackers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

from torch.optim import Optimizer

from secateur.pruning import Schedule, WarmUp, constant, cosine, staircase
from secateur.runs.config import Config
from secateur.runs.names import Trust, find
from secateur.runs.options import BETAS
from secateur.runs.parser import nearest
from secateur.runs.written import said
from secateur.training import BACKENDS, Callback, ClipGradients, MakeOptimizer, Tracker, adam

_DECAYS: dict[str, Schedule] = {"cosine": cosine, "staircase": staircase(), "constant": constant}


def make_optimizer(config: Config, trust: Trust) -> MakeOptimizer:
    """Adam, or the optimizer that is named.

    Raises:
        ValueError: If it does not take its options, or what is Adam's alone is given beside it.
    """
    betas, decay = tuple(config["betas"]), config["weight_decay"]
    options = dict(config.get("optimizer") or {})
    name = options.pop("name", None)
    if name is None:
        return adam(config["lr"], betas, decay)
    for key, value, default in (("betas", betas, BETAS), ("weight_decay", decay, 0.0)):
        if value != default:
            raise ValueError(
                f"{key} is Adam's where no optimizer is named; of {name} it is --optimizer.{key}, if it has any."
            )
    made = cast(Callable[..., Optimizer], find("optimizer", name, trust))
    options = {key: tuple(v) if isinstance(v, list) else v for key, v in options.items()}
    takes = {"lr": config["lr"], **options}
    _check_takes(f"optimizer {name}", partial(made, []), takes, lambda lacking: f"--optimizer.{lacking} ...")
    return lambda groups: made(groups, lr=config["lr"], **options)


def make_schedule(config: Config) -> Schedule:
    """The course of the learning rate."""
    schedule = _DECAYS[config["decay"]]
    if config.get("warmup") is None:
        return schedule
    with _of_option("--warmup"):
        return WarmUp(config["warmup"], schedule)


def make_callbacks(config: Config, trust: Trust) -> list[Callback]:
    """The callbacks that a configuration names.

    Raises:
        ValueError: If there is none of this name, it is not trusted, or it does not take its options.
    """
    made = list[Callback]()
    if config.get("clip") is not None:
        with _of_option("--clip"):
            made.append(ClipGradients(config["clip"]))
    for name, options in named(config.get("callbacks")):
        target = find("callback", name, trust)
        said = f"'[{{name: {name}, ", ": ...}]'"
        _check_takes(f"callback {name}", target, options, lambda lacking, said=said: lacking.join(said))
        made.append(cast(Callback, target(**options)))
    return made


def named(asked: object) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Name and options of each of the callbacks that ``callbacks`` is given.

    Raises:
        ValueError: If it is something else than a list of names and of mappings with one.
    """
    for one in cast("Sequence[object]", asked or ()):
        options = (
            {str(k): v for k, v in cast("Mapping[Any, Any]", one).items()}
            if isinstance(one, Mapping)
            else {"name": one}
        )
        if "name" not in options:
            raise ValueError(
                f"callbacks has {said(repr(one), 80)}, without a name; give such as '[{{name: EarlyStopping, metric: depth.rel}}]'."
            )
        yield options.pop("name"), options


def judges(config: Config) -> bool:
    """Whether a training looks at the dense run beside it: for floors, or where a callback watches ΔT."""
    watched = any(options.get("metric") == "delta_t" for _, options in named(config.get("callbacks")))
    return config.get("floors") is not None or watched


def make_trackers(asked: Sequence[str], folder: Path, config: Config) -> list[Tracker]:
    """Trackers of a run, which bears its folder's name; TensorBoard's and Weights & Biases' files go there.

    Raises:
        ValueError: If there is no such tracker, one is asked twice, or a key is missing.
        ImportError: If a package is missing.
    """
    if twice := [one for one in asked if list(asked).count(one) > 1]:
        raise ValueError(f"--track names {twice[0]} twice; once is enough.")
    if unknown := [one for one in asked if one not in BACKENDS]:
        raise ValueError(
            f"--track {unknown[0]}: no such tracker. There are {', '.join(BACKENDS)}.{nearest(unknown[0], BACKENDS)}"
        )
    places = {"tensorboard": folder / "tensorboard", "wandb": folder}
    name = folder.resolve().name
    return [Tracker(one, name=name, folder=places.get(one), config=config) for one in asked]


def _check_takes(
    what: str, made: Callable[..., Any], options: Mapping[str, Any], needed: Callable[[str], str]
) -> None:
    """Raises ValueError for an option that is not there, or one that must be given; ``needed`` writes one as it is given."""
    known = inspect.signature(made).parameters
    own = [name for name, p in known.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    if not any(p.kind is p.VAR_KEYWORD for p in known.values()):
        for key in options:
            if key not in own:
                raise ValueError(
                    f"{what} has no option {key}; it has {', '.join(own) or 'none'}.{nearest(key, own)}"
                )
    if lacking := [
        name for name in own if known[name].default is inspect.Parameter.empty and name not in options
    ]:
        raise ValueError(f"{what} lacks {' and '.join(lacking)}; give such as {needed(lacking[0])}.")


@contextmanager
def _of_option(option: str) -> Generator[None]:
    """Puts the option before what the part that it stands for refuses."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from error
