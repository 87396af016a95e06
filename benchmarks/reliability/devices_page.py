"""The tables of docs/scale.md that devices.py writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[2] / "docs"
MARKS = ("<!-- {}: written by benchmarks/reliability/devices.py -->", "<!-- end of {} -->")


def tables(made: dict[str, Any]) -> dict[str, str]:
    """The tables of the page, by their marks."""
    rows = [
        "| recipe | largest in float64 | largest | mean | other zeros | largest, other kernels | other zeros | messages a step | kB a step |"
    ]
    rows += ["| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for name, f in sorted(made.get("recipes", {}).items()):
        kernels = f"{f['kernels_largest']:.1e} | {f['kernels_other_zeros']}"
        sent = f"{f['messages']} | {f['bytes'] / 1000:.1f}"
        rows.append(
            f"| {name} | {f['double_largest']:.1e} | {f['largest']:.1e} | {f['mean']:.1e} | {f['other_zeros']} | {kernels} | {sent} |"
        )
    ways = ["| recipe | gone on by | largest | mean | other zeros |", "| --- | --- | --- | --- | --- |"]
    for name, by in sorted(made.get("killed", {}).items()):
        for count in ("1", "2", "3"):
            f = by[count]
            ways.append(f"| {name} | {count} | {f['largest']:.1e} | {f['mean']:.1e} | {f['other_zeros']} |")
    return {"processes": "\n".join(rows), "killed": "\n".join(ways)}


def write_page(made: dict[str, Any]) -> None:
    """Puts the tables between their marks."""
    page = DOCS / "scale.md"
    text = page.read_text(encoding="utf-8")
    for name, table in tables(made).items():
        begin, end = (mark.format(name) for mark in MARKS)
        if begin in text:
            before, _, rest = text.partition(begin)
            text = f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
    page.write_text(text, encoding="utf-8")
