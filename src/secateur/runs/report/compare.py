"""Runs side by side: seeds taken together, the dense reference found, differences and delta-T."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from secateur.measures import Stat, dead_said, delta_t, stat
from secateur.runs.references import unlike
from secateur.runs.report.formats import listing
from secateur.runs.report.naming import labels
from secateur.runs.report.record import Results, RunRecord

_TOLD = ("seed ", "out ", "data", "size ")  # differences that are no matter, or have a notice of their own


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but the seed."""

    label: str
    records: tuple[RunRecord, ...]

    @property
    def first(self) -> RunRecord:
        """The run whose facts stand for the group."""
        return self.records[0]

    @property
    def results(self) -> dict[str, dict[str, float]]:
        """Mean over seeds of every metric: task -> metric -> value."""
        tasks = self.first.tasks
        return {t: {m: self.metric(t, m).mean for m in metrics} for t, metrics in tasks.items()}

    def metric(self, task: str, metric: str) -> Stat:
        """One metric over the seeds."""
        return stat([record.tasks[task][metric] for record in self.records])


@dataclass(frozen=True)
class Comparison:
    """All runs of a report; ``reference`` is the dense group, None without a dense run."""

    records: tuple[RunRecord, ...]
    groups: tuple[Group, ...]
    reference: Group | None
    notices: tuple[str, ...] = field(default=())

    def delta(self, group: Group, reduce: Literal["mean", "sum"]) -> Stat | None:
        """delta-T in percent against the dense reference; None for the reference or without one."""
        if self.reference is None or group is self.reference:
            return None
        dense = self.reference.results
        return stat([_delta(r.tasks, dense, r.higher_is_better, reduce)[0] for r in group.records])

    def task_deltas(self, group: Group) -> dict[str, float]:
        """Each task's own delta-T in percent, positive = better than dense; empty without a reference."""
        if self.reference is None or group is self.reference:
            return {}
        return _delta(group.results, self.reference.results, group.first.higher_is_better, "mean")[1]


def compare(records: Sequence[RunRecord]) -> Comparison:
    """Groups seeds and finds the reference: the first run if it is dense, otherwise the first dense one.

    A folder that is there twice counts once.

    Raises:
        ValueError: If there is no run, or the runs have different tasks or metrics, or figures of different splits, or two
            folders hold the same run.
    """
    if not records:
        raise ValueError("report: folders is empty; give at least one run folder.")
    records = distinct(records)
    first = records[0]
    for record in records[1:]:
        if _metric_names(record) != _metric_names(first) or record.higher_is_better != first.higher_is_better:
            raise ValueError(
                f"{first.folder} and {record.folder} have different tasks, metrics or directions of better "
                f"({_describe(first)} against {_describe(record)}); report them separately."
            )
        if record.split != first.split:
            raise ValueError(
                f"{first.folder} has figures of the {first.split} split, {record.folder} of the {record.split} split; give the "
                "command that trained the latter again with the --split of the other."
            )
    by_key: dict[str, list[RunRecord]] = {}
    for record in records:
        by_key.setdefault(_key(record), []).append(record)
    for members in by_key.values():
        held: dict[int, RunRecord] = {}
        for record in members:
            if (other := held.setdefault(record.seed, record)) is not record:
                places = [r.config.get("device") or "auto" for r in (other, record)]
                where = "" if places[0] == places[1] else f" on devices {places[0]} and {places[1]}"
                raise ValueError(
                    f"{other.folder} and {record.folder} hold the same run, of seed {record.seed}{where}, and would count as two; give "
                    "one, or make a report of each."
                )
    named = zip(labels(list(by_key.values())), by_key.values(), strict=True)
    groups = tuple(Group(label, tuple(members)) for label, members in named)
    reference = next((g for g in groups if g.first.dense), None)
    return Comparison(tuple(records), groups, reference, tuple(_notices(records, groups, reference)))


def distinct(records: Sequence[RunRecord]) -> list[RunRecord]:
    """The records without those of a folder that is there already, by whatever path; a pruned one may stand for its dense network too."""
    found: dict[tuple[Path, bool], RunRecord] = {}
    for record in records:
        found.setdefault((record.folder.resolve(), record.dense), record)
    return list(found.values())


def _delta(
    results: Results,
    dense: Results,
    higher_is_better: Mapping[str, Mapping[str, bool]],
    reduce: Literal["mean", "sum"],
) -> tuple[float, dict[str, float]]:
    if any(value == 0 for metrics in dense.values() for value in metrics.values()):
        return math.nan, {}  # a dense network that scores nothing somewhere: no relative difference to it
    found = delta_t(results, dense, higher_is_better, reduce=reduce)
    return found.overall, dict(found.tasks)


def _metric_names(record: RunRecord) -> dict[str, set[str]]:
    return {task: set(metrics) for task, metrics in record.tasks.items()}


def _describe(record: RunRecord) -> str:
    return "; ".join(f"{task}: {', '.join(metrics)}" for task, metrics in record.tasks.items())


def _key(record: RunRecord) -> str:
    """What two runs must share to count as seeds of one another."""
    settings = {key: value for key, value in record.config.items() if key not in ("seed", "out", "device")}
    return json.dumps([record.method, record.weighting, settings], sort_keys=True, default=str)


def _notices(records: Sequence[RunRecord], groups: Sequence[Group], reference: Group | None) -> list[str]:
    notices: list[str] = []
    if reference is None:
        notices.append(
            "No dense run is among these folders, so there is nothing to compare with: differences and "
            "\N{GREEK CAPITAL LETTER DELTA}T are left out. Add the folder of a dense run to see them."
        )
    first = records[0]
    data = [r.name for r in records if r.config.get("data") != first.config.get("data")]
    if data:
        notices.append(
            f"The data settings of {listing(data)} differ from those of {first.name}; compare with care."
        )
    for group in groups:
        if reference is None:
            break
        told = [t for t in unlike(reference.first.config, group.first.config) if not t.startswith(_TOLD)]
        if told:
            notices.append(
                f"{group.label} and its dense reference {reference.label} differ in more than the method, so "
                f"\N{GREEK CAPITAL LETTER DELTA}T says this too: {'; '.join(told)}."
            )
    for record in records:
        if record.dead:
            notices.append(f"{record.name}: {dead_said(record.dead)}")
    inputs = [r.name for r in records if r.macs.input != first.macs.input]
    if inputs:
        notices.append(
            f"The input size of {listing(inputs)} differs from that of {first.name}; so do the MACs."
        )
    return notices
