"""``secateur prune``: a trained network made to fit a budget."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from secateur.cli.console import output
from secateur.runs import ENGINES, TRUST, Parser, trusted

if TYPE_CHECKING:
    from secateur.budget import Budget

_NAMES = {"macs": "MACs", "mb": "MB"}
_LEAST = {"steps": 0, "rounds": 1, "batches": 1, "repair": 0, "threads": 1, "seed": 0, "lr": 0}


def prune(argv: list[str]) -> None:
    """``secateur prune RUN|MODEL``."""
    made, (own, rest) = parser(), _apart(argv)
    arguments = made.read(own)
    made.check_least(arguments, _LEAST)
    from secateur.runs import check_processor

    check_processor(arguments.device, "prune")
    from secateur.budget import Budget
    from secateur.budget.run import prune_run
    from secateur.runs import parse, resolved

    budgets = [
        Budget.parse(part, arguments.engine, arguments.threads) for part in str(arguments.budget).split(",")
    ]
    _check_order(budgets)
    source: Path | dict[str, Any] = Path(arguments.network)
    words = ["dense", "--model", arguments.network, *rest]
    if not source.is_dir():
        if not arguments.init:
            made.error(
                f"{arguments.network!r} is no run folder; of a model of your own say its weights too: --init FILE."
            )
        source = resolved(parse(words))
    elif rest:
        made.error(f"{rest[0]}: data and model of {arguments.network} are those of the run; leave it out.")
    folders = prune_run(
        source,
        budgets,
        Path(arguments.out),
        weights=Path(arguments.init) if arguments.init else None,
        size=arguments.size,
        command=shlex.join(["secateur", "prune", *argv]),
        trust=trusted(argv if isinstance(source, Path) else [*argv, *words]),
        floors=arguments.floors,
        steps=arguments.steps,
        rounds=arguments.rounds,
        score=arguments.score,
        batches=arguments.batches,
        repair=arguments.repair,
        lr=arguments.lr,
        seed=arguments.seed,
        quantize=arguments.quantize,
        progress=not arguments.quiet,
    )
    _tell(folders)


def _check_order(budgets: Sequence[Budget]) -> None:
    """Raises ValueError where a budget is looser than the one before, as far as their own numbers say."""
    for first, second in pairwise(budgets):
        for above, below in ((first.limits, second.limits), (first.shares, second.shares)):
            if any(limit > above.get(kind, limit) for kind, limit in below.items()):
                raise ValueError(f"prune: {second} is looser than {first} before it; give the loosest first.")


def _tell(folders: list[Path]) -> None:
    """What was asked, predicted and measured, and where it lies."""
    import json

    from secateur.runs.report import read_before, read_run, results_table

    console = output()
    for folder in folders:
        record = json.loads((folder / "budget.json").read_text(encoding="utf-8"))
        for kind, limit in record["limits"].items():
            console.print(
                f"{_NAMES.get(kind, kind):6} {record['costs'][kind]:.4g} measured, {limit:.4g} asked, {record['dense'][kind]:.4g} before "
                f"(predicted {record['predicted'][kind]:.4g} where {record['first'][kind]:.4g} was measured first)",
                soft_wrap=True,
            )
        for task, lost in record["lost"].items():
            console.print(f"{task}: {-lost:+.1%} on the validation split")
        if record["keep_float"]:
            console.print(f"in float: the heads of {', '.join(record['keep_float'])}")
        if record["short"]:
            console.print(f"not nearer to the budget: {record['short']}", soft_wrap=True)
    records = [read_run(folder) for folder in folders]
    before = read_before(records[0])
    console.print(results_table(records if before is None else [before, *records]))
    for folder in folders:
        console.print(f"model  {folder / 'model.safetensors'}", soft_wrap=True)
        for file in (folder / "model-int8.onnx", folder / "model-int8.xml"):
            if file.exists():
                console.print(f"int8   {file}", soft_wrap=True)


def _apart(argv: list[str]) -> tuple[list[str], list[str]]:
    """The words that are this verb's, and the options of the data and the model, as of ``secateur train``."""
    own: list[str] = []
    parts: list[str] = []
    value = False  # whether the word before is an option of the data or the model, and this is what it is
    for word in argv:
        name = word.removeprefix("--").partition("=")[0].split(".")[0]
        named = word.startswith("--") and name in ("data", "model", "batch")
        (parts if named or value else own).append(word)
        value = named and "=" not in word
    return own, parts


def parser() -> Parser:
    """The options of ``secateur prune``."""
    made = Parser(prog="secateur prune", description="Makes a trained network fit a budget, as measured.")
    made.add_argument(
        "network",
        type=str,
        help="run folder, or the import path of a model whose weights --init names (with --data and --batch)",
    )
    made.add_argument(
        "--budget",
        type=str,
        required=True,
        help="such as '30 ms', '0.5x ms', '8 MB and 0.3 macs'; commas part several networks",
    )
    made.add_argument(
        "--engine",
        type=Literal["onnxruntime", "openvino", "sparse", "torch", "executorch"],
        default="onnxruntime",
        help="in which time is measured",
    )
    made.add_argument("--threads", type=int, default=1, help="threads of a forward pass")
    made.add_argument(
        "--floors",
        type=Mapping[str, float] | None,
        default=None,
        help="share that each task may lose: {seg: 0.01, depth: 0.02}",
    )
    made.add_argument(
        "--steps", type=int, default=2000, help="of training; 0 repairs on a few batches instead"
    )
    made.add_argument("--rounds", type=int, default=4, help="over which the channels go")
    made.add_argument(
        "--score",
        type=Literal["taylor", "magnitude", "random"],
        default="taylor",
        help="what a channel is worth by",
    )
    made.add_argument("--batches", type=int, default=16, help="training batches that a score looks at")
    made.add_argument(
        "--repair", type=int, default=8, help="batches of the repair, with --steps 0; 0 leaves it out"
    )
    made.add_argument(
        "--lr", type=float, default=3e-4, help="learning rate of the training between and after"
    )
    made.add_argument(
        "--quantize",
        type=Literal["int8"] | None,
        default=None,
        help="int8: time, megabytes and floors are those of the file in int8, which is written too; a head that would break its floor "
        "stays in float",
    )
    made.add_argument("--seed", type=int, default=0, help="of the training")
    made.add_argument(
        "--size",
        type=str | None,
        default=None,
        help="height x width that costs are measured on; without it, that of the data, whose own size it leaves as it is",
    )
    made.add_argument(
        "--init",
        type=str | None,
        default=None,
        help="weights of a model of your own: a state dict (.pth, .pt, .safetensors)",
    )
    made.add_argument(
        "--out", type=str, required=True, help="run folder to write; of several networks a folder of them"
    )
    made.add_argument("--quiet", action="store_true", help="say nothing while it trains")
    made.add_argument("--device", type=str, default="cpu", help=ENGINES)
    made.add_argument("--trust", type=str | None, default=None, help=TRUST)
    return made
