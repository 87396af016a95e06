"""The networks of the papers."""

from secateur.zoo.deeplab_resnet34 import deeplab_resnet34

__all__ = ["deeplab_resnet34"]
