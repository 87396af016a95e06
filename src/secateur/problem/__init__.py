"""What a multi-task problem is: model, tasks and data; which weights can be pruned, and who owns them."""

from secateur.problem.called import Call, called, uncalled
from secateur.problem.choices import check_arguments, check_choice, check_count, is_count, is_number
from secateur.problem.components import By, Components, components, prunable
from secateur.problem.culprit import Frame, frames, lies_in, of_python, untraceable
from secateur.problem.exporting import exporting
from secateur.problem.forms import described, fed, selected, unpacked
from secateur.problem.functional import functional
from secateur.problem.given import check_factor
from secateur.problem.loaders import length
from secateur.problem.losses import task_losses, unlabelled
from secateur.problem.owners import frozen_tasks, unlisted
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
from secateur.problem.processes import (
    Dropout,
    InStep,
    Together,
    Whole,
    any_process,
    as_one,
    average_gradients,
    averaged,
    check_same,
    from_first,
    same_buffers,
    same_generator,
    several,
    undivided,
    world_size,
)
from secateur.problem.remedied import RemediedError
from secateur.problem.samplers import (
    counting_epochs,
    distributed_samplers,
    holders,
    loader_state,
    restore_loader,
    undrawn,
)
from secateur.problem.state import (
    looking,
    preserved_buffers,
    preserved_modes,
    preserved_rng,
    rng_state,
    seed_all,
    set_rng_state,
)
from secateur.problem.taking import check_takes, taking

__all__ = [
    "Batch",
    "By",
    "Call",
    "Components",
    "Dropout",
    "Frame",
    "InStep",
    "Input",
    "Problem",
    "RemediedError",
    "Split",
    "Task",
    "Together",
    "Whole",
    "any_process",
    "apart",
    "as_one",
    "average_gradients",
    "averaged",
    "called",
    "check_arguments",
    "check_choice",
    "check_count",
    "check_factor",
    "check_same",
    "check_takes",
    "components",
    "counting_epochs",
    "described",
    "distributed_samplers",
    "example",
    "exporting",
    "fed",
    "frames",
    "from_first",
    "frozen_tasks",
    "functional",
    "holders",
    "is_count",
    "is_number",
    "length",
    "lies_in",
    "loader_state",
    "looking",
    "of_python",
    "one",
    "preserved_buffers",
    "preserved_modes",
    "preserved_rng",
    "prunable",
    "restore_loader",
    "rng_state",
    "same_buffers",
    "same_generator",
    "sample_shape",
    "seed_all",
    "selected",
    "set_rng_state",
    "several",
    "taking",
    "task_losses",
    "to_device",
    "uncalled",
    "undivided",
    "undrawn",
    "unlabelled",
    "unlisted",
    "unpacked",
    "untraceable",
    "world_size",
]
