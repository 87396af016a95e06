"""Lightning's Trainer, as a user has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from contract import overall
from loops.hosted import EPOCHS, Make
from problems import TwoHeads, batches, tasks
from secateur import Problem, fit
from secateur.integrations.lightning import Prune
from secateur.problem import seed_all
from secateur.pruning import constant
from secateur.weighting import Weighting

QUIET = [
    pytest.mark.filterwarnings(f"ignore:{text}")
    for text in (
        ".*LeafSpec.* is deprecated:FutureWarning",  # Lightning's own use of torch
        "Checkpoint directory .* exists and is not empty",
        "The 'train_dataloader' does not have many workers",
        "The 'val_dataloader' does not have many workers",
    )
]
"""For the ``pytestmark`` of what trains with it."""


def adam(groups: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(groups, lr=1e-2)


def loader() -> DataLoader:
    """It draws from a generator of its own, so that the global one is for methods and dropout alone."""
    return DataLoader(batches(), batch_size=None, generator=torch.Generator())


class Seeded(pl.Callback):
    """Seeds where fit does."""

    def on_train_start(self, *_: Any) -> None:
        seed_all(0)


class Module(pl.LightningModule):
    """What a user has: a network, a step and an optimizer."""

    def __init__(self, prune: Prune | None = None, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.net = TwoHeads()
        self.prune: Any = [prune]  # in a list, as modules hold callbacks that are no modules

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return self.net(x)

    def training_step(self, batch: Any, _: int) -> Tensor:
        x, targets = batch
        found = self(x)
        if self.prune[0] is not None:
            return self.prune[0].loss(found, targets)
        return F.cross_entropy(found["colour"], targets["colour"]) + F.l1_loss(
            found["shade"], targets["shade"]
        )

    def configure_optimizers(self) -> Any:
        return adam(self.parameters())


def trainer(folder: Path, *callbacks: Any, **settings: Any) -> pl.Trainer:
    given: dict[str, Any] = {"max_epochs": EPOCHS, "enable_checkpointing": False, **settings}
    return pl.Trainer(
        callbacks=list(callbacks),
        default_root_dir=folder,
        logger=False,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        **given,
    )


def trained(
    folder: Path, make: Make, weighting: Weighting | None = None, own: bool = True, **settings: Any
) -> Module:
    prune = Prune(make(), tasks(), weighting)
    module = Module(None if own else prune)
    trainer(folder, Seeded(), prune, **settings).fit(module, loader())
    return module


def fitted(make: Make, weighting: Weighting | None = None, optimizer: Any = adam) -> nn.Module:
    problem = Problem(Module(), tasks(), batches())
    fit(problem, make(), weighting, optimizer=optimizer, schedule=constant, epochs=EPOCHS)
    return problem.model


def density(module: nn.Module) -> float:
    return overall(Problem(module, tasks(), batches()))


class Scheduled(Module):
    """Two groups of its own, and a schedule of two parts."""

    def configure_optimizers(self) -> Any:
        heads = [p for n, p in self.named_parameters() if "trunk" not in n]
        trunk = [p for n, p in self.named_parameters() if "trunk" in n]
        made = torch.optim.AdamW(
            [{"params": trunk, "weight_decay": 0.1}, {"params": heads, "lr": 3e-3}], lr=1e-2
        )
        rate = torch.optim.lr_scheduler
        parts = [rate.LinearLR(made, 0.1, 1.0, 5), rate.LambdaLR(made, lambda step: 1 / (1 + step))]
        return [made], [{"scheduler": rate.SequentialLR(made, parts, [5]), "interval": "step"}]


def checkpoints(folder: Path, **settings: Any) -> pl.callbacks.ModelCheckpoint:
    return pl.callbacks.ModelCheckpoint(dirpath=folder, save_top_k=-1, filename="{epoch}", **settings)
