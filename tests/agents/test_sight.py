from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoomgap import imaging
from zoomgap.agents import Settings
from zoomgap.agents.sight import crop, crop_size
from zoomgap.geometry import Box, Size
from zoomgap.models.scripted import ScriptedModel
from zoomgap.records import Image, Sample

SAMPLE = Sample(
    id="s", benchmark="b", image="0", width=800, height=600, question="?", answer="B", answer_kind="text",
    dimension="ocr",
)  # fmt: skip
BOUNDS = st.sampled_from(((16_384, 16_384), (4096, 65_536), (65_536, 4096)))


@given(
    st.builds(Size, st.integers(33, 4000), st.integers(33, 4000)), st.builds(Box, *[st.floats(-100, 4100)] * 4),
    BOUNDS, st.integers(1024, 200_000), st.sampled_from((28, 32)),
)  # fmt: skip
def test_a_crop_has_one_size_whichever_pixels_it_is_drawn_from(size, box, bounds, view_pixels, factor):
    sample = replace(SAMPLE, width=size.width, height=size.height)
    settings = Settings(min_crop_pixels=bounds[0], crop_pixels=bounds[1], factor=factor)
    fitted = imaging.view_size(size, view_pixels, factor)
    view = Image("1", fitted.width, fitted.height)
    box = imaging.snap(box, size)
    full, lowres = crop(sample, box, settings), crop(sample, box, settings, view)
    assert full.size == lowres.size == crop_size(box, settings)
    assert (full.source, full.box, lowres.source) == ("0", box, "1")
    assert lowres.box == lowres.box.clamped(view.width, view.height)
    assert lowres.box.area > 0
    assert lowres.box.as_list() == pytest.approx(
        box.scaled(view.width / size.width, view.height / size.height).as_list()
    )


async def test_a_crop_from_the_view_has_the_same_place_and_no_new_pixels(world):
    context = world.context(ScriptedModel([]))
    view = await context.show_view(world.sample)
    box = Box(400, 300, 500, 400)
    shown = [await context.show(crop(world.sample, box, context.settings, source)) for source in (None, view)]
    sharp, blurred = (world.pixels(part.sha256) for part in shown)
    assert sharp.shape == blurred.shape
    assert sharp.std() > 5 * blurred.std()
    assert abs(np.mean(sharp) - np.mean(blurred)) < 8


async def test_an_image_within_the_budget_is_shown_as_its_own_bytes(world):
    size = world.sample.size
    for budget, own in ((size.pixels, True), (size.pixels - 1, False), (2**30, True)):
        view = await world.context(ScriptedModel([]), view_pixels=budget).show_view(world.sample)
        assert (view == Image(world.sample.image, size.width, size.height)) == own
