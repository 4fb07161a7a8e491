"""The agent that zooms: a LangGraph loop of two nodes, the model and its tools.

The model may look closer `max_zooms` times. When it asks for more, asks twice for a part that it has seen, or writes a
third reply of calls that cannot be carried out, its last request is sent once more with calls forbidden and `Answer
now.`, and the stop reason says why. The state holds no pixels: images are hashes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Literal, NamedTuple, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command

from zoomgap import prompts
from zoomgap.agents import conversation, dialects, sight, tools
from zoomgap.agents.context import Context, Settings
from zoomgap.geometry import Box, Frame, Size
from zoomgap.records import Image, Message, Request, Sample, Step, StopReason, ToolCall

MAX_BAD_CALLS = 2
"""How many replies with calls that cannot be carried out are answered with sentences."""
MAX_CALLS = 8
"""Calls of one reply that are looked at."""
SAME_BOX_IOU = 0.9


class Outcome(NamedTuple):
    """How an arm ended: what a Trajectory says of it."""

    stop_reason: StopReason
    text: str
    steps: tuple[Step, ...]
    error: str | None = None


class State(TypedDict):
    """One trajectory under way.

    samples: what is asked about, as if about its first picture alone, about its second and so on. crops: what the model
    is shown of what it asks for. frames: the images shown so far. asked: the same with the parts that were asked for,
    where others were shown. views: of the pictures. calls, spoken: of the last
    reply, its text without markup. received: sizes of the images as the model got them. forced: why the next request
    forbids calls. outcome: set at the end.
    """

    samples: tuple[Sample, ...]
    crops: sight.Crops
    messages: tuple[Message, ...]
    frames: tuple[Frame, ...]
    asked: tuple[Frame, ...]
    views: tuple[Image, ...]
    steps: tuple[Step, ...]
    calls: tuple[ToolCall, ...]
    spoken: str
    received: tuple[Size, ...]
    bad_calls: int
    warned: bool
    forced: StopReason | None
    outcome: Outcome | None


class Rulings(NamedTuple):
    """What becomes of a reply's calls. steps: one a call, with the box to show or with the error; boxes: those of the
    calls that are carried out, as asked for; update: what they change in the state."""

    steps: tuple[Step, ...]
    boxes: tuple[Box, ...]
    update: dict[str, Any]


class Judged(NamedTuple):
    """A step with the part to show, and the box as asked for; or with its error, and the stop reason that it leads to
    in the end."""

    step: Step
    asked: Box | None = None
    failure: StopReason | None = None


async def look_and_answer(sample: Sample, question: str, context: Context, *, crops: sight.Crops = "full") -> Outcome:
    """Answer `question` about the sample's image, or images, zooming by tool calls.

    crops: what is shown of the parts asked for. A ModelError ends it with stop reason endpoint_error, earlier steps
    kept. Raises ImageError or StoreError when the sample's image cannot be had.
    """
    settings = context.settings
    samples = await asyncio.to_thread(sight.one_by_one, sample, context)
    views = tuple([await context.show_view(one) for one in samples])
    whole = sight.whole(samples, views)
    start = State(
        samples=samples, crops=crops, messages=conversation.opening(whole, views, question, settings), frames=whole,
        asked=whole, views=views, steps=(), calls=(), spoken="", received=(), bad_calls=0, warned=False, forced=None,
        outcome=None,
    )  # fmt: skip
    # Two supersteps a round (each zoom, each bad call, one warning, one call that forces the answer), and the answer.
    # LangGraph wants one more than it takes.
    rounds = settings.max_zooms + MAX_BAD_CALLS + 2
    final = await compiled().ainvoke(start, {"recursion_limit": 2 * rounds + 2}, context=context)
    outcome: Outcome = final["outcome"]
    return outcome


@cache
def compiled() -> Any:
    """The graph, compiled once for the process."""
    graph = StateGraph(State, context_schema=Context)
    graph.add_node("model", ask_model)
    graph.add_node("tool", use_tools)
    graph.add_edge(START, "model")
    return graph.compile()


async def ask_model(state: State, runtime: Runtime[Context]) -> Command[Literal["tool", "__end__"]]:
    """The model node: one request, one step; where a conversation is too long, one for each crop that is left out."""
    context, steps = runtime.context, state["steps"]
    messages = conversation.within(state["messages"], context.settings.max_images)
    while True:
        request = _request(messages, state["forced"] is not None, context.settings)
        step, reply, too_long = await context.ask(request, len(steps))
        if reply is not None:
            break
        steps = (*steps, context.done(step))
        shorter = conversation.without_oldest_crop(messages, prompts.render("left_out")) if too_long else None
        if shorter is None:
            return _end(Outcome("context" if too_long else "endpoint_error", "", steps, step.error))
        messages = shorter
    calls, text = dialects.parse(reply, tools.NAMES)
    if calls:
        step = replace(step, tool_call=calls[0])
    if calls and state["forced"] is None:
        received = reply.image_sizes if messages == state["messages"] else ()
        update = {
            "messages": messages, "steps": (*steps, step), "calls": calls, "spoken": text, "received": received,
        }  # fmt: skip
        return Command(update=update, goto="tool")
    ended: StopReason = "context" if reply.finish_reason == "length" else "answered"
    return _end(Outcome(state["forced"] or ended, text, (*steps, context.done(step))))


async def use_tools(state: State, runtime: Runtime[Context]) -> Command[Literal["model"]]:
    """The tool node: carry out the calls of the last reply side by side, or say in words why not."""
    context, frames = runtime.context, state["frames"]
    steps, boxes, update = rule(state, context.settings)
    show = (
        sight.show(step, state["crops"], state["samples"][step.picture], state["views"][step.picture], context)
        for step in steps
    )
    steps = tuple(await asyncio.gather(*show))
    for step in steps:
        context.done(step)
    update["steps"] = (*state["steps"][:-1], *steps)
    if "forced" not in update:
        shown = sight.frames(steps, frames, context.settings)
        told = conversation.answers(steps[0].index + 1, state["calls"], state["spoken"], steps, shown, context.settings)
        update["messages"] = (*state["messages"], *told)
        update["frames"] = (*frames, *shown)
        asked = (replace(frame, box=box) for frame, box in zip(shown, boxes, strict=True))
        update["asked"] = (*state["asked"], *asked)
    return Command(update=update, goto="model")


def rule(state: State, settings: Settings) -> Rulings:
    """Which calls of the last reply are carried out, which are answered with a sentence, and whether it was the last.

    A reply of which a call is carried out is never the last.
    """
    first = state["steps"][-1]
    known = len(state["asked"])
    seen = list(state["asked"])
    steps: list[Step] = []
    failed: set[StopReason] = set()
    for number, call in enumerate(state["calls"][:MAX_CALLS]):
        step = first if number == 0 else Step(index=first.index + number, request=first.request, call=number)
        step, box, failure = _judge(replace(step, tool_call=call), call, seen, state, settings)
        steps.append(step)
        if failure is not None:
            failed.add(failure)
        elif box is not None:
            seen.append(Frame(len(seen), Size(0, 0), box, step.turn, step.picture))
    boxes = tuple(frame.box for frame in seen[known:])
    return Rulings(tuple(steps), boxes, _consequences(state, failed, granted=bool(boxes)))


def _judge(step: Step, call: ToolCall, seen: Sequence[Frame], state: State, settings: Settings) -> Judged:
    """What a call is to be shown, by the images as they were shown. Whether it repeats one is told by the images as
    they were asked for (`seen`, the whole ones first), so that every control ends where the agent would."""
    frames, whole = state["frames"], len(state["views"])

    def refused(why: StopReason, sentence: str) -> Judged:
        return Judged(replace(step, error=sentence), failure=why)

    if len(seen) - whole >= settings.max_zooms:
        return refused("budget", prompts.render("no_zooms_left", max_zooms=settings.max_zooms))
    try:
        asked = tools.read_call(call, frames, settings.convention, settings.tools)
        convention = settings.convention if asked.written else None
        step = replace(step, frame=asked.frame, convention=convention, box_written=asked.written, label=asked.label)
        known = len(state["received"]) == len(frames)
        received = state["received"][asked.frame] if known else None
        picture = frames[asked.frame].picture
        meant, part = (
            tools.part(asked, images[asked.frame], state["samples"][picture].size, settings, received)
            for images in (state["asked"], frames)
        )
    except tools.BadCall as bad:
        return refused("unparsable_call", str(bad))
    for frame in seen[whole:]:
        if (frame.picture, frame.turn) == (picture, meant.turn) and frame.box.iou(meant.box) > SAME_BOX_IOU:
            return refused("repeated_box", prompts.render("repeated_box", number=frame.index))
    return Judged(replace(step, box=part.box, turn=part.turn, picture=picture), meant.box)


def _consequences(state: State, failed: set[StopReason], *, granted: bool) -> dict[str, Any]:
    """What the failures of a reply's calls change in the state."""
    if not granted:
        if "budget" in failed:
            return {"forced": "budget"}
        if "repeated_box" in failed and state["warned"]:
            return {"forced": "repeated_box"}
        if "unparsable_call" in failed and state["bad_calls"] >= MAX_BAD_CALLS:
            return {"forced": "unparsable_call"}
    return {
        "warned": state["warned"] or "repeated_box" in failed,
        "bad_calls": state["bad_calls"] + ("unparsable_call" in failed),
    }


def _end(outcome: Outcome) -> Command[Any]:
    return Command(update={"outcome": outcome}, goto=END)


def _request(messages: tuple[Message, ...], forced: bool, settings: Settings) -> Request:
    return Request(
        messages=conversation.answer_now(messages) if forced else messages,
        tools=tools.offered(settings.tools) if settings.renders_tools else (),
        tool_choice="none" if forced else "auto",
        sampling=settings.sampling,
        logprobs=settings.logprobs,
    )
