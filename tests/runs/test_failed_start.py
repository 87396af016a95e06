"""What fails before its first step leaves no folder; where a run is made is no part of what it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from secateur.cli import main
from secateur.runs.config import digest, parse, resolved, telling
from secateur.runs.folder import RunFolder
from tiny_runs import LITTLE, TINY, TRUST, train

WHERE = [["--device", "cpu"], ["--device", "auto"], ["--device", "cuda"], ["--workers", "2"], ["--quiet"]]


@pytest.mark.parametrize("options", WHERE, ids=" ".join)
def test_a_device_is_no_part_of_a_run(options: list[str]) -> None:
    plain = [option for option in TINY if option not in ("--device", "cpu")]
    asked, other = resolved(parse(["dense", *plain])), resolved(parse(["dense", *plain, *options]))
    assert asked == other
    assert digest(asked) == digest(other)
    assert not {"device", "workers", "quiet"} & asked.keys()


def test_a_folder_that_says_its_device_is_read_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "run"
    assert train("dense", out, steps=2, words=LITTLE) == 0
    config = yaml.safe_load((out / "config.yaml").read_text())
    (out / "config.yaml").write_text(yaml.safe_dump({**config, "device": "cuda:7"}))
    assert telling(RunFolder(out).read_config()) == telling(config)
    assert train("dense", out, steps=2, words=LITTLE) == 0, "the same run"
    for verb in (["evaluate", *TRUST], ["overlap", "--batches", "1", *TRUST], ["compact", *TRUST]):
        assert main([verb[0], str(out), *verb[1:]]) == 0
        assert main([verb[0], str(out), *verb[1:], "--device", "cpu"]) == 0
        capsys.readouterr()
        assert main([verb[0], str(out), *verb[1:], "--device", "cuda:99"]) == 1
        assert "cuda:99, but torch sees" in " ".join(capsys.readouterr().err.split())
    for verb in ("export", "bench"):
        assert main([verb, str(out), "--device", "cud"]) == 1
        assert "Did you mean cuda?" in " ".join(capsys.readouterr().err.split())
    assert train("magnitude", tmp_path / "other", "--against", str(out), steps=2, words=LITTLE) == 0


REFUSED = [
    (["--device", "cuda:99"], "torch sees"),
    (["--device", "gpu"], "give cpu, cuda"),
    (["--steps", "0"], "at least 1"),
    (["--steps", "-3"], "at least 1"),
    (["--method.density", "1.5"], "(0, 1]"),
    (["--method.ramp", "0.9,0.1"], "ramp"),
    (["--recalibrate", "-1"], "recalibrate"),
    (["--lr", "-1"], "--lr is -1.0; give at least 0"),
    (["--betas", "2,0.9"], "beta"),
    (["--batch", "0"], "--batch is 0; give at least 1"),
    (["--teacher", "nowhere"], "no finished run"),
    (["--floors", "{smell: 0.1}"], "smell"),
    (["--data.train_count", "0"], ""),
]


@pytest.mark.parametrize(
    ("options", "said"), REFUSED, ids=lambda v: " ".join(v) if isinstance(v, list) else ""
)
def test_a_failed_start_claims_nothing(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "run"
    try:
        code = train("adapmtl", out, *options, steps=2)
    except SystemExit as end:  # the parser's
        code = end.code
    assert code in (1, 2)
    assert said in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


def test_a_folder_of_the_users_stays_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    assert train("adapmtl", out, "--betas", "2,0.9", steps=2) == 1
    assert out.is_dir()
    assert not list(out.iterdir())
    assert train("adapmtl", out, steps=2) == 0, "with the mistake mended"


def test_what_was_kept_is_not_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import import_module

    def fail(*_: object) -> None:
        raise OSError("no picture")

    monkeypatch.setattr(import_module("secateur.runs.result"), "save_samples", fail)
    assert train("dense", tmp_path / "run", steps=2) == 1
    assert (tmp_path / "run" / "config.yaml").exists()
    assert (tmp_path / "run" / "checkpoint.pt").exists()
