"""A run to the Hub and back, against a stand-in of it on the loopback."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from runs.hub.standing import Hub, Repository, said_by
from secateur.cli import main
from secateur.runs import evaluate_run
from secateur.runs.hub import contents, pull, push
from secateur.runs.kept import mark
from tiny_runs import TRUSTED

REPO = "my-lab/rooms-depth"


def test_there_and_back(run: Path, hub: Hub, capsys: pytest.CaptureFixture) -> None:
    (run / "model.onnx").write_bytes(b"a graph")
    (run / "exports.json").write_text(json.dumps({"model.onnx": {"format": "onnx", "tasks": [], "bytes": 7}}))
    assert main(["push", str(run), REPO, "--licence", "mit"]) == 0
    said = said_by(capsys)
    assert "7 bytes model.onnx" in said
    assert f"{hub.url}/{REPO}" in said
    repository = hub.repositories[REPO]
    assert repository.private
    assert repository.commits == 1
    sent = {
        "README.md",
        "config.yaml",
        "exports.json",
        "metrics.jsonl",
        "model.onnx",
        "model.safetensors",
        "report.json",
    }
    assert set(repository.files) == {".gitattributes", "secateur.json", *sent}

    assert main(["pull", REPO, "--out", "back"]) == 0
    back = Path("back")
    assert {p.name for p in back.iterdir()} == sent
    assert (back / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    assert evaluate_run(back, "test", TRUSTED, "cpu") == evaluate_run(run, "test", TRUSTED, "cpu")
    assert not list(Path().glob(".*partial"))
    assert main(["report", str(back)]) == 0
    times = {p: p.stat().st_mtime_ns for p in back.iterdir()}
    assert main(["pull", REPO, "--out", "back"]) == 0, "the same run is there already"
    assert times == {p: p.stat().st_mtime_ns for p in times}


def test_only_what_the_hub_is_asked_for_is_asked(
    run: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_DISABLE_TELEMETRY", raising=False)
    push(run, REPO)
    pull(REPO, Path("back"))
    assert "HF_HUB_DISABLE_TELEMETRY" not in os.environ, "what else this process does with it is the user's"
    assert not [line for line in hub.asked if "telemetry" in line]
    assert not [agent for agent in hub.agents if "torch" in agent], (
        "it says nothing of what else is installed"
    )


def test_the_card_says_what_the_report_says(run: Path, hub: Hub) -> None:
    push(run, REPO, licence="mit")
    text = hub.repositories[REPO].files["README.md"].decode()
    _, front, page = text.split("---\n", 2)
    facts, report = yaml.safe_load(front), json.loads((run / "report.json").read_text())
    assert facts["license"] == "mit"
    assert facts["library_name"] == "secateur"
    assert {"secateur", "pruning"} <= set(facts["tags"])
    (index,) = facts["model-index"]
    values = {(r["task"]["name"], m["type"]): m["value"] for r in index["results"] for m in r["metrics"]}
    assert values == {(t, m): v for t, ms in report["tasks"].items() for m, v in ms.items() if v is not None}
    assert set(facts["metrics"]) == {m for ms in report["tasks"].values() for m in ms}
    for said in (
        "50.0% of its prunable weights",
        "Seed 0",
        "secateur pull my-lab/rooms-depth",
        "--trust tiny_runs",
    ):
        assert said in page
    assert "No licence is stated." in contents(run).files["README.md"].decode()  # pyright: ignore


def test_a_time_is_on_the_card_with_its_engine(run: Path) -> None:
    sizes = {"run": {"params": 10}, "dense": {"params": 20}}
    measures = {"onnxruntime": {"run": {"p50": 2.5, "speedup": 1.75}}}
    bench = {"measures": measures, "machine": {"cpu": "a machine"}, "networks": sizes, "against": "dense"}
    held: dict[str, Any] = {"network": "run", "of": mark(run), "bench": bench}

    def said(content: Any) -> str:
        (run / "bench.json").write_text(json.dumps(content))
        return contents(run).files["README.md"].decode()  # pyright: ignore

    row = "| onnxruntime | 2.5 | 1.75 |"
    assert row in said(held)
    alone = {**bench, "against": "run", "measures": {"torch": {"run": {"p50": 4.0, "speedup": 1.0}}}}
    assert row in said(
        {**held, "bench": alone, "others": [held]}
    )  # what was timed beside another network says more
    assert "## Time" not in said({**held, "of": "of another network"})


def test_no_path_of_this_machine_leaves_it(
    run: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "alice"
    monkeypatch.setenv("HOME", str(home))
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"]["root"] = f"{home}/my data/nyuv2"
    config["teacher"] = "../bob/dense"
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    report = json.loads((run / "report.json").read_text())
    report["command"] = (
        f"secateur train x --data.root '{home}/my data/nyuv2' --teacher=~/dense --out runs/a --config C:\\me\\a.yaml"
    )
    report["delta_t"]["against"] = f"{home}/dense"
    report["delta_t"]["differs"] = f"Train one, or name it: --against {home}/other, at 3 m/s."
    (run / "report.json").write_text(json.dumps(report))
    (run / "model.onnx").write_bytes(b"made in " + str(home).encode() + b"/net.py")
    (run / "exports.json").write_text(
        json.dumps({"model.onnx": {"format": "onnx", "tasks": [], "bytes": 7}, "gone.pte": {}})
    )
    sending = contents(run)
    assert set(sending.left) == {"model.onnx", "gone.pte"}
    push(run, REPO)
    for name, data in hub.repositories[REPO].files.items():
        for word in (b"alice", b"bob", b"my data", b"C:\\\\me", str(tmp_path).encode()):
            assert word not in data, (name, word)
    sent = json.loads(hub.repositories[REPO].files["report.json"])
    assert sent["command"] == "secateur train x --data.root PATH --teacher=PATH --out runs/a --config PATH"
    assert sent["delta_t"]["differs"] == "Train one, or name it: --against PATH, at 3 m/s."
    pulled = yaml.safe_load((pull(REPO, Path("back")) / "config.yaml").read_text())
    assert (pulled["data"]["root"], pulled["teacher"]) == ("PATH", "PATH")
    rooted = pull(REPO, Path("here"), root="data/nyuv2")
    assert yaml.safe_load((rooted / "config.yaml").read_text())["data"]["root"] == "data/nyuv2"


def test_weights_of_another_format_are_not_sent_with_a_file(run: Path) -> None:
    for name in ("model.onnx", "model.bin"):
        (run / name).write_bytes(b"a part")
    (run / "exports.json").write_text(json.dumps({"model.onnx": {"format": "onnx", "tasks": [], "bytes": 6}}))
    assert [n for n in contents(run).files if n.startswith("model.") and n != "model.safetensors"] == [
        "model.onnx"
    ]


def test_pictures_and_checkpoints_stay(run: Path) -> None:
    assert (run / "samples.npz").is_file()
    assert not [n for n in contents(run).files if n.endswith((".npz", ".pt", ".html"))]


def test_dry_run_sends_nothing_and_needs_no_token(
    run: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    assert main(["push", str(run), REPO, "--dry-run"]) == 0
    assert "nothing was sent" in said_by(capsys)
    assert hub.asked == []


def test_pushed_again_what_is_no_longer_part_of_it_goes(run: Path, hub: Hub) -> None:
    (run / "model.onnx").write_bytes(b"a graph")
    (run / "exports.json").write_text(json.dumps({"model.onnx": {"format": "onnx", "tasks": [], "bytes": 7}}))
    push(run, REPO)
    hub.repositories[REPO].files["mine.md"] = b"notes"
    (run / "exports.json").unlink()
    push(run, REPO)
    assert "model.onnx" not in hub.repositories[REPO].files
    assert "mine.md" in hub.repositories[REPO].files, "not ours to take away"


@pytest.mark.parametrize(
    ("repository", "said"),
    [
        (Repository({"weights.bin": b""}), "holds something that secateur did not push (weights.bin)"),
        (Repository({".gitattributes": b""}, private=False), "say --private false"),
    ],
)
def test_a_repository_of_something_else_or_in_public_is_left_alone(
    run: Path, hub: Hub, repository: Repository, said: str, capsys: pytest.CaptureFixture
) -> None:
    hub.repositories[REPO] = repository
    assert main(["push", str(run), REPO]) == 1
    assert said in said_by(capsys)
    assert repository.commits == 0


def test_private_is_what_one_says(run: Path, hub: Hub) -> None:
    assert main(["push", str(run), REPO, "--private", "false"]) == 0
    assert not hub.repositories[REPO].private


@pytest.mark.parametrize(
    "repo", ["", "a/b/c", "my lab/x", "x--y", "x/..", "-x", "x/y.git", "x" * 97, "/x", "x/", "../x"]
)
def test_what_is_no_name_is_refused(repo: str, run: Path, capsys: pytest.CaptureFixture) -> None:
    for line in (["push", str(run), f"--repo={repo}"], ["pull", f"--repo={repo}"]):
        with pytest.raises(ValueError, match="is no name of a repository"):
            push(run, repo) if line[0] == "push" else pull(repo)


def test_what_is_not_finished_is_not_pushed(run: Path, hub: Hub, capsys: pytest.CaptureFixture) -> None:
    (run / "report.json").unlink()
    assert main(["push", str(run), REPO]) == 1
    assert "is not finished" in said_by(capsys)
    assert main(["push", "nowhere", REPO]) == 1
    assert "is no run folder" in said_by(capsys)
    assert hub.asked == []


def test_without_token_network_repository_or_package(
    run: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert main(["pull", "my-lab/none"]) == 1
    assert "there is no repository my-lab/none" in said_by(capsys)
    push(run, REPO)
    assert main(["pull", REPO, "--revision", "v9"]) == 1
    assert "has no such revision" in said_by(capsys)
    hub.readonly = True
    assert main(["push", str(run), "my-lab/other"]) == 1
    assert "this token may not do that" in said_by(capsys)
    monkeypatch.delenv("HF_TOKEN")
    assert main(["pull", REPO]) == 1
    assert "or it is private and this token may not see it" in said_by(capsys)
    assert main(["push", str(run), REPO]) == 1
    assert "run `hf auth login`" in said_by(capsys)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
        assert main(["pull", REPO]) == 1
    assert "cannot be reached" in said_by(capsys)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for line in (["pull", REPO], ["push", str(run), REPO]):
        assert main(line) == 1
        assert "pip install 'secateur[hub]'" in said_by(capsys)
    assert not Path("runs").exists()
