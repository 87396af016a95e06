"""What of a command line is the verb's, and what is the data's and the model's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from secateur.cli import main
from secateur.cli.prune import _apart
from secateur.deployment.export import describe
from secateur.runs.report.deployed import chapter
from tiny_runs import small


def test_words_are_told_apart_by_where_they_stand() -> None:
    argv = [
        "my_lab.Net",
        "--batch",
        "8",
        "--repair",
        "8",
        "--data",
        "rooms",
        "--out",
        "rooms",
        "--data.train_count=4",
        "--rounds",
        "2",
        "--model.width",
        "2",
    ]
    own, parts = _apart(argv)
    assert own == ["my_lab.Net", "--repair", "8", "--out", "rooms", "--rounds", "2"]
    assert parts == ["--batch", "8", "--data", "rooms", "--data.train_count=4", "--model.width", "2"]


def test_a_run_has_its_data_and_model_already(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        main(
            [
                "prune",
                str(tmp_path),
                "--budget",
                "0.5 macs",
                "--out",
                str(tmp_path / "out"),
                "--data",
                "rooms",
            ]
        )
    assert end.value.code == 2
    assert "--data: data and model of" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["prune", "bench"])
def test_a_number_out_of_range_is_said_first(verb: str, capsys: pytest.CaptureFixture) -> None:
    words = {"prune": ["--budget", "0.5 macs", "--out", "out", "--steps", "-5"], "bench": ["--repeats", "0"]}
    with pytest.raises(SystemExit) as end:
        main([verb, "nowhere", *words[verb]])
    assert end.value.code == 2
    said = {"prune": "--steps is -5; give at least 0.", "bench": "--repeats is 0; give at least 1."}
    assert said[verb] in capsys.readouterr().err


TRUST = ["--trust", "tiny_runs"]


def test_int8_is_written_judged_and_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("onnxscript", reason="needs onnx: pip install 'secateur[onnx]'")
    torch.manual_seed(0)
    torch.save(small({"seg": 13, "normal": 3, "depth": 1}).state_dict(), tmp_path / "weights.pth")
    budget = ["--budget", "0.9 macs and 0.9x MB", "--steps", "0", "--batches", "2", "--quantize", "int8"]
    network = ["tiny_runs.small", "--init", str(tmp_path / "weights.pth"), "--data", "rooms", "--batch", "4"]
    data = ["--data.train_count", "8", "--data.val_count", "4", "--data.test_count", "4"]
    out = ["--out", str(tmp_path / "small")]
    assert main(["prune", *network, *data, *budget, *out]) == 0
    said = capsys.readouterr().out
    assert "model-int8.onnx" in said
    header = next(line for line in said.splitlines() if " small" in line and "before" in line)
    assert re.findall(r"\w+", header) == ["before", "small"]
    assert re.search(r"ΔT mean ↑\W+reference", said)
    assert "on the validation split" in said
    record = json.loads((tmp_path / "small" / "budget.json").read_text())
    assert record["quantize"] == "int8"
    layers = {part: {row["weight"]: row for row in rows} for part, rows in record["layers"].items()}
    assert layers["before"]["body.2.weight"]["outputs"] == 16
    assert layers["after"]["body.2.weight"]["component"] == "backbone"
    assert (
        sum(row["macs"] for row in layers["after"].values())
        == record["after"]["macs"]
        < record["before"]["macs"]
    )
    assert record["costs"]["mb"] <= record["limits"]["mb"] <= 0.9 * record["dense"]["mb"] + 1e-12
    written = tmp_path / "small" / "model-int8.onnx"
    assert written.stat().st_size == round(record["costs"]["mb"] * 1e6), "of the file that is there"
    assert describe(written)["quantized"]["float"] == record["keep_float"]
    assert describe(written)["inputs"]["input"]["shape"] == [1, 3, 48, 64], "as it was measured"
    assert main(["evaluate", str(written), *TRUST]) == 0
    (tmp_path / "small" / "budget.json").write_text(json.dumps(record | {"keep_float": ["depth"]}))
    assert main(["export", str(tmp_path / "small"), "--quantize", "int8", *TRUST]) == 0
    assert "in float: depth" in capsys.readouterr().out
    assert describe(written)["quantized"]["float"] == ["depth"]
    assert describe(written)["dynamic"] == ["batch", "height", "width"]
    named = ["--keep-float", "seg,body", "--out", str(tmp_path / "named.onnx")]
    assert main(["export", str(tmp_path / "small"), "--quantize", "int8", *named, *TRUST]) == 0
    assert describe(tmp_path / "named.onnx")["quantized"]["float"] == ["seg", "body"]
    told = dict(chapter(tmp_path / "small", {}, {}).facts)
    assert "in int8, with the heads of depth in float" in told["Pruned to a budget"]
    assert "with seg and body in float" in told["Exported"]
