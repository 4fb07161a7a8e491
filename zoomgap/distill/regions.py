"""Regions: places worth asking about, taken from the crop that an agent looked at last before it answered.

Departs from the paper (arXiv 2602.11858), where a segmenter proposes regions of objects that a model listed, under 10%
of the image's area: here the agent's own zooms propose them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from zoomgap import imaging
from zoomgap.geometry import Box, Size
from zoomgap.records import Region, Sample, StopReason, Trajectory, digest


class Traced(NamedTuple):
    """A stored trajectory of an agent: its row id, what happened, and the sample that it was about."""

    id: int
    trajectory: Trajectory
    sample: Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionConfig:
    """Which crops become regions.

    stop_reasons: how the agent may have ended. max_area: largest share of the image's area; a region that shows nearly
    everything has nothing to teach. min_side: shortest side, pixels of the original.
    """

    stop_reasons: tuple[StopReason, ...] = ("answered",)
    max_area: float = 0.25
    min_side: int = 16


class Regions(NamedTuple):
    """Regions kept, and how many trajectories fell at which rule."""

    kept: tuple[Region, ...]
    fell: dict[str, int]


def propose(traced: Iterable[Traced], config: RegionConfig | None = None) -> Regions:
    """One region for each trajectory whose last crop passes the rules; those of one place are one, in one sample.

    Reads neither the answer nor the evidence of a sample, nor whether the agent was right.
    """
    config = config or RegionConfig()
    kept: dict[str, Region] = {}
    fell: Counter[str] = Counter()
    for item in traced:
        region = region_of(item)
        rule = _broken_rule(item, region, config)
        if rule is None and region is not None and region.id in kept:
            rule = "same region again"
        if rule is not None or region is None:
            fell[rule or "no zoom"] += 1
        else:
            kept[region.id] = region
    return Regions(tuple(kept.values()), dict(fell))


def region_of(item: Traced) -> Region | None:
    """The last crop that the agent was shown, or None when it never zoomed.

    A picture that was turned, or the whole image again, is no crop of a place."""
    sample = item.sample
    zooms = [step for step in item.trajectory.steps if step.observation is not None and step.box_written is not None]
    if not zooms:
        return None
    step = zooms[-1]
    assert step.box is not None
    box = imaging.snap(step.box, sample.size)
    return Region(
        id=digest([sample.benchmark, sample.id, sample.image, box.as_list()])[:16],
        sample=sample.id,
        benchmark=sample.benchmark,
        image=sample.image,
        box=box,
        label=step.label or "",
        trajectory=item.id,
        step=step.index,
    )


def _broken_rule(item: Traced, region: Region | None, config: RegionConfig) -> str | None:
    if item.trajectory.stop_reason not in config.stop_reasons:
        return f"stopped: {item.trajectory.stop_reason}"
    if region is None:
        return "no zoom"
    if item.sample.more_images:
        return "several pictures"
    box, size = region.box, item.sample.size
    if box.area > config.max_area * size.pixels:
        return "too large"
    if min(box.width, box.height) < config.min_side:
        return "too small"
    # The placebo must be possible for every item, or the students would not share their images.
    if box_elsewhere(box, size, "") is None:
        return "no room elsewhere"
    return None


def box_elsewhere(box: Box, size: Size, seed: str) -> Box | None:
    """A box as large as `box` that does not touch it, uniform over all places; None when there is no room.

    `box` is snapped and inside an image of `size`. The same seed gives the same place.
    """
    w, h = int(box.width), int(box.height)
    columns, rows = size.width - w + 1, size.height - h + 1
    left, right = max(0, int(box.x1) - w + 1), max(0, columns - int(box.x2))
    above, below = max(0, int(box.y1) - h + 1), max(0, rows - int(box.y2))
    beside, over = (left + right) * rows, (columns - left - right) * (above + below)
    if beside + over == 0:
        return None
    place = random.Random(f"elsewhere {seed}").randrange(beside + over)
    if place < beside:
        x, y = place % (left + right), place // (left + right)
        x = x if x < left else columns - right + (x - left)
    else:
        x, y = (place - beside) % (columns - left - right) + left, (place - beside) // (columns - left - right)
        y = y if y < above else rows - below + (y - above)
    return Box(x, y, x + w, y + h)
