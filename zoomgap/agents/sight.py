"""What the model is shown of a part that it asks for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from zoomgap import imaging
from zoomgap.agents.context import Context, Settings
from zoomgap.geometry import Box, Frame, Size
from zoomgap.records import Image, Rendition, Sample, Step

Crops = Literal["full", "lowres", "random", "blind"]
"""full: the original's pixels. lowres: those of the view, enlarged. random: a part elsewhere. blind: no picture."""


def one_by_one(sample: Sample, context: Context) -> tuple[Sample, ...]:
    """The sample as if asked about its first picture, where its evidence lies, about its second and so on. Blocks."""
    load = context.renditions.images.load_image
    sizes = [(sha256, imaging.stated_size(load(sha256))) for sha256 in sample.more_images]
    rest = (
        replace(sample, image=sha256, width=size.width, height=size.height, evidence=(), crop=None)
        for sha256, size in sizes
    )
    return (sample, *rest)


async def show(step: Step, crops: Crops, sample: Sample, view: Image, context: Context) -> Step:
    """The step with the picture of its part, if it has one; tool_ms is what drawing took.

    sample, view: what is asked about, as if about the step's picture alone, and the view of that.
    """
    if step.box is None:
        return step
    started = time.perf_counter()
    box = step.box
    if crops == "random":
        seed = f"{sample.benchmark} {sample.id} {step.index}"
        box = imaging.elsewhere(box, sample.size, [box, *sample.evidence], seed)
    picture = None if crops == "blind" else await _picture(box, step.turn, crops == "lowres", sample, view, context)
    return replace(step, box=box, observation=picture, tool_ms=(time.perf_counter() - started) * 1000)


async def _picture(box: Box, turn: int, lowres: bool, sample: Sample, view: Image, context: Context) -> Image:
    """The part at its crop size, the whole as the view has it, turned clockwise."""
    if box != Box(0, 0, sample.width, sample.height):
        part = crop(sample, box, context.settings, view if lowres else None)
        return await context.show(replace(part, turn=turn))
    if not turn:
        return view
    size = Size(view.width, view.height)
    return await context.show(Rendition(view.sha256, Box(0, 0, size.width, size.height), size, turn))


def crop(sample: Sample, box: Box, settings: Settings, view: Image | None = None) -> Rendition:
    """How a snapped box of the original is shown, from the original's pixels or from those of a view of all of it.

    The size is the same either way.
    """
    size = crop_size(box, settings)
    if view is None:
        return Rendition(sample.image, box, size)
    part = box.scaled(view.width / sample.width, view.height / sample.height).clamped(view.width, view.height)
    return Rendition(view.sha256, part, size)


def region_of(sample: Sample) -> Box:
    """The part that the region view shows, whole pixels of the original: that of the set's own crop where a box places
    it, else the evidence with room around it. Raises UsageError for a sample with neither."""
    if sample.crop_box:
        return imaging.region_box([sample.crop_box], sample.size, grow=1, min_side=1)
    return imaging.region_box(sample.evidence, sample.size)


def own_crop(sample: Sample, crop: str, size: Size, settings: Settings) -> Rendition:
    """How the set's own crop of `size` is shown, however much its file is enlarged: as large as the same part of the
    original would be, or filling the crop budget where no box says which part it is."""
    whole = Box(0, 0, size.width, size.height)
    if sample.crop_box:
        return Rendition(crop, whole, crop_size(region_of(sample), settings))
    return Rendition(crop, whole, imaging.cut_size(whole, settings.crop_pixels, settings.factor))


def crop_size(box: Box, settings: Settings) -> Size:
    return imaging.cut_size(box, settings.crop_pixels, settings.factor, settings.min_crop_pixels)


def whole(samples: Sequence[Sample], views: Sequence[Image]) -> tuple[Frame, ...]:
    """The frames of the pictures that the question is about. samples: of one_by_one()."""
    return tuple(
        Frame(k, Size(view.width, view.height), Box(0, 0, sample.width, sample.height), picture=k)
        for k, (sample, view) in enumerate(zip(samples, views, strict=True))
    )


def frames(steps: Sequence[Step], known: Sequence[Frame], settings: Settings) -> list[Frame]:
    """The frames of the pictures that the steps brought, after those that are known.

    A picture that was withheld has the frame that it would have had.
    """
    found: list[Frame] = []
    for step in steps:
        if step.box is not None:
            if step.observation is not None:
                size = Size(step.observation.width, step.observation.height)
            elif step.box == known[step.picture].box:
                size = known[step.picture].size.turned(step.turn)
            else:
                size = crop_size(step.box, settings).turned(step.turn)
            found.append(Frame(len(known) + len(found), size, step.box, step.turn, step.picture))
    return found
