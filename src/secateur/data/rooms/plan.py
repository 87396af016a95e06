"""The floor plan of a ``rooms`` scene while it fills up: what stands and hangs where."""

from __future__ import annotations

from math import pi

from secateur.data.rooms.parts import Part, Piece, moved

_SIN = (0.0, 1.0, 0.0, -1.0)
_COS = (1.0, 0.0, -1.0, 0.0)


class Plan:
    """Places pieces along walls 0 to 3, which face +z, +x, -z and -x, without overlaps.

    Args:
        room: Half width (x), height (y) and half depth (z), metres.
        camera: x and z of the camera, which gets some space; None while there is no camera.
    """

    def __init__(self, room: tuple[float, float, float], camera: tuple[float, float] | None = None) -> None:
        self.room = room
        self.parts: list[Part] = []
        self._floor: list[tuple[float, float, float, float]] = []  # x0, x1, z0, z1
        self._walls: list[list[tuple[float, float, float, float]]] = [[], [], [], []]  # along, along, y0, y1
        if camera is not None:
            x, z = camera
            self._floor.append((x - 0.6, x + 0.6, z - 0.6, z + 0.6))

    def reach(self, wall: int) -> float:
        """Half the length of this wall."""
        return self.room[0] if wall % 2 == 0 else self.room[2]

    def spot(self, wall: int, along: float, away: float) -> tuple[float, float]:
        """World x and z of the point ``along`` this wall from its middle and ``away`` from it."""
        c, s, off = _COS[wall], _SIN[wall], away - self.reach(wall + 1)
        return c * along + s * off, c * off - s * along

    def stand(self, piece: Piece, wall: int, along: float) -> bool:
        """Stand ``piece`` with its back to the wall; False if there is no space."""
        x, z = self.spot(wall, along, piece.depth / 2)
        w, d = piece.width / 2, piece.depth / 2
        w, d = (w, d) if wall % 2 == 0 else (d, w)
        ground = (x - w, x + w, z - d, z + d)
        shade = (along - piece.width / 2, along + piece.width / 2, 0.0, piece.height)
        inside = (
            abs(along) + piece.width / 2 <= self.reach(wall)
            and 2 * d < 2 * self.room[2]
            and 2 * w < 2 * self.room[0]
        )
        if not inside or _clashes(ground, self._floor) or _clashes(shade, self._walls[wall]):
            return False
        self._floor.append(ground)
        self._walls[wall].append(shade)
        self._add(piece, wall, along, 0.0)
        return True

    def hang(self, piece: Piece, wall: int, along: float, height: float) -> bool:
        """Hang ``piece`` with its lower edge at ``height``; False if there is no space."""
        low, high = along - piece.width / 2 - 0.06, along + piece.width / 2 + 0.06
        shade = (low, high, height - 0.03, height + piece.height + 0.1)
        if (
            max(-low, high) > self.reach(wall)
            or shade[3] > self.room[1]
            or _clashes(shade, self._walls[wall])
        ):
            return False
        self._walls[wall].append(shade)
        self._add(piece, wall, along, height)
        return True

    def _add(self, piece: Piece, wall: int, along: float, height: float) -> None:
        x, z = self.spot(wall, along, 0.0)
        self.parts += moved(piece.parts, x, height, z, wall * pi / 2)


def _clashes(box: tuple[float, float, float, float], others: list[tuple[float, float, float, float]]) -> bool:
    return any(box[0] < b and a < box[1] and box[2] < d and c < box[3] for a, b, c, d in others)
