"""``secateur search``: the best settings of a recipe, by validation."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.cli.console import errors, output
from secateur.runs import SeveralParser, add_place_options

if TYPE_CHECKING:
    from secateur.runs.search import Tried

_EPILOG = "All other options are those of `secateur train`, and hold for every trial. Of --floors and --against those here are meant."


def search(argv: Sequence[str]) -> None:
    """``secateur search RECIPE --over SPACE``."""
    own = parser()
    if not argv or argv[0].startswith("-"):
        own.parse_args(argv)
        own.error("name a recipe first, such as adapmtl.")
    arguments, options = own.parse_known_args(own.spelt(argv[1:]))
    where = own.where(arguments)
    own.check(argv[0], options)
    from secateur.runs.search import lines, search, trials_table

    said, console, out = errors(), output(), Path(arguments.out)

    def on_done(trial: Tried, done: int, total: int) -> None:
        result = trial.error or ", ".join(f"{v:.4g}" for v in trial.values)
        result += f", dead in {', '.join(trial.dead)}" if trial.dead else ""
        said.print(f"{done}/{total} trial {trial.number}: {result}", soft_wrap=True)

    found = search(
        argv[0],
        options,
        over=arguments.over,
        trials=arguments.trials,
        out=out,
        objectives=[name.strip() for name in arguments.objectives.split(",") if name.strip()],
        floors=arguments.floors,
        against=Path(arguments.against) if arguments.against else None,
        engine=arguments.engine,
        sampler=arguments.sampler,
        jobs=arguments.jobs,
        workers=arguments.workers,
        where=where,
        command=shlex.join(["secateur", "search", *argv]),
        on_done=on_done,
    )
    console.print(trials_table(found))
    for line in lines(found):
        console.print(line, soft_wrap=True)
    best = f"best   {out / 'best.yaml'}; " if found.tested else ""
    console.print(f"{best}trials {out / 'search.md'}; every figure in {out / 'search.json'}", soft_wrap=True)


def parser() -> SeveralParser:
    """The options of ``secateur search`` itself."""
    made = SeveralParser(
        prog="secateur search",
        usage="secateur search RECIPE --over SPACE [options]",
        description="Trains a recipe with other settings again and again, each chosen by what the last ones scored on the validation "
        "split, and evaluates the best on the test split, once. The same command goes on where it was stopped; several may share --out.",
        epilog=_EPILOG,
    )
    made.add_argument(
        "--over",
        required=True,
        metavar="SPACE",
        help="option to range or choices, such as '{method.density: [0.05, 0.2], lr: log 1e-4 1e-2, method.pattern: [1x4, 4x1]}', or a "
        "YAML file of it",
    )
    made.add_argument("--trials", type=int, default=20, metavar="N", help="how many in all (default: 20)")
    made.add_argument(
        "--objectives",
        default="delta_t",
        metavar="NAMES",
        help="one or several of delta_t, time, density, parameters, macs, or a task's metric such as seg.miou; of several the winners are "
        "all that none is better than",
    )
    made.add_argument(
        "--floors",
        type=_floors,
        metavar="FLOORS",
        help="share of its validation metrics that each task may lose against dense, such as '{seg: 0.01}'; a trial that loses more "
        "cannot win",
    )
    made.add_argument(
        "--against", metavar="DIR", help="run folder of the dense reference (default: one is trained first)"
    )
    made.add_argument(
        "--engine",
        default="onnxruntime",
        choices=["onnxruntime", "openvino", "sparse", "torch", "executorch"],
        help="in which time is measured (default: onnxruntime)",
    )
    made.add_argument(
        "--sampler",
        default="tpe",
        choices=["tpe", "random"],
        help="how the next settings are chosen (default: tpe)",
    )
    made.add_argument(
        "--jobs", type=int, metavar="N", help="trials at a time (default: one a GPU, on a CPU one)"
    )
    made.add_argument("--workers", type=int, default=0, metavar="N", help="processes that load data, a trial")
    made.add_argument(
        "--out", default="runs/search", metavar="DIR", help="folder of the search (default: runs/search)"
    )
    add_place_options(made, ("here", "ray"))
    return made


def _floors(text: str) -> dict[str, Any]:
    import argparse

    import yaml

    try:
        found: Any = yaml.safe_load(text)
        return {str(task): float(share) for task, share in found.items()}
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no task to share; give such as '{{seg: 0.01}}'"
        ) from error
