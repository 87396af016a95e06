"""What the callbacks of all trainers have in common."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import pytest
import pytorch_lightning as pl
from torch.nn import functional as F
from transformers import TrainerCallback

import secateur
from loops.lightning import QUIET
from problems import tasks
from secateur import LotteryTicket, SoftThreshold, Task
from secateur.integrations import lightning, transformers

pytestmark = QUIET
every_room = pytest.mark.parametrize("room", [lightning, transformers], ids=["lightning", "transformers"])


def test_the_room_is_reached_from_the_front_door() -> None:
    assert secateur.integrations.lightning.Prune is lightning.Prune
    assert secateur.integrations.transformers.Prune is transformers.Prune
    assert issubclass(lightning.Prune, pl.Callback)
    assert issubclass(transformers.Prune, TrainerCallback)


@every_room
@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"method": LotteryTicket(0.2)}, "trains .* rounds.*use fit, or Pruning"),
        ({"method": "snip"}, "give a method such as"),
        ({"weighting": "equal"}, "give a method such as .* and a weighting such as"),
        ({"tasks": {}}, "tasks is empty"),
        ({"tasks": [Task(F.l1_loss)]}, "give a mapping"),
        ({"tasks": {"colour": F.l1_loss}}, "give a mapping"),
    ],
)
def test_parts_that_cannot_be_are_refused_in_one_sentence(room: Any, changed: Any, says: str) -> None:
    with pytest.raises((ValueError, TypeError), match=says) as error:
        room.Prune(**{"method": SoftThreshold(0.2), "tasks": tasks(), **changed})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("room", "without"),
    [
        ("lightning", ["lightning", "lightning.pytorch", "pytorch_lightning"]),
        ("transformers", ["transformers"]),
        ("transformers", ["accelerate"]),
    ],
)
def test_a_missing_library_is_named(room: str, without: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in without:
        monkeypatch.setitem(sys.modules, name, None)
    spec = importlib.util.find_spec(f"secateur.integrations.{room}")
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(ImportError, match=rf"pip install 'secateur\[{room}\]'"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
