"""A search space: what may be written, and what is refused before anything trains."""

from __future__ import annotations

from pathlib import Path

import pytest

from secateur.runs.search.search import checked
from secateur.runs.search.space import Dimension, read_space


def one(over: str, recipe: str = "magnitude", *options: str) -> Dimension:
    (found,) = read_space(over, recipe, options)
    return found


@pytest.mark.parametrize(
    ("over", "option", "kind", "values", "whole"),
    [
        ("{method.density: [0.05, 0.2]}", "method.density", "range", (0.05, 0.2), False),
        ("{density: [0.05, 0.2]}", "method.density", "range", (0.05, 0.2), False),
        ("{method: {density: [0.05, 0.2]}}", "method.density", "range", (0.05, 0.2), False),
        ("{lr: log 1e-4 1e-2}", "lr", "log", (1e-4, 1e-2), False),
        ("{lr: [1e-4, 1e-2]}", "lr", "range", (1e-4, 1e-2), False),
        ("{weight-decay: [0, 1]}", "weight_decay", "range", (0, 1), False),
        ("{batch: [8, 32]}", "batch", "range", (8, 32), True),
        ("{recalibrate: [1, 4]}", "recalibrate", "range", (1, 4), True),
        ("{batch: choice 8 32}", "batch", "choice", (8, 32), False),
        ("{steps: [8, 16, 32]}", "steps", "choice", (8, 16, 32), False),
        ("{method.pattern: [1x4, 2:4]}", "method.pattern", "choice", ("1x4", "2:4"), False),
        ("{decay: [cosine, constant]}", "decay", "choice", ("cosine", "constant"), False),
        ("{teacher: [null, runs/dense]}", "teacher", "choice", (None, "runs/dense"), False),
        ("{betas: [[0.9, 0.99], [0.8, 0.9]]}", "betas", "choice", ("[0.9, 0.99]", "[0.8, 0.9]"), False),
        ("{method: [GradualMagnitude, OneShot]}", "method.name", "choice", ("GradualMagnitude", "OneShot"), False),
    ],
)  # fmt: skip
def test_ranges_and_choices(over: str, option: str, kind: str, values: tuple, whole: bool) -> None:
    assert one(over) == Dimension(option, kind, values, whole)  # pyright: ignore[reportArgumentType]


def test_whoever_writes_a_value_gets_it_back() -> None:
    dimension = one("{method.pattern: [2:4, 1x4]}")
    assert [dimension.word(v) for v in dimension.values] == ["--method.pattern=2:4", "--method.pattern=1x4"]
    assert one("{lr: log 1e-5 1e-2}").word(1e-5) == "--lr=1e-05"
    assert one("{recalibrate: choice null 2}").word(None) == "--recalibrate=null"


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ("{method.densty: [0.05, 0.2]}", r"no option densty. Did you mean method.density\?"),
        ("{lrr: [1, 2]}", r"lrr: no such option. Did you mean lr\?"),
        ("{lr: [0.2, 0.05]}", "the range from 0.2 to 0.05 is empty"),
        ("{lr: [0.1, 0.1]}", "is empty"),
        ("{lr: log 0 1}", "begins above zero"),
        ("{lr: log a b}", "log takes two numbers"),
        ("{lr: log 1e-3}", "log takes two numbers"),
        ("{lr: [nan, 1]}", "not finite"),
        ("{lr: [0.1]}", "two or more choices"),
        ("{lr: []}", "two or more choices"),
        ("{decay: [cosine, cosine]}", "two or more choices"),
        ("{lr: 0.1}", "A fixed value is an option of its own"),
        ("{lr: {a: [1, 2]}}", "lr.a: no such option"),
        ("{decay: [0.1, 0.2]}", "it takes cosine, staircase or constant"),
        ("{batch: [1.5, 3]}", "takes whole numbers"),
        ("{recalibrate: [1.5, 4]}", "takes whole numbers"),
        ("{seed: [0, 3]}", "choose the luckiest"),
        ("{data.train_count: [8, 16]}", "must be the same for all"),
        ("{size: [12x16, 24x32]}", "must be the same for all"),
        ("{floors: [a, b]}", "must be the same for all"),
        ("{out: [a, b]}", "changes nothing in the result"),
        ("{lr: [1, 2], lr: [3, 4]}", "names lr twice"),
        ("{density: [0.1, 0.2], method: {density: [0.1, 0.3]}}", "names method.density twice"),
        ("{}", "names no option"),
        ("", "give a mapping"),
        ("[a]", "give a mapping"),
        ("{", "no YAML"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(over: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_space(over, "magnitude", ())


@pytest.mark.parametrize("option", ["--lr=0.1", "--lr"])
def test_an_option_is_fixed_or_searched_not_both(option: str) -> None:
    with pytest.raises(ValueError, match=r"lr is given .* and searched over"):
        read_space("{lr: [0.1, 0.2]}", "magnitude", [option, "0.1"][: 1 if "=" in option else 2])
    with pytest.raises(ValueError, match=r"method.density is given"):
        read_space("{density: [0.1, 0.2]}", "magnitude", ["--method.density=0.1"])


def test_a_file_of_options_fixes_them_too(tmp_path: Path) -> None:
    path = tmp_path / "more.yaml"
    path.write_text("lr: 0.01\nmethod: {density: 0.3}\n")
    for over in ("{lr: [0.1, 0.2]}", "{density: [0.1, 0.2]}"):
        with pytest.raises(ValueError, match=r"is given \(in .*more.yaml\)"):
            read_space(over, "magnitude", ["--config", str(path)])


def test_a_space_may_be_a_file_that_names_nothing_to_import(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("lr: log 1e-4 1e-2\nmethod:\n  density: [0.05, 0.2]\n")
    assert [d.option for d in read_space(str(path), "magnitude", ())] == ["lr", "method.density"]
    path.write_text("method: [my_lab.wanda.Wanda, OneShot]\n")
    with pytest.raises(ValueError, match=r"my_lab.wanda.Wanda, an import path; name it on the command line"):
        read_space(str(path), "magnitude", ())


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ("{method.density: [0.05, 1.5]}", r"with --method.density=1.5"),
        ("{decay: [cosine, linear]}", r"with --decay=linear.*give cosine, staircase or constant"),
        ("{method.pattern: [1x4, nonsense]}", r"with --method.pattern=nonsense"),
        ("{method: [GradualMagnitude, GradalMagnitude]}", r"Did you mean GradualMagnitude"),
        ("{batch: choice 8 many}", r"with --batch=many.*a whole number"),
    ],
)
def test_ends_and_choices_that_cannot_be_run_are_refused(over: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        checked(read_space(over, "magnitude", ()), "magnitude", ())
