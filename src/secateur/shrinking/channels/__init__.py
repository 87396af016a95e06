"""Channels: which channels of a network live and die together."""

from secateur.shrinking.channels.channels import Channels, find_channels, removed_sizes
from secateur.shrinking.channels.compressed import jointly
from secateur.shrinking.channels.dead_layers import constant_layers, group_counts, put_constant, settings_of
from secateur.shrinking.channels.grouped import in_groups, thinned
from secateur.shrinking.channels.layers import layers
from secateur.shrinking.channels.needed import needed
from secateur.shrinking.channels.needs import Needs
from secateur.shrinking.channels.node import Node
from secateur.shrinking.channels.rules import OUTPUT
from secateur.shrinking.channels.stacked import layer_weights
from secateur.shrinking.channels.staying import staying
from secateur.shrinking.channels.trace import trace
from secateur.shrinking.channels.training import Training, training_nodes
from secateur.shrinking.channels.values import (
    constant_outputs,
    constant_values,
    fixed_values,
    fold_constants,
    nothing_known,
    zeros_alone,
)

__all__ = [
    "OUTPUT",
    "Channels",
    "Needs",
    "Node",
    "Training",
    "constant_layers",
    "constant_outputs",
    "constant_values",
    "find_channels",
    "fixed_values",
    "fold_constants",
    "group_counts",
    "in_groups",
    "jointly",
    "layer_weights",
    "layers",
    "needed",
    "nothing_known",
    "put_constant",
    "removed_sizes",
    "settings_of",
    "staying",
    "thinned",
    "trace",
    "training_nodes",
    "zeros_alone",
]
