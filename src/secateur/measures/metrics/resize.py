"""Predictions brought to the size of their target, and the checks that every dense metric shares."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Resize = Literal["bilinear", "nearest"]


def resized(prediction: Tensor, target: Tensor, channels: int, resize: Resize) -> Tensor:
    """``prediction`` (N, C, h, w) at the height and width of ``target`` (N, ..., H, W).

    Bilinear interpolation places pixel centres as torch does with ``align_corners=False``; the code of AdaShare,
    DiSparse and AdapMTL uses ``"nearest"``.

    Args:
        prediction: Of any floating type; bfloat16 and float16 become float32 first.
        target: Gives the size.
        channels: The C that the metric needs.
        resize: How to interpolate.

    Raises:
        ValueError: If the prediction is not (N, C, h, w) with the N of the target and ``channels`` channels.
    """
    if prediction.ndim != 4 or prediction.shape[0] != target.shape[0] or prediction.shape[1] != channels:
        raise ValueError(
            f"The prediction has shape {tuple(prediction.shape)}, the target {tuple(target.shape)}; "
            f"the prediction must be (N={target.shape[0]}, {channels}, h, w)."
        )
    if prediction.dtype in (torch.float16, torch.bfloat16):
        prediction = prediction.float()
    size = (target.shape[-2], target.shape[-1])
    if prediction.shape[-2:] == size:
        return prediction
    return F.interpolate(prediction, size, mode=resize)


def check_target(target: Tensor, shape: tuple[int | None, ...], meaning: str) -> None:
    """Raises ValueError unless ``target`` has this shape; None stands for any length."""
    fits = target.ndim == len(shape) and all(
        want in (None, have) for want, have in zip(shape, target.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"The target has shape {tuple(target.shape)}; it must be {meaning}.")
