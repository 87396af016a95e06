"""What a room is built from: convex parts with a class and a material, and the dice that choose them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from math import cos, sin
from typing import NamedTuple, TypeVar

import numpy as np

Color = tuple[float, float, float]
Choice = TypeVar("Choice")

CLASSES = (
    "bed", "books", "ceiling", "chair", "floor", "furniture", "objects",
    "picture", "sofa", "table", "tv", "wall", "window",
)  # fmt: skip
"""The 13 classes of NYU-13, in its order."""


class Shape(IntEnum):
    """Form of a part inside its bounding box: the box itself, an upright cylinder, an ellipsoid."""

    BOX = 0
    CYLINDER = 1
    SPHERE = 2


class Texture(IntEnum):
    """How a surface is painted; from GLASS on it shines by itself and is not shaded."""

    PLAIN = 0
    CHECKER = 1
    PLANKS = 2
    STRIPES = 3
    BRICKS = 4
    RUG = 5
    DRAWERS = 6
    SHELF = 7
    PICTURE = 8
    GLASS = 9
    SCREEN = 10
    GLOW = 11


class Part(NamedTuple):
    """One convex piece; metres, y up, turned by ``yaw`` about its own vertical axis.

    ``casts`` says whether it throws a shadow: thin legs and lamps do not, which costs nothing one would see.
    """

    label: str
    center: tuple[float, float, float]
    half: tuple[float, float, float]
    color: Color
    accent: Color = (0.0, 0.0, 0.0)
    texture: Texture = Texture.PLAIN
    shape: Shape = Shape.BOX
    casts: bool = True
    yaw: float = 0.0


def moved(parts: Sequence[Part], x: float, y: float, z: float, yaw: float = 0.0) -> list[Part]:
    """``parts`` turned by ``yaw`` about the origin, then shifted; yaw carries +z towards +x."""
    c, s = cos(yaw), sin(yaw)
    return [
        part._replace(
            center=(
                x + c * part.center[0] + s * part.center[2],
                y + part.center[1],
                z - s * part.center[0] + c * part.center[2],
            ),
            yaw=part.yaw + yaw,
        )
        for part in parts
    ]


class Dice:
    """Random choices of one scene, drawn in one block because single draws from numpy are slow."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._draws: list[float] = []

    def between(self, low: float, high: float) -> float:
        """A uniform number in [low, high)."""
        if not self._draws:
            self._draws = self._rng.random(512).tolist()
        return low + (high - low) * self._draws.pop()

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.between(0.0, 1.0) < probability

    def pick(self, choices: Sequence[Choice]) -> Choice:
        """One of ``choices``, all equally likely."""
        return choices[int(self.between(0.0, len(choices)))]

    def shuffled(self, items: Sequence[Choice]) -> list[Choice]:
        """``items`` in random order."""
        return sorted(items, key=lambda _: self.between(0.0, 1.0))

    def tint(self, colors: Sequence[Color], spread: float = 0.05) -> Color:
        """One of ``colors``, a little lighter or darker and a little warmer or cooler."""
        red, green, blue = self.pick(colors)
        light, warm = self.between(1 - 2 * spread, 1 + 2 * spread), self.between(-spread, spread)
        return (
            min(1.0, max(0.0, light * (red + warm))),
            min(1.0, max(0.0, light * green)),
            min(1.0, max(0.0, light * (blue - warm))),
        )


class Piece(NamedTuple):
    """Parts of one piece of furniture and the box they fill: x in +-width/2, z in [0, depth], y up to height."""

    parts: list[Part]
    width: float
    depth: float
    height: float


Maker = Callable[[Dice], Piece]

WOODS: tuple[Color, ...] = (
    (0.55, 0.36, 0.22),
    (0.72, 0.53, 0.34),
    (0.40, 0.26, 0.17),
    (0.83, 0.70, 0.52),
    (0.88, 0.86, 0.82),
)
FABRICS: tuple[Color, ...] = (
    (0.62, 0.22, 0.20), (0.20, 0.34, 0.52), (0.28, 0.45, 0.33), (0.80, 0.62, 0.25),
    (0.45, 0.44, 0.46), (0.74, 0.70, 0.63), (0.48, 0.30, 0.46), (0.18, 0.45, 0.48),
)  # fmt: skip
WHITES: tuple[Color, ...] = ((0.93, 0.91, 0.87), (0.86, 0.88, 0.90), (0.90, 0.84, 0.76))
BRIGHT: tuple[Color, ...] = (
    (0.85, 0.30, 0.20),
    (0.95, 0.75, 0.25),
    (0.20, 0.50, 0.75),
    (0.30, 0.65, 0.45),
    (0.92, 0.90, 0.86),
)
LEAVES: tuple[Color, ...] = ((0.20, 0.45, 0.20), (0.30, 0.52, 0.24))
