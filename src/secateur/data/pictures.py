"""Predictions and targets of one image as RGB pictures, for reports and for ``secateur predict``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

DARK = (40, 40, 40)
"""Grey of what has no label."""

NEAREST, FARTHEST = 0.7, 10.0
"""Ends of the depth colours, metres: the Kinect's range."""

# fmt: off
_COLOURS = (
    "4363d8", "f58231", "3cb44b", "e6194b", "ffe119", "911eb4", "42d4f4", "f032e6", "bfef45", "fabed4",
    "469990", "dcbeff", "9a6324", "fffac8", "800000", "aaffc3", "808000", "ffd8b1", "000075", "b0c4de",
)  # told apart at a glance (S. Trubetskoy's twenty, without grey, black and white)
_VIRIDIS = (
    "440154", "482475", "414487", "355f8d", "2a788e", "21918c", "22a884", "44bf70", "7ad151", "bddf26",
    "fde725",
)
# fmt: on


def segmentation_picture(x: Tensor) -> Tensor:
    """Logits, float (classes, h, w), or labels, int64 (H, W) with 255 = ignore, to (H, W, 3) uint8.

    Class k has one colour whatever the number of classes; from 20 on the colours return, darker.
    """
    labels = (x.argmax(0) if x.is_floating_point() else x).cpu()
    table = palette(256)
    table[255] = table.new_tensor(DARK)
    return table[labels]


def normal_picture(x: Tensor) -> Tensor:
    """Normals, float (3, h, w) of any length, to (h, w, 3) uint8: x red, y green, z blue; zero vectors dark."""
    normal = x.detach().float()
    length = normal.square().sum(0, keepdim=True).sqrt()  # (1, h, w)
    return _on_dark((normal / length.clamp(min=1e-12) * 0.5 + 0.5) * 255.0, length > 1e-6)


def depth_picture(x: Tensor) -> Tensor:
    """Depth, float (1, h, w) metres, to (h, w, 3) uint8: near is yellow, far is violet, logarithmic; <= 0 dark.

    The range is fixed (0.7 to 10 m), so that pictures of different models compare.
    """
    depth = torch.nan_to_num(x.detach().float().cpu(), nan=0.0)
    share = torch.log(depth.clamp(NEAREST, FARTHEST) / NEAREST) / math.log(FARTHEST / NEAREST)  # (1, h, w)
    table = _table(_VIRIDIS).float()
    place = (1.0 - share[0]) * (len(table) - 1)
    lower = place.floor().long().clamp(max=len(table) - 2)
    colour = torch.lerp(table[lower], table[lower + 1], (place - lower)[..., None])  # (h, w, 3)
    return _on_dark(colour.permute(2, 0, 1), depth > 0.0)


def map_picture(x: Tensor) -> Tensor:
    """An edge or keypoint map, float (1, h, w) in [0, 1], to grey (h, w, 3) uint8; what is invalid (-1) is black."""
    return _on_dark(x.detach().float().expand(3, -1, -1) * 255.0, x > -1.0, (0, 0, 0))


def inverse_depth_picture(x: Tensor) -> Tensor:
    """Inverse depth, float (1, h, w) in 1/m, to grey (h, w, 3) uint8: 5 m and nearer is white, invalid black."""
    return map_picture((5.0 * x).clamp(0.0, 1.0))


def label_picture(text: str) -> Tensor:
    """``text`` in white on dark, (64, 96, 3) uint8."""
    image = Image.new("RGB", (96, 64), DARK)
    ImageDraw.Draw(image).text((4, 26), text, fill=(255, 255, 255))
    return torch.from_numpy(np.asarray(image).copy())


def yes_or_no_picture(x: Tensor) -> Tensor:
    """A logit, or a label of 0 or 1, of one image to the word, (64, 96, 3) uint8."""
    return label_picture("yes" if float(x) > 0 else "no")


def class_picture(x: Tensor, names: Sequence[str] = ()) -> Tensor:
    """Logits (classes,), or a label int64 (-1 = none), to the name of the class, or its number, (64, 96, 3) uint8."""
    label = int(x.argmax() if x.is_floating_point() else x)
    return label_picture("" if label < 0 else names[label] if names else str(label))


PICTURES: dict[str, Callable[..., Tensor]] = {
    "segmentation": segmentation_picture,
    "normal": normal_picture,
    "depth": depth_picture,
    "inverse_depth": inverse_depth_picture,
    "map": map_picture,
    "yes_or_no": yes_or_no_picture,
    "class": class_picture,
}
"""Our pictures by the word that a file names them with."""


def picture_kind(picture: object) -> str | None:
    """The word of one of our pictures; None for one of somebody else's, and where there is none."""
    drawn = picture.func if isinstance(picture, partial) else picture
    return next((kind for kind, known in PICTURES.items() if known is drawn), None)


def picture_of(kind: str, classes: Sequence[str] = ()) -> Callable[[Tensor], Tensor]:
    """The function that draws ``kind``, with the names of classes where it writes them.

    Raises:
        ValueError: If there is no such kind.
    """
    if kind not in PICTURES:
        raise ValueError(f"no picture is called {kind!r}; choose from {', '.join(PICTURES)}.")
    return partial(class_picture, names=tuple(classes)) if kind == "class" else PICTURES[kind]


def legend(picture: object, classes: Sequence[str] = ()) -> dict[str, Any]:
    """What the colours of one of these pictures mean, as plain values; empty for a picture of somebody else's.

    Args:
        picture: The function that draws it.
        classes: Names, for a segmentation.

    Returns:
        ``colours``: pairs of a text and ``#rrggbb``; ``scale``: True where they are marks on one scale; ``note``.
    """
    if picture is segmentation_picture:
        drawn = [_code(colour) for colour in palette(len(classes)).tolist()]
        none = [["no label", _code(DARK)]]
        return {
            "colours": [list(pair) for pair in zip(classes, drawn, strict=True)] + none,
            "scale": False,
            "note": "",
        }
    if picture is depth_picture:
        marks = [NEAREST, 1.0, 2.0, 4.0, 7.0, FARTHEST]
        drawn = depth_picture(torch.tensor(marks).view(1, 1, -1))[0].tolist()
        colours = [[f"{mark:g} m", _code(colour)] for mark, colour in zip(marks, drawn, strict=True)]
        return {"colours": colours, "scale": True, "note": "logarithmic; dark: no depth"}
    if picture is normal_picture:
        return {
            "colours": [],
            "scale": False,
            "note": "x is red, y green, z blue, each from -1 to 1; dark: no normal",
        }
    if picture is map_picture:
        return {"colours": [], "scale": False, "note": "black is 0, white 1"}
    return {}


def _code(colour: Sequence[int]) -> str:
    return "#" + bytes(colour).hex()


def palette(classes: int) -> Tensor:
    """(classes, 3) uint8: one colour a class, distinct for up to sixty classes."""
    base = _table(_COLOURS).float()
    rounds = max(1, -(-classes // len(base)))
    return torch.cat([base * 0.6**r for r in range(rounds)])[:classes].round().to(torch.uint8)


def _table(codes: tuple[str, ...]) -> Tensor:
    """Hexadecimal colours as (n, 3) uint8."""
    return torch.tensor([list(bytes.fromhex(code)) for code in codes], dtype=torch.uint8)


def _on_dark(colour: Tensor, valid: Tensor, ground: tuple[int, int, int] = DARK) -> Tensor:
    """(3, h, w) float in [0, 255] to (h, w, 3) uint8, with ``ground`` where ``valid`` (1, h, w) is false."""
    back = colour.new_tensor(ground).view(3, 1, 1)
    shown = torch.where(valid.to(colour.device), torch.nan_to_num(colour).clamp(0.0, 255.0).round(), back)
    return shown.permute(1, 2, 0).to(torch.uint8).cpu()
