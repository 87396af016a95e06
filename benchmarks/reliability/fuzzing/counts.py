"""What was counted, piece by piece, and the table of it in docs/reliability.md."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
RESULT, PAGE = ROOT / "docs" / "results" / "fuzz.json", ROOT / "docs" / "reliability.md"
COUNTS = ("inputs", "accepted", "refused", "crashes", "wrong")
PACKAGES = ("atheris", "torch", "safetensors", "pyyaml")
HEAD = "| what is read | inputs | accepted | refused | crashes | wrong acceptances |"
_TABLE = re.compile(rf"{re.escape(HEAD)}\n(\|.*\n)+")


def recorded(done: dict[str, Any]) -> None:
    """Adds a piece to the file, and the sums to the page."""
    held = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.is_file() else {"pieces": []}
    held |= {
        "command": "python benchmarks/reliability/fuzz.py --minutes 10",
        "hardware": f"one of {os.cpu_count()} cores, {platform.system()} {platform.machine()}, shared with other work",
        "versions": {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
    }
    held["pieces"].append(done)
    RESULT.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")
    if PAGE.is_file():
        text = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(_TABLE.sub(lambda _: table(held) + "\n", text), encoding="utf-8")


def table(held: Mapping[str, Any]) -> str:
    """Sums over the pieces, a target a row."""
    sums: dict[str, list[int]] = {}
    for piece in held["pieces"]:
        row = sums.setdefault(piece["target"], [0] * len(COUNTS))
        sums[piece["target"]] = [a + piece[name] for a, name in zip(row, COUNTS, strict=True)]
    rows = [*sorted(sums.items()), ("all", [sum(column) for column in zip(*sums.values(), strict=True)])]
    lines = [f"| {name} | {' | '.join(f'{n:,}'.replace(',', ' ') for n in row)} |" for name, row in rows]
    return "\n".join([HEAD, "| --- " * 6 + "|", *lines])
