"""The report says which task stopped the pruning."""

from __future__ import annotations

from secateur.runs.report.floors import floor_table, sentence
from secateur.runs.report.read import _floors
from secateur.runs.report.record import Floors

ASKED = {"seg": 0.02, "depth": 0.1}


def plain(text: str) -> str:
    return text.replace("\u202f", " ").replace("\u2212", "-")


def test_which_task_stopped_it() -> None:
    floors = Floors(
        ASKED,
        (
            (0.05, {"seg": 0.041, "normal": 0.3, "depth": 0.0}, ("seg",)),
            (0.2236, {"seg": 0.01, "normal": 0.2, "depth": -0.02}, ()),
        ),
    )
    assert plain(sentence(floors)) == (
        "seg (would lose 4.1 %, 2.0 % allowed) stopped a density of 5.0 %; the sparsest that holds has 22.4 %."
    )
    table = floor_table(floors)
    assert table is not None
    assert [(plain(t), plain(s)) for t, s in table.tasks] == [("seg", "2.0 %"), ("depth", "10.0 %")]
    assert [cell.verdict for cell in table.rows[0][1]] == ["worse", "better"]
    assert [row[2] for row in table.rows] == ["stopped by seg", "kept"]


def test_kept_at_once_never_and_not_asked() -> None:
    assert "Every task kept its floor at the density asked" in sentence(Floors(ASKED, ((0.1, {}, ()),)))
    never = Floors(ASKED, ((0.1, {"seg": 0.5, "depth": 0.5}, ("seg", "depth")),))
    assert sentence(never).endswith("no density that was tried holds, so it is dense.")
    assert floor_table(Floors({}, ())) is None


def test_a_density_out_of_reach_is_said() -> None:
    attempts = (
        {"density": 0.5, "lost": {"seg": 0.5, "depth": 0.0}, "stopped_by": ["seg"]},
        {"density": 0.7, "lost": {}, "stopped_by": [], "unreachable": "density is 0.7; ..."},
    )
    floors = _floors({"asked": ASKED, "attempts": attempts})
    assert plain(sentence(floors)).endswith("so it is dense. The method cannot have 70.0 %.")
    table = floor_table(floors)
    assert table is not None
    assert len(table.rows) == 1
