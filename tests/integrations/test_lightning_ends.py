"""How a training in Lightning's Trainer ends, early or in an error, and goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, IterableDataset

from loops.hosted import METHODS, Make
from loops.lightning import QUIET, Module, Scheduled, checkpoints, density, loader, trainer
from problems import batches, equal, shuffled_loader, tasks
from secateur import AdaptiveWeighting, GradualMagnitude, GroupLasso, SoftThreshold, UncertaintyWeighting
from secateur.integrations.lightning import Prune
from secateur.problem import seed_all
from secateur.pruning import is_effective
from secateur.weighting import Weighting

pytestmark = QUIET
RESUMED: dict[str, tuple[Make, Any]] = {
    **{name: (make, Weighting) for name, make in METHODS.items()},
    "adaptive": (METHODS["soft_threshold"], AdaptiveWeighting),
    "uncertainty": (METHODS["group_lasso"], UncertaintyWeighting),
}


@pytest.mark.parametrize(("make", "weighting"), RESUMED.values(), ids=RESUMED.keys())
def test_resumed_is_bit_for_bit_unbroken(make: Make, weighting: Any, tmp_path: Path) -> None:
    def run(seed: int, path: Path | None = None) -> Module:
        prune = Prune(make(), tasks(), weighting())
        module = Scheduled(prune, seed)
        seed_all(seed)
        made = trainer(tmp_path, prune, checkpoints(tmp_path), enable_checkpointing=True)
        made.fit(module, shuffled_loader(), ckpt_path=path, weights_only=path and True)
        return module

    whole = run(0)
    assert equal(run(1, tmp_path / "epoch=1.ckpt").state_dict(), whole.state_dict())


class Stopping(pl.Callback):
    """Raises, or asks for an end, at a batch."""

    def __init__(self, error: BaseException | None = None, at: int = 4) -> None:
        self.error, self.at = error, at

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.at:
            if self.error:
                raise self.error
            trainer.should_stop = True


@pytest.mark.parametrize("error", [OSError("disk"), KeyboardInterrupt()])
def test_what_raises_leaves_the_module_plain(error: BaseException, tmp_path: Path) -> None:
    prune, module = Prune(SoftThreshold(0.2), tasks()), Module()
    with pytest.raises((OSError, SystemExit)):
        trainer(tmp_path, prune, Stopping(error)).fit(module, loader())
    assert not is_effective(module)
    again = trainer(tmp_path, prune)  # the same callback once more, on the same module
    again.fit(module, loader())
    assert density(module) == pytest.approx(0.2, abs=0.0005)


def test_a_checkpoint_of_an_exception_can_be_resumed(tmp_path: Path) -> None:
    saver = checkpoints(tmp_path, save_on_exception=True)
    prune, module = Prune(GroupLasso(density=0.3), tasks(), UncertaintyWeighting()), Module()
    module.prune = [prune]
    with pytest.raises(OSError, match="disk"):
        trainer(tmp_path, prune, Stopping(OSError("disk"), 12), saver, enable_checkpointing=True).fit(
            module, loader()
        )
    (path,) = tmp_path.glob("epoch=1*.ckpt")
    state = torch.load(path, weights_only=True)
    (kept,) = (part for name, part in state["callbacks"].items() if name.startswith("Prune"))
    assert kept["pruning"]["done"] == 12 or kept["pruning"]["done"] == 11
    assert list(state["state_dict"]) == list(module.state_dict())


class Validated(Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[bool] = []

    def validation_step(self, batch: Any, _: int) -> None:
        self.seen.append(is_effective(self))


def test_validation_sees_effective_weights_and_the_last_file_the_zeros(tmp_path: Path) -> None:
    module, prune = Validated(), Prune(SoftThreshold(0.2), tasks())
    run = trainer(
        tmp_path, prune, checkpoints(tmp_path, save_last=True), max_epochs=3, enable_checkpointing=True
    )
    run.fit(module, loader(), DataLoader(batches(1), batch_size=None))
    assert module.seen[-3] is True  # after the first epoch
    assert module.seen[-1] is False  # all steps are done, and the zeros are in the weights
    last, first = Module(), Module()
    for found, name in ((last, "last"), (first, "epoch=0")):
        found.load_state_dict(torch.load(tmp_path / f"{name}.ckpt", weights_only=True)["state_dict"])
    assert density(last) == pytest.approx(0.2, abs=0.0005)
    assert density(first) == 1.0


def test_an_early_end_leaves_the_density(tmp_path: Path) -> None:
    module = Module()
    trainer(tmp_path, Prune(SoftThreshold(0.2), tasks()), Stopping()).fit(module, loader())
    assert density(module) == pytest.approx(0.2, abs=0.0005)


def test_max_steps_end_it(tmp_path: Path) -> None:
    module = Module()
    trainer(tmp_path, Prune(GradualMagnitude(0.2), tasks()), max_epochs=-1, max_steps=9).fit(module, loader())
    assert density(module) == pytest.approx(0.2, abs=0.0005)


def test_a_trainer_serves_twice(tmp_path: Path) -> None:
    module = Module()
    run = trainer(tmp_path, Prune(SoftThreshold(0.2), tasks()), max_epochs=2)
    run.fit(module, loader())
    run.fit_loop.max_epochs = 4
    run.fit(module, loader())
    assert run.global_step == 24
    assert density(module) == pytest.approx(0.2, abs=0.0005)


class _Streamed(IterableDataset[Any]):
    """Batches without a length."""

    def __iter__(self) -> Iterator[Any]:
        return iter(loader())


def test_a_loader_without_a_length_takes_max_steps(tmp_path: Path) -> None:
    module = Module()
    stream = DataLoader(_Streamed(), batch_size=None)
    trainer(tmp_path, Prune(GradualMagnitude(0.2), tasks()), max_epochs=-1, max_steps=9).fit(module, stream)
    assert density(module) == pytest.approx(0.2, abs=0.0005)
