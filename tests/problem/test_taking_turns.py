"""Tasks that take turns, and a run with batches that lack labels that stops and goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from problems import TwoHeads, batches, equal, ignoring, spoilt, tasks, weights
from secateur import (
    AdaptiveWeighting,
    Problem,
    SoftThreshold,
    fit,
)


class Numbered:
    """Batch k is a function of k."""

    def __init__(self, data: list) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Any:
        return iter(self.data)

    def from_step(self, step: int) -> Any:
        while True:
            yield self.data[step % len(self.data)]
            step += 1


def own_loaders() -> dict[str, DataLoader]:
    """Shuffled, of unlike lengths, with generators of their own and without."""
    data = batches(6)
    x = torch.cat([x for x, _ in data])
    own = torch.Generator().manual_seed(3)
    return {
        "colour": DataLoader(TensorDataset(x, torch.cat([t["colour"] for _, t in data])), 4, shuffle=True),
        "shade": DataLoader(
            TensorDataset(x[:12], torch.cat([t["shade"] for _, t in data])[:12]),
            4,
            shuffle=True,
            generator=own,
        ),
    }


def places() -> dict[str, Any]:
    both = ("colour", "shade")
    data = spoilt(batches(), {1: both, 4: ("shade",)}, "ignored")
    return {"turns": own_loaders(), "numbered": Numbered(data), "list": data}


@pytest.mark.parametrize("kind", ["turns", "numbered", "list"])
def test_a_stopped_run_goes_on_bit_for_bit(kind: str, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def made() -> Problem:
        torch.manual_seed(0)
        return Problem(TwoHeads(), ignoring(), places()[kind])

    def stop(rows: list) -> None:
        if rows[-1]["step"] == 17:
            raise Stop

    settings: dict = {"steps": 30, "checkpoint_every": 5, "log_every": 1}
    whole, stopped = made(), made()
    once = fit(whole, SoftThreshold(0.2), AdaptiveWeighting(), **settings)
    with pytest.raises(Stop):
        fit(
            stopped,
            SoftThreshold(0.2),
            AdaptiveWeighting(),
            checkpoint=tmp_path / "c.pt",
            on_log=stop,
            **settings,
        )
    again = made()
    history = fit(again, SoftThreshold(0.2), AdaptiveWeighting(), checkpoint=tmp_path / "c.pt", **settings)
    assert equal(weights(whole), weights(again))
    assert (history.skipped, history.ignored) == (once.skipped, once.ignored)
    assert bool(history.skipped) == (kind != "turns")


def test_tasks_take_turns_until_the_longest_loader_has_ended() -> None:
    data = batches(3)
    loaders = {"colour": [(x, t["colour"]) for x, t in data], "shade": [(x, t) for x, t in data[:2]]}
    problem = Problem(TwoHeads(), tasks(), loaders, val=loaders)
    seen = [(x, set(t)) for x, t in problem.batches()]
    assert [t for _, t in seen] == [{"colour"}, {"colour", "shade"}] * 3  # those of `shade` name both tasks
    assert [next(i for i, (x, _) in enumerate(data) if x is own) for own, _ in seen] == [0, 0, 1, 1, 2, 0]
    assert [len(t) for _, t in problem.batches("val", once=True)] == [1, 1, 1, 2, 2]
    assert fit(problem, epochs=2).rows[-1]["step"] == 12
    lazy = {task: DataLoader(own, batch_size=None) for task, own in loaders.items()}
    assert len(list(Problem(TwoHeads(), tasks(), lazy).batches())) == 6
