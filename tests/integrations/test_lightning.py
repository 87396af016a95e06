"""Pruning in Lightning's Trainer, the real one: it trains as ``fit`` does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

import secateur
from loops.hosted import EPOCHS, METHODS, Make, every_loss, exact
from loops.lightning import QUIET, Module, Scheduled, Seeded, adam, density, fitted, loader, trained, trainer
from problems import batches, equal, tasks
from secateur import AdaptiveWeighting, GroupLasso, Problem, UncertaintyWeighting
from secateur.integrations.lightning import Prune
from secateur.problem import seed_all
from secateur.pruning import is_effective

pytestmark = QUIET


@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS.keys())
def test_six_methods_end_as_fit_ends(make: Make, tmp_path: Path) -> None:
    module = trained(tmp_path, make)
    assert equal(module.state_dict(), fitted(make).state_dict())
    assert not is_effective(module)
    if exact(make):
        assert density(module) == pytest.approx(0.2, abs=0.0005)


@pytest.mark.filterwarnings("ignore:LearnedThreshold. the thresholds reached")  # so few steps
@every_loss
def test_the_loss_of_prune_is_that_of_fit(make: Make, weighting: Any, tmp_path: Path) -> None:
    module = trained(tmp_path, make, weighting(), own=False)
    assert equal(module.state_dict(), fitted(make, weighting()).state_dict())


def test_gradients_that_are_accumulated_are_divided_once(tmp_path: Path) -> None:
    make, steps, found = METHODS["soft_threshold"], 6 // 2 * EPOCHS, Problem(Module(), tasks(), batches())
    seed_all(0)
    weighting = AdaptiveWeighting(window=3)
    with secateur.Pruning(found, make(), weighting, steps=steps, accumulate=2) as pruning:
        optimizer = pruning.attach(adam(pruning.groups()))
        found.model.train()
        for number, (x, targets) in enumerate(batches() * EPOCHS):
            pruning.loss(found.model(x), targets).backward()
            if number % 2:
                optimizer.step()
                optimizer.zero_grad()
                pruning.step()
    module = trained(tmp_path, make, AdaptiveWeighting(window=3), own=False, accumulate_grad_batches=2)
    assert equal(module.state_dict(), found.model.state_dict())


class Watched(pl.Callback):
    """Writes down the optimizer's learning rates, eps and decay at each step."""

    def __init__(self) -> None:
        self.rows: list[list[tuple[float, float, float, int]]] = []

    def on_before_optimizer_step(self, _: Any, module: Any, optimizer: Any) -> None:
        groups = optimizer.param_groups
        self.rows.append([(g["lr"], g["eps"], g["weight_decay"], len(g["params"])) for g in groups])


def test_what_a_method_asks_of_the_optimizer_follows_its_schedule(tmp_path: Path) -> None:
    watched = Watched()
    prune = Prune(GroupLasso(density=0.3, adam_eps=1e-6), tasks(), UncertaintyWeighting())
    module = Scheduled(prune)
    run = trainer(tmp_path, prune, watched, max_epochs=2)
    run.fit(module, loader())
    (optimizer,) = run.optimizers
    _, _, grouped, others, heads, joined = watched.rows[-1]  # none is left in the groups as they were made
    assert (grouped[1:], others[1:], heads[1:]) == ((1e-6, 0.1, 2), (1e-6, 0.1, 4), (1e-6, 0.01, 6))
    assert joined[2] == 0.0  # the weighting wants no decay
    assert all(row[2][0] == row[3][0] == row[5][0] for row in watched.rows)
    assert len({row[2][0] for row in watched.rows}) == 12
    assert len(optimizer.param_groups) == 2  # as it was made
    assert [len(group["params"]) for group in optimizer.param_groups] == [6, 6]


def test_mixed_precision_does_not_hide_the_channels(tmp_path: Path) -> None:
    module = Module()
    prune = Prune(GroupLasso(density=0.5, groups="coupled"), tasks())
    trainer(tmp_path, prune, precision="bf16-mixed").fit(module, loader())
    assert density(module) <= 0.5


@pytest.mark.slow
@pytest.mark.parametrize("before", ["", "import pytorch_lightning;"])
def test_it_is_a_callback_of_the_package_that_is_in_use(before: str) -> None:
    code = "import lightning.pytorch as pl, secateur; assert issubclass(secateur.integrations.lightning.Prune, pl.Callback)"
    subprocess.run([sys.executable, "-c", before + code], check=True)


class OfDicts(Module):
    """Its loader gives dicts, and its forward pass a tuple."""

    def forward(self, x: Tensor) -> Any:
        found = self.net(x)
        return found["shade"], found["colour"]

    def training_step(self, batch: Any, _: int) -> Tensor:
        x, targets = unpack(batch)
        return self.prune[0].loss(call(self, x), targets)


def unpack(batch: Any) -> Any:
    return batch["px"], {task: batch[task] for task in ("colour", "shade")}


def call(module: Any, x: Any) -> Any:
    return dict(zip(("shade", "colour"), module(x), strict=True))


def test_batches_and_modules_of_another_form(tmp_path: Path) -> None:
    make = METHODS["soft_threshold"]
    prune = Prune(make(), tasks(), unpack=unpack, call=call)
    module = OfDicts(prune)
    data = DataLoader([{"px": x, **t} for x, t in batches()], batch_size=None, generator=torch.Generator())
    trainer(tmp_path, Seeded(), prune).fit(module, data)
    assert equal(module.state_dict(), fitted(make).state_dict())
