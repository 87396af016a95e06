"""A weight file that was cut short is named with the command that writes it again, and that command does."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from secateur.cli import main
from secateur.runs.kept import load_weights
from secateur.storage import save
from tiny_runs import LITTLE, TRUST, train


def cut(file: Path) -> bytes:
    """Cuts it in half, and returns what it was."""
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    return whole


def test_the_command_that_is_named_writes_the_weights_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train("dense", run, steps=2, words=LITTLE) == 0
    whole = cut(run / "model.safetensors")
    capsys.readouterr()
    for words in (
        ["evaluate", str(run)],
        ["export", str(run), "--format", "pt2"],
        ["compact", str(run)],
        ["study", "profile", str(run), "--out", str(tmp_path / "profile")],
        ["predict", str(run), str(tmp_path), "--out", str(tmp_path / "seen")],
    ):
        assert main([*words, *TRUST]) == 1
        said = " ".join(capsys.readouterr().err.split())
        assert "delete it, and the same `secateur train` command writes it again." in said, words
        assert "from the run's checkpoint" not in said
    assert train("dense", run, steps=2, words=LITTLE) == 0
    assert (run / "model.safetensors").read_bytes() == whole


@pytest.mark.parametrize(
    ("file", "config", "verb"),
    [
        ("model.safetensors", "method: {name: Dense}", "train"),
        ("model.safetensors", "prune: {steps: 1}", "prune"),
        ("compact.safetensors", "method: {name: Dense}", "compact"),
    ],
)
def test_the_verb_is_the_one_that_wrote_it(file: str, config: str, verb: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(config)
    save(nn.Linear(2, 2), tmp_path / file)
    cut(tmp_path / file)
    with pytest.raises(ValueError, match=f"delete it, and the same `secateur {verb}` command"):
        load_weights(nn.Linear(2, 2), tmp_path / file)


def test_what_is_no_damage_is_said_as_it_is(tmp_path: Path) -> None:
    save(nn.Linear(2, 2), tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="belongs to another model") as caught:
        load_weights(nn.Linear(3, 2), tmp_path / "model.safetensors")
    assert "delete it" not in str(caught.value)
