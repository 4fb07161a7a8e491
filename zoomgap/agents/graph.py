"""The agent that zooms: a LangGraph loop of two nodes, the model and its tool.

The model may look closer `max_zooms` times. When it asks for more, asks twice for a part that it has seen, or writes a
third call that cannot be carried out, its last request is sent once more with calls forbidden and `Answer now.`, and
the stop reason says why. The state holds no pixels: images are hashes.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache
from typing import Any, Literal, NamedTuple, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command

from zoomgap import imaging, prompts
from zoomgap.agents import dialects, tools
from zoomgap.agents.context import Context, Settings
from zoomgap.records import Box, Frame, Image, Message, Request, Sample, Size, Step, StopReason, Text, ToolCall

MAX_BAD_CALLS = 2
"""How many calls that cannot be carried out are answered with a sentence."""
SAME_BOX_IOU = 0.9


class Outcome(NamedTuple):
    """How an arm ended: what a Trajectory says of it."""

    stop_reason: StopReason
    text: str
    steps: tuple[Step, ...]
    error: str | None = None


class State(TypedDict):
    """One trajectory under way.

    original: sha256 of the image asked about, size: its pixels. lowres: crops are drawn from the view's pixels.
    frames: the images shown so far. calls, spoken: of the last reply, its text without markup. received: sizes of the
    images as the model got them. forced: why the next request forbids calls. outcome: set at the end.
    """

    original: str
    size: Size
    lowres: bool
    messages: tuple[Message, ...]
    frames: tuple[Frame, ...]
    view: Image
    steps: tuple[Step, ...]
    calls: tuple[ToolCall, ...]
    spoken: str
    received: tuple[Size, ...]
    bad_calls: int
    warned: bool
    forced: StopReason | None
    outcome: Outcome | None


class Ruling(NamedTuple):
    """What becomes of a call. step: with the box to cut, or with the error; update: what it changes in the state."""

    step: Step
    update: dict[str, Any]


async def look_and_answer(sample: Sample, question: str, context: Context, *, lowres: bool) -> Outcome:
    """Answer `question` about the sample's image, zooming by tool calls.

    lowres: crops show only the pixels of the view. A ModelError ends it with stop reason endpoint_error, earlier steps
    kept. Raises ImageError or StoreError when the sample's image cannot be had.
    """
    settings = context.settings
    view = await context.show_view(sample.image)
    messages = [Message(role="user", content=(view, Text(question)))]
    # The embedded model's chat template announces the tool; every other model is told how to use it.
    if settings.suffix:
        system = tools.system_text(settings.convention, settings.max_zooms)
        messages.insert(0, Message(role="system", content=(Text(system),)))
    whole = Frame(0, Size(view.width, view.height), Box(0, 0, sample.width, sample.height))
    start = State(
        original=sample.image, size=sample.size, lowres=lowres, messages=tuple(messages), frames=(whole,), view=view,
        steps=(), calls=(), spoken="", received=(), bad_calls=0, warned=False, forced=None, outcome=None,
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
    graph.add_node("tool", use_tool)
    graph.add_edge(START, "model")
    return graph.compile()


async def ask_model(state: State, runtime: Runtime[Context]) -> Command[Literal["tool", "__end__"]]:
    """The model node: one request, one step."""
    context, steps = runtime.context, state["steps"]
    step, reply = await context.ask(_request(state, context.settings), len(steps))
    if reply is None:
        return _end(Outcome("endpoint_error", "", (*steps, context.done(step)), step.error))
    calls, text = dialects.parse(reply, tools.NAME)
    if calls:
        step = replace(step, tool_call=calls[0])
    if calls and state["forced"] is None:
        update = {"steps": (*steps, step), "calls": calls, "spoken": text, "received": reply.image_sizes}
        return Command(update=update, goto="tool")
    ended: StopReason = "context" if reply.finish_reason == "length" else "answered"
    return _end(Outcome(state["forced"] or ended, text, (*steps, context.done(step))))


async def use_tool(state: State, runtime: Runtime[Context]) -> Command[Literal["model"]]:
    """The tool node: carry out the first call of the last reply, or say in words why not."""
    started = time.perf_counter()
    context = runtime.context
    step, update = rule(state, context.settings)
    messages = state["messages"]
    box = step.box
    if box is not None:
        crop = await _crop(state, box, context)
        step = replace(step, observation=crop)
        frames = state["frames"]
        update["frames"] = (*frames, Frame(len(frames), Size(crop.width, crop.height), box))
        update["messages"] = (*messages, *_shown(state, crop, context.settings))
    elif "forced" not in update:
        update["messages"] = (*messages, *_answered(state, Text(step.error or "")))
    step = context.done(replace(step, tool_ms=(time.perf_counter() - started) * 1000))
    return Command(update={**update, "steps": (*state["steps"][:-1], step)}, goto="model")


def rule(state: State, settings: Settings) -> Ruling:
    """Whether the first call of the last reply is carried out, answered with a sentence, or the last one."""
    step, frames = state["steps"][-1], state["frames"]
    assert step.tool_call is not None
    if len(frames) > settings.max_zooms:
        why = f"all {settings.max_zooms} zooms are used up"
        return Ruling(replace(step, error=why), {"forced": "budget"})
    try:
        call = tools.read_call(step.tool_call, frames, settings.convention)
        step = replace(
            step, frame=call.frame, convention=settings.convention, box_written=call.written, label=call.label
        )
        known = len(state["received"]) == len(frames)
        received = state["received"][call.frame] if known else None
        box = tools.place(call.written, frames[call.frame], state["size"], settings.convention, received)
    except tools.BadCall as bad:
        count = state["bad_calls"] + 1
        update = {"bad_calls": count} if count <= MAX_BAD_CALLS else {"forced": "unparsable_call"}
        return Ruling(replace(step, error=str(bad)), update)
    crops = [past for past in state["steps"] if past.observation is not None]
    for number, past in enumerate(crops, start=1):
        if past.box is not None and past.box.iou(box) > SAME_BOX_IOU:
            error = prompts.render("repeated_box", number=number)
            return Ruling(
                replace(step, error=error), {"forced": "repeated_box"} if state["warned"] else {"warned": True}
            )
    return Ruling(replace(step, box=box), {})


def _end(outcome: Outcome) -> Command[Any]:
    return Command(update={"outcome": outcome}, goto=END)


def _request(state: State, settings: Settings) -> Request:
    messages, forced = state["messages"], state["forced"] is not None
    if forced:
        last = max(place for place, message in enumerate(messages) if message.role == "user")
        # Chat templates join the parts of a message without a space.
        hint = Text("\n" + prompts.render("answer_now"))
        asked = replace(messages[last], content=(*messages[last].content, hint))
        messages = (*messages[:last], asked, *messages[last + 1 :])
    return Request(
        messages=messages,
        tools=(tools.ZOOM_IN,),
        tool_choice="none" if forced else "auto",
        sampling=settings.sampling,
        logprobs=settings.logprobs,
    )


async def _crop(state: State, box: Box, context: Context) -> Image:
    """The crop of `box` (pixels of the original), from the original's pixels or from those of the view."""
    settings, size = context.settings, state["size"]
    if state["lowres"]:
        view = state["view"].sha256
        return await context.show(
            lambda: imaging.cut_lowres(context.open(view), size, box, settings.crop_pixels, settings.factor)
        )
    return await context.show(
        lambda: imaging.cut(context.open(state["original"]), box, settings.crop_pixels, settings.factor)
    )


def _shown(state: State, crop: Image, settings: Settings) -> list[Message]:
    """The call, its answer, and the crop, in the run's way of giving images back."""
    name = Text(prompts.render("image", number=len(state["frames"])))
    if settings.image_return == "tool":
        return _answered(state, crop, name)
    return [*_answered(state, name), Message(role="user", content=(crop, name))]


def _answered(state: State, *content: Text | Image) -> list[Message]:
    """The assistant's turn, and one tool message for each of its calls: `content` for the first."""
    turn = len(state["steps"])
    calls = [replace(call, id=call.id or f"call_{turn}_{k}") for k, call in enumerate(state["calls"], start=1)]
    # Servers read the arguments of past calls as JSON objects, and refuse the whole request where one is not.
    history = [call if dialects.json_object(call.arguments) else replace(call, arguments="{}") for call in calls]
    spoken = (Text(state["spoken"]),) if state["spoken"] else ()
    other = (Text(prompts.render("one_call")),)
    return [
        Message(role="assistant", content=spoken, tool_calls=tuple(history)),
        *(Message(role="tool", content=content if k == 0 else other, tool_call_id=c.id) for k, c in enumerate(calls)),
    ]
