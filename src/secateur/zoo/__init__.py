"""The networks of the papers."""

from secateur.zoo.deeplab_resnet34 import deeplab_resnet34
from secateur.zoo.resnetd50 import lim_resnetd50
from secateur.zoo.transformer_encoder import transformer_encoder
from secateur.zoo.video_captioner import video_captioner

__all__ = ["deeplab_resnet34", "lim_resnetd50", "transformer_encoder", "video_captioner"]
