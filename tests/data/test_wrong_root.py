"""A folder given by mistake is not looked through to its end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from secateur.data import arrow
from secateur.data.arrow import files_by_split, has_files


def _laid(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


@pytest.mark.parametrize(
    "name",
    [
        ".cache/data/train.parquet",
        ".venv/lib/x/train.parquet",
        "env/lib/site-packages/pyarrow/tests/train.parquet",
        "project/node_modules/a/train.parquet",
        "code/__pycache__/train.parquet",
        "a/b/c/d/e/f/train.parquet",
        ".cache/state.json",
    ],
)
def test_what_is_no_data_is_not_taken_for_it(name: str, tmp_path: Path) -> None:
    _laid(tmp_path, name, "notes/readme.txt")
    assert not has_files(tmp_path)
    with pytest.raises(FileNotFoundError, match="give the folder of one"):
        files_by_split(tmp_path)


def test_an_environment_is_known_by_its_file(tmp_path: Path) -> None:
    _laid(tmp_path, "mine/pyvenv.cfg", "mine/share/train.parquet")
    assert not has_files(tmp_path)


def test_every_layout_of_the_hub_is_found(tmp_path: Path) -> None:
    root = tmp_path / ".cache" / "snapshots" / "abc"
    _laid(root, "data/train-00000.parquet", "default/test/0000.parquet", "val.parquet", ".git/train.parquet")
    assert {split: len(files) for split, files in files_by_split(root).items()} == {
        "train": 1,
        "test": 1,
        "validation": 1,
    }


def test_the_search_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(60):
        _laid(tmp_path, f"{number}/a/b/x.txt")
    seen: list[str] = []
    walk = os.walk

    def counted(root: Path, **settings: Any):
        for found in walk(root, **settings):
            seen.append(found[0])
            yield found

    monkeypatch.setattr(arrow, "_MOST_FOLDERS", 20)
    monkeypatch.setattr(os, "walk", counted)
    assert not has_files(tmp_path)
    assert len(seen) <= 21
