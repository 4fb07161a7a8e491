"""The messages of an agent's conversation. The embedded model was trained on exactly these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from zoomgap import prompts
from zoomgap.agents import dialects, tools
from zoomgap.agents.context import Settings
from zoomgap.records import Image, Message, Step, Text, ToolCall


def system(settings: Settings) -> tuple[Message, ...]:
    """What a model that was not trained for the tools has to be told about them.

    The embedded model's chat template announces its tool; every other model is told how to use them.
    """
    if not settings.suffix:
        return ()
    return (Message(role="system", content=(Text(tools.system_text(settings)),)),)


def answers(
    turn: int, calls: Sequence[ToolCall], spoken: str, steps: Sequence[Step], first: int, settings: Settings
) -> Iterator[Message]:
    """The assistant's turn, a tool message for each of its calls, and what they brought, in the run's way.

    turn: number of the turn, for calls without an id. steps: of the calls that were looked at. first: index of the
    next image. A model whose template shows no tools would not see calls and tool messages: it gets its own words
    back, and the user tells it what came of them.
    """
    if not settings.renders_tools:
        yield Message(role="assistant", content=(Text(steps[0].text),))
        yield Message(role="user", content=tuple(_told(steps, first, len(calls))))
        return
    called = [replace(call, id=call.id or f"call_{turn}_{k}") for k, call in enumerate(calls, start=1)]
    # Servers read the arguments of past calls as JSON objects, and refuse the whole request where one is not.
    history = [call if dialects.json_object(call.arguments) else replace(call, arguments="{}") for call in called]
    yield Message(role="assistant", content=(Text(spoken),) if spoken else (), tool_calls=tuple(history))
    shown: list[Text | Image] = []
    for number, call in enumerate(called):
        step = steps[number] if number < len(steps) else None
        if step is None:
            content: tuple[Text | Image, ...] = (Text(prompts.render("too_many_calls", most=len(steps))),)
        elif step.box is None:
            content = (Text(step.error or ""),)
        else:
            name = Text(prompts.render("image", number=first))
            picture = () if step.observation is None else (step.observation,)
            content = (*picture, name) if settings.image_return != "user" else (name,)
            shown += (*picture, name)
            first += 1
        yield Message(role="tool", content=content, tool_call_id=call.id)
    if shown and settings.image_return == "user":
        yield Message(role="user", content=tuple(shown))


def _told(steps: Sequence[Step], first: int, calls: int) -> Iterator[Text | Image]:
    """What came of the calls, a line each."""
    for step in steps:
        if step.observation is not None:
            yield step.observation
        text = step.error or ""
        if step.box is not None:
            text, first = prompts.render("image", number=first), first + 1
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


def without_oldest_crop(messages: Sequence[Message]) -> tuple[Message, ...] | None:
    """The conversation with a sentence in place of the oldest image but the first; None where there is only that."""
    places = [
        (number, part)
        for number, message in enumerate(messages)
        for part, content in enumerate(message.content)
        if isinstance(content, Image)
    ]
    if len(places) < 2:
        return None
    number, part = places[1]
    content = list(messages[number].content)
    content[part] = Text(prompts.render("left_out") + "\n")
    return (*messages[:number], replace(messages[number], content=tuple(content)), *messages[number + 1 :])
