"""What is known of a network's pictures, checked, and predictions drawn as the report draws them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn.functional import interpolate

from secateur.data import picture_of

Draw = Callable[[Tensor], Tensor]
_BAR, _GAP = 12, 2  # pixels: the line of names over the pictures, and between them


@dataclass(frozen=True)
class Facts:
    """What turns a picture into an input, and predictions into pictures.

    Args:
        mean: Subtracted from RGB in [0, 1].
        std: Divided by.
        draw: Task to the function that draws one prediction, without those that have none.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    draw: Mapping[str, Draw]


def facts_of(
    about: Mapping[str, Any],
    place: str,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    pictures: Mapping[str, str] | None = None,
) -> Facts:
    """What metadata say, and what is given in their place.

    Args:
        about: Of an exported file, or of a run's weights.
        place: Which file, for errors.
        mean: In the place of theirs.
        std: In the place of theirs.
        pictures: Task to the kind of its picture, beside theirs.

    Raises:
        ValueError: If something is missing, and which option gives it, or is not what it must be.
    """
    found: dict[str, Any] = {name: about.get(name) for name in ("mean", "std")}
    found |= {name: list(value) for name, value in (("mean", mean), ("std", std)) if value is not None}
    if missing := [name for name, value in found.items() if not value]:
        options = " and ".join(f"--{name} 0.5,0.5,0.5" for name in missing)
        raise ValueError(
            f"{place} does not say the {' and '.join(missing)} that its pictures were normalised with; give {options} "
            "(those of training), unless it takes no pictures."
        )
    for name, value in found.items():
        numbers = isinstance(value, list) and all(
            type(v) in (int, float) and math.isfinite(v) for v in cast(list[Any], value)
        )
        if not numbers or len(value) != 3 or (name == "std" and min(value) <= 0):
            raise ValueError(
                f"{place}: {name} is {value!s:.80}; it must be 3 numbers, one for each of red, green and blue"
                f"{', above 0' if name == 'std' else ''}: --{name}."
            )
    return Facts(
        tuple(map(float, found["mean"])),
        tuple(map(float, found["std"])),
        _draws(about, place, pictures or {}),
    )


def _draws(about: Mapping[str, Any], place: str, pictures: Mapping[str, str]) -> dict[str, Draw]:
    tasks = list(about["tasks"])
    if unknown := sorted(set(pictures) - set(tasks)):
        raise ValueError(f"--pictures names {unknown[0]!r}, but {place} has the tasks {', '.join(tasks)}.")
    said = {**_mapping(about.get("pictures")), **pictures}
    names = _mapping(about.get("classes"))
    made: dict[str, Draw] = {}
    for task in (task for task in tasks if said.get(task)):
        known = names.get(task)
        classes = [str(name) for name in cast(list[Any], known)] if isinstance(known, list) else []
        try:
            made[task] = picture_of(said[task], classes)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{place}: the picture of {task!r}: {error} --pictures says another.") from error
    return made


def _mapping(value: Any) -> dict[str, Any]:
    return dict(cast(Mapping[str, Any], value)) if isinstance(value, Mapping) else {}


def drawn(task: str, prediction: Tensor, draw: Draw, size: tuple[int, int]) -> np.ndarray[Any, Any]:
    """One prediction, (1, ...), as a picture (H, W, 3) uint8; a map at ``size`` = (height, width), as in the report.

    Raises:
        ValueError: If this function does not draw it.
    """
    try:
        fitted = prediction.float().cpu()
        fitted = interpolate(fitted, size, mode="bilinear") if fitted.dim() == 4 else fitted
        return draw(fitted[0]).numpy()
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ValueError(
            f"The prediction of {task!r}, {tuple(prediction.shape)}, cannot be drawn so ({error}); say another kind: "
            f"--pictures '{{{task}: ...}}'."
        ) from error


def side_by_side(pictures: Mapping[str, np.ndarray[Any, Any]]) -> Image.Image:
    """Pictures beside each other, each under its name."""
    images = {name: Image.fromarray(picture) for name, picture in pictures.items()}
    height = max(image.height for image in images.values())
    width = sum(image.width + _GAP for image in images.values()) - _GAP
    sheet = Image.new("RGB", (width, height + _BAR), (255, 255, 255))
    left = 0
    for name, image in images.items():
        bar = Image.new("RGB", (image.width, _BAR), (255, 255, 255))
        ImageDraw.Draw(bar).text((1, 0), name.encode("latin-1", "replace").decode("latin-1"), fill=(0, 0, 0))
        sheet.paste(bar, (left, 0))
        sheet.paste(image, (left, _BAR))
        left += image.width + _GAP
    return sheet


def as_picture(image: Tensor) -> np.ndarray[Any, Any]:
    """RGB in [0, 1], float (3, H, W), as bytes (H, W, 3)."""
    return (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
