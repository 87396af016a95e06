"""What a multi-task problem is: model, tasks and data; which weights can be pruned, and who owns them."""

from secateur.problem.components import By, Components, components, prunable
from secateur.problem.culprit import lies_in, untraceable
from secateur.problem.problem import (
    Batch,
    Input,
    Problem,
    Task,
    apart,
    example,
    one,
    predict,
    sample_shape,
    selected,
    to_device,
)
from secateur.problem.processes import averaged
from secateur.problem.rng import preserved_rng, rng_state, seed_all, set_rng_state

__all__ = [
    "Batch",
    "By",
    "Components",
    "Input",
    "Problem",
    "Task",
    "apart",
    "averaged",
    "components",
    "example",
    "lies_in",
    "one",
    "predict",
    "preserved_rng",
    "prunable",
    "rng_state",
    "sample_shape",
    "seed_all",
    "selected",
    "set_rng_state",
    "to_device",
    "untraceable",
]
