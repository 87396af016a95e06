"""Run folders and recipes that say what was never written: refused by name, at no length, and nothing is run."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from run_folders import make_run
from secateur.runs.config import parse, resolved
from secateur.runs.folder import RunFolder
from secateur.runs.report import read_run
from secateur.runs.run import read_problem
from secateur.runs.written import read, read_recipe
from tiny_runs import TINY

BOMB = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
ODD = {
    "a truth value": "a: !!bool x", "a time": "a: !!timestamp x", "a number": "a: !!int x", "a fraction": "a: !!float x",
    "a deep nest": "a: " + "[" * 5000, "an object": "!!python/object/apply:os.system [x]", "itself": "a: &a [*a]", "bytes": "a: \ud800",
    "a list of everything": "- " + BOMB.replace("\n", "\n  "),
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
def test_yaml_of_no_plain_values_is_refused_by_name(what: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(ODD[what].encode("utf-8", "surrogatepass"))
    for reads in (read, read_recipe):
        with pytest.raises(ValueError, match=r"mine\.yaml") as refused:
            reads(path)
        assert type(refused.value) is ValueError
        assert len(str(refused.value)) < 600


@pytest.mark.parametrize(
    "text", ["lr: '!!bool x'", "data: {name: rooms, size: '{a: !!timestamp x}'}", "lr: '" + "[" * 5000 + "'"]
)
def test_text_that_is_yaml_itself_raises_nothing_else(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with suppress(ValueError):
        assert set(read_recipe(path)) <= {"lr", "data"}


def test_aliases_without_end_are_refused_before_anyone_copies_them(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(BOMB, encoding="utf-8")
    with pytest.raises(ValueError, match=r"config\.yaml holds more than"):
        parse([str(path)])
    with pytest.raises(ValueError, match=r"config\.yaml .*holds more than"):
        RunFolder(tmp_path).read_config()


Change = Callable[[dict[str, Any]], object]
CHANGES: list[tuple[str, Change]] = [
    *((key, lambda c, key=key: c.pop(key)) for key in ("seed", "size", "batch", "data", "model")),
    ("seed", lambda c: c.update(seed="x")),
    ("seed", lambda c: c.update(seed=10**30)),
    ("batch", lambda c: c.update(batch=[1])),
    ("size", lambda c: c.update(size={"a": 1})),
    ("model", lambda c: c["model"].update(width="wide")),
    ("model", lambda c: c["model"].update(width=-3.0)),
    ("train_count", lambda c: c["data"].update(train_count=None)),
    ("more", lambda c: c["data"].update(more=1)),
    ("data", lambda c: c.update(data="rooms")),
]


@pytest.mark.parametrize(("told", "change"), CHANGES)
def test_a_configuration_of_other_keys_or_types_is_refused(told: str, change: Change, tmp_path: Path) -> None:
    config = resolved(parse(["dense", *TINY, "--steps", "2"]))
    change(config)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with pytest.raises(ValueError, match=r"config\.yaml") as refused:
        read_problem(RunFolder(tmp_path))
    assert told in str(refused.value) or "cannot be made" in str(refused.value)


FILES = [
    ("report.json", b'{"tasks": 3}'), ("report.json", b"[]"), ("report.json", b"\xff"), ("report.json", b"[" * 100_000),
    ("metrics.jsonl", b'{"step": Infinity}\n{}\n'), ("metrics.jsonl", b"3\n3\n"), ("metrics.jsonl", b"[" * 100_000 + b"\n{}\n"),
    ("overlap.json", b"{}"), ("overlap.json", b"{"), ("overlap.json", b'{"total": {"wanted": [], "overlap": 3}, "layers": {}}'),
    ("samples.npz", b""), ("samples.npz", b"PK"), ("samples.npz", b"x" * 99), ("config.yaml", b"a: !!bool x"), ("config.yaml", b"- a"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content"), FILES)
def test_what_a_report_cannot_read_is_named(name: str, content: bytes, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=name.replace(".", r"\.")) as refused:
        read_run(folder)
    assert type(refused.value) is ValueError
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize("value", [1e400, "9" * 400, "x"])
def test_numbers_that_are_none_are_named(value: object, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    held = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    (folder / "report.json").write_text(json.dumps({**held, "steps": value}), encoding="utf-8")
    if value != "9" * 400:
        with pytest.raises(ValueError, match=r"report\.json"):
            read_run(folder)


TWICE = {
    "lr: 0.1\nsteps: 2\nlr: 0.2\n": "lr is there twice, in lines 1 and 3",
    "data: {name: rooms}\nsteps: 2\ndata: {tasks: [seg]}\n": "data is there twice, in lines 1 and 3",
    "method: {density: 0.1, density: 0.2}\n": "density is there twice, in line 1",
    "method: {name: GradualMagnitude, density: 0.1}\nmethod.density: 0.2\n": "method.density is there twice, in method and alone",
    "callbacks: [{name: EMA, decay: 0.9, decay: 0.8}]\n": "decay is there twice, in line 1",
}
EMPTY = {
    "data:": "data is empty; give its name and options, or take it out",
    "method:": "method is empty",
    "steps:": "steps is empty; give a whole number, or take it out",
    "data: {tasks: }": "data.tasks is empty; give a list",
    "data.tasks: null": "data.tasks is empty; give a list",
}


@pytest.mark.parametrize("text", [*TWICE, *EMPTY])
def test_what_is_there_twice_or_empty_is_refused_with_its_place(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text if text in TWICE else f"lr: 0.1\n{text}\n", encoding="utf-8")
    with pytest.raises(ValueError) as refused:  # noqa: PT011 (what it says is below)
        parse([str(path)], exits=False)
    assert f"{path}: {(TWICE | EMPTY)[text]}" in str(refused.value)


def test_what_may_be_empty_or_is_merged_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "clip:\noptimizer:\nfloors: {<<: &a {seg: 0.1}, <<: {depth: 0.2}, seg: 0.3}\n", encoding="utf-8"
    )
    assert resolved(parse([str(path)]))["floors"] == {"seg": 0.3, "depth": 0.2}
