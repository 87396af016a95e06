"""The house in numbers: rooms, floors, arrows and lengths of files, as docs/design.md quotes them.

python benchmarks/house.py
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from test_layers import FILES, FLOORS, arrows


def main() -> None:
    """Prints two lines."""
    lengths = sorted(len(path.read_text(encoding="utf-8").splitlines()) for path in FILES)
    up = [(own, other) for own, other in arrows() if FLOORS[other] > FLOORS[own]]
    print(f"{len(FLOORS)} rooms on {len(set(FLOORS.values()))} floors, {len(arrows())} arrows, {len(up)} up")
    print(f"{len(FILES)} files, median {statistics.median(lengths):.0f} lines, longest {lengths[-1]}")


if __name__ == "__main__":
    main()
