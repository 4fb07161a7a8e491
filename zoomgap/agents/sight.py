"""What the model is shown of a part that it asks for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import PIL.Image

from zoomgap import imaging
from zoomgap.agents.context import Context, Settings
from zoomgap.geometry import Box, Frame, Size
from zoomgap.records import Image, Sample, Step

Crops = Literal["full", "lowres", "random", "blind"]
"""full: the original's pixels. lowres: those of the view, enlarged. random: a part elsewhere. blind: no picture."""


async def show(step: Step, crops: Crops, sample: Sample, view: Image, context: Context) -> Step:
    """The step with the picture of its part, if it has one; tool_ms is what drawing took.

    sample, view: what is asked about, and its first picture.
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
    """The part within the crop budget, the whole within the view budget, turned clockwise."""
    settings, size = context.settings, sample.size
    whole = box == Box(0, 0, size.width, size.height)
    if whole and not turn:
        return view

    def draw() -> PIL.Image.Image:
        if whole:
            upright = context.open(view.sha256)
        elif lowres:
            upright = imaging.cut_lowres(context.open(view.sha256), size, box, settings.crop_pixels, settings.factor)
        else:
            upright = imaging.cut(context.open(sample.image), box, settings.crop_pixels, settings.factor)
        return imaging.turned(upright, turn)

    return await context.show(draw)


def whole(sample: Sample, view: Image) -> Frame:
    """The frame of the first picture."""
    return Frame(0, Size(view.width, view.height), Box(0, 0, sample.width, sample.height))


def frames(steps: Sequence[Step], known: Sequence[Frame], settings: Settings) -> list[Frame]:
    """The frames of the pictures that the steps brought, after those that are known.

    A picture that was withheld has the frame that it would have had.
    """
    found: list[Frame] = []
    for step in steps:
        if step.box is not None:
            if step.observation is not None:
                size = Size(step.observation.width, step.observation.height)
            elif step.box == known[0].box:
                size = known[0].size.turned(step.turn)
            else:
                size = imaging.cut_size(step.box, settings.crop_pixels, settings.factor).turned(step.turn)
            found.append(Frame(len(known) + len(found), size, step.box, step.turn))
    return found
