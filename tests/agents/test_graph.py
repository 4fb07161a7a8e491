from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import jinja2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zoomgap import prompts
from zoomgap.agents import answer
from zoomgap.agents.graph import MAX_BAD_CALLS, MAX_CALLS
from zoomgap.distill.micro_model import CHAT_TEMPLATE
from zoomgap.errors import ModelError, TooLongError
from zoomgap.geometry import Box, Size
from zoomgap.models.base import request_body
from zoomgap.models.resize import Rule, processed_size
from zoomgap.models.scripted import ScriptedModel
from zoomgap.records import Image, Reply, Request, Text, ToolCall, Trajectory, Usage

BAD = "<tool_call>nothing</tool_call>"


async def zoom(world, script, arm="agent", **settings) -> tuple[Trajectory, list[Request]]:
    model = ScriptedModel(script)
    trajectory = await answer(arm, world.sample, world.context(model, **settings), run="r", attempt=0, invocation="i")
    return trajectory, model.history


def texts(message) -> list[str]:
    return [part.text for part in message.content if isinstance(part, Text)]


async def test_no_call_is_an_answer(world):
    trajectory, (request,) = await zoom(world, ["B"])
    assert (trajectory.stop_reason, trajectory.text, trajectory.turns, trajectory.zooms) == ("answered", "B", 1, 0)
    assert request.tools == (prompts.tool("zoom_in"),)
    assert request.tool_choice == "auto"
    (message,) = request.messages
    assert [type(part) for part in message.content] == [Image, Text]


async def test_nested_zooms_and_what_their_steps_say(world, call):
    script = [call(500, 500, 750, 750), "closer " + call(0, 0, 500, 500), call(0, 0, 500, 500, image=0), "B"]
    trajectory, history = await zoom(world, script)
    assert trajectory.stop_reason == "answered"
    assert [step.box for step in trajectory.steps] == [
        Box(400, 300, 600, 450), Box(400, 300, 500, 375), Box(0, 0, 400, 300), None,
    ]  # fmt: skip
    assert [step.frame for step in trajectory.steps] == [0, 1, 0, None]
    second = trajectory.steps[1]
    assert second.box_written == (0, 0, 500, 500)
    assert (second.convention, second.label, second.text) == ("relative_1000", "red star", script[1])
    assert second.tool_ms is not None
    assert [step.request for step in trajectory.steps] == history
    shown = [part for part in history[-1].messages[-1].content if isinstance(part, Image)]
    assert shown == [trajectory.steps[2].observation]
    assert texts(history[2].messages[4 - 1]) == ["image 1"]
    assert texts(history[2].messages[4]) == ["closer"]


async def test_the_conversation_is_the_one_that_the_embedded_model_was_trained_on(world, call):
    _, history = await zoom(world, [call(340, 200, 420, 280), "B"])
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    body = request_body(history[-1], "micro")
    image = "<|vision_start|><|image_pad|><|vision_end|>"
    rendered = environment.from_string(CHAT_TEMPLATE).render(
        messages=body["messages"], tools=body["tools"], add_generation_prompt=True
    )
    assert rendered == (
        "<|im_start|>system\nzoom_in(bbox_2d, image, label)<|im_end|>\n"
        f"<|im_start|>user\n{image}What letter is on the red star?\nA) E B) F C) H D) K<|im_end|>\n"
        f"<|im_start|>assistant\n{call(340, 200, 420, 280)}<|im_end|>\n"
        "<|im_start|>tool\nimage 1<|im_end|>\n"
        f"<|im_start|>user\n{image}image 1<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


async def test_the_budget_forces_an_answer_to_the_same_request(world, call):
    script = [call(0, 0, 500, 500), call(0, 0, 500, 500), "B"]
    trajectory, history = await zoom(world, script, max_zooms=1)
    assert (trajectory.stop_reason, trajectory.text, trajectory.zooms) == ("budget", "B", 1)
    assert "used up" in (trajectory.steps[1].error or "")
    free, forced = history[-2:]
    assert (free.tool_choice, forced.tool_choice) == ("auto", "none")
    assert forced.tools == free.tools
    assert forced.messages[:-1] == free.messages[:-1]
    assert forced.messages[-1].content == (*free.messages[-1].content, Text("\nAnswer now."))


async def test_a_model_that_will_not_answer_leaves_no_text(world, call):
    trajectory, _ = await zoom(world, lambda request: call(0, 0, 500, 500), max_zooms=0)
    assert (trajectory.stop_reason, trajectory.text, trajectory.turns) == ("budget", "", 2)


async def test_the_same_box_is_answered_with_a_warning_then_the_answer_is_forced(world, call):
    first, again = call(100, 100, 500, 500), call(101, 100, 500, 501, image=0)
    trajectory, history = await zoom(world, [first, again, again, "B"], max_zooms=9)
    assert (trajectory.stop_reason, trajectory.text, trajectory.zooms) == ("repeated_box", "B", 1)
    warning = history[2].messages[-1]
    assert warning.role == "tool"
    assert "image 1" in texts(warning)[0]
    assert history[3].tool_choice == "none"
    assert trajectory.steps[1].observation is None


async def test_the_same_numbers_in_another_frame_are_another_box(world, call):
    trajectory, _ = await zoom(world, [call(100, 100, 700, 700), call(100, 100, 700, 700), "B"])
    assert (trajectory.stop_reason, trajectory.zooms) == ("answered", 2)


async def test_bad_calls_are_explained_twice_then_the_answer_is_forced(world, call):
    outside = call(1200, 1200, 1300, 1300)
    trajectory, history = await zoom(world, [BAD, outside, BAD, "B"])
    assert (trajectory.stop_reason, trajectory.text, trajectory.zooms) == ("unparsable_call", "B", 0)
    assert len([step for step in trajectory.steps if step.error]) == MAX_BAD_CALLS + 1
    assert trajectory.steps[1].box_written == (1200, 1200, 1300, 1300)
    first, second = (m for m in history[-1].messages if m.role == "tool")
    assert "could not be read" in texts(first)[0]
    assert "outside image 0" in texts(second)[0]
    asked = next(message for message in history[-1].messages if message.role == "user")
    assert texts(asked)[-1] == "\nAnswer now."


async def test_a_bad_call_can_be_mended(world, call):
    trajectory, history = await zoom(world, [BAD, call(0, 0, 500, 500), "B"])
    assert (trajectory.stop_reason, trajectory.zooms) == ("answered", 1)
    for message in history[-1].messages:
        for past in message.tool_calls:
            assert isinstance(json.loads(past.arguments), dict)


def native(*boxes, **extra) -> Reply:
    """One reply with a native call for each box."""
    written = [json.dumps({"bbox_2d": box, **extra}) for box in boxes]
    return Reply(text="", tool_calls=tuple(ToolCall(f"id{k}", "zoom_in", text) for k, text in enumerate(written)))


CORNERS = [[0, 0, 400, 400], [600, 600, 1000, 1000], [0, 600, 400, 1000]]


async def test_several_calls_of_one_reply_are_carried_out_and_each_is_answered(world):
    reply = native(*CORNERS)
    trajectory, history = await zoom(world, [replace(reply, usage=Usage(prompt_tokens=9)), "B"])
    assert (trajectory.zooms, trajectory.turns, trajectory.prompt_tokens) == (3, 2, 9)
    steps = trajectory.steps
    assert [step.call for step in steps] == [0, 1, 2, 0]
    assert [step.index for step in steps] == [0, 1, 2, 3]
    assert [step.tool_call for step in steps[:3]] == list(reply.tool_calls)
    assert [step.box for step in steps[:2]] == [Box(0, 0, 320, 240), Box(480, 360, 800, 600)]
    assistant, *answers, shown = history[-1].messages[1:]
    assert assistant.tool_calls == reply.tool_calls
    assert [message.tool_call_id for message in answers] == ["id0", "id1", "id2"]
    assert [texts(message) for message in answers] == [["image 1"], ["image 2"], ["image 3"]]
    assert [part for part in shown.content if isinstance(part, Image)] == [step.observation for step in steps[:3]]
    assert texts(shown) == ["image 1", "image 2", "image 3"]
    assert trajectory.pixels_sent == sum(
        part.width * part.height for request in history for m in request.messages for part in m.content
        if isinstance(part, Image)
    )  # fmt: skip


async def test_good_calls_are_carried_out_beside_bad_ones(world):
    trajectory, history = await zoom(world, [native(CORNERS[0], [1, 2], CORNERS[0], CORNERS[1]), "B"], max_zooms=9)
    assert [step.box is not None for step in trajectory.steps] == [True, False, False, True, False]
    first, broken, again, last = (texts(message)[0] for message in history[-1].messages if message.role == "tool")
    assert (first, last) == ("image 1", "image 2")
    assert "four numbers" in broken
    assert "image 1" in again


async def test_calls_beyond_the_budget_are_told_so(world):
    trajectory, history = await zoom(world, [native(*CORNERS), "B"], max_zooms=2)
    assert (trajectory.stop_reason, trajectory.zooms) == ("answered", 2)
    assert "all 2 zooms are used up" in texts([m for m in history[-1].messages if m.role == "tool"][-1])[0]
    trajectory, history = await zoom(world, [native(*CORNERS), native(CORNERS[2]), "B"], max_zooms=2)
    assert (trajectory.stop_reason, trajectory.zooms, history[-1].tool_choice) == ("budget", 2, "none")


async def test_only_so_many_calls_of_a_reply_are_looked_at(world):
    boxes = [[10 * k, 10 * k, 10 * k + 100, 10 * k + 300] for k in range(MAX_CALLS + 2)]
    trajectory, history = await zoom(world, [native(*boxes), "B"], max_zooms=99)
    assert trajectory.zooms == MAX_CALLS
    answers = [texts(message)[0] for message in history[-1].messages if message.role == "tool"]
    assert len(answers) == len(boxes)
    assert answers[-2:] == [f"Not carried out: at most {MAX_CALLS} calls at a time."] * 2


async def test_a_model_that_is_shown_no_tools_gets_its_own_words_and_plain_turns(world, call):
    said = "I look closer. " + call(0, 0, 400, 400) + call(1, 2, 1, 2)
    trajectory, history = await zoom(world, [said, "B"], suffix=True, renders_tools=False)
    assert (trajectory.stop_reason, trajectory.zooms) == ("answered", 1)
    assert not any(request.tools for request in history)
    roles = [message.role for message in history[-1].messages]
    assert roles == ["system", "user", "assistant", "user"]
    spoken, told = history[-1].messages[2:]
    assert texts(spoken) == [said]
    assert not spoken.tool_calls
    assert told.content[0] == trajectory.steps[0].observation
    assert texts(told)[0] == "image 1\n"
    assert "empty" in texts(told)[1]


async def test_a_turned_picture_and_boxes_in_it(world):
    names = ("zoom_in", "rotate", "view_whole")
    turn = ToolCall("a", "rotate", '{"degrees": 90, "image": 0}')
    inside = ToolCall("b", "zoom_in", '{"bbox_2d": [0, 0, 500, 250]}')
    whole = ToolCall("c", "view_whole", "{}")
    script = [Reply(text="", tool_calls=(one,)) for one in (turn, inside, whole)]
    trajectory, history = await zoom(world, [*script, "B"], tools=names)
    assert [schema["function"]["name"] for schema in history[0].tools] == list(names)
    turned, cut, again, _ = trajectory.steps
    view = history[0].messages[-1].content[0]
    assert (turned.box, turned.turn) == (Box(0, 0, 800, 600), 90)
    assert (turned.observation.width, turned.observation.height) == (view.height, view.width)
    # The upper left of the turned picture is the lower left of the original.
    assert (cut.box, cut.turn, cut.frame) == (Box(0, 300, 200, 600), 90, 1)
    assert (again.box, again.turn, again.observation) == (Box(0, 0, 800, 600), 0, view)


async def test_a_call_names_which_of_several_pictures_it_is_about(world, call):
    world.ask_about_several()
    script = [call(0, 0, 500, 500, image=1), call(0, 0, 500, 500), call(500, 500, 600, 600, image=0), "B"]
    trajectory, history = await zoom(world, script)
    assert (trajectory.stop_reason, trajectory.zooms) == ("answered", 3)
    assert [(step.frame, step.picture, step.box) for step in trajectory.steps[:3]] == [
        (1, 1, Box(0, 0, 150, 450)), (3, 1, Box(0, 0, 75, 225)), (0, 0, Box(400, 300, 480, 360)),
    ]  # fmt: skip
    assert texts(history[0].messages[0])[:3] == ["image 0\n", "image 1\n", "image 2\n"]
    assert [texts(history[-1].messages[at])[0] for at in (3, 6, 9)] == ["image 3", "image 4", "image 5"]
    grey, fine = (world.pixels(trajectory.steps[at].observation.sha256).std() for at in (0, 2))
    assert grey < 1 < 20 < fine


async def test_the_same_box_of_another_picture_is_no_repetition(world, call):
    world.ask_about_several()
    boxes = [call(0, 0, 500, 500, image=k) for k in (0, 2)]
    trajectory, history = await zoom(world, [*boxes, boxes[0], "B"])
    assert trajectory.zooms == 2
    assert "already seen this part as image 3" in texts(history[-1].messages[-1])[0]
    assert (await zoom(world, [*boxes, call(0, 0, 500, 500, image=1), boxes[0], "B"]))[0].stop_reason == "budget"


async def test_the_controls_of_several_pictures_show_parts_of_the_same_picture(world, call):
    world.ask_about_several()
    script = [call(0, 0, 300, 300, image=1), call(500, 500, 600, 600, image=2), "B"]
    told, shown = {}, {}
    for arm in ("agent", "agent-lowres", "agent-random", "agent-blind"):
        trajectory, history = await zoom(world, script, arm)
        assert [step.picture for step in trajectory.steps] == [1, 2, 0]
        told[arm] = [[texts(message) for message in request.messages] for request in history]
        shown[arm] = [
            [(part.width, part.height) for m in request.messages for part in m.content if isinstance(part, Image)]
            for request in history
        ]
        grown, fine = [step.observation and world.pixels(step.observation.sha256) for step in trajectory.steps[:2]]
        if arm != "agent-blind":
            assert grown.std() < 1
            assert (fine.std() > 20) == (arm != "agent-lowres")
    assert told["agent"] == told["agent-lowres"] == told["agent-random"] == told["agent-blind"]
    assert shown["agent"] == shown["agent-lowres"] == shown["agent-random"]
    assert [len(images) for images in shown["agent-blind"]] == [3, 3, 3]


async def test_the_pictures_of_a_question_stay_when_crops_are_left_out(world, call):
    world.ask_about_several()
    corners = [call(*corner, image=0) for corner in CORNERS]
    _, history = await zoom(world, [*corners, "B"], max_images=4)
    shown = [[part for m in request.messages for part in m.content if isinstance(part, Image)] for request in history]
    assert [len(images) for images in shown] == [3, 4, 4, 4]
    assert all(images[:3] == shown[0] for images in shown)


async def test_the_control_without_pictures_has_the_same_text(world, call):
    script = [call(0, 0, 500, 500), call(0, 0, 500, 500), "B"]
    told = {}
    for arm in ("agent", "agent-blind", "agent-random"):
        trajectory, history = await zoom(world, script, arm)
        assert (trajectory.stop_reason, trajectory.zooms) == ("answered", 2)
        told[arm] = [[texts(message) for message in request.messages] for request in history]
        shown = [part for m in history[-1].messages for part in m.content if isinstance(part, Image)]
        assert len(shown) == (1 if arm == "agent-blind" else 3)
    assert told["agent"] == told["agent-blind"] == told["agent-random"]


async def test_the_random_control_is_stopped_by_what_it_asks_for_not_by_what_it_was_shown(world, call):
    asked, inner = call(500, 500, 600, 600, image=0), call(0, 0, 1000, 1000, image=1)
    for again in (asked, inner):  # the whole of image 1 is the part that image 1 was asked for
        trajectory, history = await zoom(world, [asked, again, again, "B"], "agent-random", max_zooms=9)
        assert (trajectory.stop_reason, trajectory.zooms) == ("repeated_box", 1)
        assert "already seen" in texts(history[2].messages[-1])[0]
    shown = (await zoom(world, [asked, "B"], "agent-random"))[0].steps[0].box
    elsewhere = call(shown.x1 / 0.8, shown.y1 / 0.6, shown.x2 / 0.8, shown.y2 / 0.6, image=0)
    trajectory, _ = await zoom(world, [asked, elsewhere, "B"], "agent-random")
    assert (trajectory.stop_reason, trajectory.zooms) == ("answered", 2)


async def test_the_random_control_shows_nothing_of_a_part_of_what_it_showed(world, call):
    """A box in a picture is a place in what that picture shows, which is not where it was asked for."""
    for number in range(8):
        world.sample = replace(world.sample, id=f"s{number}", evidence=())
        trajectory, _ = await zoom(world, [call(0, 0, 500, 500), call(0, 0, 500, 500), "B"], "agent-random")
        outer, inner, _ = trajectory.steps
        x1, y1, x2, y2 = outer.box.as_list()
        half = Box(x1, y1, (x1 + x2) / 2, (y1 + y2) / 2)
        assert inner.box.intersection(half) == 0


async def test_the_random_control_shows_places_away_from_the_box_and_the_evidence(world, call):
    script = [call(500, 500, 600, 600), "B"]
    (step, _), (again, _) = [(await zoom(world, script, "agent-random"))[0].steps for _ in range(2)]
    asked = Box(400, 300, 480, 360)
    assert (step.box.width, step.box.height) == (asked.width, asked.height)
    assert step.box.intersection(asked) == step.box.intersection(world.sample.evidence[0]) == 0
    assert step.box == again.box


async def test_a_conversation_that_is_too_long_loses_its_oldest_crop(world, call):
    long = TooLongError("the prompt has 9000 tokens")
    script = [call(0, 0, 500, 500), call(0, 0, 400, 400), long, "B"]
    trajectory, history = await zoom(world, script)
    assert (trajectory.stop_reason, trajectory.text) == ("answered", "B")
    assert [step.error for step in trajectory.steps] == [None, None, str(long), None]
    before, after = (
        [part for message in request.messages for part in message.content if isinstance(part, Image)]
        for request in history[-2:]
    )
    assert after == [before[0], before[2]]
    assert "left out" in str(history[-1].messages)


async def test_a_crop_that_was_left_out_stays_out(world, call):
    long = TooLongError("the prompt has 9000 tokens")
    corners = [call(*corner, image=0) for corner in CORNERS]
    trajectory, history = await zoom(world, [*corners[:2], long, corners[2], "B"])
    assert (trajectory.stop_reason, trajectory.zooms) == ("answered", 3)
    shown = [part for message in history[-1].messages for part in message.content if isinstance(part, Image)]
    assert shown[1:] == [trajectory.steps[1].observation, trajectory.steps[3].observation]


@pytest.mark.parametrize("way", [{}, {"image_return": "tool"}, {"renders_tools": False}])
async def test_a_request_holds_no_more_images_than_the_model_takes(world, call, way):
    script = [call(150 * k, 0, 150 * k + 140, 900, image=0) for k in range(4)]
    trajectory, history = await zoom(world, [*script, "B"], max_zooms=4, max_images=3, **way)
    assert (trajectory.stop_reason, trajectory.zooms) == ("answered", 4)
    shown = [[part for m in request.messages for part in m.content if isinstance(part, Image)] for request in history]
    assert [len(images) for images in shown] == [1, 2, 3, 3, 3]
    view, crops = shown[0][0], [step.observation for step in trajectory.steps[:4]]
    assert shown[-2:] == [[view, *crops[1:3]], [view, *crops[2:4]]]
    # It shows in the stored requests, and only sent ones are stored.
    told = [str(request.messages).count("left out: at most 3 images") for request in history]
    assert told == [0, 0, 0, 1, 2]
    assert [step.request for step in trajectory.steps] == history
    assert [step.error for step in trajectory.steps] == [None] * 5


async def test_one_reply_may_bring_more_crops_than_the_model_takes(world):
    trajectory, history = await zoom(world, [native(*CORNERS), "B"], max_images=2)
    shown = [part for message in history[-1].messages for part in message.content if isinstance(part, Image)]
    assert shown == [history[0].messages[-1].content[0], trajectory.steps[2].observation]
    assert [texts(message) for message in history[-1].messages[2:5]] == [["image 1"], ["image 2"], ["image 3"]]


async def test_a_question_that_is_too_long_by_itself_ends_there(world):
    trajectory, _ = await zoom(world, [TooLongError("the prompt has 9000 tokens")])
    assert (trajectory.stop_reason, trajectory.text) == ("context", "")
    assert trajectory.error == "the prompt has 9000 tokens"


async def test_calls_without_an_id_get_unlike_ones(world, call):
    _, history = await zoom(world, [call(0, 0, 500, 500), call(0, 0, 500, 500), "B"])
    ids = [past.id for message in history[-1].messages for past in message.tool_calls]
    assert len(set(ids)) == 2
    assert ids == [message.tool_call_id for message in history[-1].messages if message.role == "tool"]


async def test_a_crop_can_go_back_in_the_tool_message(world, call):
    _, history = await zoom(world, [call(0, 0, 500, 500), "B"], image_return="tool")
    last = history[-1].messages[-1]
    assert last.role == "tool"
    assert [type(part) for part in last.content] == [Image, Text]


async def test_a_model_error_keeps_the_steps_before_it(world, call):
    trajectory, _ = await zoom(world, [call(0, 0, 500, 500), ModelError("it is down")])
    assert (trajectory.stop_reason, trajectory.text, trajectory.error) == ("endpoint_error", "", "it is down")
    assert [step.error for step in trajectory.steps] == [None, "it is down"]
    assert trajectory.zooms == 1


async def test_a_cut_reply_is_marked(world):
    trajectory, _ = await zoom(world, [Reply(text="The letter", finish_reason="length")])
    assert (trajectory.stop_reason, trajectory.text) == ("context", "The letter")


async def test_absolute_boxes_count_in_pixels_of_the_image_as_received(world, call):
    reply = Reply(text=call(64, 48, 128, 96), image_sizes=(Size(128, 96),))
    trajectory, _ = await zoom(world, [reply, "B"], convention="absolute")
    assert trajectory.steps[0].box == Box(400, 300, 800, 600)


async def test_over_a_wire_absolute_boxes_count_in_pixels_of_the_processed_image(world, call):
    """No reply tells a size: the processor's rule does, and the model reads beside each image how large it is."""
    rule = Rule(resize="smart_resize", factor=28, min_pixels=56 * 56, max_pixels=20 * 28 * 28)
    script = [call(0, 0, 70, 42), call(70, 42, 140, 84, image=0), call(0, 0, 42, 42), "B"]
    settings = {"convention": "absolute", "factor": 28, "rule": rule, "crop_pixels": 9 * 28 * 28, "max_zooms": 9}
    trajectory, history = await zoom(world, script, suffix=True, **settings)
    view = history[0].messages[-1].content[0]
    assert (view.width, view.height) == (280, 196)
    assert processed_size(rule, Size(280, 196)) == Size(140, 84)
    assert [step.box for step in trajectory.steps] == [
        Box(0, 0, 400, 300), Box(400, 300, 800, 600), Box(400, 300, 600, 450), None,
    ]  # fmt: skip
    assert "width and height" in texts(history[0].messages[0])[0]
    assert texts(history[0].messages[1])[0] == "image 0, 140 x 84 pixels\n"
    names = [text for message in history[-1].messages if message.role == "tool" for text in texts(message)]
    assert names == ["image 1, 84 x 84 pixels", "image 2, 84 x 84 pixels", "image 3, 84 x 84 pixels"]


async def test_only_models_that_were_not_trained_for_it_are_told_about_the_tool(world):
    _, (trained,) = await zoom(world, ["B"], suffix=False)
    _, (told,) = await zoom(world, ["B"], suffix=True)
    assert [message.role for message in trained.messages] == ["user"]
    assert [message.role for message in told.messages] == ["system", "user"]
    assert texts(told.messages[1])[0].endswith("letter only.")


async def test_lowres_crops_differ_in_their_pixels_only(world, call):
    script = [call(250, 250, 500, 500), call(0, 0, 500, 500), "B"]
    sharp, sharp_history = await zoom(world, script, "agent")
    coarse, coarse_history = await zoom(world, script, "agent-lowres")
    for mine, other in zip(sharp.steps, coarse.steps, strict=True):
        assert (mine.box, mine.label, mine.text) == (other.box, other.label, other.text)
        if mine.observation and other.observation:
            assert (mine.observation.width, mine.observation.height) == (
                other.observation.width,
                other.observation.height,
            )
            # The original is a checkerboard of single pixels: reduced to the view it is flat grey.
            assert world.pixels(mine.observation.sha256).std() > 5 * world.pixels(other.observation.sha256).std()
    for mine, other in zip(sharp_history[-1].messages, coarse_history[-1].messages, strict=True):
        assert texts(mine) == texts(other)


async def test_each_attempt_has_its_own_seed(world):
    model = ScriptedModel(["B", "B"])
    for attempt in (0, 3):
        await answer("agent", world.sample, world.context(model), run="r", attempt=attempt, invocation="i")
    assert [request.sampling.seed for request in model.history] == [0, 3]


coordinate = st.integers(-100, 1100)
written_call = st.builds(
    lambda numbers, image: json.dumps({"name": "zoom_in", "arguments": {"bbox_2d": numbers, "image": image}}),
    st.lists(coordinate, min_size=3, max_size=5),
    st.none() | st.integers(-1, 4),
).map("<tool_call>{}</tool_call>".format)
same_call = st.just('<tool_call>{"arguments": {"bbox_2d": [100, 100, 900, 900], "image": 0}}</tool_call>')


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(replies=st.lists(st.just(BAD) | same_call | written_call, min_size=1, max_size=12), zooms=st.integers(0, 4))
def test_no_script_escapes_the_budget(world, replies, zooms):
    """Whatever the model writes, and it never answers: few requests, at most the zooms allowed, a stop reason."""
    turn = iter(range(10_000))
    trajectory, history = asyncio.run(zoom(world, lambda request: replies[next(turn) % len(replies)], max_zooms=zooms))
    assert trajectory.stop_reason in ("budget", "repeated_box", "unparsable_call")
    assert trajectory.zooms <= zooms
    assert len(history) <= zooms + MAX_BAD_CALLS + 3
    assert [request.tool_choice for request in history] == ["auto"] * (len(history) - 1) + ["none"]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(replies=st.lists(st.just(BAD) | same_call | written_call, min_size=1, max_size=6))
def test_no_script_tells_the_controls_from_the_agent(world, replies):
    """Whatever the model writes, it is told the same, and it is stopped at the same place for the same reason."""
    ways = []
    for arm in ("agent", "agent-random", "agent-blind"):
        trajectory, history = asyncio.run(zoom(world, [*replies, *["B"] * 3], arm, max_zooms=4))
        told = [[texts(message) for message in request.messages] for request in history]
        ways.append((trajectory.stop_reason, trajectory.zooms, told))
    assert ways[0] == ways[1] == ways[2]


@pytest.mark.parametrize("zooms", [2, 5])
async def test_the_longest_way_ends(world, call, zooms):
    first, *others = (call(k * 150, 0, k * 150 + 140, 900, image=0) for k in range(zooms))
    script = [first, BAD, BAD, first, *others, BAD, "B"]
    trajectory, history = await zoom(world, script, max_zooms=zooms)
    assert (trajectory.stop_reason, trajectory.text, trajectory.zooms) == ("budget", "B", zooms)
    assert len(history) == len(script)
