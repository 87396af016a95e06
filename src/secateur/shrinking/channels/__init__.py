"""Channels: which channels of a network live and die together."""

from secateur.shrinking.channels.channels import Channels, find_channels
from secateur.shrinking.channels.compressed import jointly
from secateur.shrinking.channels.constants import fixed_values
from secateur.shrinking.channels.coupled import coupled_groups, default_groups
from secateur.shrinking.channels.dead_layers import constant_layers, put_constant, settings_of
from secateur.shrinking.channels.fold import fold_constants
from secateur.shrinking.channels.needs import Needs, needed
from secateur.shrinking.channels.values import constant_values

__all__ = [
    "Channels",
    "Needs",
    "constant_layers",
    "constant_values",
    "coupled_groups",
    "default_groups",
    "find_channels",
    "fixed_values",
    "fold_constants",
    "jointly",
    "needed",
    "put_constant",
    "settings_of",
]
