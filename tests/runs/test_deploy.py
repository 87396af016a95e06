"""From a finished run to a smaller network, a file for an engine and its speed, on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from secateur.cli import main
from secateur.deployment.engines import load_engine
from secateur.runs import deploy
from secateur.runs.folder import RunFolder
from secateur.runs.run import make_problem
from secateur.storage.saving import load
from tiny_runs import LITTLE, TRUST, TRUSTED, train

WIDE = [*LITTLE, "--model.width", "64"]  # so that weights, not their names, fill the file


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense run and a compacted one side by side."""
    folder = tmp_path_factory.mktemp("runs")
    assert train("dense", folder / "dense", words=WIDE) == 0
    assert train("less_is_more", folder / "lim", "--method.density", "0.3", words=WIDE) == 0
    assert main(["compact", str(folder / "lim"), *TRUST]) == 0
    return folder


def parameters(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_compact_writes_a_smaller_network_that_does_the_same(runs: Path) -> None:
    folder = RunFolder(runs / "lim")
    trained, data = make_problem(folder.read_config(), trust=TRUSTED)
    small, _ = make_problem(folder.read_config(), trust=TRUSTED)
    load(trained.model, folder.weights)
    load(small.model, folder.compact)
    assert parameters(small.model) < 0.4 * parameters(trained.model)
    assert folder.compact.stat().st_size < 0.4 * RunFolder(runs / "dense").weights.stat().st_size
    x, _ = next(iter(data.test))
    with torch.no_grad():
        before, after = trained.model.eval()(x), small.model.eval()(x)
    for task, value in before.items():
        assert float((value - after[task]).abs().max()) <= 1e-5 * float(value.abs().max())
    record = json.loads((runs / "lim" / "compact.json").read_text())
    assert record["after"]["macs"] < 0.5 * record["before"]["macs"]
    assert record["compaction"]["pinned"]


def test_export_keeps_task_names_and_what_a_deployer_needs(runs: Path) -> None:
    path = runs / "lim" / "model-seg-depth.onnx"
    path.with_suffix(".bin").write_bytes(bytes(999))  # of an .xml that was exported before
    assert main(["export", str(runs / "lim"), "--format", "onnx", "--tasks", "seg,depth", *TRUST]) == 0
    told = json.loads((runs / "lim" / "exports.json").read_text())
    assert told[path.name]["bytes"] == path.stat().st_size
    engine = load_engine(path)
    out = engine(np.random.default_rng(0).random((1, 3, 24, 32), dtype=np.float32))
    assert list(out) == ["seg", "depth"]
    about = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert {"mean", "std", "tasks"} <= json.loads(about["secateur"]).keys()


def test_export_of_one_size(runs: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    argv = [
        "export",
        str(runs / "dense"),
        "--format",
        "pt2",
        "--dynamic",
        "false",
        "--out",
        str(path),
        *TRUST,
    ]
    assert main(argv) == 0
    assert load_engine(path).about["inputs"]["input"]["shape"] == [1, 3, 24, 32]


def test_export_of_an_unknown_task_leaves_no_file(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(runs / "lim"), "--tasks", "sag", *TRUST]) == 1
    assert "sag" in capsys.readouterr().err
    assert not (runs / "lim" / "model-sag.onnx").exists()


def test_bench_says_how_fast_as_ratios(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["bench", str(runs / "lim"), "--against", str(runs / "dense"), "--engines", "onnxruntime", *TRUST]
    assert main([*argv, "--repeats", "4", "--json", str(runs / "bench.json")]) == 0
    found = json.loads((runs / "bench.json").read_text())
    assert found["against"] == "dense"
    assert found["networks"]["lim"]["macs"] < found["networks"]["dense"]["macs"]
    assert found["measures"]["onnxruntime"]["lim"]["file"] < found["measures"]["onnxruntime"]["dense"]["file"]
    assert "onnxruntime" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["lim"], ["lim (before compact)", "lim"]),
        (["dense"], ["dense"]),
        (["dense", "lim"], ["dense", "lim"]),
        (["lim", "--against", "lim"], ["lim (before compact)", "lim"]),
        (["lim", "--against", "dense"], ["dense", "lim"]),
        (["lim", "dense"], ["lim (before compact)", "lim", "dense"]),
    ],
)
def test_networks_are_called_what_they_are_and_timed_once(
    words: list[str], names: list[str], runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def stop(candidates: dict[str, torch.nn.Module], *_: object, **__: object) -> None:
        seen.extend(candidates)
        raise ValueError("enough")

    monkeypatch.setattr(deploy, "bench", stop)
    monkeypatch.chdir(runs)
    assert main(["bench", *words, *TRUST]) == 1
    assert seen == names


def test_the_folder_that_one_stands_in_has_its_name(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(deploy, "bench", lambda candidates, *_, **__: seen.extend(candidates))
    monkeypatch.setattr(deploy, "keep_bench", lambda folder, name, *_: seen.append(name))
    monkeypatch.chdir(runs / "lim")
    deploy.bench_runs([Path()], ["torch"], against=Path("../dense"), trust=TRUSTED)
    assert seen == ["dense", "lim", "lim"]


def test_a_run_without_weights_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compact", str(tmp_path / "none")]) == 1
    assert "none" in capsys.readouterr().err


def test_a_file_elsewhere_needs_no_run_folder_to_write_to(runs: Path, tmp_path: Path) -> None:
    """A folder in the place of the record refuses to be written, whoever runs this."""
    path, record = tmp_path / "net.pt2", runs / "dense" / "exports.json"
    record.unlink(missing_ok=True)
    record.mkdir()
    try:
        with pytest.warns(UserWarning, match=r"report will not name the file: .*exports\.json"):
            assert main(["export", str(runs / "dense"), "--format", "pt2", "--out", str(path), *TRUST]) == 0
    finally:
        record.rmdir()
    assert path.is_file()
