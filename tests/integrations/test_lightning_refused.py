"""What pruning in Lightning's Trainer refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from loops.hosted import Make, every_loss
from loops.lightning import QUIET, Module, adam, checkpoints, loader, trained, trainer
from problems import tasks
from secateur import SoftThreshold, Task
from secateur.integrations.lightning import Prune

pytestmark = QUIET


@every_loss
def test_a_loss_that_is_needed_is_asked_for(make: Make, weighting: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"return prune\.loss\(predictions, targets\) from training_step"):
        trained(tmp_path, make, weighting())


class Tuple(Module):
    def forward(self, x: Tensor) -> Any:
        return tuple(self.net(x).values())


class Manual(Module):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False


class Two(Module):
    def forward(self, x: Tensor, y: Tensor) -> Any:
        return self.net(x + y)


class Part(Module):
    def configure_optimizers(self) -> Any:
        return adam(self.net.colour.parameters())


def made(**changes: Any) -> Prune:
    return Prune(changes.get("method", SoftThreshold(0.2)), changes.get("tasks", tasks()))


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a task that the module does not return": (
        lambda p: trainer(p, made(tasks={**tasks(), "edges": Task(F.l1_loss)})).fit(Module(), loader()),
        "No training batch has a target for \\['edges'\\]",
    ),
    "a module that returns a tuple": (
        lambda p: trainer(p, made()).fit(Tuple(), loader()),
        "The model returned tuple of 2 .*; it must return a dict",
    ),
    "a forward of two": (
        lambda p: trainer(p, made()).fit(Two(), loader()),
        r"missing 1 required positional argument: 'y'.*forward\(x\) returns \{task: prediction\}",
    ),
    "a loader of dicts": (
        lambda p: trainer(p, made()).fit(Module(), DataLoader([{"x": 1}], batch_size=None)),
        r"the train loader gave dict \{x: int\}\..*gives \(x, \{task: target\}\).*Prune\(\.\.\., unpack=",
    ),
    "a loader of three": (
        lambda p: trainer(p, made()).fit(Module(), DataLoader([(torch.ones(1),) * 3])),
        r"the train loader gave list of 3 \(Tensor \(1, 1\)",
    ),
    "an unpack of another form": (
        lambda p: trainer(p, Prune(SoftThreshold(0.2), tasks(), unpack=lambda b: [b[0], b[0]])).fit(
            Module(), loader()
        ),
        r"Prune: unpack returned list of 2 .*must return \(x, \{task: target\}\)",
    ),
    "an unpack that is none": (lambda p: Prune(SoftThreshold(0.2), tasks(), unpack="x"), "unpack is str"),  # pyright: ignore[reportArgumentType]
    "manual optimization": (lambda p: trainer(p, made()).fit(Manual(), loader()), "automatic optimization"),
    "two": (lambda p: trainer(p, made(), made()).fit(Module(), loader()), "more than one|has two of them"),
    "the same twice": (
        lambda p: trainer(p, *[made()] * 2).fit(Module(), loader()),
        "more than one|has two of them",
    ),
    "no end": (
        lambda p: trainer(p, made(), max_epochs=-1).fit(Module(), loader()),
        "give the Trainer max_steps",
    ),
    "an optimizer of a part": (
        lambda p: trainer(p, made()).fit(Part(), loader()),
        r"The optimizer \(Adam\) lacks net\.trunk\.0\.weight",
    ),
    "a loss without a training": (lambda _: made().loss({}, {}), "no training is under way"),
}


@pytest.mark.parametrize(("act", "says"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_sentence(act: Callable[[Path], Any], says: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, TypeError, RuntimeError), match=says) as error:
        act(tmp_path)
    assert "\n" not in str(error.value)


def test_a_checkpoint_of_a_training_without_it_is_refused(tmp_path: Path) -> None:
    trainer(tmp_path, checkpoints(tmp_path), max_epochs=1, enable_checkpointing=True).fit(Module(), loader())
    with pytest.raises(ValueError, match="holds no state of Prune"):
        trainer(tmp_path, made(), checkpoints(tmp_path), enable_checkpointing=True).fit(
            Module(), loader(), ckpt_path=tmp_path / "epoch=0.ckpt", weights_only=True
        )
