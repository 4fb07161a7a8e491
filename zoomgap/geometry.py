"""Boxes, sizes and frames: where things lie, in pixels of an image. Boxes are xyxy with x2 and y2 exclusive."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in xyxy pixels of one image, x2 and y2 exclusive."""

    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def width(self) -> float:
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        return self.y2 - self.y1

    @property
    def area(self) -> float:
        return max(self.width, 0.0) * max(self.height, 0.0)

    @property
    def side(self) -> float:
        """Side of the square of the same area, in pixels."""
        return math.sqrt(self.area)

    @property
    def center(self) -> Point:
        return Point((self.x1 + self.x2) / 2, (self.y1 + self.y2) / 2)

    def scaled(self, sx: float, sy: float) -> Box:
        return Box(self.x1 * sx, self.y1 * sy, self.x2 * sx, self.y2 * sy)

    def shifted(self, dx: float, dy: float) -> Box:
        return Box(self.x1 + dx, self.y1 + dy, self.x2 + dx, self.y2 + dy)

    def grown(self, factor: float) -> Box:
        """The box with both sides multiplied by `factor` about its centre."""
        dx, dy = self.width * (factor - 1) / 2, self.height * (factor - 1) / 2
        return Box(self.x1 - dx, self.y1 - dy, self.x2 + dx, self.y2 + dy)

    def turned(self, degrees: int, size: Size) -> Box:
        """The box after its image of `size` has been turned clockwise by a multiple of 90 degrees."""
        box = self
        for _ in range(degrees // 90 % 4):
            box, size = Box(size.height - box.y2, box.x1, size.height - box.y1, box.x2), size.turned(90)
        return box

    def clamped(self, width: float, height: float) -> Box:
        """The part of the box inside an image of that size (may be empty)."""
        return Box(
            min(max(self.x1, 0), width), min(max(self.y1, 0), height),
            min(max(self.x2, 0), width), min(max(self.y2, 0), height),
        )  # fmt: skip

    def intersection(self, other: Box) -> float:
        """Shared area in square pixels."""
        w = min(self.x2, other.x2) - max(self.x1, other.x1)
        h = min(self.y2, other.y2) - max(self.y1, other.y1)
        return max(w, 0.0) * max(h, 0.0)

    def iou(self, other: Box) -> float:
        shared = self.intersection(other)
        union = self.area + other.area - shared
        return shared / union if union > 0 else 0.0

    def covers(self, other: Box) -> float:
        """Share of `other` that lies inside this box, 0 to 1."""
        return self.intersection(other) / other.area if other.area > 0 else 0.0

    def as_list(self) -> list[float]:
        return [self.x1, self.y1, self.x2, self.y2]


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels."""

    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height

    def turned(self, degrees: int) -> Size:
        """The size after a turn by a multiple of 90 degrees."""
        return Size(self.height, self.width) if degrees // 90 % 2 else self


@dataclass(frozen=True, slots=True)
class Frame:
    """One image as the model sees it, and the part of the original that it shows.

    index: 0 is the whole image, k the k-th image after it. size: as sent. box: pixels of the original. turn: by how
    much the picture is turned clockwise, 0, 90, 180 or 270 degrees. picture: which of the originals that the question
    is about, 0 for the first; the first frames are all of these, whole.
    """

    index: int
    size: Size
    box: Box
    turn: int = 0
    picture: int = 0

    def to_original(self, box: Box) -> Box:
        """A box in pixels of this frame as pixels of the original."""
        box = box.turned(-self.turn, self.size)
        upright = self.size.turned(self.turn)
        sx, sy = self.box.width / upright.width, self.box.height / upright.height
        return box.scaled(sx, sy).shifted(self.box.x1, self.box.y1)

    def from_original(self, box: Box) -> Box:
        """A box in pixels of the original as pixels of this frame."""
        upright = self.size.turned(self.turn)
        sx, sy = upright.width / self.box.width, upright.height / self.box.height
        return box.shifted(-self.box.x1, -self.box.y1).scaled(sx, sy).turned(self.turn, upright)
