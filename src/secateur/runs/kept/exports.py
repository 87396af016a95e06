"""Which files were exported from a run, in ``exports.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from secateur.runs.folder import RunFolder
from secateur.runs.written import said
from secateur.storage import write_text


def keep_export(folder: RunFolder, file: Path, facts: Mapping[str, Any]) -> None:
    """Notes an exported file: one in the run folder by its name, any other by its whole path, so that neither takes the other's place.

    Raises:
        OSError: If it cannot be written.
        ValueError: If what was noted before is damaged.
    """
    known: Any = {}
    try:
        if folder.exports.is_file():
            known = json.loads(folder.exports.read_text(encoding="utf-8"))
        held = dict(cast("dict[str, Any]", known))
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{folder.exports} cannot be read ({said(error)}), so {file} is not noted there; delete it."
        ) from error
    place = file.resolve()
    name = place.name if place.parent == folder.path.resolve() else str(place)
    write_text(folder.exports, json.dumps({**held, name: dict(facts)}, indent=1))
