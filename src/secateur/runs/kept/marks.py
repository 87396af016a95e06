"""Which network a figure is of."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

from secateur.runs.folder import RunFolder
from secateur.storage import manifest


def mark(path: Path) -> str | None:
    """What tells the network that a run would deploy from any other, by the checksums in its weight file; None where that cannot be read."""
    folder = RunFolder(path)
    try:
        held = manifest(folder.compact if folder.compact.is_file() else folder.weights)["tensors"]
    except (OSError, ValueError):
        return None
    return f"{zlib.crc32(json.dumps(held, sort_keys=True).encode()):08x}"
