"""A file that is not what was written is refused with the model untouched, or gives the very same values."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from problems import TwoHeads, equal
from secateur.storage import load, load_snapshot, manifest, named_tensors, save, save_snapshot
from stored_networks import KINDS

TRIES = 1500  # a kind of file


def mutated(data: bytes, draw: random.Random, header: int) -> bytes:
    """One bit, one byte, a few of them, in the header or anywhere; a piece less, a piece twice."""
    changed = bytearray(data)
    way = draw.randrange(6)
    if way == 0:
        return bytes(changed[: draw.randrange(len(data))])
    if way == 1:
        at = draw.randrange(len(data))
        piece = draw.randrange(1, 9)
        return bytes(changed[:at] + changed[at : at + piece] * draw.choice((0, 2)) + changed[at + piece :])
    for _ in range(draw.choice((1, 1, 1, 4))):
        at = draw.randrange(header if way < 4 else len(data))
        changed[at] = changed[at] ^ (1 << draw.randrange(8)) if way % 2 else draw.randrange(256)
    return bytes(changed)


def refusal(read: Callable[[], object], path: Path) -> str | None:
    """What was said of the file; None if it was taken."""
    try:
        read()
    except ValueError as error:
        return str(error) if str(path) in str(error) else pytest.fail(f"without the file's name: {error}")
    return None


@pytest.mark.parametrize("name", KINDS)
def test_weights(name: str, tmp_path: Path) -> None:
    made, fresh = (make() for make in KINDS[name])
    path = save(made, tmp_path / "m.safetensors", {"tasks": ["colour"]})
    data, draw = path.read_bytes(), random.Random(0)
    header = 8 + int.from_bytes(data[:8], "little")
    right, before = made.state_dict(), {n: v.clone() for n, v in fresh.state_dict().items()}
    about = manifest(path)
    refused, seen = 0, list[Any]()
    for _ in range(TRIES):
        changed = mutated(data, draw, header)
        path.write_bytes(changed)
        if refusal(lambda: seen.append(manifest(path)), path) is None:
            assert seen.pop() == about
        if refusal(lambda: load(fresh, path), path) is not None:  # noqa: B023 (called at once)
            refused += 1
            assert equal(before, fresh.state_dict())
        else:
            assert equal(right, fresh.state_dict())
            fresh = KINDS[name][1]()
            before = {n: v.clone() for n, v in fresh.state_dict().items()}
    assert refused > 0.8 * TRIES


def test_checkpoints(tmp_path: Path) -> None:
    model = TwoHeads(4)
    tensors, path = named_tensors(model), tmp_path / "c.pt"
    save_snapshot(path, tensors, {"step": 3, "method": {"masks": None, "level": 0.5}}, [{"step": 3}])
    data, draw = path.read_bytes(), random.Random(0)
    right = load_snapshot(path, tensors)
    refused, seen = 0, list[Any]()
    for _ in range(TRIES):
        changed = mutated(data, draw, 1000)
        path.write_bytes(changed)
        if refusal(lambda: seen.append(load_snapshot(path, tensors)), path) is not None:
            refused += 1
        else:
            found = seen.pop()
            assert equal(right["model"], found["model"])
            assert {**found, "model": 0} == {**right, "model": 0}
    assert refused > 0.8 * TRIES
