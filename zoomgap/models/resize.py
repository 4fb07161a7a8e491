"""The size that an image has after a model's own processor: what absolute pixels are counted in.

Each rule repeats the arithmetic of a processor, rounding included, so that a box lands on the same pixel. It is not
imaging.fit_size, which decides what is sent and adds promises of its own. Padding at the right and the bottom is left
out: it holds nothing of the image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

from zoomgap.errors import ImageError
from zoomgap.geometry import Size
from zoomgap.records import RuleName

RULES: tuple[str, ...] = get_args(RuleName)
"""Rules by the processor that they are of. none: as sent, or not known. longest_side: Pixtral's."""
NEEDS: dict[str, tuple[str, ...]] = {
    "none": (),
    "smart_resize": ("max_pixels",),
    "glm": ("max_pixels",),
    "internvl": ("tile", "max_pixels"),
    "idefics": ("tile", "max_side"),
    "llama4": ("tile", "max_pixels"),
    "square": ("tile",),
    "longest_side": ("max_side",),
    "kimi": ("max_pixels",),
    "claude": ("max_pixels", "max_side"),
}
"""Which numbers a rule reads beside the factor."""
MAX_ASPECT = 200
IDEFICS_MAX_SIDE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A processor's rule and its numbers.

    factor: sides are multiples of it, in pixels. min_pixels, max_pixels: area of the image after the rule; tiles
    together have at most max_pixels. tile: side of a square tile in pixels. max_side: longest side in pixels. 0 stands
    for what the rule does not use. Raises ValueError, naming the field, for numbers that the rule cannot work with.
    """

    resize: RuleName = "none"
    factor: int = 32
    min_pixels: int = 0
    max_pixels: int = 0
    tile: int = 0
    max_side: int = 0

    def __post_init__(self) -> None:
        if self.factor < 1:
            raise ValueError(f"factor {self.factor} is no side of a patch: give at least 1")
        for name in ("min_pixels", "max_pixels", "tile", "max_side"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} {getattr(self, name)} is negative: give 0 where the rule does not use it")
        needs = NEEDS[self.resize]
        unit = self.tile if "tile" in needs else self.factor
        least = {"tile": 1, "max_side": max(unit, 1), "max_pixels": max(unit * unit, self.min_pixels, 1)}
        for name in needs:
            if getattr(self, name) < least[name]:
                raise ValueError(
                    f"resize '{self.resize}' needs a {name} of at least {least[name]}, not {getattr(self, name)}"
                )


def processed_size(rule: Rule, size: Size) -> Size:
    """The size of an image of `size` after the rule. A Family is a Rule.

    Raises ImageError for an image without pixels, and for one over 200 times as long as wide where the processor
    refuses it.
    """
    if min(size.width, size.height) < 1:
        raise ImageError(f"an image of {size.width} x {size.height} has no pixels: both sides must be at least 1")
    return _RULES[rule.resize](rule, size)


def _none(rule: Rule, size: Size) -> Size:
    return size


def _smart_resize(rule: Rule, size: Size) -> Size:
    """Of Qwen2-VL and later (transformers, qwen2_vl/image_processing_qwen2_vl.py)."""
    if max(size.width, size.height) / min(size.width, size.height) > MAX_ASPECT:
        raise ImageError(f"an image of {size.width} x {size.height} is over {MAX_ASPECT} times as long: cut it first")
    factor = rule.factor
    width, height = round(size.width / factor) * factor, round(size.height / factor) * factor
    if width * height > rule.max_pixels:
        shrink = math.sqrt(size.pixels / rule.max_pixels)
        width = max(factor, math.floor(size.width / shrink / factor) * factor)
        height = max(factor, math.floor(size.height / shrink / factor) * factor)
    elif width * height < rule.min_pixels:
        grow = math.sqrt(rule.min_pixels / size.pixels)
        width = math.ceil(size.width * grow / factor) * factor
        height = math.ceil(size.height * grow / factor) * factor
    # Without a minimum the processor would make a side under half a factor 0; ours always has one patch.
    return Size(max(width, factor), max(height, factor))


def _glm(rule: Rule, size: Size) -> Size:
    """Of GLM-V (transformers, glm4v/image_processing_glm4v.py): sides under a factor are lifted first.

    It counts an image as two frames of a video, so that its own limits are twice min_pixels and max_pixels here.
    """
    if min(size.width, size.height) < rule.factor:
        scale = max(rule.factor / size.height, rule.factor / size.width)
        size = Size(int(size.width * scale), int(size.height * scale))
    return _smart_resize(rule, size)


def _internvl(rule: Rule, size: Size) -> Size:
    """The grid of tiles nearest in shape (transformers, got_ocr2/image_processing_got_ocr2.py)."""
    most = rule.max_pixels // rule.tile**2
    # Of each count of tiles the narrow grids first: of two equally near the later one wins where the image is large.
    grids = [
        Size(columns, tiles // columns)
        for tiles in range(1, most + 1)
        for columns in range(1, tiles + 1)
        if tiles % columns == 0
    ]
    best, nearest = Size(1, 1), math.inf
    for grid in grids:
        away = abs(size.width / size.height - grid.width / grid.height)
        if away < nearest or (away == nearest and size.pixels > 0.5 * rule.tile**2 * grid.pixels):
            best, nearest = grid, away
    return Size(best.width * rule.tile, best.height * rule.tile)


def _idefics(rule: Rule, size: Size) -> Size:
    """The longest side first, then whole tiles (transformers, idefics3/image_processing_idefics3.py)."""
    size = _with_longest(size, rule.max_side, even=True)
    if max(size.width, size.height) > IDEFICS_MAX_SIDE:
        size = _with_longest(size, IDEFICS_MAX_SIDE)
    size = _with_longest(size, math.ceil(max(size.width, size.height) / rule.tile) * rule.tile)
    return Size(math.ceil(size.width / rule.tile) * rule.tile, math.ceil(size.height / rule.tile) * rule.tile)


def _with_longest(size: Size, side: int, *, even: bool = False) -> Size:
    """The same shape with a longest side of `side`; even: the other one is rounded up to an even number."""
    aspect = size.width / size.height
    wide = size.width >= size.height
    other = int(side / aspect) if wide else int(side * aspect)
    other = max(other + other % 2 if even else other, 1)
    return Size(side, other) if wide else Size(other, side)


def _llama4(rule: Rule, size: Size) -> Size:
    """The canvas of tiles that shrinks least, without stretching (transformers, llama4/image_processing_llama4.py)."""
    most = rule.max_pixels // rule.tile**2
    canvases = [
        Size(columns * rule.tile, rows * rule.tile)
        for rows in range(1, most + 1)
        for columns in range(1, most // rows + 1)
    ]

    def scale(canvas: Size) -> float:
        return min(canvas.width / size.width, canvas.height / size.height)

    growing = [scale(canvas) for canvas in canvases if scale(canvas) >= 1]
    chosen = min(growing) if growing else max(map(scale, canvases))
    canvas = min((canvas for canvas in canvases if scale(canvas) == chosen), key=lambda canvas: canvas.pixels)
    limit = Size(
        min(max(size.width, rule.tile), canvas.width), min(max(size.height, rule.tile), canvas.height)
    )  # fmt: skip
    across, down = limit.width / size.width, limit.height / size.height
    if across < down:
        return Size(limit.width, max(min(math.floor(size.height * across), limit.height), 1))
    return Size(max(min(math.floor(size.width * down), limit.width), 1), limit.height)


def _square(rule: Rule, size: Size) -> Size:
    """Every image becomes one tile (transformers, gemma3/image_processing_gemma3.py, without pan and scan)."""
    return Size(rule.tile, rule.tile)


def _longest_side(rule: Rule, size: Size) -> Size:
    """Of Pixtral: no side over max_side, then up to whole patches (pixtral/image_processing_pixtral.py)."""
    ratio = max(size.height / rule.max_side, size.width / rule.max_side)
    width, height = size.width, size.height
    if ratio > 1:
        width, height = math.floor(width / ratio), math.floor(height / ratio)
    patches = [(side - 1) // rule.factor + 1 for side in (width, height)]
    return Size(patches[0] * rule.factor, patches[1] * rule.factor)


def _kimi(rule: Rule, size: Size) -> Size:
    """Never enlarged; a limit on patches of half a factor (image_processing_kimi_vl.py, kimi_k25 in transformers)."""
    patch = max(rule.factor // 2, 1)
    count = max(1, size.height // patch) * max(1, size.width // patch)
    scales = [1.0, math.sqrt(rule.max_pixels // patch**2 / count)]
    if rule.max_side:
        scales += [rule.max_side / size.height, rule.max_side / size.width]
    return Size(max(1, int(size.width * min(scales))), max(1, int(size.height * min(scales))))


def _claude(rule: Rule, size: Size) -> Size:
    """The largest size of the same shape within both limits, on the longer side's whole pixels.

    Source: platform.claude.com/docs/en/build-with-claude/vision-coordinates.
    """
    long, short = max(size.width, size.height), min(size.width, size.height)

    def shorter(side: int) -> int:
        return max(round(side / (long / short)), 1)

    def fits(wide: int, narrow: int) -> bool:
        across, down = math.ceil(wide / rule.factor), math.ceil(narrow / rule.factor)
        inside = max(across, down) * rule.factor <= rule.max_side
        return inside and across * down <= rule.max_pixels // rule.factor**2

    if fits(long, short):
        return size
    fitting, failing = 1, long
    while fitting + 1 < failing:
        middle = (fitting + failing) // 2
        if fits(middle, shorter(middle)):
            fitting = middle
        else:
            failing = middle
    found = Size(fitting, shorter(fitting))
    return found if size.width >= size.height else Size(found.height, found.width)


_RULES = {
    "none": _none,
    "smart_resize": _smart_resize,
    "glm": _glm,
    "internvl": _internvl,
    "idefics": _idefics,
    "llama4": _llama4,
    "square": _square,
    "longest_side": _longest_side,
    "kimi": _kimi,
    "claude": _claude,
}
