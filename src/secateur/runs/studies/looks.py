"""Studies of finished runs: what each looks at, and the files that it leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from secateur.problem import preserved_rng
from secateur.runs.names import Trust
from secateur.runs.report import distinct, labels, read_run
from secateur.runs.result import finite
from secateur.runs.studies.looked import Look, markdown_of
from secateur.runs.studies.plan import claim
from secateur.runs.studies.profiles import profile_of
from secateur.runs.studies.recorded import allocation_of, weights_of
from secateur.runs.studies.sensitive import sensitivity_of
from secateur.runs.study import write_drawings
from secateur.storage import write_text


@preserved_rng()
def look(
    name: str,
    runs: Sequence[Path],
    out: Path,
    *,
    by: Literal["component", "layer"] = "component",
    densities: Sequence[float] = (),
    limit: int | None = None,
    trust: Trust | None = None,
    device: str = "auto",
    on_done: Callable[[str], object] | None = None,
) -> Look:
    """Looks at finished runs, and writes ``<name>.json``, ``.md`` and pictures into ``out``.

    Args:
        name: sensitivity, allocation, weights or profile.
        runs: Their folders.
        out: Folder.
        by: Of sensitivity: what is pruned at a time.
        densities: Of sensitivity: kept shares; its own if empty.
        limit: Of sensitivity: validation batches at most.
        trust: Whose parts may be imported; ours alone if None.
        device: Of sensitivity: where the network runs.
        on_done: Called with what is done.

    Raises:
        FileNotFoundError: If a run is not finished.
        ValueError: If the runs have nothing to show, or ``out`` holds a study with other options; nothing is written then.
    """
    records = distinct([read_run(path) for path in runs])
    runs = [record.folder for record in records]
    settings: dict[str, Any] = {"runs": [str(path) for path in runs]}
    if name == "sensitivity":
        if len(runs) != 1:
            raise ValueError(f"study sensitivity looks at one run, and {len(runs)} are given; name one.")
        kept = tuple(densities) or ((0.5, 0.2, 0.1) if by == "component" else (0.1,))
        settings |= {"by": by, "densities": list(kept), "limit": limit}
        claim(out, name, settings, make=False)
        found = sensitivity_of(runs[0], by, kept, limit, trust, device, on_done)
    else:
        titles = labels([[record] for record in records])
        kinds = {
            "allocation": partial(allocation_of, trust=trust),
            "weights": weights_of,
            "profile": partial(profile_of, trust=trust),
        }
        found = kinds[name](records, titles)
    claim(out, name, settings)
    write_text(out / f"{name}.json", json.dumps(finite(found.figures), indent=1) + "\n")
    write_text(out / f"{name}.md", markdown_of(found))
    write_drawings(found.pictures, out)
    return found
