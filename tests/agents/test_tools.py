from __future__ import annotations

import json
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from zoomgap import imaging
from zoomgap.agents import Settings, tools
from zoomgap.geometry import Box, Frame, Size
from zoomgap.models.catalog import family_named
from zoomgap.models.families import Family
from zoomgap.models.resize import processed_size
from zoomgap.records import Convention, ToolCall

WHOLE = Frame(0, Size(256, 192), Box(0, 0, 800, 600))
CROP = Frame(1, Size(128, 96), Box(200, 150, 400, 300))
SIZE = Size(800, 600)
CONVENTIONS: tuple[Convention, ...] = ("relative_1000", "relative_1", "absolute", "relative_1000_yx")


def written_as(box: Box, frame: Frame, convention: Convention, received: Size | None = None) -> list[float]:
    """The inverse of to_frame: a box in pixels of the frame's image, as a model of that convention writes it."""
    x1, y1, x2, y2 = box.as_list()
    w, h = frame.size.width, frame.size.height
    if convention == "absolute":
        return box.scaled((received or frame.size).width / w, (received or frame.size).height / h).as_list()
    unit = 1 if convention == "relative_1" else 1000
    numbers = [x1 / w * unit, y1 / h * unit, x2 / w * unit, y2 / h * unit]
    return [numbers[i] for i in (1, 0, 3, 2)] if convention == "relative_1000_yx" else numbers


def carry_out(arguments: object, convention: Convention = "relative_1000") -> Box:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    call = tools.read_call(ToolCall("", "zoom_in", text), (WHOLE, CROP), convention)
    return tools.part(call, (WHOLE, CROP)[call.frame], SIZE, Settings(convention=convention)).box


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("not json", "could not be read"),
        ("[1, 2, 3, 4]", "could not be read"),
        ("", "could not be read"),
        ({}, "four numbers"),
        ({"bbox_2d": None}, "four numbers"),
        ({"bbox_2d": "1, 2, 3, 4"}, "four numbers"),
        ({"bbox_2d": [1, 2, 3]}, "four numbers"),
        ({"bbox_2d": [1, 2, 3, 4, 5]}, "four numbers"),
        ({"bbox_2d": [[100, 100], [200, 200]]}, "four numbers"),
        ({"bbox_2d": [100, 100, 200, "200"]}, "four numbers"),
        ({"bbox_2d": [100, 100, 200, True]}, "four numbers"),
        ({"bbox_2d": [100, 100, 200, math.nan]}, "four numbers"),
        ({"bbox_2d": [100, 100, 200, math.inf]}, "four numbers"),
        ({"bbox_2d": [100, 100, 200, 10**400]}, "four numbers"),
        ('{"bbox_2d": [100, 100, 200, ' + "9" * 5000 + "]}", "could not be read"),
        ({"bbox_2d": [400, 100, 200, 300]}, "turned around"),
        ({"bbox_2d": [100, 300, 200, 100]}, "turned around"),
        ({"bbox_2d": [100, 100, 100, 300]}, "empty"),
        ({"bbox_2d": [1100, 100, 1200, 300]}, "outside image 1"),
        ({"bbox_2d": [-300, 100, -200, 300]}, "outside image 1"),
        ({"bbox_2d": [0.1, 0.2, 0.3, 0.4]}, "no number over 1"),
        ({"bbox_2d": [100, 100, 200, 200], "image": 2}, "images are 0 to 1"),
        ({"bbox_2d": [100, 100, 200, 200], "image": -1}, "images are 0 to 1"),
        ({"bbox_2d": [100, 100, 200, 200], "image": True}, "images are 0 to 1"),
        ({"bbox_2d": [100, 100, 200, 200], "image": "\ud800"}, "images are 0 to 1"),
    ],
)
def test_a_bad_call_gets_a_sentence(arguments, sentence):
    with pytest.raises(tools.BadCall, match=sentence) as caught:
        carry_out(arguments)
    assert "\n" not in str(caught.value)
    str(caught.value).encode()


def test_another_tool_is_named():
    with pytest.raises(tools.BadCall, match="no tool crop"):
        tools.read_call(ToolCall("", "crop", '{"bbox_2d": [1, 2, 3, 4]}'), (WHOLE,), "relative_1000")


def test_the_latest_image_is_meant_unless_another_is_named():
    corner = [0, 0, 500, 500]
    assert carry_out({"bbox_2d": corner}) == Box(200, 150, 300, 225)
    assert carry_out({"bbox_2d": corner, "image": None}) == Box(200, 150, 300, 225)
    assert carry_out({"bbox_2d": corner, "image": 0}) == Box(0, 0, 400, 300)


def test_a_label_that_is_no_text_is_left_out():
    for label in (None, 3, ["star"]):
        arguments = json.dumps({"label": label, "bbox_2d": [1, 2, 3, 4]})
        assert tools.read_call(ToolCall("", "zoom_in", arguments), (WHOLE,), "relative_1000").label is None


def test_a_box_over_the_edge_is_clamped_to_its_frame():
    assert carry_out({"bbox_2d": [-500, -500, 500, 500]}) == Box(200, 150, 300, 225)
    assert carry_out({"bbox_2d": [500, 500, 1500, 9000]}) == Box(300, 225, 400, 300)


def test_a_tiny_box_grows_to_the_smallest_crop():
    box = carry_out({"bbox_2d": [500, 500, 501, 501], "image": 0})
    assert tools.MIN_SIDE <= min(box.width, box.height) <= max(box.width, box.height) <= tools.MIN_SIDE + 2
    assert box.covers(Box(400, 300, 400.8, 300.6)) == pytest.approx(1)


def test_a_box_of_no_size_in_the_original_is_empty():
    frame = Frame(1, Size(128, 128), Box(1, 0, 33, 32))
    with pytest.raises(tools.BadCall, match="empty"):
        tools.place([0.0, 0.0, 1e-100, 1.0], frame, Size(40, 40), "relative_1")


def test_a_small_image_is_cut_whole():
    frame = Frame(0, Size(32, 32), Box(0, 0, 20, 24))
    assert tools.place([1, 1, 3, 3], frame, Size(20, 24), "absolute") == Box(0, 0, 20, 24)


@pytest.mark.parametrize(
    ("convention", "written"),
    [
        ("relative_1000", [250, 500, 500, 750]),
        ("relative_1", [0.25, 0.5, 0.5, 0.75]),
        ("absolute", [64, 96, 128, 144]),
        ("relative_1000_yx", [500, 250, 750, 500]),
    ],
)
def test_conventions(convention, written):
    assert tools.place(written, WHOLE, SIZE, convention) == Box(200, 300, 400, 450)


def test_the_model_is_told_its_own_way_of_calling():
    assert "```json" in tools.system_text(Settings(dialect="json"))
    assert "<tool_call>" in tools.system_text(Settings(dialect="hermes"))


def test_more_tools_are_told_and_offered_where_the_run_has_them():
    names = ("zoom_in", "rotate", "view_whole")
    told = tools.system_text(Settings(tools=names))
    assert all(name in told for name in names)
    assert [schema["function"]["name"] for schema in tools.offered(names)] == list(names)


def asked(name, **arguments):
    return tools.read_call(ToolCall("", name, json.dumps(arguments)), (WHOLE, CROP), "relative_1000", tools.NAMES)


def test_rotate_turns_what_was_shown_further():
    turned = Frame(1, Size(96, 128), CROP.box, 90)
    assert tools.part(asked("rotate", degrees=90, image=0), WHOLE, SIZE, Settings()) == tools.Part(WHOLE.box, 90)
    assert tools.part(asked("rotate", degrees=270), turned, SIZE, Settings()) == tools.Part(CROP.box, 0)


def test_view_whole_is_the_original_upright():
    assert tools.part(asked("view_whole"), WHOLE, SIZE, Settings()) == tools.Part(Box(0, 0, 800, 600))


@pytest.mark.parametrize("degrees", [0, 45, -90, "90", True, None, math.nan])
def test_only_quarter_turns(degrees):
    with pytest.raises(tools.BadCall, match="90, 180 or 270"):
        asked("rotate", degrees=degrees)


def test_tools_that_are_not_offered_are_unknown():
    with pytest.raises(tools.BadCall, match="no tool rotate: use zoom_in"):
        tools.read_call(ToolCall("", "rotate", '{"degrees": 90}'), (WHOLE,), "relative_1000")


def test_padding_grows_a_box_within_the_image():
    place = [250, 500, 500, 750]
    assert tools.place(place, WHOLE, SIZE, "relative_1000", padding=0.1) == Box(180, 285, 420, 465)
    assert tools.place([0, 0, 500, 500], WHOLE, SIZE, "relative_1000", padding=0.1) == Box(0, 0, 440, 330)


def test_a_sliver_is_refused():
    wide = Frame(0, Size(1024, 32), Box(0, 0, 8000, 250))
    with pytest.raises(tools.BadCall, match="200 times"):
        tools.place([0, 500, 1000, 501], wide, Size(8000, 250), "relative_1000")


def test_absolute_pixels_are_those_of_the_image_as_received():
    received = Size(512, 384)
    assert tools.place([128, 192, 256, 288], WHOLE, SIZE, "absolute", received) == Box(200, 300, 400, 450)
    assert tools.place([250, 500, 500, 750], WHOLE, SIZE, "relative_1000", received) == Box(200, 300, 400, 450)


def as_absolute(family: Family, **more) -> Settings:
    return Settings(convention="absolute", factor=family.factor, rule=family, view_pixels=family.view_pixels, **more)


def test_absolute_pixels_are_those_of_the_processor_where_nobody_tells_the_size():
    claude = family_named("claude")
    sent = Frame(0, Size(3136, 1764), Box(0, 0, 3136, 1764))
    assert tools.processed(sent, as_absolute(claude)) == Size(1456, 819)
    call = tools.Asked("zoom_in", 0, (0, 0, 728, 409.5))
    assert tools.part(call, sent, Size(3136, 1764), as_absolute(claude)).box == Box(0, 0, 1568, 882)
    told = tools.part(call, sent, Size(3136, 1764), as_absolute(claude), received=Size(728, 819))
    assert told.box == Box(0, 0, 3136, 882)
    relative = tools.Asked("zoom_in", 0, (0, 0, 500, 500))
    assert tools.part(relative, sent, Size(3136, 1764), Settings(rule=claude)).box == Box(0, 0, 1568, 882)


def test_an_image_that_its_processor_refuses_counts_as_sent():
    strip = Frame(0, Size(28 * 253, 28), Box(0, 0, 8000, 40))
    assert tools.processed(strip, as_absolute(family_named("qwen2.5-vl"))) == strip.size


def test_only_a_model_that_counts_in_pixels_is_told_sizes():
    frame = Frame(2, Size(3136, 1764), WHOLE.box)
    assert tools.image_name(frame, as_absolute(family_named("claude"))) == "image 2, 1456 x 819 pixels"
    assert tools.image_name(frame, Settings(rule=family_named("claude"))) == "image 2"


def test_the_model_is_told_its_own_convention():
    assert "y1, x1, y2, x2 from 0 to 1000" in tools.system_text(Settings(convention="relative_1000_yx"))
    told = tools.system_text(Settings(convention="relative_1", max_zooms=2))
    assert "at most 2 times" in told
    assert "rotate" not in told
    example = told.split("<tool_call>")[1].split("</tool_call>")[0]
    assert json.loads(example)["arguments"]["bbox_2d"] == [0.25, 0.5, 0.5, 0.75]


sides = st.integers(40, 3000)


@st.composite
def parts(draw, size: Size) -> Box:
    """Whole-pixel boxes inside an image, at least MIN_SIDE a side."""
    x1 = draw(st.integers(0, size.width - tools.MIN_SIDE))
    y1 = draw(st.integers(0, size.height - tools.MIN_SIDE))
    return Box(
        x1,
        y1,
        draw(st.integers(x1 + tools.MIN_SIDE, size.width)),
        draw(st.integers(y1 + tools.MIN_SIDE, size.height)),
    )


def frame_of(index: int, box: Box, budget: int) -> Frame:
    shown = Size(int(box.width), int(box.height))
    return Frame(index, imaging.fit_size(shown, budget, 32, min_pixels=budget), box)


@given(st.data(), sides, sides, st.sampled_from(CONVENTIONS))
def test_a_box_of_a_nested_frame_comes_back_as_pixels_of_the_original(data, width, height, convention):
    """Any part of the original that two nested frames show is taken, to a pixel, whatever the convention."""
    size = Size(width, height)
    outer = data.draw(parts(size))
    inner = data.draw(parts(Size(int(outer.width), int(outer.height)))).shifted(outer.x1, outer.y1)
    wanted = data.draw(parts(Size(int(inner.width), int(inner.height)))).shifted(inner.x1, inner.y1)
    assume(all(max(b.width, b.height) < 100 * min(b.width, b.height) for b in (outer, inner, wanted)))
    for frame in (frame_of(0, outer, 65_536), frame_of(1, inner, 16_384)):
        written = written_as(frame.from_original(wanted), frame, convention)
        assume(convention == "relative_1" or max(written) > 1)
        taken = tools.place(written, frame, size, convention)
        assert all(abs(a - b) <= 1 for a, b in zip(taken.as_list(), wanted.as_list(), strict=True))


numbers = st.floats(-2000, 3000) | st.integers(-2000, 3000)


@given(st.lists(numbers, min_size=4, max_size=4), sides, sides, st.sampled_from(CONVENTIONS), st.data())
def test_whatever_is_asked_for_is_a_crop_inside_the_original_or_refused(written, width, height, convention, data):
    size = Size(width, height)
    shown = data.draw(parts(size))
    assume(max(shown.width, shown.height) < 100 * min(shown.width, shown.height))
    frame = frame_of(1, shown, 16_384)
    try:
        taken = tools.place(written, frame, size, convention)
    except tools.BadCall:
        return
    assert taken == imaging.snap(taken, size, tools.MIN_SIDE)
    assert min(taken.width, taken.height) >= tools.MIN_SIDE
    inside = frame.to_original(tools.to_frame(written, frame, convention).clamped(frame.size.width, frame.size.height))
    slack = 1e-6  # places are rounded to a millionth of a pixel
    assert taken.x1 <= inside.x1 + slack
    assert taken.y1 <= inside.y1 + slack
    assert inside.x2 <= taken.x2 + slack
    assert inside.y2 <= taken.y2 + slack


ORIGINALS = st.sampled_from(
    [Size(7680, 4320), Size(4320, 7680), Size(600, 4000), Size(40, 30), Size(2, 2)]
) | st.builds(Size, st.integers(2, 8000), st.integers(2, 8000))
BUDGETS = st.sampled_from([28 * 28 * 4, 320 * 28 * 28, 1280 * 28 * 28, 2**30])


@given(st.data(), ORIGINALS, st.sampled_from(["qwen2.5-vl", "claude"]), BUDGETS, st.sampled_from([0, 90, 180, 270]))
def test_a_box_in_pixels_of_the_processed_image_comes_back_to_the_original(data, size, name, budget, turn):
    """Original -> view as sent -> image after the server's own resize -> back, for boxes down to one pixel."""
    assume(max(size.width, size.height) <= 100 * min(size.width, size.height))
    family = family_named(name)
    sent = imaging.fit_size(size, budget, family.factor).turned(turn)
    assume(max(sent.width, sent.height) <= 200 * min(sent.width, sent.height))
    frame = Frame(0, sent, Box(0, 0, size.width, size.height), turn)
    received = processed_size(family, sent)
    x1, y1 = data.draw(st.integers(0, size.width - 1)), data.draw(st.integers(0, size.height - 1))
    x2, y2 = data.draw(st.integers(x1 + 1, size.width)), data.draw(st.integers(y1 + 1, size.height))
    wanted = Box(x1, y1, x2, y2)
    assume(max(wanted.width, wanted.height) <= 100 * min(wanted.width, wanted.height))
    written = written_as(frame.from_original(wanted), frame, "absolute", received)
    assert max(written) <= max(received.width, received.height) * (1 + 1e-9)
    assume(max(written) > 1)
    settings = as_absolute(family)
    back = frame.to_original(tools.to_frame(written, frame, "absolute", tools.processed(frame, settings)))
    assert back.as_list() == pytest.approx(wanted.as_list(), abs=1e-6)
    taken = tools.part(tools.Asked("zoom_in", 0, tuple(written)), frame, size, settings).box
    assert taken.covers(wanted) == pytest.approx(1)
    if min(wanted.width, wanted.height) >= tools.MIN_SIDE:
        assert taken.as_list() == pytest.approx(wanted.as_list(), abs=1)
    else:
        least = min(tools.MIN_SIDE, size.width, size.height)
        assert least <= min(taken.width, taken.height) <= least + 2
