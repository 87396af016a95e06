"""Layout of one ``rooms`` scene: a furnished room, its lights and the camera in it, from a random generator."""

from __future__ import annotations

from dataclasses import dataclass
from math import atan2, cos, radians, sin
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateur.data.rooms import decor as decor
from secateur.data.rooms import furniture as furniture
from secateur.data.rooms.parts import CLASSES, WHITES, WOODS, Color, Dice, Maker, Part, Texture
from secateur.data.rooms.plan import Plan

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]

_PAINTS: tuple[Color, ...] = (
    (0.90, 0.87, 0.80), (0.74, 0.80, 0.74), (0.72, 0.79, 0.86), (0.86, 0.72, 0.62),
    (0.78, 0.77, 0.78), (0.90, 0.83, 0.62), (0.60, 0.68, 0.72), (0.82, 0.70, 0.74),
)  # fmt: skip
_TILES: tuple[Color, ...] = ((0.80, 0.78, 0.74), (0.62, 0.60, 0.58), (0.70, 0.52, 0.42), (0.45, 0.50, 0.55))
_THEMES: tuple[tuple[Maker, ...], ...] = (
    (furniture.bed, furniture.nightstand, furniture.cabinet, furniture.desk),
    (furniture.lounge, furniture.television, furniture.shelf, decor.lamp),
    (furniture.dining, furniture.cabinet, furniture.shelf, decor.plant),
    (furniture.desk, furniture.sofa, furniture.shelf, furniture.television),
)
_EXTRAS: tuple[Maker, ...] = (
    decor.plant,
    decor.lamp,
    furniture.shelf,
    furniture.television,
    furniture.sofa,
    furniture.bed,
)


@dataclass(frozen=True)
class Scene:
    """A room as arrays over its S = 6 + P surfaces: the faces of the room, then the P parts in it. Metres, y up.

    The room is the box ``|x| <= room[0]``, ``0 <= y <= room[1]``, ``|z| <= room[2]``; its faces come in the
    order -x, +x, floor, ceiling, -z, +z. Rows 0 to 5 of ``center`` and ``half`` all hold that box.
    """

    room: tuple[float, float, float]
    shape: Ints  # (S,)
    center: Floats  # (S, 3)
    half: Floats  # (S, 3)
    yaw: Floats  # (S,)
    label: Ints  # (S,)
    texture: Ints  # (S,)
    color: Floats  # (S, 3)
    accent: Floats  # (S, 3)
    casts: NDArray[np.bool_]  # (S,)
    lamp: Floats  # (3,)
    daylight: Floats | None  # (3,), in front of the first window
    lamp_power: float
    position: Floats  # (3,), of the camera
    rotation: Floats  # (3, 3), world to camera: its rows are the camera's right, down and forward


def layout(rng: np.random.Generator) -> Scene:
    """A random furnished room seen from a standing person's eyes."""
    dice = Dice(rng)
    room = (dice.between(1.6, 2.9), dice.between(2.4, 2.9), dice.between(1.7, 3.2))
    home = int(dice.between(0, 4))  # the wall behind the camera
    position, rotation = _camera(dice, room, home)
    plan = Plan(room, (float(position[0]), float(position[2])))
    windows = _furnish(dice, plan, home)
    lamp = (dice.between(-0.4, 0.4) * room[0], room[1] - 0.06, dice.between(-0.4, 0.4) * room[2])
    glow = (1.0, 0.95, 0.85)
    plan.parts.append(Part("objects", lamp, (0.2, 0.06, 0.2), glow, glow, Texture.GLOW, casts=False))
    surfaces = [*_faces(dice, room), *plan.parts]
    daylight = np.asarray(windows[0], np.float32) if windows else None
    power = dice.between(0.3, 0.8) if windows else 1.0
    return Scene(
        room,
        np.array([part.shape for part in surfaces]),
        np.array([part.center for part in surfaces], np.float32),
        np.array([part.half for part in surfaces], np.float32),
        np.array([part.yaw for part in surfaces], np.float32),
        np.array([CLASSES.index(part.label) for part in surfaces]),
        np.array([part.texture for part in surfaces]),
        np.array([part.color for part in surfaces], np.float32),
        np.array([part.accent for part in surfaces], np.float32),
        np.array([part.casts for part in surfaces]),
        np.array(lamp, np.float32),
        daylight,
        power,
        position,
        rotation,
    )


def _camera(dice: Dice, room: tuple[float, float, float], home: int) -> tuple[Floats, Floats]:
    """Position (3,) near the wall ``home`` and rotation (3, 3), looking into the room and a little down."""
    plan = Plan(room)
    x, z = plan.spot(home, dice.between(-0.6, 0.6) * plan.reach(home), dice.between(0.3, 0.8))
    goal_x, goal_z = plan.spot(home, dice.between(-0.5, 0.5) * plan.reach(home), 1.5 * plan.reach(home + 1))
    yaw = atan2(goal_x - x, goal_z - z)
    pitch, roll = radians(dice.between(-20, -4)), radians(dice.between(-2, 2))
    forward = np.array([sin(yaw) * cos(pitch), sin(pitch), cos(yaw) * cos(pitch)])
    level = np.array([-cos(yaw), 0.0, sin(yaw)])
    down = np.cross(forward, level)
    right, down = cos(roll) * level + sin(roll) * down, cos(roll) * down - sin(roll) * level
    position = np.array([x, dice.between(1.35, 1.65), z], np.float32)
    return position, np.stack([right, down, forward]).astype(np.float32)


def _furnish(dice: Dice, plan: Plan, home: int) -> list[tuple[float, float, float]]:
    """Fill the three walls in view; returns a point in front of each window."""
    walls = [(home + 2) % 4, (home + 1) % 4, (home + 3) % 4]
    windows: list[tuple[float, float, float]] = []
    for wall in dice.shuffled(walls)[: dice.pick((0, 1, 1, 1, 2))]:
        along, height = dice.between(-0.5, 0.5) * plan.reach(wall), dice.between(0.8, 1.0)
        if plan.hang(decor.window(dice), wall, along, height):
            x, z = plan.spot(wall, along, 0.3)
            windows.append((x, height + 0.7, z))
    first, *rest = dice.pick(_THEMES)
    pieces = [first, *dice.shuffled([*rest, dice.pick(_EXTRAS)])]
    for maker, wall in zip(pieces, [*walls, *dice.shuffled(walls)], strict=False):
        piece = maker(dice)
        for _ in range(4):
            if plan.stand(piece, wall, dice.between(-1, 1) * (plan.reach(wall) - piece.width / 2)):
                break
            wall = dice.pick(walls)
    for wall in [*walls, walls[0]]:
        if dice.chance(0.7):
            plan.hang(
                decor.picture(dice), wall, dice.between(-0.8, 0.8) * plan.reach(wall), dice.between(1.25, 1.5)
            )
    return windows


def _faces(dice: Dice, room: tuple[float, float, float]) -> list[Part]:
    """The six faces of the room, each a copy of the whole box with its own class and material."""
    center, half = (0.0, room[1] / 2, 0.0), (room[0], room[1] / 2, room[2])
    paint, feature = dice.tint(_PAINTS), dice.tint(_PAINTS)
    look = dice.pick((Texture.PLAIN, Texture.PLAIN, Texture.STRIPES, Texture.BRICKS))
    wall = Part("wall", center, half, paint, paint, casts=False)
    special = wall._replace(color=feature, accent=dice.tint((feature,), 0.08), texture=look)
    walls = dice.shuffled([wall, wall, wall, special])
    if dice.chance(0.55):
        wood = dice.tint(WOODS[:4])
        floor = Part("floor", center, half, wood, dice.tint((wood,), 0.07), Texture.PLANKS, casts=False)
    else:
        floor = Part(
            "floor", center, half, dice.tint(_TILES), dice.tint(WHITES), Texture.CHECKER, casts=False
        )
    white = dice.tint(((0.96, 0.95, 0.93),), 0.02)
    ceiling = Part("ceiling", center, half, white, white, casts=False)
    return [walls[0], walls[1], floor, ceiling, walls[2], walls[3]]
