"""Which of the figures in a run folder are of the network that it would deploy, and which of another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from secateur.runs.report.formats import listing

_AGAIN = "measured before compact; run bench again"


@dataclass(frozen=True)
class Standing:
    """What can be shown side by side.

    Args:
        files: The content of each file, ``bench.json`` as its timings, without what is of another network.
        gone: What was left out and why, in sentences.
    """

    files: Mapping[str, Any]
    gone: tuple[str, ...] = ()


def standing(files: Mapping[str, Any], present: str | None = None) -> Standing:
    """Sorts out the figures of another network than the one in the folder.

    Args:
        files: The content of ``budget.json``, ``compact.json``, ``exports.json`` and ``bench.json``, of those that are there.
        present: The :func:`~secateur.runs.kept.mark` of that network, where it is known.
    """
    kept, gone = dict(files), list[str]()
    _, after = before_and_after(files)
    if "bench.json" in files:
        held = list[Any]()
        for one in files["bench.json"]:
            own = one["bench"]["networks"][one["network"]]["params"]
            if _is_another(one, present) or (not one.get("of") and own != after.get("params", own)):
                where = listing(list(one["bench"]["measures"]))
                old = "compact.json" in files and own == files["compact.json"]["before"]["params"]
                why = _AGAIN if old else "measured of another network than the one here; run bench again"
                gone.append(f"Time, memory and file in {where}: {why}.")
            else:
                held.append(one)
        kept["bench.json"] = held
        if not held:
            del kept["bench.json"]
    if "exports.json" in files:
        stale = [name for name, made in files["exports.json"].items() if _is_another(made, present)]
        kept["exports.json"] = {k: v for k, v in files["exports.json"].items() if k not in stale}
        when = "before compact" if "compact.json" in files else "from another network than the one here"
        gone += [f"{name} was exported {when}; run export again." for name in stale]
    return Standing(kept, tuple(gone))


def before_and_after(files: Mapping[str, Any]) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Parameters and multiply-adds of the network that it all began with and of the one in the folder; empty where nothing was taken out.

    A network that was pruned and then compacted began as the one that was pruned.
    """
    cut, pruned = files.get("compact.json") or {}, files.get("budget.json") or {}
    if "before" not in cut:
        return (pruned["before"], pruned["after"]) if "before" in pruned else ({}, {})
    if "before" not in pruned:
        return cut["before"], cut["after"]
    first = {
        key: pruned["before"][key] if pruned["after"][key] == value else value
        for key, value in cut["before"].items()
    }
    return first, cut["after"]


def compared(files: Mapping[str, Any]) -> list[Any]:
    """The timings of the network beside the one that it was before, the last one first."""
    before = before_and_after(files)[0].get("params")
    return [
        one
        for one in files.get("bench.json", ())
        if one["network"] != (against := one["bench"]["against"])
        and before in (None, one["bench"]["networks"][against]["params"])
    ]


def _is_another(made: Any, present: str | None) -> bool:
    return bool(present and made.get("of") and made["of"] != present)
