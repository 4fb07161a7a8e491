"""The messages of an agent's conversation. The embedded model was trained on exactly these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from zoomgap import prompts
from zoomgap.agents import dialects, tools
from zoomgap.agents.context import Settings
from zoomgap.geometry import Frame
from zoomgap.records import Image, Message, Step, Text, ToolCall


def opening(frames: Sequence[Frame], views: Sequence[Image], question: str, settings: Settings) -> tuple[Message, ...]:
    """The question about `views`, whose frames are `frames`, to a model that may call tools.

    The embedded model's chat template announces its tool; every other model is told how to use them. Several views are
    called by their numbers, and a model that counts in pixels is told how many each has.
    """
    shown: list[Text | Image] = []
    for frame, view in zip(frames, views, strict=True):
        shown.append(view)
        if len(views) > 1 or settings.convention == "absolute":
            shown.append(Text(tools.image_name(frame, settings) + "\n"))
    asked = Message(role="user", content=(*shown, Text(question)))
    if not settings.suffix:
        return (asked,)
    return (Message(role="system", content=(Text(tools.system_text(settings)),)), asked)


def answers(
    turn: int,
    calls: Sequence[ToolCall],
    spoken: str,
    steps: Sequence[Step],
    frames: Sequence[Frame],
    settings: Settings,
) -> Iterator[Message]:
    """The assistant's turn, a tool message for each of its calls, and what they brought, in the run's way.

    turn: number of the turn, for calls without an id. steps: of the calls that were looked at. frames: of the images
    that they brought. A model whose template shows no tools would not see calls and tool messages: it gets its own
    words back, and the user tells it what came of them.
    """
    names = iter([tools.image_name(frame, settings) for frame in frames])
    if not settings.renders_tools:
        yield Message(role="assistant", content=(Text(steps[0].text),))
        yield Message(role="user", content=tuple(_told(steps, names, len(calls))))
        return
    called = [replace(call, id=call.id or f"call_{turn}_{k}") for k, call in enumerate(calls, start=1)]
    # Servers read the arguments of past calls as JSON objects, and refuse the whole request where one is not.
    history = [
        call if dialects.json_object(call.arguments, strict=True) else replace(call, arguments="{}") for call in called
    ]
    yield Message(role="assistant", content=(Text(spoken),) if spoken else (), tool_calls=tuple(history))
    shown: list[Text | Image] = []
    for number, call in enumerate(called):
        step = steps[number] if number < len(steps) else None
        if step is None:
            content: tuple[Text | Image, ...] = (Text(prompts.render("too_many_calls", most=len(steps))),)
        elif step.box is None:
            content = (Text(step.error or ""),)
        else:
            name = Text(next(names))
            picture = () if step.observation is None else (step.observation,)
            content = (*picture, name) if settings.image_return != "user" else (name,)
            shown += (*picture, name)
        yield Message(role="tool", content=content, tool_call_id=call.id)
    if shown and settings.image_return == "user":
        yield Message(role="user", content=tuple(shown))


def _told(steps: Sequence[Step], names: Iterator[str], calls: int) -> Iterator[Text | Image]:
    """What came of the calls, a line each. names: of the images that they brought."""
    for step in steps:
        if step.observation is not None:
            yield step.observation
        text = step.error or "" if step.box is None else next(names)
        yield Text(text + ("" if step is steps[-1] and calls == len(steps) else "\n"))
    if calls > len(steps):
        yield Text(prompts.render("too_many_calls", most=len(steps)))


def answer_now(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The conversation with the last user turn asking for an answer."""
    last = max(place for place, message in enumerate(messages) if message.role == "user")
    # Chat templates join the parts of a message without a space.
    hint = Text("\n" + prompts.render("answer_now"))
    asked = replace(messages[last], content=(*messages[last].content, hint))
    return (*messages[:last], asked, *messages[last + 1 :])


def within(messages: tuple[Message, ...], most: int | None) -> tuple[Message, ...]:
    """The conversation without its oldest crops, so that it holds `most` images (None: any number) or its views."""
    while most is not None and len(_images(messages)) > most:
        shorter = without_oldest_crop(messages, prompts.render("left_out_images", most=most))
        if shorter is None:
            break
        messages = shorter
    return messages


def without_oldest_crop(messages: Sequence[Message], why: str) -> tuple[Message, ...] | None:
    """The conversation with a sentence in place of its oldest crop; None where there is only the question's own."""
    asked = next(number for number, message in enumerate(messages) if message.role == "user")
    crops = [place for place in _images(messages) if place[0] > asked]
    if not crops:
        return None
    number, part = crops[0]
    content = list(messages[number].content)
    content[part] = Text(why + "\n")
    return (*messages[:number], replace(messages[number], content=tuple(content)), *messages[number + 1 :])


def _images(messages: Sequence[Message]) -> list[tuple[int, int]]:
    """Where the images are: number of the message and of its part."""
    return [
        (number, part)
        for number, message in enumerate(messages)
        for part, content in enumerate(message.content)
        if isinstance(content, Image)
    ]
