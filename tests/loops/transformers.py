"""Hugging Face's Trainer, as a user has it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Trainer, TrainerCallback, TrainingArguments

from loops.hosted import EPOCHS, Make
from problems import TwoHeads, batches
from secateur import Problem, fit
from secateur.integrations.adapter import OWN, batch_of, fields
from secateur.integrations.transformers import Prune
from secateur.problem import seed_all
from secateur.pruning import constant
from secateur.weighting import Weighting

SAMPLES = [{n: v[i] for n, v in {"x": x, **t}.items()} for x, t in batches() for i in range(len(x))]


class Net(nn.Module):
    """In the manner of transformers: keywords in, an object with the loss out."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.net = TwoHeads()

    def forward(
        self, x: Tensor, colour: Tensor | None = None, shade: Tensor | None = None
    ) -> dict[str, Tensor]:
        found = self.net(x)
        if colour is None or shade is None:
            return found
        loss = F.cross_entropy(found["colour"], colour) + F.l1_loss(found["shade"], shade)
        return {"loss": loss, **found}


class Seeded(TrainerCallback):
    """Seeds each step, as Steps does."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        seed_all(state.global_step)


class Steps:
    """The batches that the Trainer makes of the samples, for fit."""

    def __init__(self, wrap: Callable[[Any], Any]) -> None:
        self.batches = [wrap({"x": x, **targets}) for x, targets in batches()]

    def __iter__(self) -> Any:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)

    def from_step(self, step: int) -> Any:
        for number in count(step):
            seed_all(number)
            yield self.batches[number % len(self)]


class Own(Trainer):
    """A Trainer of one's own, which asks for the loss."""

    loss_is_scaled_for_ga = False
    prune: Any = None

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        outputs = model(**inputs)
        loss = self.prune.loss(outputs, inputs)
        return (loss, outputs) if return_outputs else loss


def trainer(
    folder: Path, model: nn.Module, *callbacks: Any, kind: type = Trainer, more: Any = None, **settings: Any
) -> Any:
    given: dict[str, Any] = {
        "num_train_epochs": EPOCHS, "save_strategy": "no", "lr_scheduler_type": "constant", "max_grad_norm": 0.0,
        "learning_rate": 1e-2, "per_device_train_batch_size": 4, "train_sampling_strategy": "sequential", **settings,
    }  # fmt: skip
    args = TrainingArguments(
        folder, use_cpu=True, report_to="none", disable_tqdm=True, logging_strategy="no", **given
    )
    return kind(model, args, train_dataset=SAMPLES, callbacks=list(callbacks), **(more or {}))


def problem(model: nn.Module, tasks: Any = None) -> Problem:
    loader = Steps(lambda found: batch_of(found, tasks))
    return Problem(model, tasks or OWN, loader, call=fields(tasks))


def trained(
    folder: Path, make: Make, tasks: Any = None, weighting: Weighting | None = None, **settings: Any
) -> Net:
    prune, model = Prune(make(), tasks, weighting), Net()
    run = trainer(folder, model, Seeded(), prune, **settings)
    run.prune = prune
    run.train()
    return model


def fitted(make: Make, tasks: Any = None, weighting: Weighting | None = None) -> Net:
    def adam(groups: Any) -> torch.optim.Optimizer:
        return torch.optim.AdamW(groups, lr=1e-2, weight_decay=0.0, fused=True)

    model = Net()
    fit(problem(model, tasks), make(), weighting, optimizer=adam, schedule=constant, epochs=EPOCHS)
    return model
