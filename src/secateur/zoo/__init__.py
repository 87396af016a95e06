"""The networks of the papers, and any of torchvision's as a backbone."""

from secateur.zoo.deeplab_resnet34 import deeplab_resnet34
from secateur.zoo.resnetd50 import lim_resnetd50
from secateur.zoo.shared_backbones import independent, mobilenetv2_aspp, separate_bottom, shared_bottom
from secateur.zoo.transformer_encoder import transformer_encoder
from secateur.zoo.video_captioner import video_captioner

__all__ = [
    "deeplab_resnet34",
    "independent",
    "lim_resnetd50",
    "mobilenetv2_aspp",
    "separate_bottom",
    "shared_bottom",
    "transformer_encoder",
    "video_captioner",
]
