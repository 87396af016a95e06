"""What fuzzing has found is answered as it should be, and the fuzzer would see if it were not."""

from __future__ import annotations

import importlib
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
TARGETS = (
    "weights", "compacted", "manifest", "checkpoint", "folder", "recipe", "config", "names", "program", "description",
)  # fmt: skip


@pytest.fixture
def fuzz(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "reliability"))
    found = importlib.import_module("fuzz")
    target = importlib.import_module("fuzzing.target")
    for name in ("weights", "checkpoints", "folders", "recipes", "described"):
        module = importlib.import_module(f"fuzzing.{name}")
        monkeypatch.setattr(module, "memory", lambda: tmp_path / "fuzz")
    (tmp_path / "fuzz").mkdir()
    for module, name in (("config", "parser_of"), ("written", "get_type_hints")):  # put back at the end
        monkeypatch.setattr(importlib.import_module(f"secateur.runs.{module}"), name, None)
    assert set(found.targets()) == set(TARGETS)
    found.WrongError = target.WrongError
    return found


def test_the_page_has_the_sums_of_what_was_counted(fuzz: Any) -> None:
    counts = importlib.import_module("fuzzing.counts")
    held = json.loads(counts.RESULT.read_text(encoding="utf-8"))
    assert counts.table(held) in counts.PAGE.read_text(encoding="utf-8")
    assert {piece["target"] for piece in held["pieces"]} <= set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_is_answered(name: str, fuzz: Any) -> None:
    """Whole files are taken, and every other is one or the other; a crash or a wrong answer raises."""
    target = fuzz.made(name)
    whole = [target.check(data) for data in target.seeds()]
    assert all(whole) or (name == "names" and any(whole))
    answers = [target.check(data) for data in fuzz.corpus(name)]
    assert False in answers


@pytest.mark.parametrize("name", TARGETS)
def test_a_few_mutations_are_answered(name: str, fuzz: Any) -> None:
    target, draw = fuzz.made(name), random.Random(0)
    seeds, refused = target.seeds(), 0

    def raw(data: bytes) -> bytes:
        at = draw.randrange(len(data) or 1)
        return data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :]

    for _ in range(25):
        refused += not target.check(target.mutate(draw.choice(seeds), draw, raw))
    assert refused


def test_a_wrong_acceptance_is_seen(fuzz: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With checksums that are not looked at, one other bit is taken, and that is found."""
    target = fuzz.made("weights")
    (data, _) = target.seeds()
    packing = importlib.import_module("secateur.storage.packing")
    saving = importlib.import_module("secateur.storage.saving")
    monkeypatch.setattr(
        saving, "unpack", lambda entries, stored, sealed: packing.unpack(entries, stored, sealed=False)
    )
    at = 8 + int.from_bytes(data[:8], "little")  # of the first value
    with pytest.raises(fuzz.WrongError, match="checksum of"):
        target.check(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def test_a_change_by_what_is_refused_is_seen(fuzz: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    target = fuzz.made("weights")
    saving = importlib.import_module("secateur.storage.saving")

    def load(model: Any, path: Path) -> Any:
        model.dense.weight.data += 1
        return saving.load(model, path)

    monkeypatch.setattr(importlib.import_module("fuzzing.weights"), "load", load)
    with pytest.raises(fuzz.WrongError, match="the model is changed"):
        target.check(b"no file of weights")


def test_an_error_without_its_file_is_seen(fuzz: Any) -> None:
    taken = importlib.import_module("fuzzing.target").taken

    def refused() -> None:
        raise ValueError("something is wrong")

    with pytest.raises(fuzz.WrongError, match="without the file's name"):
        taken(refused, Path("net.onnx"))


def test_the_watch_hears_all_but_our_own_template_and_files(
    fuzz: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hooks: list[Any] = []
    monkeypatch.setattr(sys, "addaudithook", hooks.append)  # a real one stays for ever
    watch = importlib.import_module("fuzzing.watch").Watch(tmp_path, ("/ours/template.html.j2",))
    here, there = str(tmp_path / "page.html"), f"{tmp_path}/../page.html"
    fine = [
        ("exec", compile("1", "/ours/template.html.j2", "exec")), ("os.chmod", here, 420, -1), ("os.remove", here),
        ("os.rename", f"{here}.partial", here, -1, -1), ("open", here, "w", os.O_WRONLY), ("open", there, "r", os.O_RDONLY),
    ]  # fmt: skip
    heard = [
        ("exec", compile("1", "<string>", "exec")), ("exec", compile("1", "<template>", "exec")), ("exec", "1"), ("os.remove", there),
        ("os.chmod", "/etc/passwd", 420, -1), ("os.rename", here, there, -1, -1), ("os.rename", there, here, -1, -1),
        ("open", there, "w", os.O_WRONLY), ("import", "encodings.utf_7"), ("os.system", "x"), ("marshal.loads", b""), ("pickle.find_class", "os", "system"),
    ]  # fmt: skip
    with watch.on():
        for event, *given in fine:
            hooks[0](event, tuple(given))
        assert watch.heard == []
        for event, *given in heard:
            hooks[0](event, tuple(given))
    assert len(watch.heard) == len(heard)
