"""What a verb warns of is a line of the command line's own, said once."""

from __future__ import annotations

import io
import sys
import warnings
from pathlib import Path

import pytest

from secateur.cli import main
from secateur.cli.failed import failed
from secateur.runs import RunFolder
from tiny_runs import LITTLE, train


def test_a_warning_is_a_line_and_stands_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def compact(argv: list[str]) -> None:
        for line in range(3):
            warnings.warn_explicit("it is\n  dead", UserWarning, f"file{line}.py", line + 1)
        warnings.warn("another", FutureWarning, stacklevel=1)

    monkeypatch.setattr("secateur.cli.compact.compact", compact)
    monkeypatch.setattr(sys, "argv", ["secateur", "compact", str(tmp_path)])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main() == 0
    assert capsys.readouterr().err == "warning: it is dead\nwarning: another\n"


class Full(io.StringIO):
    def write(self, text: str, /) -> int:
        raise OSError(28, "No space left on device")


def test_a_warning_that_nobody_can_read_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compact(argv: list[str]) -> None:
        warnings.warn("it is dead", stacklevel=1)

    monkeypatch.setattr("secateur.cli.compact.compact", compact)
    monkeypatch.setattr(sys, "argv", ["secateur", "compact", str(tmp_path)])
    for nobody in (Full(), None):
        monkeypatch.setattr(sys, "stderr", nobody)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            assert main() == 0


def test_a_caller_in_python_has_its_own_way_with_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    before = warnings.showwarning
    assert main(["--version"]) == 0
    assert warnings.showwarning is before


def test_a_typo_in_a_configuration_is_said_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.config.write_text("seed: 0\n  : [\n")
    assert main(["evaluate", str(run.path)]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith(f"error: {run.config}, line 2, column 3, is not YAML of plain values (")
    assert said.endswith("; mend it there by hand.")


def test_a_frame_of_what_was_compiled_elsewhere_is_no_users_code() -> None:
    code = compile("def scan():\n    raise ValueError('no')", "yaml/_yaml.pyx", "exec")
    names: dict[str, object] = {}
    exec(code, names)
    try:
        names["scan"]()  # pyright: ignore
    except ValueError as error:
        said = failed(error, ["bench", "run"]) or ""
    assert "_yaml.pyx" not in said


def test_beside_a_typo_a_training_warns_of_it_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.yaml").write_text("seed: [\n")
    (tmp_path / "other" / "report.json").write_text("{}")
    with pytest.warns(UserWarning, match=r"other is left out\. .*line 2, column 1.*by hand"):
        assert train("dense", tmp_path / "run", steps=2, words=LITTLE) == 0
