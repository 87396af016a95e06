"""What a multi-task problem is: model, tasks and data; which weights can be pruned, and who owns them."""

from secateur.problem.called import Call, called, uncalled
from secateur.problem.components import By, Components, components, prunable
from secateur.problem.culprit import lies_in, untraceable
from secateur.problem.forms import described, fed, selected
from secateur.problem.loaders import length
from secateur.problem.losses import task_losses, unlabelled
from secateur.problem.problem import (
    Batch,
    Input,
    Problem,
    Split,
    Task,
    apart,
    example,
    one,
    sample_shape,
    to_device,
)
from secateur.problem.processes import averaged
from secateur.problem.rng import preserved_rng, rng_state, seed_all, set_rng_state

__all__ = [
    "Batch",
    "By",
    "Call",
    "Components",
    "Input",
    "Problem",
    "Split",
    "Task",
    "apart",
    "averaged",
    "called",
    "components",
    "described",
    "example",
    "fed",
    "length",
    "lies_in",
    "one",
    "preserved_rng",
    "prunable",
    "rng_state",
    "sample_shape",
    "seed_all",
    "selected",
    "set_rng_state",
    "task_losses",
    "to_device",
    "uncalled",
    "unlabelled",
    "untraceable",
]
