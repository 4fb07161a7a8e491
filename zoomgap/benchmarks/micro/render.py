"""Scenes drawn as pictures.

Backdrops are built small and enlarged; carriers and details are drawn on local patches, so a picture of one megapixel
takes some 20 ms on one core.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from zoomgap.benchmarks.micro import stencils
from zoomgap.benchmarks.micro.scene import FILL, RGB, RIM, Background, Carrier, Detail, Scene
from zoomgap.geometry import Box, Point, Size

_PATCH = 1400  # longest side of a supersampled patch, which bounds the work on large carriers


def render(scene: Scene, photos: Sequence[Image.Image] | None = None, *, details: bool = True) -> Image.Image:
    """The picture of a scene, RGB, scene.size. The same arguments give the same pixels.

    photos: photographs to use as backdrops instead of the drawn ones (the scene's seed picks one). details=False
    leaves the carriers bare.
    """
    canvas = _photo(scene, photos) if photos else _backdrop(scene.background, scene.size)
    for carrier in scene.carriers:
        _draw_carrier(canvas, carrier)
        if details:
            _draw_detail(canvas, carrier.detail)
    return canvas


def _photo(scene: Scene, photos: Sequence[Image.Image]) -> Image.Image:
    photo = photos[scene.background.seed % len(photos)].convert("RGB")
    return ImageOps.fit(photo, (scene.size.width, scene.size.height), Image.Resampling.BILINEAR)


def _noise(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    return Image.frombytes("L", (width, height), rng.bytes(width * height))


def _backdrop(background: Background, size: Size) -> Image.Image:
    rng = np.random.default_rng(background.seed)
    width, height = -(-size.width // 4), -(-size.height // 4)
    field = _pattern(background, rng, width, height)
    for cell, share in ((24, 0.25), (6, 0.15)):
        octave = _noise(rng, width // cell + 2, height // cell + 2).resize((width, height), Image.Resampling.BICUBIC)
        field = Image.blend(field, octave, share)
    half = (2 * width, 2 * height)
    field = Image.blend(field.resize(half, Image.Resampling.BICUBIC), _noise(rng, *half), background.grain)
    field = field.resize((size.width, size.height), Image.Resampling.BILINEAR)
    field.putpalette(_ramp(background.base, background.accent))  # one pass over the pixels instead of four
    canvas = field.convert("RGB")
    _draw_clutter(canvas, background, rng)
    return canvas


def _ramp(first: RGB, last: RGB) -> list[int]:
    """A palette of 256 colours that runs from one to the other."""
    return [round(a + (b - a) * level / 255) for level in range(256) for a, b in zip(first, last, strict=True)]


def _pattern(background: Background, rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """The large forms of a backdrop, "L", at a quarter of the picture's sides."""
    cell = background.cell / 4
    if background.kind in ("noise", "blobs"):
        coarse = _noise(rng, round(width / cell) + 2, round(height / cell) + 2)
        if background.kind == "blobs":
            coarse = coarse.point([255 * (level > 150) for level in range(256)])
        return coarse.resize((width, height), Image.Resampling.BICUBIC)
    if background.kind == "plain":
        return Image.new("L", (width, height), 128)
    y, x = np.ogrid[0:height, 0:width]
    c, s = math.cos(background.angle), math.sin(background.angle)
    along, across = x * c + y * s, y * c - x * s
    if background.kind == "gradient":
        levels = (along - along.min()) / np.ptp(along)
    elif background.kind == "stripes":
        levels = 0.5 + 0.5 * np.sin(along * (math.pi / cell))
    else:
        waves = np.sin(along * (math.pi / cell)) * np.sin(across * (math.pi / cell))
        levels = np.clip(0.5 + 2 * waves, 0, 1)
    return Image.fromarray((255 * levels).astype(np.uint8))


def _draw_clutter(canvas: Image.Image, background: Background, rng: np.random.Generator) -> None:
    """Specks, thin lines and small blobs, muted and far smaller than any carrier."""
    draw = ImageDraw.Draw(canvas)
    unit = math.sqrt(canvas.width * canvas.height) / 256
    for _ in range(background.clutter):
        x, y = float(rng.uniform(0, canvas.width)), float(rng.uniform(0, canvas.height))
        shift = int(rng.integers(-60, 61))
        color = tuple(min(max(level + shift, 0), 255) for level in background.base)
        reach, turn = float(rng.uniform(0.5, 3.5)) * unit, float(rng.uniform(0, math.pi))
        if rng.random() < 0.3:
            dx, dy = 8 * reach * math.cos(turn), 8 * reach * math.sin(turn)
            draw.line((x - dx, y - dy, x + dx, y + dy), fill=color, width=max(1, round(0.4 * unit)))
        else:
            flat = reach * float(rng.uniform(0.4, 1))
            draw.ellipse((x - reach, y - flat, x + reach, y + flat), fill=color)


class _Patch:
    """A supersampled mask over whole pixels of the picture; what is drawn on it is pasted anti-aliased."""

    def __init__(self, area: Box) -> None:
        self.x, self.y = math.floor(area.x1), math.floor(area.y1)
        width, height = math.ceil(area.x2) - self.x, math.ceil(area.y2) - self.y
        self.times = min(max(_PATCH // max(width, height), 2), 4)
        self.mask = Image.new("L", (width * self.times, height * self.times))
        self.draw = ImageDraw.Draw(self.mask)

    def polygon(self, points: Sequence[Point]) -> None:
        t = self.times
        self.draw.polygon([((p.x - self.x) * t - 0.5, (p.y - self.y) * t - 0.5) for p in points], fill=255)

    def rectangle(self, box: Box) -> None:
        self.draw.rectangle(self._corners(box), fill=255)

    def ellipse(self, box: Box) -> None:
        self.draw.ellipse(self._corners(box), fill=255)

    def _corners(self, box: Box) -> tuple[float, float, float, float]:
        t = self.times
        x1, y1 = round((box.x1 - self.x) * t), round((box.y1 - self.y) * t)
        x2, y2 = round((box.x2 - self.x) * t) - 1, round((box.y2 - self.y) * t) - 1
        return x1, y1, max(x1, x2), max(y1, y2)

    def paste(self, canvas: Image.Image, color: RGB) -> None:
        canvas.paste(color, (self.x, self.y), self.mask.reduce(self.times))


def _draw_carrier(canvas: Image.Image, carrier: Carrier) -> None:
    for share, color in ((1.0, carrier.edge), (FILL, carrier.fill)):
        patch = _Patch(carrier.box)
        patch.polygon(carrier.polygon(share))
        patch.paste(canvas, color)


def _draw_detail(canvas: Image.Image, detail: Detail) -> None:
    match detail.dimension:
        case "ocr":
            _draw_stencil(canvas, detail, stencils.glyph(detail.value, detail.style))
        case "object":
            _draw_stencil(canvas, detail, stencils.icon(detail.value))
        case "structure":
            _draw_stencil(canvas, detail, stencils.ring(detail.value))
        case "color":
            _draw_mark(canvas, detail)
        case "counting":
            _draw_plate(canvas, detail)
            patch = _Patch(detail.box)
            for mark in detail.marks:
                patch.ellipse(mark)
            patch.paste(canvas, detail.ink)
        case _:
            _draw_plate(canvas, detail)
            _draw_grain(canvas, detail)


def _draw_stencil(canvas: Image.Image, detail: Detail, stencil: stencils.Stencil) -> None:
    box = detail.box
    mask = stencil.mask.resize((int(box.width), int(box.height)), Image.Resampling.HAMMING)
    canvas.paste(detail.ink, (int(box.x1), int(box.y1)), mask)


def _draw_plate(canvas: Image.Image, detail: Detail) -> None:
    box = detail.box
    canvas.paste(detail.paper, (int(box.x1), int(box.y1), int(box.x2), int(box.y2)))


def _draw_mark(canvas: Image.Image, detail: Detail) -> None:
    """A coloured dot or square within a neutral rim."""
    for share, color in ((1.0, detail.paper), (1 - 2 * RIM, detail.ink)):
        patch = _Patch(detail.box)
        (patch.ellipse if detail.style == "dot" else patch.rectangle)(detail.box.grown(share))
        patch.paste(canvas, color)


def _draw_grain(canvas: Image.Image, detail: Detail) -> None:
    box, n = detail.box, detail.periods
    step = box.width / n
    patch = _Patch(box)
    cells = [(box.x1 + i * step, box.y1 + j * step) for j in range(n) for i in range(n)]
    match detail.value:
        case "striped":
            for k in range(-n, n):
                patch.polygon(_stripe(box, k * step, step / 2, detail.style))
        case "dotted":
            for x, y in cells:
                patch.ellipse(Box(x + 0.2 * step, y + 0.2 * step, x + 0.8 * step, y + 0.8 * step))
        case "checkered":
            for x, y in cells:
                patch.rectangle(Box(x, y, x + step / 2, y + step / 2))
                patch.rectangle(Box(x + step / 2, y + step / 2, x + step, y + step))
        case "grid":
            for k in range(n):
                at = (k + 0.35) * step
                patch.rectangle(Box(box.x1, box.y1 + at, box.x2, box.y1 + at + 0.3 * step))
                patch.rectangle(Box(box.x1 + at, box.y1, box.x1 + at + 0.3 * step, box.y2))
    patch.paste(canvas, detail.ink)


def _stripe(box: Box, at: float, thick: float, style: str) -> list[Point]:
    """Corners of one stripe that starts `at` pixels from the box's edge."""
    side = box.width
    if style == "across":
        return _quad(Point(box.x1, box.y1 + at), side, 0, 0, thick)
    if style == "down":
        return _quad(Point(box.x1 + at, box.y1), 0, side, thick, 0)
    return _quad(Point(box.x1 + at, box.y1), side, side, thick, 0)


def _quad(start: Point, ux: float, uy: float, vx: float, vy: float) -> list[Point]:
    x, y = start.x, start.y
    return [Point(x, y), Point(x + ux, y + uy), Point(x + ux + vx, y + uy + vy), Point(x + vx, y + vy)]
