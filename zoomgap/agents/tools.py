"""The agent's tools: what a call asks for, and which part of the original that is.

`zoom_in` is always offered. `rotate` turns an image that was shown, `view_whole` shows the first one again: both take
the place of a zoom.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from zoomgap import imaging, prompts
from zoomgap.agents.context import Settings
from zoomgap.agents.dialects import json_object, storable
from zoomgap.errors import ImageError
from zoomgap.geometry import Box, Frame, Size
from zoomgap.models.resize import processed_size
from zoomgap.records import Convention, ToolCall

NAMES = ("zoom_in", "rotate", "view_whole")
MIN_SIDE = 32
"""Shortest side of a crop in pixels of the original (the whole image where that is smaller)."""

_UNITS: dict[Convention, float] = {"relative_1000": 1000, "relative_1000_yx": 1000, "relative_1": 1}


class BadCall(ValueError):
    """A call that cannot be carried out; its text is the sentence for the model."""


class Asked(NamedTuple):
    """A call that could be read. frame: index of the image that it is about; written: the four numbers of a zoom as
    they stand; turn: clockwise, degrees."""

    tool: str
    frame: int
    written: tuple[float, ...] | None = None
    label: str | None = None
    turn: int = 0


class Part(NamedTuple):
    """What is to be shown: whole pixels of the original, turned clockwise by so many degrees."""

    box: Box
    turn: int = 0


def offered(names: Sequence[str]) -> tuple[Mapping[str, Any], ...]:
    """The schemas of the tools in the OpenAI form."""
    return tuple(prompts.tool(name) for name in names)


def read_call(
    call: ToolCall, frames: Sequence[Frame], convention: Convention, names: Sequence[str] = NAMES[:1]
) -> Asked:
    """What a call asks for. Raises BadCall: wrong tool, no JSON object, no such image, not four finite numbers, no
    quarter turn."""
    if call.name not in names:
        raise BadCall(prompts.render("bad_tool", name=_shown(call.name), names=", ".join(names)))
    if call.name == "view_whole":
        # Before its arguments are read: some models write "" for none.
        return Asked(call.name, 0)
    arguments = json_object(call.arguments)
    if arguments is None:
        needed = ", ".join(prompts.tool(call.name)["function"]["parameters"]["required"])
        told = {"name": call.name, "needed": needed, "arguments": _shown(call.arguments)}
        raise BadCall(prompts.render("bad_json", **told))
    latest = frames[-1].index
    image = arguments.get("image")
    if image is None:
        image = latest
    if isinstance(image, str) and image.strip().isdecimal() and len(image) < 9:
        image = int(image)  # some models quote every argument
    if isinstance(image, float) and image.is_integer():
        image = int(image)
    if type(image) is not int or not 0 <= image <= latest:
        raise BadCall(prompts.render("bad_image", image=_shown(image), latest=latest))
    if call.name == "rotate":
        degrees = arguments.get("degrees")
        if degrees not in (90, 180, 270):
            raise BadCall(prompts.render("bad_turn", degrees=_shown(degrees)))
        return Asked(call.name, image, turn=int(degrees))
    box = arguments.get("bbox_2d")
    written = _numbers(box)
    if written is None:
        raise BadCall(prompts.render("bad_box", box=_shown(box), coordinates=coordinates(convention)))
    label = arguments.get("label")
    return Asked(call.name, image, written, storable(label) if isinstance(label, str) else None)


def part(asked: Asked, frame: Frame, size: Size, settings: Settings, received: Size | None = None) -> Part:
    """What a call about `frame` is to be shown of an original of `size`.

    received: size of the frame's image as the model says that it got it; None takes what its processor would make.
    Raises BadCall as place() does.
    """
    if asked.tool == "view_whole":
        return Part(Box(0, 0, size.width, size.height))
    if asked.written is None:
        return Part(frame.box, (frame.turn + asked.turn) % 360)
    box = place(
        asked.written, frame, size, settings.convention, received or processed(frame, settings), settings.padding
    )
    return Part(box, frame.turn)


def processed(frame: Frame, settings: Settings) -> Size:
    """Size of a frame's image after the processor of a model that counts in its pixels."""
    try:
        return processed_size(settings.rule, frame.size)
    except ImageError:  # over 200 times as long: the model refuses the image, and says so itself
        return frame.size


def image_name(frame: Frame, settings: Settings) -> str:
    """What an image is called in the conversation, with its size for a model that counts in pixels."""
    if settings.convention != "absolute":
        return prompts.render("image", number=frame.index)
    size = processed(frame, settings)
    return prompts.render("image_absolute", number=frame.index, width=size.width, height=size.height)


def place(
    written: Sequence[float],
    frame: Frame,
    size: Size,
    convention: Convention,
    received: Size | None = None,
    padding: float = 0.0,
) -> Box:
    """The crop that a box of `frame` stands for: whole pixels of the original, whose size is `size`.

    written: four finite numbers in `convention`. received: size of the frame's image as the model got it, where that
    is known and differs from what was sent; absolute pixels are counted in it. The box is clamped to the frame, grows
    by `padding` of its sides on each side, then is snapped to at least MIN_SIDE pixels a side. Raises BadCall when it
    is empty, turned around, outside, over imaging.MAX_ASPECT times as long as wide, or in units of another convention.
    """
    rule = coordinates(convention)
    shown = [round(value, 3) for value in written]
    # Clamped, parts of an image taken for pixels would be its corner, and pixels taken for parts all of it.
    if (max(map(abs, written)) < 2) != (convention == "relative_1"):
        raise BadCall(prompts.render("bad_scale", box=shown, coordinates=rule))
    asked = to_frame(written, frame, convention, received)
    if min(asked.width, asked.height) <= 0:
        raise BadCall(prompts.render("bad_empty", box=shown, coordinates=rule))
    inside = asked.clamped(frame.size.width, frame.size.height)
    if min(inside.width, inside.height) <= 0:
        raise BadCall(prompts.render("bad_outside", box=shown, image=frame.index, coordinates=rule))
    # The last bits of a quotient would make a side of 32 px one of 31.999..., which grows, and an edge one further out.
    exact = Box(*(round(value, 6) for value in frame.to_original(inside).as_list()))
    if min(exact.width, exact.height) <= 0:
        raise BadCall(prompts.render("bad_empty", box=shown, coordinates=rule))
    if max(exact.width, exact.height) > imaging.MAX_ASPECT * max(1.0, min(exact.width, exact.height)):
        raise BadCall(prompts.render("bad_shape", box=shown, most=imaging.MAX_ASPECT))
    return imaging.snap(exact.grown(1 + 2 * padding).clamped(size.width, size.height), size, MIN_SIDE)


def to_frame(written: Sequence[float], frame: Frame, convention: Convention, received: Size | None = None) -> Box:
    """Four numbers in `convention` as pixels of the frame's image as sent."""
    a, b, c, d = written
    box = Box(b, a, d, c) if convention == "relative_1000_yx" else Box(a, b, c, d)
    if convention == "absolute":
        whole = received or frame.size
        return box.scaled(frame.size.width / whole.width, frame.size.height / whole.height)
    unit = _UNITS[convention]
    return box.scaled(frame.size.width / unit, frame.size.height / unit)


def coordinates(convention: Convention) -> str:
    """How the numbers of a box are meant, in words for the model."""
    return prompts.render(f"coordinates_{convention}")


def system_text(settings: Settings) -> str:
    """What a model that was not trained for the tools has to be told about them."""
    example = [0.25, 0.5, 0.5, 0.75] if settings.convention == "relative_1" else [250, 500, 500, 750]
    # A server without a parser hands a native call through as text: most such models write the hermes form.
    call = prompts.render("call_json" if settings.dialect == "json" else "call_hermes", example=example)
    rules = {"coordinates": coordinates(settings.convention), "max_zooms": settings.max_zooms, "call": call}
    more = [prompts.render(f"system_{name}") for name in settings.tools if name != NAMES[0]]
    return " ".join([prompts.render("system_agent", **rules), *more])


def _numbers(value: object) -> tuple[float, ...] | None:
    """Four numbers of a sane size, or None. JSON as Python reads it holds NaN, infinities and huge integers."""
    if not isinstance(value, list) or len(value) != 4:
        return None
    if any(type(number) not in (int, float) or not -1e9 < number < 1e9 for number in value):
        return None
    return tuple(value)


def _shown(value: object) -> str:
    """A value as a sentence quotes it: on one line, cut short, and without what cannot be stored."""
    return repr(value)[:40]
