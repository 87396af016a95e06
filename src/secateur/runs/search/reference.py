"""The dense run of a search: given, or trained first; and the test split, on which only what was chosen is evaluated."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateur.runs import references
from secateur.runs.arguments import given, spelt_out, trusted
from secateur.runs.config import parse, resolved
from secateur.runs.folder import RunFolder
from secateur.runs.result import judge
from secateur.runs.run import evaluate_run
from secateur.runs.search.found import Found, Report, Results
from secateur.runs.search.locks import Locks
from secateur.runs.search.objectives import check_reference, meaningless, numbers, on_validation
from secateur.runs.study import SAME, Place
from secateur.storage import write_text

_OWN = ("method", "weighting")  # what a dense run has its own of


@dataclass(frozen=True)
class Reference:
    """How a search comes by its dense run.

    Args:
        recipe: Of the trials.
        options: Of ``secateur train``, for all of them.
        out: Folder of the search.
        against: A finished dense run; None trains one.
        floors: Task to the share that a trial may lose against it.
        delta: Whether ΔT is what the search is after.
    """

    recipe: str
    options: tuple[str, ...]
    out: Path
    against: Path | None
    floors: Mapping[str, float]
    delta: bool = True

    @property
    def device(self) -> str:
        """That the command line asks for."""
        return (given([spelt_out(o) for o in self.options], "--device") or ["auto"])[-1]


@dataclass(frozen=True)
class Dense:
    """The dense run: its folder, and its figures on the validation split."""

    folder: Path
    tasks: Results


def reference_of(asked: Reference, trainer: Place, locks: Locks, config: Mapping[str, Any]) -> Dense:
    """The dense run, trained with the options of the trials where none is given.

    Args:
        asked: How.
        trainer: What trains it.
        locks: Of the search's folder: of several processes one trains it.
        config: Of a trial.

    Raises:
        ValueError: If the one given is not finished or of other data, or it scores nothing somewhere.
        RuntimeError: If it fails.
    """
    with locks.held("dense"):
        dense = _given(asked, asked.against, config) if asked.against else _trained(asked, trainer, config)
    judged_by = dense.tasks if asked.delta else asked.floors
    check_reference(dense.tasks, judged_by, dense.folder)
    return dense


def dense_words(recipe: str, options: Sequence[str], config: Mapping[str, Any]) -> list[str]:
    """The command line of a dense run that is as the trials in all but method and weighting."""
    words, skipped = ["dense"], False
    for word in [spelt_out(option) for option in options]:
        if word.startswith("--"):
            skipped = word[2:].partition("=")[0].split(".")[0] in _OWN
        if not skipped:
            words.append(word)
    own = resolved(parse(words, exits=False))
    for key in SAME:  # what the recipe itself says of data and network
        if own[key] == config[key]:
            continue
        if isinstance(config[key], Mapping):
            words += [
                f"--{key}.{name}={json.dumps(v) if not isinstance(v, str) else v}"
                for name, v in config[key].items()
                if v is not None
            ]
        else:
            words.append(f"--{key}={config[key]}")
    return words


def _trained(asked: Reference, trainer: Place, config: Mapping[str, Any]) -> Dense:
    words = [*dense_words(asked.recipe, asked.options, config), "--split=val"]
    folder = RunFolder(asked.out / "dense")
    if folder.config.exists():
        folder.claim(resolved(parse(words, exits=False)))
    error = None if folder.finished else trainer.train("dense", words)
    report = folder.read_report()
    if error or report is None:
        raise RuntimeError(
            f"the dense run failed ({error}); what it said is in {asked.out / 'logs' / 'dense.txt'}."
        )
    return Dense(folder.path, on_validation(report))


def _given(asked: Reference, against: Path, config: Mapping[str, Any]) -> Dense:
    folder = RunFolder(against)
    report = folder.read_report()
    held = references.given(folder, dict(config), "test" if report is None else report.get("split", "test"))
    if not held["dense"]:
        raise ValueError(
            f"--against {against}: no dense run; a share of what a pruned network scores means nothing."
        )
    kept = asked.out / "reference.json"
    if "validation" in held or held.get("split") == "val":
        return Dense(against, on_validation(held))
    if not kept.is_file():
        found = evaluate_run(against, "val", trusted(asked.options), asked.device)
        write_text(kept, json.dumps(found, indent=1) + "\n")
    return Dense(against, json.loads(kept.read_text(encoding="utf-8")))


def judged(found: Found, asked: Reference, dense: Dense) -> dict[int, Report]:
    """The winners' reports on the test split: each is evaluated on it here for the first time, and never again."""
    if not found.winners:
        return {}
    reference = judge(dense.folder, trust=trusted(asked.options), device=asked.device)
    made: dict[int, Report] = {}
    for trial in found.winners:
        words = [*asked.options, *(d.word(trial.settings[d.option]) for d in found.space)]
        folder = asked.out / trial.folder
        report = judge(folder, against=dense.folder, trust=trusted(words), device=asked.device)
        why = meaningless(numbers(report["tasks"]), numbers(reference["tasks"]))
        made[trial.number] = {**report, "meaningless": why}
    return made
