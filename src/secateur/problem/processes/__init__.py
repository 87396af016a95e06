"""Several processes that train one network: what they average, agree on, and compute as one process would."""

from secateur.problem.processes.agreement import check_same, from_first, same_generator
from secateur.problem.processes.dropout import Dropout
from secateur.problem.processes.in_step import InStep
from secateur.problem.processes.shared import (
    any_process,
    average_gradients,
    averaged,
    same_buffers,
    several,
    undivided,
    world_size,
)
from secateur.problem.processes.together import Together
from secateur.problem.processes.whole import Whole, as_one

__all__ = [
    "Dropout",
    "InStep",
    "Together",
    "Whole",
    "any_process",
    "as_one",
    "average_gradients",
    "averaged",
    "check_same",
    "from_first",
    "same_buffers",
    "same_generator",
    "several",
    "undivided",
    "world_size",
]
