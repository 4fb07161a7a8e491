"""Stencils: the marks of the benchmark that have one fixed form, as masks cropped to their ink.

A stencil is scaled to its evidence box, so the box is tight whatever the font or icon.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

GLYPHS = "EFHJKLMNPRTUVXYZ2347"
"""Twenty characters without A to D, so that a glyph is never mistaken for the letter of a choice."""

FONTS = ("default", "DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono-Bold", "DejaVuSerif-Bold")
GAPS = ("top", "bottom", "left", "right")

_UNIT = 320  # pixels of a stencil's longer side; the largest mark of the default benchmark is about twice that

_Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Stencil:
    """A mask ("L", 255 is ink) cropped to its ink. stroke: width of its strokes as a share of the height."""

    mask: Image.Image
    stroke: float

    @property
    def aspect(self) -> float:
        return self.mask.width / self.mask.height


def _rectangle(x1: float, y1: float, x2: float, y2: float) -> _Points:
    return ((x1, y1), (x2, y1), (x2, y2), (x1, y2))


def _ellipse(x1: float, y1: float, x2: float, y2: float, n: int = 72) -> _Points:
    cx, cy, rx, ry = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 2, (y2 - y1) / 2
    turns = [2 * math.pi * k / n for k in range(n)]
    return tuple((cx + rx * math.cos(t), cy + ry * math.sin(t)) for t in turns)


def _heart() -> _Points:
    turns = [2 * math.pi * k / 72 for k in range(72)]
    return tuple(
        (
            50 + 3 * 16 * math.sin(t) ** 3,
            45 - 3 * (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)),
        )
        for t in turns
    )


# Each icon is a list of polygons on a 100 x 100 board; True adds ink, False takes it away.
_ICONS: dict[str, tuple[tuple[bool, _Points], ...]] = {
    "heart": ((True, _heart()),),
    "moon": ((True, _ellipse(0, 0, 100, 100)), (False, _ellipse(32, -8, 120, 80))),
    "house": (
        (True, ((0, 48), (50, 0), (100, 48))),
        (True, _rectangle(13, 46, 87, 98)),
        (False, _rectangle(39, 64, 61, 100)),
    ),
    "tree": (
        (True, ((50, 0), (84, 44), (16, 44))),
        (True, ((50, 22), (94, 78), (6, 78))),
        (True, _rectangle(41, 76, 59, 100)),
    ),
    "fish": (
        (True, _ellipse(0, 20, 76, 80)),
        (True, ((62, 50), (100, 20), (100, 80))),
        (False, _ellipse(14, 36, 27, 49)),
    ),
    "key": (
        (True, _ellipse(0, 22, 48, 70)),
        (False, _ellipse(14, 36, 34, 56)),
        (True, _rectangle(44, 40, 100, 53)),
        (True, _rectangle(70, 50, 80, 72)),
        (True, _rectangle(89, 50, 100, 78)),
    ),
    "cup": (
        (True, _ellipse(50, 22, 100, 72)),
        (False, _ellipse(62, 34, 88, 60)),
        (True, ((0, 8), (74, 8), (64, 94), (10, 94))),
    ),
    "arrow": ((True, ((0, 36), (56, 36), (56, 8), (100, 50), (56, 92), (56, 64), (0, 64))),),
    "bolt": ((True, ((60, 0), (12, 56), (44, 56), (32, 100), (88, 38), (54, 38), (78, 0))),),
    "flag": (
        (True, _rectangle(4, 0, 16, 100)),
        (True, ((15, 4), (98, 4), (76, 32), (98, 60), (15, 60))),
    ),
}

ICONS = tuple(_ICONS)


def _cropped(mask: Image.Image) -> Image.Image:
    return mask.crop(mask.point(lambda level: 255 * (level > 127)).getbbox())


def _board(parts: tuple[tuple[bool, _Points], ...]) -> Image.Image:
    mask = Image.new("L", (_UNIT + 1, _UNIT + 1))
    draw = ImageDraw.Draw(mask)
    for ink, points in parts:
        draw.polygon([(x * _UNIT / 100, y * _UNIT / 100) for x, y in points], fill=255 if ink else 0)
    return _cropped(mask)


@cache
def _font(name: str) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    if name == "default":
        return ImageFont.load_default(_UNIT)
    import matplotlib  # slow to import, and only its font files are wanted

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf", _UNIT)


def _letter(char: str, font: str) -> Image.Image:
    mask = Image.new("L", (2 * _UNIT, 2 * _UNIT))
    ImageDraw.Draw(mask).text((_UNIT // 2, _UNIT // 4), char, fill=255, font=_font(font))
    return _cropped(mask)


@cache
def _stem(font: str) -> float:
    """Width of the stem of an L half way up, as a share of its height."""
    ink = np.asarray(_letter("L", font))
    return float((ink[len(ink) // 2] > 127).sum() / len(ink))


@cache
def glyph(char: str, font: str) -> Stencil:
    """One of GLYPHS in one of FONTS."""
    return Stencil(_letter(char, font), _stem(font))


@cache
def icon(name: str) -> Stencil:
    """One of ICONS."""
    return Stencil(_board(_ICONS[name]), 1 / 6)


@cache
def ring(gap: str) -> Stencil:
    """A Landolt ring: stroke and gap are a fifth of its diameter, the gap at one of GAPS."""
    cuts = {
        "top": _rectangle(40, -10, 60, 30),
        "bottom": _rectangle(40, 70, 60, 110),
        "left": _rectangle(-10, 40, 30, 60),
        "right": _rectangle(70, 40, 110, 60),
    }
    parts = ((True, _ellipse(0, 0, 100, 100)), (False, _ellipse(20, 20, 80, 80)), (False, cuts[gap]))
    return Stencil(_board(parts), 1 / 5)
