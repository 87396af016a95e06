"""What is pulled is a whole run or nothing, and takes the place of nothing else."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

from runs.hub.standing import Hub, said_by
from secateur.cli import main
from secateur.runs.hub import pull, push

REPO = "my-lab/rooms-depth"


def changed(hub: Hub, name: str, content: bytes, *, listed: bool = True) -> None:
    """Puts a file into the repository, and in its manifest too, as somebody would who means harm."""
    files = hub.repositories[REPO].files
    files[name] = content
    if listed:
        held = json.loads(files["secateur.json"])
        held["files"][name] = {"bytes": len(content), "sha256": sha256(content).hexdigest()}
        files["secateur.json"] = json.dumps(held).encode()


def manifest(**changes: Any) -> Any:
    def change(hub: Hub) -> None:
        files = hub.repositories[REPO].files
        files["secateur.json"] = json.dumps({**json.loads(files["secateur.json"]), **changes}).encode()

    return change


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda hub: hub.repositories[REPO].files.pop("secateur.json"), "is no run that secateur pushed"),
        (lambda hub: changed(hub, "secateur.json", b"{", listed=False), "cannot be understood"),
        (lambda hub: changed(hub, "secateur.json", b" " * 2_000_000, listed=False), "none of ours"),
        (manifest(format=2), "use a newer one"),
        (manifest(format="x"), "is of format"),
        (manifest(files={}), "does not name config.yaml"),
        (lambda hub: changed(hub, "../evil.json", b"{}"), "no file of a run"),
        (lambda hub: changed(hub, "evil.py", b"import os"), "no file of a run"),
        (lambda hub: changed(hub, "sub/evil.json", b"{}"), "no file of a run"),
        (lambda hub: hub.repositories[REPO].files.pop("metrics.jsonl"), "lacks metrics.jsonl"),
        (lambda hub: changed(hub, "metrics.jsonl", b"{}", listed=False), "in its manifest"),
        (
            lambda hub: changed(hub, "report.json", hub.repositories[REPO].files["report.json"].replace(b"0", b"1"), listed=False),
            "report.json is not what its manifest says",
        ),
        (lambda hub: changed(hub, "config.yaml", b"!!python/object/apply:os.system [x]"), "holds no whole run"),
        (lambda hub: changed(hub, "report.json", b"[]"), "holds no whole run"),
        (lambda hub: changed(hub, "model.safetensors", b"pickle"), "holds no whole run"),
    ],
)  # fmt: skip
def test_what_is_no_whole_run_is_refused_and_nothing_is_left(
    harm: Any, said: str, run: Path, hub: Hub, capsys: pytest.CaptureFixture
) -> None:
    push(run, REPO)
    harm(hub)
    assert main(["pull", REPO, "--out", "back"]) == 1
    assert said in said_by(capsys)
    assert not Path("back").exists()
    assert not [p for p in Path().iterdir() if p.name.startswith(".back")]


def test_a_folder_of_something_else_is_not_overwritten(
    run: Path, hub: Hub, capsys: pytest.CaptureFixture
) -> None:
    push(run, REPO)
    Path("back").mkdir()
    pull(REPO, Path("back"))
    Path("back", "report.html").write_text("mine")
    pull(REPO, Path("back"))
    assert Path("back", "report.html").read_text() == "mine"
    Path("back", "report.json").write_text("{}")
    assert main(["pull", REPO, "--out", "back"]) == 1
    assert "report.json there is not that of" in said_by(capsys)
    assert Path("back", "report.json").read_text() == "{}"
    Path("file").write_text("")
    assert main(["pull", REPO, "--out", "file"]) == 1
    assert "is a file" in said_by(capsys)
    assert main(["pull", REPO, "--out", "rooted", "--root", "x"]) == 1
    assert "have no root" in said_by(capsys)


def test_the_folder_of_the_data_is_named_for_a_run_that_is_there(run: Path, hub: Hub, tmp_path: Path) -> None:
    path = run / "config.yaml"
    held = yaml.safe_load(path.read_text())
    held["data"]["root"] = "/home/them/data"
    path.write_text(yaml.safe_dump(held, sort_keys=True))
    push(run, REPO)
    out = tmp_path / "back"
    for root, there in ((None, "PATH"), ("mine", "mine"), ("/data/mine", "/data/mine"), (None, "/data/mine")):
        pull(REPO, out, root=root)
        assert yaml.safe_load((out / "config.yaml").read_text())["data"]["root"] == there
    held = yaml.safe_load((out / "config.yaml").read_text()) | {"steps": 99}
    (out / "config.yaml").write_text(yaml.safe_dump(held))
    with pytest.raises(ValueError, match=r"config\.yaml there is not that of"):
        pull(REPO, out)
