"""What of a command line is the verb's, and what is the data's and the model's."""

from __future__ import annotations

from pathlib import Path

import pytest

from secateur.cli import main
from secateur.cli.prune import _apart


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
