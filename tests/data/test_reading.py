"""Files that several threads read at once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secateur.data.reading import load


def test_two_threads_do_not_parse_headers_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CPython before 3.13 counts the depth of its parser for all threads together, and then calls a whole file corrupt."""
    path = tmp_path / "a.npy"
    np.save(path, np.arange(4))
    inside, most, read = 0, 0, np.load

    def slow(*arguments: Any, **options: Any) -> Any:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.002)
        found = read(*arguments, **options)
        inside -= 1
        return found

    monkeypatch.setattr(np, "load", slow)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(load, [path] * 12))
    assert most == 1
    assert all((array == np.arange(4)).all() for array in found)
