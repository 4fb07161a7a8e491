"""The arms: ways to answer one question, all with the same text, decoding and seed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from zoomgap import imaging, prompts
from zoomgap.agents import conversation, sight, tools
from zoomgap.agents.context import Context, Settings
from zoomgap.agents.glance import answer_at_once, answer_or_zoom, one_call
from zoomgap.agents.graph import look_and_answer
from zoomgap.agents.sight import Crops
from zoomgap.errors import UsageError
from zoomgap.geometry import Box, Frame, Size
from zoomgap.records import ARMS, Arm, Image, Request, Sample, Trajectory

NEED_EVIDENCE: tuple[Arm, ...] = ("region", "region-lowres", "oracle")
CROPS: Mapping[Arm, Crops] = {
    "agent": "full", "agent-lowres": "lowres", "agent-random": "random", "agent-blind": "blind",
}  # fmt: skip
"""What the agents are shown of the parts that they ask for."""
SEVERAL: tuple[Arm, ...] = ("direct", "direct-schema", "no-image", *CROPS)
"""Arms that show all pictures of a question about several."""
TILES = 2
"""Tiles of the arm `tiles` along each side."""


class Images(NamedTuple):
    """How many images a request holds: `least` that it cannot do without, `most` that it may come to have."""

    least: int
    most: int


def images_of(arm: str, max_zooms: int, pictures: int = 1) -> Images:
    """The images of an arm's longest request about so many pictures; an agent can do with their views and its latest
    crop."""
    if arm in CROPS and arm != "agent-blind":
        return Images(pictures + min(max_zooms, 1), pictures + max_zooms)
    shown = {"oracle": 2, "tiles": 1 + TILES**2}.get(arm, pictures)
    return Images(shown, shown)


def check_arm(arm: str, samples: Iterable[Sample]) -> None:
    """Raises UsageError for an unknown arm, for one that reads evidence boxes where a sample has none, and for one that
    shows one picture where a sample has several."""
    if arm not in ARMS:
        raise UsageError(f"arm '{arm}' is not known: use one of {', '.join(ARMS)}")
    samples = list(samples)
    several = [sample.id for sample in samples if sample.more_images]
    if several and arm not in SEVERAL:
        raise UsageError(
            f"sample '{several[0]}' ({len(several)} in all) asks about several pictures, and arm '{arm}' shows one: "
            f"use {', '.join(SEVERAL)}, or a benchmark of one picture a question"
        )
    if arm in NEED_EVIDENCE:
        _check_regions(arm, samples)


def _check_regions(arm: str, samples: Sequence[Sample]) -> None:
    bare = [sample.id for sample in samples if not sample.evidence and not sample.crop]
    if bare:
        raise UsageError(
            f"arm '{arm}' cuts out evidence boxes and sample '{bare[0]}' ({len(bare)} in all) has none: "
            "use another arm or a benchmark with boxes"
        )
    lost = [sample.id for sample in samples if sample.crop and not sample.crop_box]
    if lost and arm == "region-lowres":
        raise UsageError(
            f"arm '{arm}' shows what the view has of the region, and no box says where the crop of sample '{lost[0]}' "
            f"({len(lost)} in all) lies: use region, or import the set with a box of kind region for each crop"
        )


async def answer(arm: Arm, sample: Sample, context: Context, *, run: str, attempt: int, invocation: str) -> Trajectory:
    """One arm's answer to a sample; attempt k decodes with seed + k.

    A ModelError ends the trajectory with stop reason endpoint_error. Raises UsageError when the arm does not fit the
    sample, ImageError or StoreError when its image cannot be had.
    """
    started = time.perf_counter()
    check_arm(arm, [sample])
    context = context.for_attempt(attempt)
    settings = context.settings
    question = prompts.question(
        sample.question,
        choices=prompts.vary(sample, settings.variant).choices,
        answer_kind=sample.answer_kind,
        suffix=settings.suffix,
        variant=settings.variant,
    )
    if arm in CROPS:
        outcome = await look_and_answer(sample, question, context, crops=CROPS[arm])
    elif arm == "router":
        outcome = await answer_or_zoom(sample, context)
    else:
        pictures = await _pictures(arm, sample, context)
        if arm == "direct-schema":
            samples = await asyncio.to_thread(sight.one_by_one, sample, context)
            request = _forbidden(sight.whole(samples, pictures), pictures, question, context.settings)
        else:
            request = one_call(pictures, question, context.settings)
        outcome = await answer_at_once(request, sample, context)
    return Trajectory(
        run=run,
        sample=sample.id,
        attempt=attempt,
        invocation=invocation,
        stop_reason=outcome.stop_reason,
        text=outcome.text,
        steps=outcome.steps,
        wall_ms=(time.perf_counter() - started) * 1000,
        error=outcome.error,
    )


def _forbidden(frames: Sequence[Frame], views: Sequence[Image], question: str, settings: Settings) -> Request:
    """The agent's first request, calls forbidden."""
    opening = conversation.opening(frames, views, question, settings)
    offered = tools.offered(settings.tools) if settings.renders_tools else ()
    return Request(
        messages=opening, tools=offered, tool_choice="none", sampling=settings.sampling, logprobs=settings.logprobs
    )


async def _pictures(arm: Arm, sample: Sample, context: Context) -> list[Image]:
    """What an arm of one request shows, stored."""
    if arm in SEVERAL:
        show = context.show_grey if arm == "no-image" else context.show_view
        return [await show(one) for one in await asyncio.to_thread(sight.one_by_one, sample, context)]
    if arm == "direct-matched":
        return [await context.show_view(sample, context.budgets[sample.id])]
    if arm == "region":
        return [await _region(sample, context)]
    view = await context.show_view(sample)
    if arm == "region-lowres":
        return [await context.show(sight.crop(sample, sight.region_of(sample), context.settings, view))]
    if arm == "oracle":
        return [view, await _region(sample, context)]
    if arm == "tiles":
        return [view, *[await context.show(sight.crop(sample, box, context.settings)) for box in tiles(sample.size)]]
    return [view]


async def _region(sample: Sample, context: Context) -> Image:
    """The set's own crop, else the evidence cut from the original."""
    if sample.crop is None:
        return await context.show(sight.crop(sample, sight.region_of(sample), context.settings))
    load = context.renditions.images.load_image
    size = imaging.stated_size(await asyncio.to_thread(load, sample.crop))
    return await context.show(sight.own_crop(sample, sample.crop, size, context.settings))


def tiles(size: Size, side: int = TILES) -> list[Box]:
    """An image of `size` in side x side parts of whole pixels, row by row."""
    columns = [round(size.width * k / side) for k in range(side + 1)]
    rows = [round(size.height * k / side) for k in range(side + 1)]
    return [Box(x1, y1, x2, y2) for y1, y2 in pairwise(rows) for x1, x2 in pairwise(columns)]
