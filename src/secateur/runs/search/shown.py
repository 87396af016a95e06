"""A search as its page, as JSON, and the winner as a recipe that other verbs take."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.table import Column, Table

from secateur.runs.arguments import given, spelt_out
from secateur.runs.config import parse, resolved
from secateur.runs.folder import RunFolder
from secateur.runs.options import recipe_path
from secateur.runs.result import finite
from secateur.runs.search.found import Found, Tried
from secateur.runs.search.objectives import meaningless
from secateur.runs.study import SAME
from secateur.runs.written import read_recipe
from secateur.storage import write_text


def write(found: Found, out: Path, options: Sequence[str], command: str) -> None:
    """Writes ``search.json`` and ``search.md``, and once all is finished ``best.yaml`` and a recipe for each other winner."""
    facts = _facts(found, out)
    write_text(
        out / "search.json",
        json.dumps(finite({"command": command, **facts, **_plain(found)}), indent=1) + "\n",
    )
    wanted = {"best.yaml": found.winners[0]} if found.tested else {}
    wanted |= {f"winner-{t.number}.yaml": t for t in found.winners if len(found.tested) > 1}
    for old in out.glob("winner-*.yaml"):
        if old.name not in wanted:
            old.unlink()
    for name, trial in wanted.items():
        write_text(out / name, recipe_of(found, trial, out / name, options))
    write_text(out / "search.md", _page(found, command, facts))


def recipe_of(found: Found, trial: Tried, path: Path, options: Sequence[str]) -> str:
    """A trial as a recipe file: all its settings but what runs of one comparison share, which its first lines name as options."""
    words = [spelt_out(option) for option in options]
    chosen = [d.word(trial.settings[d.option]) for d in found.space]
    config = resolved(parse([found.recipe, *words, *chosen], exits=False))
    own = {key.split(".")[0] for key in read_recipe(recipe_path(found.recipe))} | {
        d.option.split(".")[0] for d in found.space
    }
    kept = {k: v for k, v in config.items() if k != "seed" and (k not in SAME or k in own)}
    given_ = shlex.join([*_shared(words, own), *_trust(config, words)])
    more = f" {given_}" if given_ else ""
    lines = [
        f"# Trial {trial.number} of a search over {found.recipe}: {_settings(trial)}. Chosen on the validation split.",
        f"# secateur train {path}{more}",
        f"# secateur compare dense {path}{more} --seeds 3",
    ]
    return "\n".join(lines) + "\n" + yaml.safe_dump(kept, sort_keys=True)


def _shared(words: Sequence[str], own: set[str]) -> list[str]:
    """The options that a comparison must have alike and the file leaves out."""
    made, taken = list[str](), False
    for word in words:
        if word.startswith("--"):
            key = word[2:].partition("=")[0].split(".")[0]
            taken = (key in SAME and key not in own) or key == "device"
        if taken:
            made.append(word)
    return made


def _trust(config: dict[str, Any], words: Sequence[str]) -> list[str]:
    """What the command line trusted by naming it, a file must be trusted with."""
    named = [str(config[k]["name"]) for k in ("method", "weighting") if "." in str(config[k]["name"])]
    both = [*given(words, "--trust"), *(name.rpartition(".")[0] for name in named)]
    return ["--trust", ",".join(dict.fromkeys(both))] if both else []


def trials_table(found: Found) -> Table:
    """For the terminal: every trial, winners first."""
    heads, rows = _grid(found)
    columns = [
        Column(head, justify="left" if n == 0 else "right", overflow="fold") for n, head in enumerate(heads)
    ]
    table = Table(*columns, show_edge=False, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    return table


def lines(found: Found) -> list[str]:
    """What is to be said below it."""
    done = [t for t in found.trials if t.state == "complete"]
    failed = [t for t in found.trials if t.state == "fail"]
    made = [f"{len(done)} trials, {len(failed)} failed; all figures above are of the validation split."]
    if failed:
        made.append(f"Trial {failed[-1].number} failed: {failed[-1].error}")
    if any(t.dead for t in done):
        made += _dead(done)
    if done and not any(t.holds for t in done):
        nearest = min(done, key=lambda t: max(t.below.values()))
        under = ", ".join(
            f"{task} {share:.1%} below its floor" for task, share in nearest.below.items() if share > 0
        )
        made.append(f"No trial holds every floor; trial {nearest.number} is nearest: {under}.")
    if any(o.name == "delta_t" for o in found.objectives):
        told = {t.number: meaningless(t.figures["tasks"], found.dense) for t in done if "tasks" in t.figures}
        if far := {number: why for number, why in told.items() if why}:
            which = ", ".join(map(str, far))
            made.append(
                f"The ΔT of trial {which} says nothing: {next(iter(far.values()))}. Look at the training of both."
            )
    for number, report in found.tested.items():
        metrics = ", ".join(
            f"{t} {m} {_number(v)}" for t, ms in report["tasks"].items() for m, v in ms.items()
        )
        against = _against(report, found.reference)
        gone = f"; dead there in {', '.join(report['dead'])}" if report.get("dead") else ""
        made.append(
            f"Trial {number} on the test split, evaluated once, after it was chosen: {against}{metrics}{gone}."
        )
    return made


def _dead(done: Sequence[Tried]) -> list[str]:
    """Which trials are dead, and what that means."""
    listed = "; ".join(f"trial {t.number} in {', '.join(t.dead)}" for t in done if t.dead)
    made = [f"Dead, with predictions that are the same whatever the input: {listed}."]
    if any(t.holds and not t.dead for t in done):
        return [*made, "A network that is dead in a task is never the best."]
    which = "trial" if all(t.dead for t in done) else "trial that breaks no floor"
    return [*made, f"Every {which} is dead in a task, so none is the best; search higher densities."]


def _against(report: Mapping[str, Any], reference: str) -> str:
    if why := report.get("meaningless"):
        return f"no ΔT against {reference}, since {why}; "
    change = report["delta_t"]["mean"]
    return "" if change is None else f"ΔT {change:+.2f} % against {reference}; "


def _grid(found: Found) -> tuple[list[str], list[list[str]]]:
    names = [d.option for d in found.space]
    goals = [f"{o.name} {'↑' if o.direction == 'maximize' else '↓'}" for o in found.objectives]
    floors = [f"{task} below floor" for task in found.floors]
    won = {trial.number for trial in found.winners}
    ordered = sorted(found.trials, key=lambda t: (t.number not in won, t.state != "complete", t.number))
    rows = [
        [
            f"{t.number}{' *' if t.number in won else ''}",
            *(_number(t.settings.get(name)) for name in names),
            *((_number(v) for v in t.values) if t.values else ("" for _ in goals)),
            *(f"{t.below[task]:+.1%}" if task in t.below else "" for task in found.floors),
            f"{t.state}, dead in {', '.join(t.dead)}" if t.dead else t.state,
            t.folder,
        ]
        for t in ordered
    ]
    return ["trial", *names, *goals, *floors, "state", "folder"], rows


def _page(found: Found, command: str, facts: dict[str, Any]) -> str:
    heads, rows = _grid(found)
    table = ["| " + " | ".join(row) + " |" for row in ([*heads], ["---"] * len(heads), *rows)]
    over = ", ".join(f"`{d.option}` {d.said()}" for d in found.space)
    said = [
        f"# Search: {found.recipe}",
        f"`{command}`" if command else "",
        f"Over {over}; seed {facts['seed']}; {'; '.join(facts['hardware'])}; "
        f"{', '.join(f'{k} {v}' for k, v in facts['versions'].items())}. Against the dense run {found.reference}.",
        "\n".join(table),
        "`*`: of the trials that break no floor and are dead in no task the best, under several objectives all that none is better than.",
        *lines(found),
    ]
    return "\n\n".join(filter(None, said)) + "\n"


def _facts(found: Found, out: Path) -> dict[str, Any]:
    """Seed, hardware and versions, of the runs themselves."""
    reports = [
        r for t in found.trials if t.folder and (r := RunFolder(out / t.folder).read_report()) is not None
    ]
    first: dict[str, Any] = reports[0] if reports else {"seed": None, "versions": {}}
    from optuna import __version__

    return {
        "seed": first["seed"],
        "hardware": sorted({report["hardware"] for report in reports}),
        "versions": {**first["versions"], "optuna": __version__},
    }


def _plain(found: Found) -> dict[str, Any]:
    return {
        "recipe": found.recipe,
        "over": {d.option: d.said() for d in found.space},
        "objectives": {o.name: o.direction for o in found.objectives},
        "floors": dict(found.floors),
        "reference": {"folder": found.reference, "validation": found.dense},
        "trials": [
            {
                "number": t.number,
                "state": t.state,
                "settings": dict(t.settings),
                "values": list(t.values),
                "below": dict(t.below),
                "folder": t.folder,
                "error": t.error,
                "dead": list(t.dead),
                "validation": dict(t.figures),
            }
            for t in found.trials
        ],
        "winners": [t.number for t in found.winners],
        "test": {
            str(n): {"tasks": r["tasks"], "delta_t": r["delta_t"], "density": r["density"]["overall"]}
            for n, r in found.tested.items()
        },
    }


def _settings(trial: Tried) -> str:
    return ", ".join(f"{name} {_number(value)}" for name, value in trial.settings.items())


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "null" if value is None else str(value)
