"""Views of one sample: flipped, zoomed, resized; image, labels, depth and normals stay consistent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Sample = Mapping[str, Tensor]
"""``image`` float (3, H, W) RGB in [0, 1]; ``seg`` int64 (H, W), 255 = ignore; ``normal`` float (3, H, W) unit
vectors, x right, y down, z forward, zero = invalid; ``depth`` float (1, H, W) metres, 0 = invalid; ``edge`` and
``keypoint`` float (1, H, W) in [0, 1], -1 = invalid. A scalar field is a label of the whole image, which no view changes, whatever
its name.
All but ``image`` are optional."""

SCALES = (1.0, 1.2, 1.5)
"""Zooms that MTAN and LibMTL train NYU-v2 with."""


def flip(sample: Sample) -> Sample:
    """``sample`` mirrored left-right; the normals' x component changes sign, so that they fit the mirrored scene."""
    flipped = {field: x.flip(-1) if x.dim() else x for field, x in sample.items()}
    if "normal" in flipped and flipped["normal"].dim():
        flipped["normal"] = flipped["normal"] * torch.tensor([-1.0, 1.0, 1.0]).view(3, 1, 1)
    return flipped


def zoom(sample: Sample, scale: float, top: float = 0.5, left: float = 0.5) -> Sample:
    """A crop of ``1 / scale`` of each side, brought back to full size; depth is divided by ``scale``.

    The image is interpolated bilinearly, all else takes the nearest pixel. What looks ``scale`` times as large is
    taken to be ``scale`` times as near, seen by a lens of ``scale`` times the focal length: then the whole scene
    has shrunk and normals stay as they are (MTAN, LibMTL).

    Args:
        sample: Height and width are taken from ``image``.
        scale: At least 1.
        top: Place of the crop between the upper (0) and the lower (1) border.
        left: Place of the crop between the left (0) and the right (1) border.

    Raises:
        ValueError: If ``scale`` is below 1 or a place lies outside [0, 1].
    """
    if not scale >= 1.0 or not 0.0 <= top <= 1.0 or not 0.0 <= left <= 1.0:
        raise ValueError(
            f"zoom: scale={scale}, top={top}, left={left}; scale must be >= 1, top and left in [0, 1]."
        )
    if scale == 1.0:
        return sample
    height, width = sample["image"].shape[-2:]
    h, w = max(1, round(height / scale)), max(1, round(width / scale))
    y, x = round(top * (height - h)), round(left * (width - w))
    crop = {f: v[..., y : y + h, x : x + w] if v.dim() else v for f, v in sample.items()}
    zoomed = dict(resize(crop, (height, width)))
    if "depth" in zoomed and zoomed["depth"].dim():
        zoomed["depth"] = zoomed["depth"] / scale
    return zoomed


def random_view(sample: Sample, rng: np.random.Generator, scales: Sequence[float] = SCALES) -> Sample:
    """``sample`` zoomed by one of ``scales`` at a random place and, half of the time, mirrored.

    Always four draws from ``rng``, whatever they turn out to be.
    """
    choice, top, left, mirror = (float(u) for u in rng.random(4))
    view = zoom(sample, scales[int(choice * len(scales))], top, left)
    return flip(view) if mirror < 0.5 else view


def resize(sample: Sample, size: tuple[int, int]) -> Sample:
    """``sample`` at ``size`` = (height, width): image bilinear with antialiasing, all else the nearest pixel.

    Depth values stay as they are: fewer pixels show the same scene.
    """
    if tuple(sample["image"].shape[-2:]) == tuple(size):
        return sample
    return {
        f: x if not x.dim() else _bilinear(x, size) if f == "image" else nearest(x, size)
        for f, x in sample.items()
    }


def nearest(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(..., H, W) of any dtype at ``size`` = (h, w): each new pixel takes the old one under its centre."""
    height, width = x.shape[-2:]
    if (height, width) == tuple(size):
        return x
    rows = _centres(height, size[0], x.device)
    columns = _centres(width, size[1], x.device)
    return x.index_select(-2, rows).index_select(-1, columns)


def normalise(image: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """``(image - mean) / std`` per channel of (..., 3, H, W)."""
    shift, scale = (
        torch.tensor(v, dtype=image.dtype, device=image.device).view(-1, 1, 1) for v in (mean, std)
    )
    return (image - shift).div_(scale)


def _centres(old: int, new: int, device: torch.device) -> Tensor:
    """Index of the old pixel that holds the centre of each new one: floor((i + 1/2) old / new), in integers."""
    return (2 * torch.arange(new, device=device) + 1) * old // (2 * new)


def _bilinear(image: Tensor, size: tuple[int, int]) -> Tensor:
    wide = F.interpolate(image[None], size=list(size), mode="bilinear", align_corners=False, antialias=True)
    return wide[0].clamp(0.0, 1.0)
