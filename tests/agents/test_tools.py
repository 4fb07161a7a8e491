from __future__ import annotations

import json
import math

import pytest
from hypothesis import assume, given, settings
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


def carry_out(arguments: object, convention: Convention = "relative_1000", tool: str = "zoom_in") -> tools.Part:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    call = tools.read_call(ToolCall("", tool, text), (WHOLE, CROP), convention, tools.NAMES)
    return tools.part(call, (WHOLE, CROP)[call.frame], SIZE, Settings(convention=convention))


def written(x1: float, y1: float, x2: float, y2: float, convention: Convention) -> list[float]:
    """Parts of the crop's width and height as a model writes them."""
    across, down = {"absolute": (128, 96), "relative_1": (1, 1)}.get(convention, (1000, 1000))
    box = [x1 * across, y1 * down, x2 * across, y2 * down]
    return [box[place] for place in (1, 0, 3, 2)] if convention == "relative_1000_yx" else box


def refusal(arguments: object, convention: Convention, tool: str = "zoom_in") -> str:
    """The sentence that a call gets: on one line, in characters that can be stored."""
    with pytest.raises(tools.BadCall) as caught:
        carry_out(arguments, convention, tool)
    sentence = str(caught.value)
    assert sentence.encode().decode().splitlines() == [sentence]
    assert sentence.endswith(".")
    return sentence


NO_BOXES = [
    None, True, 7, "", "1, 2, 3, 4", {}, {"x1": 1}, [], [1, 2, 3], [1, 2, 3, 4, 5], [[1, 2], [3, 4]], [[1, 2, 3, 4]],
    [1, 2, 300, "400"], [1, 2, 300, "4\n0"], [1, 2, 300, None], [1, 2, 300, True], [1, 2, 300, [400]], [1, 2, 300, {}],
    [1, 2, 300, math.nan], [1, 2, 300, math.inf], [-math.inf, 2, 300, 400], [1, 2, 300, 10**400], [1, 2, 300, -1e300],
]  # fmt: skip


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("box", NO_BOXES)
def test_what_is_no_box_is_quoted_and_told_its_form(box, convention):
    sentence = refusal({"bbox_2d": box}, convention)
    assert f"four numbers, not {repr(box)[:40]}: {tools.coordinates(convention)}." in sentence


def test_a_box_left_out_is_told_its_form():
    assert "four numbers" in refusal({"box": [1, 2, 300, 400]}, "relative_1000")


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(
    ("parts", "fault"),
    [
        ((0.4, 0.1, 0.2, 0.3), "is empty or turned around"),
        ((0.1, 0.3, 0.2, 0.1), "is empty or turned around"),
        ((0.9, 0.9, 0.1, 0.1), "is empty or turned around"),
        ((0.1, 0.1, 0.1, 0.3), "is empty or turned around"),
        ((0.1, 0.3, 0.3, 0.3), "is empty or turned around"),
        ((0.5, 0.5, 0.5, 0.5), "is empty or turned around"),
        ((0.5, 0.5, 0.5 + 1e-12, 0.9), "is empty or turned around"),
        ((1.1, 0.1, 1.2, 0.3), "lies outside image 1"),
        ((0.1, 1.1, 0.2, 1.3), "lies outside image 1"),
        ((-0.3, 0.1, -0.2, 0.3), "lies outside image 1"),
        ((0.1, -0.3, 0.2, -0.2), "lies outside image 1"),
        ((1.0, 0.0, 1.5, 1.0), "lies outside image 1"),  # it only touches the edge
        ((-0.5, 0.0, 0.0, 1.0), "lies outside image 1"),
    ],
)
def test_a_box_that_shows_nothing_is_quoted_and_told_why(parts, fault, convention):
    box = written(*parts, convention)
    sentence = refusal({"bbox_2d": box}, convention)
    assert str([round(number, 3) for number in box]) in sentence
    assert fault in sentence
    assert tools.coordinates(convention) in sentence


PIXELS = [[250, 500, 500, 750], [0, 0, 500, 500], [0, 0, 64, 48], [0, 0, 2, 2], [-3, -3, 0.5, 0.5], [0, 0, 1, 999]]
PARTS = [[0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1], [0.5, 0.5, 1.02, 1.01], [0.0, 0.0, 1e-200, 1e-200], [-0.1, 0, 0.5, 1]]


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_numbers_of_another_convention_are_not_clamped_to_a_corner_or_the_whole(convention):
    for box in PIXELS if convention == "relative_1" else PARTS:
        sentence = refusal({"bbox_2d": box}, convention)
        assert str([round(number, 3) for number in box]) in sentence
        assert f"other units: bbox_2d is {tools.coordinates(convention)}" in sentence


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_a_sliver_is_quoted_and_told_to_be_wider(convention):
    """8,000 pixels long, so 40 wide at least."""
    for size in (Size(8000, 250), Size(250, 8000)):
        frame = Frame(1, Size(128, 96), Box(0, 0, size.width, size.height))
        for wide, taken in ((0.25, False), (39, False), (40, True)):
            end = 0.2 + wide / 250
            parts = (0.0, 0.2, 1.0, end) if size.width > size.height else (0.2, 0.0, end, 1.0)
            box = written(*parts, convention)
            if taken:
                assert min(tools.place(box, frame, size, convention).as_list()[2:]) == 90
                continue
            with pytest.raises(tools.BadCall) as caught:
                tools.place(box, frame, size, convention)
            shown = [round(number, 3) for number in box]
            assert str(caught.value) == f"The box {shown} is over 200 times as long as wide: ask for a wider one."


@pytest.mark.parametrize(
    "image", [2, -1, 1.5, "-1", "one", True, [0], {}, "\ud800", "a\nb", 10**400, math.nan, "x" * 99]
)
@pytest.mark.parametrize("tool", ["zoom_in", "rotate"])
def test_an_image_that_is_not_there_is_quoted_and_told_which_are(image, tool):
    arguments = {"bbox_2d": [100, 100, 200, 200], "degrees": 90, "image": image}
    sentence = refusal(arguments, "relative_1000", tool)
    assert sentence == f"There is no image {repr(image)[:40]}: the images are 0 to 1."


@pytest.mark.parametrize("image", [1, "1", " 1 ", 1.0, None])
def test_the_number_of_an_image_may_be_quoted(image):
    arguments = {"bbox_2d": [100, 100, 200, 200], "image": image}
    assert carry_out(arguments) == carry_out({**arguments, "image": 1})


@pytest.mark.parametrize("text", ["not json", "[1, 2, 3, 4]", "", "null", "{", '{"bbox_2d": [1, 2,\n300', "9" * 5000,
                                  "[" * 9000, '{"bbox_2d": [1, 2, 300, ' + "9" * 5000 + "]}"])  # fmt: skip
@pytest.mark.parametrize(("tool", "needed"), [("zoom_in", "bbox_2d"), ("rotate", "degrees")])
def test_arguments_that_are_no_object_are_quoted_and_told_what_they_need(text, tool, needed):
    sentence = refusal(text, "relative_1000", tool)
    assert "could not be read" in sentence
    assert f"the arguments of {tool} must be one JSON object with {needed}, not {repr(text)[:40]}." in sentence


def test_another_tool_is_named():
    for name, shown in (("crop", "'crop'"), ("", "''"), ("zoom\nin", r"'zoom\nin'")):
        sentence = refusal({"bbox_2d": [1, 2, 300, 400]}, "relative_1000", name)
        assert sentence == f"There is no tool {shown}: use zoom_in, rotate, view_whole."


def test_the_latest_image_is_meant_unless_another_is_named():
    corner = [0, 0, 500, 500]
    assert carry_out({"bbox_2d": corner}).box == Box(200, 150, 300, 225)
    assert carry_out({"bbox_2d": corner, "image": None}).box == Box(200, 150, 300, 225)
    assert carry_out({"bbox_2d": corner, "image": 0}).box == Box(0, 0, 400, 300)


def test_a_label_that_is_no_text_is_left_out():
    for label in (None, 3, ["star"]):
        arguments = json.dumps({"label": label, "bbox_2d": [1, 2, 3, 4]})
        assert tools.read_call(ToolCall("", "zoom_in", arguments), (WHOLE,), "relative_1000").label is None


def test_a_box_of_no_size_in_the_original_is_empty():
    frame = Frame(1, Size(128, 128), Box(1, 0, 33, 32))
    for box in ([0.0, 0.0, 1e-100, 1.0], [0.0, 0.0, 1e-200, 1e-200]):
        with pytest.raises(tools.BadCall, match="empty"):
            tools.place(box, frame, Size(40, 40), "relative_1")


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


@pytest.mark.parametrize("arguments", ["{}", "", "null", '{"image": 7}'])
def test_view_whole_is_the_original_upright_whatever_is_written_with_it(arguments):
    assert carry_out(arguments, tool="view_whole") == tools.Part(Box(0, 0, 800, 600))


@pytest.mark.parametrize("degrees", [0, 45, -90, 360, "90", "9\n0", "\ud800", True, None, math.nan, [90], {}, 10**400])
def test_only_quarter_turns(degrees):
    sentence = refusal({"degrees": degrees}, "relative_1000", "rotate")
    assert sentence == f"rotate turns an image by 90, 180 or 270 degrees clockwise, not by {repr(degrees)[:40]}."


def test_tools_that_are_not_offered_are_unknown():
    with pytest.raises(tools.BadCall, match="no tool 'rotate': use zoom_in"):
        tools.read_call(ToolCall("", "rotate", '{"degrees": 90}'), (WHOLE,), "relative_1000")


def test_padding_grows_a_box_within_the_image():
    place = [250, 500, 500, 750]
    assert tools.place(place, WHOLE, SIZE, "relative_1000", padding=0.1) == Box(180, 285, 420, 465)
    assert tools.place([0, 0, 500, 500], WHOLE, SIZE, "relative_1000", padding=0.1) == Box(0, 0, 440, 330)
    given = tools.part(asked("zoom_in", bbox_2d=place, image=0), WHOLE, SIZE, Settings(padding=0.1))
    assert given == tools.Part(Box(180, 285, 420, 465), 0)


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


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=50)
any_json = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
numbers = st.integers(-300, 1300) | st.floats(-0.5, 1.5) | st.floats()
fields = st.fixed_dictionaries(
    {},
    optional={
        "bbox_2d": st.lists(numbers, min_size=4, max_size=4) | any_json,
        "image": st.integers(-1, 2) | any_json,
        "degrees": st.sampled_from((90, 180, 270)) | any_json,
        "label": any_json,
    },
)


@settings(max_examples=80, deadline=None)
@given(fields.map(json.dumps) | any_json.map(json.dumps) | st.text(st.characters()), st.sampled_from(CONVENTIONS),
       st.sampled_from((*tools.NAMES, "crop")))  # fmt: skip
def test_whatever_is_written_is_a_part_of_the_original_or_a_sentence(text, convention, tool):
    try:
        box, turn = carry_out(text, convention, tool)
    except tools.BadCall:
        assert refusal(text, convention, tool)
        return
    assert turn in (0, 90, 180, 270)
    assert all(value == int(value) for value in box.as_list())
    assert 0 <= box.x1 <= box.x2 - tools.MIN_SIDE < box.x2 <= SIZE.width
    assert 0 <= box.y1 <= box.y2 - tools.MIN_SIDE < box.y2 <= SIZE.height


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-300, 1300) | st.floats(-300, 1300), min_size=4, max_size=4), st.sampled_from(CONVENTIONS))
def test_a_box_is_refused_for_its_reasons_and_no_other(box, convention):
    """What of it lies in the crop, worked out in parts of the crop, is a box or not."""
    if convention == "relative_1":
        box = [number / 600 for number in box]
    across, down = {"absolute": (128, 96), "relative_1": (1, 1)}.get(convention, (1000, 1000))
    a, b, c, d = (box[1], box[0], box[3], box[2]) if convention == "relative_1000_yx" else box
    x1, y1, x2, y2 = a / across, b / down, c / across, d / down
    left, top, right, bottom = (min(max(part, 0), 1) for part in (x1, y1, x2, y2))
    assume(all(side <= 0 or side > 1e-6 for side in (right - left, bottom - top)))
    other_units = max(map(abs, box)) >= 2 if convention == "relative_1" else max(map(abs, box)) < 2
    text = json.dumps({"bbox_2d": box})
    if right <= left or bottom <= top or other_units:
        assert refusal(text, convention)
        return
    held = Box(200 + 200 * left, 150 + 150 * top, 200 + 200 * right, 150 + 150 * bottom)
    assert carry_out(text, convention).box.covers(held) == pytest.approx(1)


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
    asked = frame.from_original(wanted)
    written = asked.scaled(received.width / sent.width, received.height / sent.height).as_list()
    assert max(written) <= max(received.width, received.height) * (1 + 1e-9)
    assume(max(written) >= 2)
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
