"""The timings of a run, in ``bench.json``: the last one, and of those before it what was not measured again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, cast

from secateur.deployment.bench import Bench
from secateur.runs.folder import RunFolder
from secateur.storage import write_text

Timed = dict[str, Any]
_WRONG = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)
_BY_ENGINE = ("measures", "times")


def keep_bench(folder: RunFolder, network: str, made: Bench, of: str | None) -> None:
    """Writes a timing beside a run, with the earlier ones that still hold.

    Args:
        folder: The run.
        network: What the timing calls the run's own network.
        made: The timing.
        of: The network's :func:`~secateur.runs.kept.mark`.

    Raises:
        OSError: If it cannot be written.
    """
    last: Timed = {"network": network, "of": of, "bench": made.to_dict()}
    try:
        before = (
            benches(json.loads(folder.bench.read_text(encoding="utf-8"))) if folder.bench.is_file() else []
        )
        others = [left for one in before if (left := _left(one, last))]
    except _WRONG:  # damaged: nothing of it can be kept
        others = []
    write_text(folder.bench, json.dumps({**last, "others": others}, indent=1))


def benches(content: Mapping[str, Any]) -> list[Timed]:
    """The timings in ``bench.json``, the last one first: each with ``network``, ``of`` and ``bench``."""
    last = {key: value for key, value in content.items() if key != "others"}
    return [last, *cast("list[Timed]", content.get("others") or [])]


def _left(one: Timed, last: Timed) -> Timed | None:
    """What an earlier timing still says beside the last one; None where it is of another network, or all was measured again."""
    held, new = one["bench"], last["bench"]
    known, against = one.get("of"), held["against"]
    if known and last["of"]:
        if known != last["of"]:
            return None
    elif not _same(held["networks"][one["network"]], new["networks"][last["network"]]):
        return None
    if against in new["networks"] and not _same(held["networks"][against], new["networks"][against]):
        return None  # what it was timed beside is no longer what it was
    again = [engine for engine in held["measures"] if engine in new["measures"]]
    if _setting(held) != _setting(new) or not again:
        return one
    if len(again) == len(held["measures"]):
        return None
    named = re.compile(rf"\b({'|'.join(map(re.escape, again))})\b")
    kept: dict[str, Any] = {
        key: {engine: found for engine, found in (held.get(key) or {}).items() if engine not in again}
        for key in _BY_ENGINE
    }
    kept["advice"] = [said for said in held.get("advice") or () if not named.search(said)]
    if "sparse" in again:
        kept["layers"] = {}
    return {**one, "bench": {**held, **kept}}


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one["params"] == other["params"]


def _setting(bench: Mapping[str, Any]) -> tuple[Any, ...]:
    settings, machine = bench["settings"], bench["machine"]
    how = (settings.get("threads"), settings.get("precision"))
    return (bench["against"], bench["inputs"], *how, machine.get("processor"))
