"""What a run was set to otherwise than its reference, setting by setting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secateur.runs.report.naming import flat
from secateur.runs.report.record import RunRecord

_NONE = "not set"


def differing(record: RunRecord, reference: RunRecord | None) -> tuple[tuple[str, str, str], ...]:
    """Setting, its value in the reference and in the run; empty without a reference, or of the reference itself."""
    if reference is None or reference is record:
        return ()
    return settings_unlike(reference.config, record.config)


def settings_unlike(there: Mapping[str, Any], here: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    """Setting, its value in one configuration and in another, where the two are not the same."""
    held, asked = dict(flat(there)), dict(flat(here))
    names = [name for name in dict.fromkeys([*held, *asked]) if name not in ("out", "device")]
    rows = [(name, _text(held, name), _text(asked, name)) for name in names]
    return tuple(row for row in rows if row[1] != row[2])


def _text(settings: dict[str, Any], name: str) -> str:
    return str(settings[name]) if settings.get(name) is not None else _NONE
