"""Files that are whole and wrong, of another network or of an older format: taken as they were written, or refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from problems import equal, two_heads
from secateur import compact
from secateur.storage import load, manifest, save
from stored_networks import KINDS, compacted

Change = Callable[[dict[str, Any], dict[str, Tensor]], object]


def one_number(content: dict[str, Any], stored: dict[str, Tensor]) -> None:
    stored["weight"] = torch.ones(1)


def other_dtype(content: dict[str, Any], stored: dict[str, Tensor]) -> None:
    stored["weight"] = stored["weight"].double()


def surplus(content: dict[str, Any], stored: dict[str, Tensor]) -> None:
    stored["more"] = torch.ones(1)


def absent(content: dict[str, Any], stored: dict[str, Tensor]) -> None:
    del stored["weight"]


def itself(content: dict[str, Any], stored: dict[str, Tensor]) -> None:
    content["tensors"]["weight"] = {"shape": [8, 8], "dtype": "float32", "same_as": "weight"}


def negative(content: dict[str, Any], stored: dict[str, Tensor]) -> None:
    content["tensors"]["weight"]["shape"] = [-8, -8]


def packed(content: dict[str, Any], stored: dict[str, Tensor]) -> None:
    content["tensors"]["weight"]["packed"] = True
    stored["weight:bits"], stored["weight:values"] = torch.zeros(8, dtype=torch.uint8), torch.ones(1)


def entries_that_are_none(content: dict[str, Any], stored: dict[str, Tensor]) -> None:
    content["tensors"]["weight"] = 1.5


def nothing_about(content: dict[str, Any], stored: dict[str, Tensor]) -> None:
    content["about"] = None


def a_name_without_end(content: dict[str, Any], stored: dict[str, Tensor]) -> None:
    content["tensors"]["w" * 9000] = content["tensors"].pop("weight")


def no_entries(content: dict[str, Any], stored: dict[str, Tensor]) -> None:
    content["tensors"] = []


def record(**changed: Any) -> Change:
    def change(content: dict[str, Any], stored: dict[str, Tensor]) -> None:
        whole = {"kept": {}, "constants": {}, "biases": [], "pinned": {}, "channels": [8, 8]}
        content["compaction"] = {**whole, **changed}

    return change


RECORDS = [
    record(kept={"weight": {"0": [-1, 0, 1, 2, 3, 4, 5, 6]}}),
    record(kept={"weight": {"0": [0, 0, 1, 2, 3, 4, 5, 6]}}),
    record(kept={"weight": {"-1": [0, 1, 2, 3, 4, 5, 6, 7]}}),
    record(kept={"weight": {"0": [0, 1, 2, 3, 4, 5, 6, 10**30]}}),
    record(kept={"weight": {"0": "abc"}}),
    record(kept=[]),
    record(kept={"weight": {"0": []}}),
    record(kept={"w" * 9000: {"0": [0]}}),
    record(constants={"": {"channels": 10**12, "kernel": []}}),
    record(constants={"": {"channels": -1, "kernel": []}}),
    record(constants={"": {"channels": 8, "kernel": [[0, 0, 0, 0]]}}),
    record(biases=["none"]),
    record(biases=3),
    record(channels=[1]),
    record(channels=None),
]
NAMELESS = [entries_that_are_none, nothing_about, a_name_without_end]
CHANGES = [
    one_number,
    other_dtype,
    surplus,
    absent,
    itself,
    negative,
    packed,
    no_entries,
    *NAMELESS,
    *RECORDS,
]


@pytest.mark.parametrize("old", [False, True], ids=["sealed", "as format 1"])
@pytest.mark.parametrize("change", CHANGES)
def test_files_that_are_whole_and_wrong(change: Change, old: bool, tmp_path: Path) -> None:
    """Written by somebody who gets checksums right, or in the format that had none."""
    model = nn.Linear(8, 8)
    before = {n: v.clone() for n, v in model.state_dict().items()}
    path = save(model, tmp_path / "m.safetensors")
    with safe_open(path, framework="pt") as file:
        stored = {n: file.get_tensor(n).clone() for n in file.keys()}  # noqa: SIM118
        content = json.loads(file.metadata()["secateur"])
    change(content, stored)
    rewrite(path, content, stored, old)
    with pytest.raises(ValueError, match=r"m\.safetensors") as refused:
        load(model, path)
    assert len(str(refused.value)) < 600
    assert equal(before, model.state_dict())
    assert (model.in_features, model.out_features) == (8, 8)


@pytest.mark.parametrize("change", [no_entries, entries_that_are_none, nothing_about, negative])
def test_a_manifest_alone_is_checked_too(change: Change, tmp_path: Path) -> None:
    path = save(nn.Linear(8, 8), tmp_path / "m.safetensors")
    with safe_open(path, framework="pt") as file:
        stored = {n: file.get_tensor(n).clone() for n in file.keys()}  # noqa: SIM118
        content = json.loads(file.metadata()["secateur"])
    change(content, stored)
    rewrite(path, content, stored, old=False)
    with pytest.raises(ValueError, match=r"m\.safetensors is damaged"):
        manifest(path)


def rewrite(path: Path, content: dict[str, Any], stored: dict[str, Tensor], old: bool) -> None:
    from secateur.storage.packing import checksum
    from secateur.storage.saving import _sealed  # pyright: ignore[reportPrivateUsage]

    for name, entry in content["tensors"].items() if isinstance(content["tensors"], dict) else ():
        parts = [part for part in (name, f"{name}:bits", f"{name}:values") if part in stored]
        if not isinstance(entry, dict):
            continue
        entry["crc32"] = {part: checksum(stored[part]) for part in parts}
        if old:
            del entry["crc32"]
    content["format"] = 1 if old else 2
    text = json.dumps(content)
    seal = {} if old else {"secateur crc32": _sealed(text)}
    save_file(stored, path, metadata={"secateur": text, **seal})


@pytest.mark.parametrize("name", KINDS)
def test_files_of_format_1_are_read(name: str, tmp_path: Path) -> None:
    made, fresh = (make() for make in KINDS[name])
    path = save(made, tmp_path / "m.safetensors")
    with safe_open(path, framework="pt") as file:
        stored = {n: file.get_tensor(n).clone() for n in file.keys()}  # noqa: SIM118
        content = json.loads(file.metadata()["secateur"])
    rewrite(path, content, stored, old=True)
    assert equal(load(fresh, path).state_dict(), made.state_dict())


def test_weights_of_another_precision_are_refused(tmp_path: Path) -> None:
    path = save(nn.Linear(8, 8), tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match=r"weight: file float32 \(8, 8\), model float64 \(8, 8\)"):
        load(nn.Linear(8, 8).double(), path)


def test_a_network_cut_otherwise_is_refused(tmp_path: Path) -> None:
    small, other = compacted(), two_heads(width=8)
    path = save(small, tmp_path / "m.safetensors")
    with torch.no_grad():
        other.model.trunk[4].weight[:3] = 0
        other.model.trunk[4].bias[:3] = 0
        other.model.shade[0].weight[5] = 0
        other.model.shade[0].bias[5] = 0
    with pytest.raises(ValueError, match="other channels were removed"):
        load(compact(other.model, other.train[0][0]), path)
    assert equal(load(small, path).state_dict(), small.state_dict())


def test_weights_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    model = nn.Linear(8, 8)
    path = save(model, tmp_path / "m.safetensors")
    whole = path.read_bytes()
    with torch.no_grad():
        model.weight[0, 0] = torch.nan
    with pytest.raises(FloatingPointError, match="weight of the model are NaN"):
        save(model, path)
    assert path.read_bytes() == whole
