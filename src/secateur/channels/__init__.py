"""Channels: which channels of a network live and die together."""

from secateur.channels.channels import Channels, find_channels
from secateur.channels.coupled import coupled_groups

__all__ = ["Channels", "coupled_groups", "find_channels"]
