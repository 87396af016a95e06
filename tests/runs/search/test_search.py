"""The course of a search: what is chosen and by what, what is redone and what is not."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
import warnings
from pathlib import Path

import pytest

pytest.importorskip("optuna", reason="needs Optuna: pip install 'secateur[search]'")

from runs.search.searches import Made, bowl, settings
from secateur.runs.search.journal import NAME


def test_the_best_by_validation_alone_is_evaluated_on_test_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Made(monkeypatch)
    found = made(tmp_path / "s")
    assert len(found.trials) == 6
    (best,) = found.winners
    nearest = min(found.trials, key=lambda t: abs(t.settings["method.density"] - 0.5))  # pyright: ignore
    assert best == nearest
    assert made.tested == ["dense", Path(best.folder).name]
    assert list(found.tested) == [best.number]
    record = json.loads((tmp_path / "s" / "search.json").read_text())
    assert record["winners"] == [best.number]
    assert record["seed"] == 0
    assert record["hardware"] == ["a machine"]
    assert record["trials"][best.number]["validation"]["tasks"] == bowl(
        {"method": {"density": best.settings["method.density"]}}
    )
    assert (
        f"Trial {best.number} on the test split, evaluated once" in (tmp_path / "s" / "search.md").read_text()
    )


@pytest.mark.slow
def test_it_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After ten trials those of TPE are nearer to the optimum than those of chance."""
    made = Made(monkeypatch)
    far = {
        sampler: sum(
            abs(s["method.density"] - 0.5)
            for s in settings(made(tmp_path / sampler, 30, "{method.density: [0.1, 0.9]}", sampler=sampler))[
                10:
            ]
        )
        for sampler in ("tpe", "random")
    }
    assert far["tpe"] < 0.75 * far["random"]


def test_the_same_again_trains_nothing_and_more_trials_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Made(monkeypatch)
    first = made(tmp_path / "s", 4)
    count = len(made.trained)
    files = {p: p.read_bytes() for p in (tmp_path / "s").glob("search.*")}
    assert made(tmp_path / "s", 4) == first
    assert len(made.trained) == count
    assert files == {p: p.read_bytes() for p in files}
    longer, straight = made(tmp_path / "s", 8), made(tmp_path / "t", 8)
    assert len(made.trained) == count + 4 + 9
    assert settings(longer) == settings(straight)
    assert [t.number for t in longer.winners] == [t.number for t in straight.winners]


@pytest.mark.parametrize(
    "place", [pytest.param(0, marks=pytest.mark.slow), 1, pytest.param(2, marks=pytest.mark.slow)]
)
def test_stopped_in_a_trial_it_is_taken_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    made = Made(monkeypatch)

    def stop(name: str) -> None:
        if len(made.trained) == 2 + place:
            raise KeyboardInterrupt

    made.before = stop
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path / "s", 5)
    made.before = lambda name: None
    assert settings(made(tmp_path / "s", 5)) == settings(made(tmp_path / "t", 5))


def test_stopped_before_a_trial_was_told_its_run_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal cut at every line of a search, in the middle of it too, as a kill leaves it: the folders are there already."""
    made = Made(monkeypatch)
    straight = made(tmp_path / "s", 3, floors={"depth": 0.5})
    journal = tmp_path / "s" / NAME
    text = journal.read_bytes()
    ends = [i + 1 for i, byte in enumerate(text) if byte == 10]
    count = len(made.trained)
    assert len(ends) > 20
    for end in [*ends[::8], *(e - 5 for e in ends[1::8])]:
        journal.write_bytes(text[:end])
        again = made(tmp_path / "s", 3, floors={"depth": 0.5})
        assert again == straight
        assert len(made.trained) == count
        assert all(line.startswith("{") and json.loads(line) for line in journal.read_text().splitlines())


def test_several_processes_share_the_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, log = Made(monkeypatch), tmp_path / "trained"

    def noted(name: str) -> None:
        with log.open("a") as file:
            file.write(f"{name}\n")
        time.sleep(0.05)  # as if it took a while

    made.before = noted
    children: list[int] = []
    for _ in range(3):
        with warnings.catch_warnings(action="ignore"):  # that other threads are not in the fork
            child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                made(tmp_path / "s", 8)
                os._exit(0)
            os._exit(1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    trained = log.read_text().splitlines()
    assert len(trained) == len(set(trained)) == 9
    found = made(tmp_path / "s", 8)
    assert [t.state for t in found.trials] == ["complete"] * 8
    assert made.trained == made.tested == []


def test_several_trials_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(monkeypatch)
    made.before = lambda name: time.sleep(0.05)
    found = made(tmp_path / "s", 8, jobs=3)
    assert len(made.trained) == len(set(made.trained)) == 9
    assert [t.state for t in found.trials] == ["complete"] * 8


def test_trials_with_the_same_settings_are_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(monkeypatch)
    found = made(tmp_path / "s", 8, "{decay: [cosine, constant]}", jobs=3)
    assert sorted(made.trained) == sorted({"dense", *(t.folder for t in found.trials)})
    assert len(made.trained) == 3


def test_a_trial_that_breaks_a_floor_cannot_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sparser is better, and dense scores 0.7: 0.5 + far is within 10 % as long as the density is 0.23 or more."""
    made = Made(monkeypatch)
    found = made(
        tmp_path / "s", 30, "{method.density: [0.1, 0.9]}", objectives=["density"], floors={"depth": 0.1}
    )
    (best,) = found.winners
    held = [t for t in found.trials if abs(t.settings["method.density"] - 0.5) <= 0.27]  # pyright: ignore
    assert best.settings["method.density"] == min(t.settings["method.density"] for t in held)  # pyright: ignore
    broken = next(t for t in found.trials if t.settings["method.density"] < 0.2)  # pyright: ignore
    assert broken.below["depth"] == pytest.approx(
        (0.5 + 0.5 - broken.settings["method.density"] - 0.7) / 0.7 - 0.1
    )  # pyright: ignore
    import optuna
    from optuna.storages.journal import JournalFileBackend

    storage = optuna.storages.JournalStorage(JournalFileBackend(str(tmp_path / "s" / NAME)))
    study = optuna.load_study(study_name=None, storage=storage)  # as the dashboard opens it
    assert study.best_trial.number == best.number


def test_where_no_trial_holds_the_floors_none_wins_and_none_sees_the_test_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Made(monkeypatch, lambda config: {"depth": {"abs": 2.0, "rel": 2.0}})
    found = made(tmp_path / "s", 3, floors={"depth": 0.01})
    assert found.winners == ()
    assert made.tested == []
    assert not (tmp_path / "s" / "best.yaml").exists()
    assert "No trial holds every floor" in (tmp_path / "s" / "search.md").read_text()


def test_of_several_objectives_all_win_that_none_is_better_than(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Made(monkeypatch)
    found = made(tmp_path / "s", 12, objectives=["delta_t", "density"])
    front = found.winners
    assert len(front) > 1
    assert all(t.settings["method.density"] <= 0.5 for t in front[1:])  # pyright: ignore
    assert sorted(made.tested) == sorted(["dense", *(Path(t.folder).name for t in front)])
    names = {f"winner-{t.number}.yaml" for t in front}
    assert {p.name for p in (tmp_path / "s").glob("winner-*")} == names


def test_a_training_that_fails_counts_and_the_same_command_tries_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverging(config: dict) -> dict:
        if config["lr"] > 1e-3:
            raise FloatingPointError("error: the loss is nan")
        return bowl(config)

    made = Made(monkeypatch, diverging)  # pyright: ignore[reportArgumentType]
    found = made(tmp_path / "s", 8)
    failed = [t for t in found.trials if t.state == "fail"]
    assert failed
    assert all(t.error == "error: the loss is nan" and t.settings["lr"] > 1e-3 for t in failed)  # pyright: ignore
    assert len(found.trials) == 8
    assert found.winners[0].state == "complete"
    made.figures = bowl
    again = made(tmp_path / "s", 8)
    assert len(again.trials) == 8
    assert all(t.state == "complete" for t in again.trials)
    assert sorted(map(str, settings(again))) == sorted(map(str, settings(found)))


def test_a_search_that_does_nothing_but_fail_ends_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(config: dict) -> dict:
        raise FloatingPointError("error: no space left")

    made = Made(monkeypatch, failing)  # pyright: ignore[reportArgumentType]
    with pytest.raises(RuntimeError, match=r"the first 3 trials failed .error: no space left"):
        made(tmp_path / "s", 40)
    assert len(made.trained) == 4


def test_figures_that_are_no_numbers_are_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(
        monkeypatch,
        lambda config: {"depth": {"abs": math.nan, "rel": 0.5}} if config["lr"] > 1e-3 else bowl(config),
    )
    found = made(tmp_path / "s", 6)
    assert {t.state for t in found.trials if t.settings["lr"] > 1e-3} == {"fail"}  # pyright: ignore
    assert "has no value on the validation split" in next(t.error for t in found.trials if t.error)
