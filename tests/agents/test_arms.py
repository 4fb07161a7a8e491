from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tests.routers import router
from zoomgap import imaging
from zoomgap.agents import Settings, answer, check_arm
from zoomgap.agents.arms import SEVERAL, tiles
from zoomgap.agents.confidence import ALTERNATIVES
from zoomgap.agents.context import Routing
from zoomgap.errors import ImageError, ModelError, UsageError
from zoomgap.geometry import Size
from zoomgap.models.resize import Rule
from zoomgap.models.scripted import ScriptedModel
from zoomgap.records import ARMS, Image, Reply, RunSpec, Sampling, Text, Usage


async def once(world, arm, reply="B", **settings):
    model = ScriptedModel([reply])
    context = replace(world.context(model, **settings), budgets={world.sample.id: 4 * 65_536})
    if arm == "router":
        context = replace(context, routing=Routing(router(-math.inf, features=("image_size",)), context))
    trajectory = await answer(arm, world.sample, context, run="r", attempt=0, invocation="i")
    return trajectory, model.history[0]


def pictures(request) -> list[Image]:
    return [part for part in request.messages[-1].content if isinstance(part, Image)]


def picture(request) -> Image:
    return pictures(request)[0]


@pytest.mark.parametrize("arm", ARMS)
async def test_every_arm_asks_the_same_text_and_stores_what_it_shows(world, arm):
    trajectory, request = await once(world, arm, Reply(text="B", usage=Usage(prompt_tokens=7)), suffix=False)
    assert (trajectory.stop_reason, trajectory.text, trajectory.prompt_tokens) == ("answered", "B", 7)
    assert (trajectory.run, trajectory.sample, trajectory.invocation) == ("r", "s1", "i")
    assert request.messages[-1].content[-1] == Text("What letter is on the red star?\nA) E B) F C) H D) K")
    assert bool(request.tools) == (arm.startswith("agent") or arm == "direct-schema")
    assert request.tool_choice == ("none" if arm == "direct-schema" else "auto")
    shown = pictures(request)
    assert len(shown) == {"oracle": 2, "tiles": 5}.get(arm, 1)
    for part in shown:
        assert imaging.open_image(world.images[part.sha256]).size == (part.width, part.height)
    assert trajectory.pixels_sent == sum(part.width * part.height for part in shown)


async def test_sizes_of_what_arms_show(world):
    sizes = {}
    for arm in ARMS:
        sizes[arm] = [Size(shown.width, shown.height) for shown in pictures((await once(world, arm))[1])]
    view = imaging.fit_size(world.sample.size, 65_536, 32)
    of_one_view = (
        "direct", "direct-schema", "no-image", "agent", "agent-lowres", "agent-random", "agent-blind", "router",
    )  # fmt: skip
    assert all(sizes[arm] == [view] for arm in of_one_view)
    assert sizes["region"] == sizes["region-lowres"] == [Size(128, 128)]
    assert sizes["oracle"] == [view, Size(128, 128)]
    assert sizes["tiles"] == [view, *[imaging.fit_size(Size(400, 300), 16_384, 32, 16_384)] * 4]
    assert sizes["direct-matched"] == [imaging.fit_size(world.sample.size, 4 * 65_536, 32)]


def test_tiles_cover_the_image_once():
    parts = tiles(Size(801, 601), 3)
    assert sum(part.area for part in parts) == 801 * 601
    assert all(a.intersection(b) == 0 for a in parts for b in parts if a != b)


async def test_no_image_is_flat_and_region_lowres_has_no_new_pixels(world):
    spread = {}
    for arm in ("no-image", "region", "region-lowres"):
        spread[arm] = world.pixels(picture((await once(world, arm))[1]).sha256).std()
    assert spread["no-image"] == 0
    assert spread["region"] > 5 * spread["region-lowres"]


async def test_direct_and_agent_start_from_the_same_bytes(world):
    assert picture((await once(world, "direct"))[1]) == picture((await once(world, "agent"))[1])


async def test_direct_schema_asks_what_the_agent_asks_first(world):
    """Whatever the model is told beside the question: only the calls are forbidden."""
    for settings in ({"suffix": True}, {"suffix": True, "renders_tools": False}, {"convention": "absolute"}):
        asked, forbidden = [(await once(world, arm, **settings))[1] for arm in ("agent", "direct-schema")]
        assert (asked.tool_choice, forbidden.tool_choice) == ("auto", "none")
        assert replace(forbidden, tool_choice="auto") == asked


async def test_a_call_that_was_forbidden_is_no_answer(world):
    markup = "<tool_call>\n<function=zoom_in>\n<parameter=label>\nB\n</parameter>\n</function>\n</tool_call>"
    assert (await once(world, "direct-schema", markup))[0].text == ""
    assert (await once(world, "direct-schema", f"B\n{markup}"))[0].text == "B"
    assert (await once(world, "direct-schema", markup))[0].steps[0].text == markup


async def test_regions_need_evidence(world):
    bare = replace(world.sample, evidence=())
    for arm in ("region", "region-lowres", "oracle"):
        with pytest.raises(UsageError, match="sample 's1'"):
            await answer(arm, bare, world.context(ScriptedModel([])), run="r", attempt=0, invocation="i")
    check_arm("direct", [bare])
    with pytest.raises(UsageError, match="arm 'psychic' is not known"):
        check_arm("psychic", [])


def with_crop(world, times: int, **change):
    """The sample with a crop of its own: the evidence's box from the original, its file enlarged so many times."""
    box = world.sample.evidence[0]
    part = imaging.open_image(world.images[world.sample.image]).crop((400, 300, 440, 340))
    part = part.resize((40 * times, 40 * times), 0)
    data = imaging.encode(part, "image/png")
    info = world.kept.add_image(data, "image/png", Size(*part.size))
    return replace(world.sample, crop=info.sha256, evidence=(box,), evidence_kind="region", **change)


async def test_a_crop_of_the_sets_own_is_the_region_however_much_it_is_enlarged(world):
    """Its file may be enlarged or not: what is shown is the same part at the same size as of the original."""
    found = {}
    for times in (1, 2):
        world.sample = with_crop(world, times)
        for arm in ("region", "region-lowres", "oracle"):
            shown = pictures((await once(world, arm, min_crop_pixels=1024, crop_pixels=65_536))[1])[-1]
            found[arm, times] = world.pixels(shown.sha256)
            assert (shown.width, shown.height) == (32, 32)
    assert (found["region", 1] == found["oracle", 1]).all()
    assert found["region", 1].std() > 5 * found["region-lowres", 1].std()
    assert (found["region-lowres", 1] == found["region-lowres", 2]).all(), "cut from the view, without room around it"


async def test_a_crop_without_a_box_fills_the_crop_budget(world):
    world.sample = replace(with_crop(world, 2), evidence=())
    for arm, at in (("region", 0), ("oracle", 1)):
        shown = pictures((await once(world, arm, min_crop_pixels=1024, crop_pixels=16_384))[1])[at]
        assert (shown.width, shown.height) == (128, 128)


async def test_no_view_has_the_region_of_a_crop_that_no_box_places(world):
    tight = replace(with_crop(world, 1), evidence_kind="tight")
    for lost in (replace(tight, evidence=()), tight, replace(with_crop(world, 1), evidence=tight.evidence * 2)):
        check_arm("region", [lost])
        with pytest.raises(UsageError, match=r"where the crop of sample 's1' \(1 in all\) lies: use region"):
            check_arm("region-lowres", [lost])
    check_arm("region-lowres", [with_crop(world, 1)])


async def test_all_pictures_of_a_question_are_shown_in_order_or_none(world):
    world.ask_about_several()
    for arm in SEVERAL:
        view, other = (imaging.view_size(size, 65_536, 32) for size in (world.sample.size, Size(300, 900)))
        shown = pictures((await once(world, arm))[1])
        assert [Size(part.width, part.height) for part in shown] == [view, other, view]
        assert shown[0] == shown[2]
    for arm in set(ARMS) - set(SEVERAL):
        with pytest.raises(UsageError, match=r"sample 's1' \(1 in all\) asks about several pictures"):
            check_arm(arm, [world.sample])


async def test_a_model_error_is_no_answer(world):
    for arm in ("direct", "agent"):
        trajectory, request = await once(world, arm, ModelError("it is down"))
        assert (trajectory.stop_reason, trajectory.text, trajectory.error) == ("endpoint_error", "", "it is down")
        assert trajectory.steps[0].request == request


async def test_an_image_that_is_lost_is_not_the_models_fault(world):
    world.images[world.sample.image] = b"no image"
    with pytest.raises(ImageError):
        await once(world, "direct")


async def test_confidence_is_the_mean_probability_of_the_tokens(world):
    known = Reply(text="B", token_logprobs=(math.log(0.5), math.log(0.125)))
    assert (await once(world, "direct", known))[0].steps[0].confidence == pytest.approx(0.25)
    assert (await once(world, "direct", Reply(text="B", token_logprobs=())))[0].steps[0].confidence is None
    assert (await once(world, "direct"))[0].steps[0].confidence is None


async def test_a_cut_reply_is_marked(world):
    trajectory, _ = await once(world, "direct", Reply(text="B and", finish_reason="length"))
    assert trajectory.stop_reason == "context"


async def test_text_that_utf8_cannot_hold_is_mended(world):
    assert (await once(world, "direct", "B\ud800"))[0].text == "B?"


def test_settings_are_those_of_the_run():
    spec = RunSpec(
        benchmark="b", benchmark_sha256="0", arm="agent", model="m", sampling=Sampling(max_tokens=9), view_pixels=4096,
        min_crop_pixels=900, crop_pixels=1024, factor=28, max_zooms=1, image_return="tool", convention="absolute",
        suffix=False, max_images=7, resize="claude", max_pixels=1568 * 784, max_side=1568,
    )  # fmt: skip
    settings = Settings.of(spec)
    shared = [name for name in Settings.__slots__ if name not in ("rule", "logprobs")]
    assert {name: getattr(settings, name) for name in shared} == {name: getattr(spec, name) for name in shared}
    assert settings.rule == Rule(resize="claude", factor=28, max_pixels=1568 * 784, max_side=1568)
    assert settings.logprobs is None
    assert Settings.of(replace(spec, weights="ab")).logprobs == ALTERNATIVES
    assert Settings.of(replace(spec, weights="ab"), logprobs=False).logprobs is None
    assert Settings.of(spec, logprobs=True).logprobs == ALTERNATIVES
