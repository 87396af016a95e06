"""What decorates the ``rooms`` scenes: plants, lamps, trinkets, windows and pictures.

A piece stands on y = 0 with its back in the plane z = 0 and faces +z; x is centred. Metres.
"""

from __future__ import annotations

from secateur.data.rooms.parts import BRIGHT, FABRICS, LEAVES, WHITES, Dice, Part, Piece, Shape, Texture


def plant(dice: Dice) -> Piece:
    """A plant in a pot."""
    pot, green, size = dice.between(0.14, 0.2), dice.tint(LEAVES), dice.between(0.2, 0.32)
    parts = [
        Part("objects", (0, 0.16, 0.3), (pot, 0.16, pot), dice.tint(FABRICS), shape=Shape.CYLINDER),
        Part(
            "objects",
            (0, 0.45, 0.3),
            (0.03, 0.2, 0.03),
            (0.35, 0.25, 0.15),
            shape=Shape.CYLINDER,
            casts=False,
        ),
        Part(
            "objects",
            (0, 0.5 + size, 0.3),
            (size, 1.2 * size, size),
            green,
            dice.tint(LEAVES),
            Texture.CHECKER,
            Shape.SPHERE,
        ),
    ]
    return Piece(parts, 0.6, 0.6, 1.1)


def lamp(dice: Dice) -> Piece:
    """A floor lamp."""
    height, glow = dice.between(1.4, 1.7), dice.tint(((1.0, 0.86, 0.58),))
    parts = [
        Part(
            "objects",
            (0, height / 2, 0.22),
            (0.02, height / 2, 0.02),
            (0.25, 0.24, 0.24),
            shape=Shape.CYLINDER,
            casts=False,
        ),
        Part(
            "objects",
            (0, 0.02, 0.22),
            (0.15, 0.02, 0.15),
            (0.25, 0.24, 0.24),
            shape=Shape.CYLINDER,
            casts=False,
        ),
        Part(
            "objects",
            (0, height, 0.22),
            (0.2, 0.14, 0.2),
            glow,
            glow,
            Texture.GLOW,
            Shape.CYLINDER,
            casts=False,
        ),
    ]
    return Piece(parts, 0.44, 0.44, height + 0.15)


def trinket(dice: Dice) -> list[Part]:
    """A pile of books, a vase, a ball or a box, at the origin."""
    kind, size, color = (
        dice.pick(("books", "books", "vase", "ball", "box")),
        dice.between(0.08, 0.13),
        dice.tint(BRIGHT),
    )
    if kind == "books":
        low = Part(
            "books", (0, 0.03, 0), (0.16, 0.03, 0.12), color, dice.tint(WHITES), yaw=dice.between(-0.4, 0.4)
        )
        return [
            low,
            low._replace(
                center=(0.01, 0.085, 0),
                half=(0.14, 0.025, 0.10),
                color=dice.tint(FABRICS),
                yaw=dice.between(-0.5, 0.5),
            ),
        ]
    if kind == "vase":
        return [
            Part(
                "objects",
                (0, 1.4 * size, 0),
                (0.7 * size, 1.4 * size, 0.7 * size),
                color,
                shape=Shape.CYLINDER,
            )
        ]
    if kind == "ball":
        return [Part("objects", (0, size, 0), (size, size, size), color, shape=Shape.SPHERE)]
    return [
        Part(
            "objects", (0, 0.8 * size, 0), (1.2 * size, 0.8 * size, size), color, yaw=dice.between(-0.6, 0.6)
        )
    ]


def window(dice: Dice) -> Piece:
    """A window, perhaps with curtains; its lower edge is at y = 0."""
    width, height = dice.between(0.9, 1.8), dice.between(1.0, 1.35)
    glass = Part(
        "window",
        (0, height / 2, 0.02),
        (width / 2, height / 2, 0.02),
        (0.95, 0.95, 0.93),
        dice.pick(((0.55, 0.75, 1.0), (0.75, 0.85, 0.95), (1.0, 0.8, 0.6))),
        Texture.GLASS,
        casts=False,
    )
    parts, drape = [glass], 0.0
    if dice.chance(0.55):
        cloth, fold, drape = dice.tint(FABRICS + WHITES), dice.tint(WHITES), 0.22
        for side in (-1, 1):
            parts.append(
                Part(
                    "window",
                    (side * (width / 2 + 0.07), height / 2 - 0.1, 0.07),
                    (0.15, height / 2 + 0.25, 0.04),
                    cloth,
                    fold,
                    Texture.STRIPES,
                )
            )
    return Piece(parts, width + 2 * drape, 0.12, height)


def picture(dice: Dice) -> Piece:
    """A framed picture; its lower edge is at y = 0."""
    width, height = dice.between(0.35, 0.9), dice.between(0.35, 0.7)
    panel = Part(
        "picture",
        (0, height / 2, 0.015),
        (width / 2, height / 2, 0.015),
        dice.tint(BRIGHT + FABRICS),
        dice.tint(BRIGHT + WHITES),
        Texture.PICTURE,
        casts=False,
    )
    return Piece([panel], width, 0.03, height)
