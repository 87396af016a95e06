"""What is kept beside a run of what was made of its network: each figure with the network that it is of; and its weights."""

from secateur.runs.kept.benches import benches, keep_bench
from secateur.runs.kept.exports import keep_export
from secateur.runs.kept.marks import mark
from secateur.runs.kept.weights import is_damaged, load_weights, weights_about

__all__ = ["benches", "is_damaged", "keep_bench", "keep_export", "load_weights", "mark", "weights_about"]
