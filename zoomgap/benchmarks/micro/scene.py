"""Scenes of the procedural benchmark as pure data: what stands where, before any pixel is drawn.

A scene holds a few carriers (coloured shapes, easily seen). Each bears one detail (the evidence) whose size varies
apart from the carrier's: a sign may be plainly visible while what is written on it is not.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from zoomgap.benchmarks.micro import stencils
from zoomgap.benchmarks.micro.questions import VALUES
from zoomgap.errors import UsageError
from zoomgap.geometry import Box, Point, Size
from zoomgap.imaging import scale_of
from zoomgap.records import DIMENSIONS

RGB = tuple[int, int, int]

SHAPES = ("circle", "square", "triangle", "diamond", "star")
COLORS: dict[str, RGB] = {
    "red": (214, 32, 36),
    "orange": (246, 132, 16),
    "yellow": (248, 222, 40),
    "green": (40, 156, 52),
    "cyan": (44, 208, 220),
    "blue": (36, 78, 214),
    "purple": (120, 44, 164),
    "pink": (250, 138, 194),
}
BACKGROUNDS = ("plain", "gradient", "noise", "stripes", "blobs", "checks")

FILL = 0.92
"""The fill's share of a carrier's radius; the rest is its outline."""

RIM = 0.12
"""Width of the rim of a colour mark as a share of the mark's side."""

_MARGIN = 1.08  # room kept between a detail and the edge of the fill


@dataclass(frozen=True, slots=True)
class SceneConfig:
    """Ranges that scenes are drawn from; the defaults are the benchmark.

    sides: longer side in pixels. min_side: least shorter side, as far as `sides` allows. aspects: width / height.
    carriers: how many. radius_view, evidence_view: carrier radius and side of the asked evidence in pixels of the
    direct view (original pixels times `imaging.scale_of` at `view_pixels`); a carrier grows to hold its evidence.
    clutter: number of specks, lines and blobs.
    """

    sides: tuple[int, int] = (768, 2048)
    min_side: int = 576
    aspects: tuple[float, ...] = (1.0, 4 / 3, 3 / 4, 16 / 9, 9 / 16)
    carriers: tuple[int, int] = (2, 6)
    radius_view: tuple[float, float] = (14.0, 40.0)
    evidence_view: tuple[float, float] = (5.0, 56.0)
    dimensions: tuple[str, ...] = DIMENSIONS
    backgrounds: tuple[str, ...] = BACKGROUNDS
    clutter: tuple[int, int] = (0, 48)
    view_pixels: int = 65_536


BENCHMARK = SceneConfig()


@dataclass(frozen=True, slots=True)
class Detail:
    """The mark on a carrier. box: its tight box, whole pixels of the original. decisive_px: side of the smallest
    part that decides the answer (stroke, gap, half a period).

    ink, paper: its two colours. style: font, form or direction. marks: dots that are counted. periods: of a grain.
    """

    dimension: str
    value: str
    box: Box
    decisive_px: float
    ink: RGB
    paper: RGB
    style: str = ""
    marks: tuple[Box, ...] = ()
    periods: int = 0


@dataclass(frozen=True, slots=True)
class Carrier:
    """A coloured shape. radius: of the circle around its corners, pixels. angle: radians. fill, edge: its colours."""

    shape: str
    color: str
    center: Point
    radius: float
    angle: float
    fill: RGB
    edge: RGB
    detail: Detail

    @property
    def name(self) -> str:
        return f"{self.color} {self.shape}"

    def polygon(self, share: float = 1.0) -> list[Point]:
        """Corners in pixels of the original, the shape scaled by `share` about its centre."""
        r = self.radius * share
        return [Point(self.center.x + r * x, self.center.y + r * y) for x, y in outline(self.shape, self.angle)]

    @property
    def box(self) -> Box:
        """Tight box of the outline, pixels of the original."""
        points = self.polygon()
        xs, ys = [p.x for p in points], [p.y for p in points]
        return Box(min(xs), min(ys), max(xs), max(ys))


@dataclass(frozen=True, slots=True)
class Background:
    """A muted backdrop. base, accent: colours that the pattern runs between. cell: its period in pixels.

    grain: share of fine noise, 0 to 1. clutter: number of specks, lines and blobs. seed: of its pixels.
    """

    kind: str
    seed: int
    base: RGB
    accent: RGB
    cell: float
    angle: float
    grain: float
    clutter: int


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture to be drawn and the carrier that is asked about. scale: direct-view pixels per original pixel."""

    seed: int
    size: Size
    scale: float
    background: Background
    carriers: tuple[Carrier, ...]
    asked: int

    @property
    def target(self) -> Carrier:
        return self.carriers[self.asked]


class _Spot(NamedTuple):
    center: Point
    radius: float


class _Look(NamedTuple):
    """What a detail shows, before its size is known."""

    value: str
    style: str
    aspect: float


@cache
def _upright(shape: str) -> tuple[tuple[float, float], ...]:
    """Corners of a shape of radius 1 about the origin, y down."""
    corners = {"circle": 96, "square": 4, "triangle": 3, "diamond": 4, "star": 10}[shape]
    start = -math.pi / 4 if shape == "square" else -math.pi / 2
    points = []
    for k in range(corners):
        turn = start + 2 * math.pi * k / corners
        reach = 0.54 if shape == "star" and k % 2 else 1.0
        wide = 0.72 if shape == "diamond" else 1.0
        points.append((reach * wide * math.cos(turn), reach * math.sin(turn)))
    return tuple(points)


def outline(shape: str, angle: float) -> list[tuple[float, float]]:
    """Corners of one of SHAPES with radius 1 about the origin, turned by `angle` radians, y down."""
    c, s = math.cos(angle), math.sin(angle)
    return [(c * x - s * y, s * x + c * y) for x, y in _upright(shape)]


def holding_radius(shape: str, angle: float, width: float, height: float) -> float:
    """Radius at which the fill of a shape just holds a centred upright width x height rectangle, with a margin."""
    a, b = width / 2, height / 2
    if shape == "circle":
        return math.hypot(a, b) * _MARGIN / FILL
    points = outline(shape, angle)
    # Only the star is not convex: its inner corners must stay outside of the rectangle.
    room = min(max(abs(x) / a, abs(y) / b) for x, y in points)
    for cx, cy in ((a, b), (-a, b), (a, -b), (-a, -b)):
        for (x1, y1), (x2, y2) in zip(points, points[1:] + points[:1], strict=True):
            ex, ey = x2 - x1, y2 - y1
            across = cx * ey - cy * ex
            if abs(across) < 1e-12:
                continue
            reach, along = (x1 * ey - y1 * ex) / across, (x1 * cy - y1 * cx) / across
            if reach > 0 and -1e-9 <= along <= 1 + 1e-9:
                room = min(room, reach)
    return _MARGIN / (room * FILL)


def _uniform(rng: np.random.Generator, span: tuple[float, float]) -> float:
    return float(rng.uniform(*span))


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(max(low, high))))


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _mix(a: RGB, b: RGB, share: float) -> RGB:
    """`share` of b, the rest a."""
    return tuple(round(p + (q - p) * share) for p, q in zip(a, b, strict=True))  # type: ignore[return-value]


def _luma(color: RGB) -> float:
    return 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]


def _grey(level: float) -> RGB:
    return (round(level), round(level), round(level))


def _size(rng: np.random.Generator, config: SceneConfig) -> Size:
    aspect = config.aspects[int(rng.integers(len(config.aspects)))]
    ratio = max(aspect, 1 / aspect)
    low, high = config.sides
    longer = _log_uniform(rng, min(max(low, config.min_side * ratio), high), high)
    shorter = longer / ratio
    return Size(round(longer), round(shorter)) if aspect >= 1 else Size(round(shorter), round(longer))


def _muted(rng: np.random.Generator) -> RGB:
    r, g, b = colorsys.hsv_to_rgb(float(rng.random()), _uniform(rng, (0.02, 0.2)), _uniform(rng, (0.25, 0.88)))
    return (round(255 * r), round(255 * g), round(255 * b))


def _background(rng: np.random.Generator, size: Size, config: SceneConfig) -> Background:
    base = _muted(rng)
    return Background(
        kind=_pick(rng, config.backgrounds),
        seed=int(rng.integers(2**31)),
        base=base,
        accent=_mix(base, _muted(rng), _uniform(rng, (0.2, 0.9))),
        cell=_log_uniform(rng, 0.02, 0.25) * math.sqrt(size.pixels),
        angle=_uniform(rng, (0, math.pi)),
        grain=_uniform(rng, (0.05, 0.3)),
        clutter=int(rng.integers(config.clutter[0], config.clutter[1] + 1)),
    )


def _names(rng: np.random.Generator, count: int) -> list[tuple[str, str]]:
    """Different (colour, shape) pairs."""
    colors = list(COLORS)
    pairs = rng.choice(len(colors) * len(SHAPES), size=count, replace=False)
    return [(colors[int(k) // len(SHAPES)], SHAPES[int(k) % len(SHAPES)]) for k in pairs]


def _looks(rng: np.random.Generator, dimension: str, names: Sequence[tuple[str, str]]) -> list[_Look]:
    """A look for each carrier. Values differ while there are enough, so that reading the wrong carrier is wrong."""
    looks: list[_Look] = []
    for color, _ in names:
        allowed = [v for v in VALUES[dimension] if dimension != "color" or v != color]
        taken = {look.value for look in looks}
        value = _pick(rng, [v for v in allowed if v not in taken] or allowed)
        looks.append(_look(rng, dimension, value))
    return looks


def _look(rng: np.random.Generator, dimension: str, value: str) -> _Look:
    match dimension:
        case "ocr":
            font = _pick(rng, stencils.FONTS)
            return _Look(value, font, stencils.glyph(value, font).aspect)
        case "object":
            return _Look(value, "", stencils.icon(value).aspect)
        case "structure":
            return _Look(value, "", stencils.ring(value).aspect)
        case "color":
            return _Look(value, _pick(rng, ("dot", "square")), 1.0)
        case "material":
            return _Look(value, _pick(rng, ("across", "down", "slanted")), 1.0)
        case _:
            return _Look(value, "", 1.0)


def _extent(look: _Look, side: float) -> tuple[float, float]:
    """Width and height of a detail of that look whose box has the area side x side."""
    return side * math.sqrt(look.aspect), side / math.sqrt(look.aspect)


def _layout(rng: np.random.Generator, size: Size, radii: Sequence[float]) -> list[_Spot]:
    """Places without overlap. The first keeps its radius; the others shrink until they fit, so this always ends."""
    spots: list[_Spot] = []
    gap = 0.012 * math.sqrt(size.pixels)
    for radius in radii:
        while True:
            edge = min(radius + gap / 2, min(size.width, size.height) / 2)
            x = _uniform(rng, (edge, size.width - edge))
            y = _uniform(rng, (edge, size.height - edge))
            if all(math.hypot(x - s.center.x, y - s.center.y) > radius + s.radius + gap for s in spots):
                break
            radius *= 0.98
        spots.append(_Spot(Point(round(x, 2), round(y, 2)), round(radius, 2)))
    return spots


def _dots(rng: np.random.Generator, count: int, box: Box) -> tuple[tuple[Box, ...], float]:
    """Dots in a jittered 3 x 3 grid on a plate, and the smallest of their diameter and their gaps, in pixels."""
    side = box.width
    diameter, cell = side * _uniform(rng, (0.17, 0.2)), side * 0.29
    marks = []
    for k in rng.choice(9, size=count, replace=False):
        x = box.center.x + (int(k) % 3 - 1 + _uniform(rng, (-0.08, 0.08))) * cell
        y = box.center.y + (int(k) // 3 - 1 + _uniform(rng, (-0.08, 0.08))) * cell
        marks.append(Box(x - diameter / 2, y - diameter / 2, x + diameter / 2, y + diameter / 2))
    centers = [m.center for m in marks]
    gaps = [math.hypot(p.x - q.x, p.y - q.y) - diameter for i, p in enumerate(centers) for q in centers[:i]]
    return tuple(marks), min([diameter, *gaps])


def _tones(rng: np.random.Generator, dimension: str, fill: RGB) -> tuple[RGB, RGB]:
    """Ink and paper. Contrast varies, apart from size, but never so far that a large mark cannot be read."""
    contrast = _uniform(rng, (0.7, 1.0))
    if dimension in ("counting", "material"):
        dark, light = _grey(_uniform(rng, (10, 60))), _grey(_uniform(rng, (205, 250)))
        ink, paper = (dark, light) if rng.random() < 0.5 else (light, dark)
        return _mix(paper, ink, contrast), paper
    if dimension == "color":
        return fill, _grey(_uniform(rng, (230, 255)) if rng.random() < 0.5 else _uniform(rng, (0, 40)))
    return _mix(fill, _grey(255 if _luma(fill) < 128 else 0), contrast), fill


def _detail(rng: np.random.Generator, dimension: str, look: _Look, fill: RGB, box: Box) -> Detail:
    ink, paper = _tones(rng, dimension, fill)
    side, periods = box.side, 0
    marks: tuple[Box, ...] = ()
    match dimension:
        case "counting":
            marks, decisive = _dots(rng, int(look.value), box)
        case "ocr":
            decisive = stencils.glyph(look.value, look.style).stroke * box.height
        case "color":
            ink, decisive = _shade(rng, look.value), side * (1 - 2 * RIM)
        case "structure":
            decisive = side / 5
        case "material":
            periods = int(rng.integers(4, 7))
            decisive = side / periods / 2
            if look.value == "plain":  # the tone that a grain blurs into, so that tone alone does not tell it
                paper = _mix(paper, ink, _uniform(rng, (0.25, 0.6)))
        case _:
            decisive = side / 6
    return Detail(dimension, look.value, box, round(decisive, 2), ink, paper, look.style, marks, periods)


def _shade(rng: np.random.Generator, color: str) -> RGB:
    """A slightly different paint of the same colour."""
    return _mix(COLORS[color], _grey(_uniform(rng, (0, 255))), _uniform(rng, (0, 0.1)))


def _carrier(
    rng: np.random.Generator, spot: _Spot, name: tuple[str, str], angle: float, dimension: str, look: _Look, side: float
) -> Carrier:
    """A carrier at its place, with a detail of that side (pixels), smaller where the carrier cannot hold it."""
    color, shape = name
    width, height = _extent(look, side)
    room = spot.radius / holding_radius(shape, angle, width, height)
    shrink = min(room, 1.0)
    w, h = max(1, round(width * shrink)), max(1, round(height * shrink))
    slack = max(room - 1, 0.0) * 0.8 / 2
    x = round(spot.center.x - w / 2 + width * _uniform(rng, (-slack, slack)))
    y = round(spot.center.y - h / 2 + height * _uniform(rng, (-slack, slack)))
    fill = _shade(rng, color)
    edge = _grey(_uniform(rng, (5, 50)) if rng.random() < 0.5 else _uniform(rng, (215, 250)))
    detail = _detail(rng, dimension, look, fill, Box(x, y, x + w, y + h))
    return Carrier(shape, color, spot.center, spot.radius, angle, fill, edge, detail)


def make_scene(seed: int, config: SceneConfig = BENCHMARK, dimension: str | None = None) -> Scene:
    """The scene of a seed: the same arguments give the same scene.

    The dimension defaults to config.dimensions[seed % len]. The side of the asked evidence is log-uniform in
    `evidence_view`, drawn apart from everything else. Raises UsageError for an unknown dimension.
    """
    dimension = config.dimensions[seed % len(config.dimensions)] if dimension is None else dimension
    if dimension not in DIMENSIONS:
        raise UsageError(f"dimension {dimension!r} is unknown: use one of {', '.join(DIMENSIONS)}")
    rng = np.random.default_rng([seed, DIMENSIONS.index(dimension)])
    low, high = config.evidence_view
    asked_view = _log_uniform(rng, low, high)
    size = _size(rng, config)
    scale = scale_of(size, config.view_pixels)
    background = _background(rng, size, config)
    names = _names(rng, int(rng.integers(config.carriers[0], config.carriers[1] + 1)))
    looks = _looks(rng, dimension, names)
    tilts = {"circle": 0.0, "square": 0.17, "diamond": 0.17, "triangle": 0.25, "star": 0.31}
    angles = [_uniform(rng, (-tilts[shape], tilts[shape])) for _, shape in names]
    radii = [_uniform(rng, config.radius_view) / scale for _ in names]
    held = holding_radius(names[0][1], angles[0], *_extent(looks[0], asked_view / scale))
    radii[0] = min(max(radii[0], held), 0.49 * min(size.width, size.height))
    spots = _layout(rng, size, radii)
    carriers = []
    for k, spot in enumerate(spots):
        most = spot.radius / holding_radius(names[k][1], angles[k], *_extent(looks[k], 1.0)) * scale
        view = asked_view if k == 0 else _log_uniform(rng, min(low, most), min(high, most))
        carriers.append(_carrier(rng, spot, names[k], angles[k], dimension, looks[k], view / scale))
    order = [int(k) for k in rng.permutation(len(carriers))]
    return Scene(seed, size, scale, background, tuple(carriers[k] for k in order), order.index(0))
