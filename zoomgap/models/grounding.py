"""Which coordinate convention boxes are written in, told by boxes of marks whose place is known."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from zoomgap.geometry import Box, Size
from zoomgap.records import Convention

MARK_SIZES = (Size(1344, 672), Size(896, 448), Size(448, 224))
"""Of the picture, by how large a one is accepted: multiples of 28 and 32, under the usual limits, so that few
processors resize it; far from square, and far from 1,000 pixels high."""
MARKS = (
    (0.70, 0.10, 0.82, 0.32), (0.12, 0.62, 0.24, 0.88), (0.78, 0.40, 0.94, 0.58), (0.50, 0.74, 0.66, 0.94),
)  # fmt: skip
"""Places of marks as parts of the picture, x1, y1, x2, y2: each far from its mirror image across x = y."""
SPREAD = 0.04
"""Standard deviation of a coordinate that a model means well, as a part of the image's side."""
SURE = 0.99
_STRAY = 0.1
_NUMBER = r"(?<![\w.])-?\d+(?:\.\d+)?(?!(?!px)\w)"
_FOUR = re.compile(rf"[\[(<]\s*({_NUMBER}(?:px)?(?:\s*[,;\s]\s*{_NUMBER}(?:px)?){{3}})\s*[\])>]")
_PAIRS = re.compile(rf"\(\s*({_NUMBER}\s*,\s*{_NUMBER})\s*\)\s*,?\s*\(\s*({_NUMBER}\s*,\s*{_NUMBER})\s*\)")


class Sighting(NamedTuple):
    """A mark and what was written of it. shown: as parts of the image, 0 to 1; size: the image as the model got it."""

    written: tuple[float, float, float, float]
    shown: Box
    size: Size


def read_box(text: str) -> tuple[float, float, float, float] | None:
    """The last four numbers in brackets, or two pairs in brackets, or the only four numbers of a text."""
    pairs = [f"{match[1]},{match[2]}" for match in _PAIRS.finditer(text)]
    found = [match[1] for match in _FOUR.finditer(text)] or pairs or [text]
    numbers = [float(number) for number in re.findall(_NUMBER, found[-1])]
    if len(numbers) != 4 or not all(abs(number) < 1e6 for number in numbers):
        return None
    return numbers[0], numbers[1], numbers[2], numbers[3]


def decide(sightings: Sequence[Sighting]) -> Convention | Literal["undecided"] | None:
    """The convention that the boxes are likeliest written in.

    Each convention expects each number about its true value, with strays; against them stands that the numbers mean
    nothing, a spread over all magnitudes. `undecided` where no convention is over SURE likely, or fewer than two boxes
    and half of them fit it; None without a box.
    """
    if not sightings:
        return None
    conventions: tuple[Convention, ...] = get_args(Convention)
    likely = {convention: sum(_mixed(s, convention) for s in sightings) for convention in conventions}
    best = max(conventions, key=likely.__getitem__)
    none = sum(_stray(s) for s in sightings)
    rivals = [likely[convention] for convention in conventions if convention != best] + [none]
    against = sum(math.exp(min(rival - likely[best], 0)) for rival in rivals)
    fitting = sum(_meant(s, best) > _stray(s) for s in sightings)
    return best if 1 / (1 + against) > SURE and fitting >= 2 and 2 * fitting >= len(sightings) else "undecided"


def expected(shown: Box, convention: Convention, size: Size) -> tuple[list[float], list[float]]:
    """The four numbers of a box in a convention, and the units that they are counted in."""
    x, y = {
        "absolute": (size.width, size.height),
        "relative_1": (1, 1),
        "relative_1000": (1000, 1000),
        "relative_1000_yx": (1000, 1000),
    }[convention]
    box = shown.scaled(x, y)
    if convention == "relative_1000_yx":
        return [box.y1, box.x1, box.y2, box.x2], [y, x, y, x]
    return box.as_list(), [x, y, x, y]


def _meant(sighting: Sighting, convention: Convention) -> float:
    """Log density of the numbers where the convention is meant."""
    values, units = expected(sighting.shown, convention, sighting.size)
    total = 0.0
    for written, value, unit in zip(sighting.written, values, units, strict=True):
        spread = SPREAD * unit
        total += -0.5 * ((written - value) / spread) ** 2 - math.log(spread * math.sqrt(2 * math.pi))
    return total


def _stray(sighting: Sighting) -> float:
    """Log density of the numbers where they mean nothing: even over magnitudes from 0.01 to 10,000, of both signs."""
    return sum(-math.log((abs(written) + 0.01) * 2 * math.log(1e6)) for written in sighting.written)


def _mixed(sighting: Sighting, convention: Convention) -> float:
    meant, stray = _meant(sighting, convention) + math.log(1 - _STRAY), _stray(sighting) + math.log(_STRAY)
    top = max(meant, stray)
    return top + math.log(math.exp(meant - top) + math.exp(stray - top))
