"""Who takes which trial."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from threading import Event

import pytest

pytest.importorskip("optuna", reason="needs Optuna: pip install 'secateur[search]'")

from secateur.runs.search.journal import Journal
from secateur.runs.search.locks import Locks
from secateur.runs.search.objectives import Objective
from secateur.runs.search.space import Dimension


def test_a_trial_that_was_finished_while_it_was_looked_at_is_not_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space, asked = (Dimension("lr", "log", (1e-4, 1e-2)),), (Objective("a", "maximize"),)
    journal = Journal(tmp_path, space, asked, seed=0, sampler="random", locks=Locks(tmp_path / ".locks"))
    first = journal.take(2, Event())
    assert not isinstance(first, bool)
    seen = deepcopy(journal.trials())
    journal.study.tell(first[0], 1.0)
    first[1].close()
    monkeypatch.setattr(journal, "trials", lambda: seen)
    second = journal.take(2, Event())
    assert not isinstance(second, bool)
    second[1].close()
    assert second[0].number == 1
