"""Furniture of the ``rooms`` scenes: each function builds one piece from a few parts.

A piece stands on y = 0 with its back in the plane z = 0 and faces +z; x is centred. Metres.
"""

from __future__ import annotations

from math import pi

from secateur.data.rooms.decor import trinket
from secateur.data.rooms.parts import BRIGHT, FABRICS, WHITES, WOODS, Dice, Part, Piece, Shape, Texture, moved


def bed(dice: Dice) -> Piece:
    """A bed with headboard, blanket and pillows."""
    width, length, wood = dice.between(1.0, 1.8), dice.between(1.95, 2.15), dice.tint(WOODS)
    sheet, blanket, stripe, w = dice.tint(WHITES), dice.tint(FABRICS), dice.tint(FABRICS), width / 2
    cover = Texture.STRIPES if dice.chance(0.5) else Texture.PLAIN
    cut = dice.between(0.55, 0.8)
    parts = [
        Part("bed", (0, 0.16, length / 2), (w, 0.16, length / 2), wood),
        Part("bed", (0, 0.42, length / 2), (w - 0.02, 0.10, length / 2 - 0.02), sheet),
        Part("bed", (0, 0.42, length - cut), (w + 0.01, 0.13, cut), blanket, stripe, cover),
        Part("bed", (0, dice.between(0.42, 0.55), 0.04), (w + 0.03, 0.55, 0.04), wood),
    ]
    for x in (-w / 2, w / 2) if width > 1.3 else (0.0,):
        parts.append(Part("objects", (x, 0.58, 0.32), (0.26, 0.07, 0.17), dice.tint(WHITES)))
    return Piece(parts, width + 0.06, length + 0.02, 1.05)


def sofa(dice: Dice) -> Piece:
    """A sofa of two or three seats, some with a cushion."""
    width, depth, fabric = dice.between(1.5, 2.3), dice.between(0.8, 0.95), dice.tint(FABRICS)
    w, seats = width / 2 - 0.16, 2 if width < 1.9 else 3
    seat, light = w / seats, dice.tint((fabric,), 0.08)
    parts = [
        Part("sofa", (0, 0.18, depth / 2), (w, 0.14, depth / 2), fabric),
        Part("sofa", (0, 0.42, 0.11), (w, 0.42, 0.11), fabric),
        Part("sofa", (-width / 2 + 0.08, 0.30, depth / 2), (0.08, 0.30, depth / 2), fabric),
        Part("sofa", (width / 2 - 0.08, 0.30, depth / 2), (0.08, 0.30, depth / 2), fabric),
    ]
    for k in range(seats):
        x = seat * (2 * k + 1 - seats)
        parts.append(Part("sofa", (x, 0.39, depth / 2 + 0.12), (seat - 0.012, 0.08, depth / 2 - 0.13), light))
    if dice.chance(0.6):
        x, color = dice.pick((-1.0, 1.0)) * (w - 0.22), dice.tint(BRIGHT)
        parts.append(
            Part("objects", (x, 0.62, 0.30), (0.20, 0.17, 0.07), color, dice.tint(WHITES), Texture.STRIPES)
        )
    return Piece(parts, width, depth, 0.84)


def shelf(dice: Dice) -> Piece:
    """A bookshelf; its front is painted with boards and book spines."""
    width, depth, height = dice.between(0.8, 1.5), dice.between(0.28, 0.36), dice.between(1.1, 2.1)
    wood = dice.tint(WOODS)
    body = Part(
        "furniture", (0, height / 2, depth / 2), (width / 2, height / 2, depth / 2), wood, wood, Texture.SHELF
    )
    return Piece([body], width, depth, height)


def cabinet(dice: Dice) -> Piece:
    """A chest of drawers or, taller, a wardrobe."""
    tall = dice.chance(0.35)
    width, depth = dice.between(0.8, 1.4), dice.between(0.4, 0.55)
    height, wood = dice.between(1.8, 2.1) if tall else dice.between(0.7, 0.95), dice.tint(WOODS)
    body = Part(
        "furniture",
        (0, height / 2, depth / 2),
        (width / 2, height / 2, depth / 2),
        wood,
        dice.tint(WOODS),
        Texture.DRAWERS,
    )
    parts = (
        [body] if tall else [body, *moved(trinket(dice), dice.between(-0.3, 0.3) * width, height, depth / 2)]
    )
    return Piece(parts, width, depth, height)


def nightstand(dice: Dice) -> Piece:
    """A small drawer with a lamp on it."""
    wood, height, glow = dice.tint(WOODS), dice.between(0.45, 0.6), dice.tint(((1.0, 0.86, 0.58),))
    body = Part(
        "furniture", (0, height / 2, 0.22), (0.24, height / 2, 0.2), wood, dice.tint(WOODS), Texture.DRAWERS
    )
    foot = Part(
        "objects",
        (0, height + 0.1, 0.22),
        (0.03, 0.1, 0.03),
        (0.3, 0.3, 0.3),
        shape=Shape.CYLINDER,
        casts=False,
    )
    shade = Part(
        "objects",
        (0, height + 0.28, 0.22),
        (0.13, 0.1, 0.13),
        glow,
        glow,
        Texture.GLOW,
        Shape.CYLINDER,
        casts=False,
    )
    return Piece([body, foot, shade], 0.52, 0.45, height + 0.4)


def television(dice: Dice) -> Piece:
    """A television on a low board."""
    width, height, wood = dice.between(1.2, 1.7), dice.between(0.4, 0.55), dice.tint(WOODS)
    w = dice.between(0.45, 0.62)
    board = Part(
        "furniture",
        (0, height / 2, 0.22),
        (width / 2, height / 2, 0.2),
        wood,
        dice.tint(WOODS),
        Texture.DRAWERS,
    )
    screen = Part(
        "tv",
        (0, height + 0.05 + 0.56 * w, 0.2),
        (w, 0.56 * w, 0.025),
        dice.tint(FABRICS),
        dice.tint(BRIGHT),
        Texture.SCREEN,
    )
    foot = Part("tv", (0, height + 0.025, 0.2), (0.15, 0.025, 0.08), (0.08, 0.08, 0.09), casts=False)
    return Piece([board, foot, screen], width, 0.45, height + 1.2 * w)


def table(dice: Dice, low: bool = False) -> Piece:
    """A dining table or desk, or a low coffee table, with something on it."""
    width, depth = (
        (dice.between(0.7, 1.1), dice.between(0.45, 0.6))
        if low
        else (dice.between(1.1, 1.6), dice.between(0.65, 0.85))
    )
    height, wood, round_top = 0.42 if low else 0.75, dice.tint(WOODS), dice.chance(0.3)
    w, d = width / 2, depth / 2
    if round_top:
        parts = [
            Part("table", (0, height - 0.03, d), (w, 0.03, d), wood, shape=Shape.CYLINDER),
            Part(
                "table",
                (0, height / 2, d),
                (0.06, height / 2 - 0.03, 0.06),
                wood,
                shape=Shape.CYLINDER,
                casts=False,
            ),
            Part("table", (0, 0.02, d), (0.6 * w, 0.02, 0.6 * d), wood, shape=Shape.CYLINDER, casts=False),
        ]
    else:
        legs = [(x, z) for x in (0.05 - w, w - 0.05) for z in (0.05, depth - 0.05)]
        parts = [Part("table", (0, height - 0.03, d), (w, 0.03, d), wood, dice.tint((wood,)), Texture.PLANKS)]
        parts += [
            Part("table", (x, height / 2 - 0.03, z), (0.035, height / 2 - 0.03, 0.035), wood, casts=False)
            for x, z in legs
        ]
    parts += moved(trinket(dice), dice.between(-0.5, 0.5) * w, height, d)
    return Piece(parts, width, depth, height)


def chair(dice: Dice) -> Piece:
    """A chair; it faces +z like everything else, so turn it towards its table."""
    wood, seat, top = dice.tint(WOODS), dice.tint(FABRICS), dice.between(0.85, 1.0)
    legs = [(x, z) for x in (-0.19, 0.19) for z in (0.03, 0.4)]
    parts = [
        Part("chair", (0, 0.45, 0.22), (0.22, 0.03, 0.22), seat),
        Part("chair", (0, (top + 0.55) / 2, 0.02), (0.21, (top - 0.55) / 2, 0.02), seat),
        *[
            Part("chair", (x, top / 2 - 0.04, 0.02), (0.025, top / 2 - 0.04, 0.022), wood, casts=False)
            for x in (-0.19, 0.19)
        ],
        *[Part("chair", (x, 0.21, z), (0.025, 0.21, 0.025), wood, casts=False) for x, z in legs[1::2]],
    ]
    return Piece(parts, 0.46, 0.46, top)


def desk(dice: Dice) -> Piece:
    """A table against the wall with a chair drawn up to it."""
    board, seat = table(dice), chair(dice)
    place = dice.between(-0.2, 0.2), 0.0, board.depth + dice.between(0.15, 0.4)
    parts = [*board.parts, *moved(seat.parts, *place, pi + dice.between(-0.4, 0.4))]
    return Piece(parts, board.width, board.depth + 0.45, 0.9)


def dining(dice: Dice) -> Piece:
    """A table with chairs around it, standing off the wall."""
    board = table(dice)
    aside, gap = board.width / 2 - dice.between(0.05, 0.2), 0.5 + dice.between(0.0, 0.3)
    parts = moved(board.parts, 0.0, 0.0, gap)
    middle = gap + board.depth / 2
    seats = [
        (dice.between(-0.2, 0.2), gap - 0.35, 0.0),
        (-aside - 0.35, middle, pi / 2),
        (aside + 0.35, middle, -pi / 2),
    ]
    for x, z, yaw in seats[: 1 + int(dice.between(0, 3))]:
        parts += moved(chair(dice).parts, x, 0.0, z, yaw + dice.between(-0.25, 0.25))
    parts.append(_rug(dice, board.width, board.depth, middle))
    return Piece(parts, board.width + 0.7, gap + board.depth, 1.0)


def lounge(dice: Dice) -> Piece:
    """A sofa with a coffee table in front of it, on a rug."""
    couch, board, gap = sofa(dice), table(dice, low=True), dice.between(0.25, 0.45)
    parts = [*couch.parts, *moved(board.parts, dice.between(-0.3, 0.3), 0.0, couch.depth + gap)]
    parts.append(_rug(dice, couch.width - 0.4, board.depth, couch.depth + gap + board.depth / 2))
    return Piece(parts, couch.width, couch.depth + gap + board.depth, couch.height)


def _rug(dice: Dice, width: float, depth: float, z: float) -> Part:
    half = (width / 2 + 0.25, 0.006, depth / 2 + 0.25)
    return Part(
        "floor",
        (0, 0.006, z),
        half,
        dice.tint(FABRICS),
        dice.tint(FABRICS + WHITES),
        Texture.RUG,
        casts=False,
    )
