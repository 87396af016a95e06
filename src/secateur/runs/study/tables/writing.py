"""The files of a comparison, as of what is finished."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.runs.folder import RunFolder
from secateur.runs.study.cells import Cell
from secateur.runs.study.results import Results
from secateur.runs.study.tables import table
from secateur.runs.study.tables.latex import About, long, short
from secateur.runs.study.tables.notes import note
from secateur.runs.study.tables.page import Picture, page
from secateur.storage import write_aside, write_text

if TYPE_CHECKING:
    from secateur.runs.report import Drawing

_SPARSITY = (
    "Bands are 95 % confidence intervals of the mean over seeds; one that is wider than the picture is left out. The steps of the "
    "axis are the densities asked for."
)
_OVER = (
    "Bands are standard deviations over seeds, of ΔT 95 % confidence intervals; one that is wider than the picture is left out. ΔT is against the dense run with the same value, where "
    "it has the option. The steps of the axis are the values asked for."
)


def write_tables(results: Results, seen: Results, cells: Sequence[Cell], out: Path, command: str) -> None:
    """Writes tables and drawings; nothing where nothing is finished.

    Args:
        results: With all columns.
        seen: With those that were asked for.
        cells: All runs.
        out: Folder of the comparison.
        command: For the record.
    """
    reports = [r for cell in cells if (r := RunFolder(out / cell.name).read_report()) is not None]
    if not reports:
        return
    record = {
        "command": command,
        "hardware": sorted({report["hardware"] for report in reports}),
        "versions": reports[0]["versions"],
        "arms": table.to_dict(results),
    }  # fmt: skip
    write_text(out / "results.json", json.dumps(record, indent=1) + "\n")
    write_text(out / "table.txt", table.plain(seen))
    write_text(out / "table.csv", table.to_csv(results))
    write_text(out / "table.md", f"{table.to_markdown(seen)}\n{note(seen, 'italics')}\n")
    about = About(_slug(out), str(cells[0].config.get("data", {}).get("name", "")))
    write_text(out / "table.tex", short(seen, about))
    write_text(out / "table_long.tex", long(results, about))
    there = [path for path in (*out.glob("over_*"), *out.glob("curve.*")) if path.suffix in (".svg", ".pdf")]
    drawn = _drawn(seen, there)
    write_drawings(drawn or {}, out)
    if drawn is not None:
        for old in there:  # those of other columns or values, or of none, go
            if old.name.removesuffix(old.suffix) not in drawn:
                old.unlink(missing_ok=True)
    drawn = drawn or {}
    pictures = [_picture(name, drawing) for name, drawing in drawn.items()]
    write_text(out / "table.html", page(seen, command, pictures, out))


def write_drawings(drawn: Mapping[str, Drawing | None], out: Path) -> None:
    """Each as SVG and PDF; those that are None are left out."""
    for name, drawing in drawn.items():
        if drawing is None:
            continue
        from secateur.runs.report import standalone  # takes matplotlib

        write_text(out / f"{name}.svg", standalone(drawing.svg()))
        content = drawing.pdf()
        write_aside(out / f"{name}.pdf", lambda aside, content=content: aside.write_bytes(content))


def _drawn(results: Results, there: Sequence[Path]) -> dict[str, Drawing] | None:
    """What there is to draw; None where matplotlib is not installed, which is said once, and ``there`` is left as it is."""
    try:
        from secateur.runs.study.tables.figures import drawings
    except ImportError as error:
        names = ", ".join(sorted(path.name for path in there))
        left = f" Those of an earlier call stay as they were: {names}." if there else ""
        warnings.warn(
            f"Figures are left out: they need matplotlib ({error}); pip install matplotlib.{left}",
            stacklevel=2,
        )
        return None
    return drawings(results)


def _picture(name: str, drawing: Drawing) -> Picture:
    if name == "curve":
        return "ΔT over sparsity", drawing.svg(), _SPARSITY
    return f"Over {name.removeprefix('over_')}", drawing.svg(), _OVER


def _slug(out: Path) -> str:
    """The folder's name as a label of LaTeX."""
    return re.sub(r"[^A-Za-z0-9]+", "-", out.resolve().name).strip("-") or "results"
