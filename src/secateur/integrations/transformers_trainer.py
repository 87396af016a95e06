"""What Hugging Face's Trainer must not be, and what it puts around a model."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from transformers import TrainingArguments


def check(args: TrainingArguments) -> None:
    """Raises ValueError where weights would be swapped or split behind the method's back."""
    if args.load_best_model_at_end:
        raise ValueError(
            "Prune: load_best_model_at_end would bring back weights from before their zeros; leave it out, the end is what was asked."
        )
    if args.n_gpu > 1 or args.fsdp or args.deepspeed:
        raise ValueError(
            "Prune: DataParallel, FSDP and DeepSpeed copy or split the weights; start one process a device with torchrun instead."
        )


@contextmanager
def plain_forward(model: nn.Module) -> Generator[None]:
    """Without the mixed precision that accelerate puts around ``model.forward``, which a trace cannot follow."""
    around, plain = vars(model).get("forward"), vars(model).get("_original_forward")
    if around is not None and plain is not None:
        vars(model)["forward"] = plain
    try:
        yield
    finally:
        if around is not None:
            vars(model)["forward"] = around
