"""What pruning in Hugging Face's Trainer refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from loops.hosted import Make, every_loss
from loops.transformers import SAMPLES, Net, trained, trainer
from problems import tasks
from secateur import SoftThreshold, Task
from secateur.integrations.transformers import Prune


@every_loss
def test_a_loss_that_is_needed_is_asked_for(make: Make, weighting: Any, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"compute_loss_func=prune\.compute_loss.*return prune\.loss\(outputs, inputs\)"
    ):
        trained(tmp_path, make, tasks(), weighting())


class Lossless(Net):
    def forward(self, x: Tensor, **_: Any) -> dict[str, Tensor]:
        return {k: v for k, v in super().forward(x).items() if k != "shade"}


def made(**changes: Any) -> Prune:
    return Prune(changes.get("method", SoftThreshold(0.2)), changes.get("tasks"))


ONE = made()
BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a task that the model does not return": (
        lambda p: trainer(p, Lossless(), made(tasks=tasks()), remove_unused_columns=False).train(),
        r"no tensor 'shade'; name its outputs after the tasks",
    ),
    "no loss": (
        lambda p: trainer(p, Lossless(), made()).train(),
        "no tensor 'loss'; give batches with labels, or give tasks",
    ),
    "no column of a task": (
        lambda p: trainer(p, Net(), made(tasks={"edges": Task(F.l1_loss)})).train(),
        r"the batch has the columns \['colour', 'shade', 'x'\].*remove_unused_columns=False",
    ),
    "the best model": (
        lambda p: trainer(
            p,
            Net(),
            made(),
            load_best_model_at_end=True,
            eval_strategy="epoch",
            save_strategy="epoch",
            more={"eval_dataset": SAMPLES[:4]},
        ).train(),
        "load_best_model_at_end would bring back",
    ),
    "two": (lambda p: trainer(p, Net(), made(), made()).train(), "being pruned already"),
    "the same twice": (lambda p: trainer(p, Net(), ONE, ONE).train(), "has the same one twice"),
    "a loss without a training": (
        lambda _: made().loss({"loss": torch.ones(())}, {}),
        "no training is under way",
    ),
    "a loss function without tasks": (lambda _: made().compute_loss({}, torch.ones(1)), "it needs tasks"),
}


@pytest.mark.parametrize(("act", "says"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_sentence(act: Callable[[Path], Any], says: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, TypeError, RuntimeError), match=says) as error:
        act(tmp_path)
    assert "\n" not in str(error.value)


def test_a_checkpoint_of_a_training_without_it_is_refused(tmp_path: Path) -> None:
    trainer(tmp_path, Net(), save_strategy="steps", save_steps=5).train()
    with pytest.raises(ValueError, match="step 5 holds no state of Prune"):
        trainer(tmp_path, Net(), made()).train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))
