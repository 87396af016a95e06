"""Searches that are refused before anything trains."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("optuna", reason="needs Optuna: pip install 'secateur[search]'")

from runs.search.searches import Made
from secateur.runs.search.shown import lines


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"over": "{method.density: [0.1, 0.8], lr: log 1e-4 1e-2}"},
            r"over.method.density is '\[0.1, 0.9\]' there",
        ),
        ({"over": "{method.density: [0.1, 0.9]}"}, "over.lr is 'log 0.0001 0.01' there, None asked"),
        ({"floors": {"depth": 0.1}}, "floors.depth is None there, 0.1 asked"),
        ({"objectives": ["density"]}, r"objectives is \['delta_t'\] there"),
        ({"sampler": "random"}, "sampler is 'tpe' there"),
    ],
)
def test_another_search_in_the_folder_is_refused_by_what_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict, said: str
) -> None:
    made = Made(monkeypatch)
    made(tmp_path / "s", 2)
    with pytest.raises(ValueError, match=said):
        made(tmp_path / "s", 2, **changed)
    assert len(made.trained) == 3


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "mine.txt").write_text("")
    with pytest.raises(ValueError, match="is no folder of a search"):
        Made(monkeypatch)(tmp_path / "s")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"trials": 0}, "--trials is 0; at least 1"),
        ({"objectives": ["delta"]}, r"no 'delta'; there are .*Did you mean delta_t\?"),
        ({"objectives": ["depth.abss"]}, r"Did you mean depth.abs\?"),
        ({"objectives": []}, "is empty"),
        ({"objectives": ["density", "density"]}, "each once"),
        ({"floors": {"dept": 0.1}}, "floors names"),
        ({"floors": {"depth": 1.5}}, "lies in"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict, said: str
) -> None:
    made = Made(monkeypatch)
    with pytest.raises(ValueError, match=said):
        made(tmp_path / "s", **more)
    assert not (tmp_path / "s").exists()


def test_a_dense_run_that_scores_nothing_is_no_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Made(monkeypatch)
    made(tmp_path / "s", 1)
    path = tmp_path / "s" / "dense" / "report.json"
    report = json.loads(path.read_text())
    report["validation"]["depth"]["abs"] = 0.0
    path.write_text(json.dumps(report))
    shutil.rmtree(tmp_path / "s" / "trials")
    with pytest.raises(ValueError, match=r"dense run's depth abs is 0.0 on the validation split"):
        made(tmp_path / "s", 2)


def test_a_change_from_next_to_nothing_is_said_and_not_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Made(monkeypatch, lambda _: {"depth": {"abs": 0.5, "rel": 9.0}})
    said = lines(made(tmp_path / "s", 2))
    why = "depth rel is 0.7 in the dense run and 9 here, which drowns all other metrics"
    assert f"The ΔT of trial 0, 1 says nothing: {why}. Look at the training of both." in said
    (winner,) = (line for line in said if "on the test split" in line)
    assert f"no ΔT against {tmp_path / 's' / 'dense'}, since {why}" in winner
    assert "ΔT +" not in winner
