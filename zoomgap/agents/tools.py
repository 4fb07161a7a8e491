"""The tool `zoom_in`: what a call asks for, and which pixels of the original that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from zoomgap import imaging, prompts
from zoomgap.agents.dialects import json_object, storable
from zoomgap.records import Box, Convention, Frame, Size, ToolCall

ZOOM_IN = prompts.tool("zoom_in")
NAME: str = ZOOM_IN["function"]["name"]
MIN_SIDE = 32
"""Shortest side of a crop in pixels of the original (the whole image where that is smaller)."""

_UNITS: dict[Convention, float] = {"relative_1000": 1000, "relative_1000_yx": 1000, "relative_1": 1}


class BadCall(ValueError):
    """A call that cannot be carried out; its text is the sentence for the model."""


class ZoomCall(NamedTuple):
    """A call that could be read. frame: index of the image to cut from; written: the four numbers as they stand."""

    frame: int
    written: tuple[float, ...]
    label: str | None


def read_call(call: ToolCall, frames: Sequence[Frame], convention: Convention) -> ZoomCall:
    """What a call asks for. Raises BadCall: wrong tool, no JSON object, no such image, not four finite numbers."""
    if call.name != NAME:
        raise BadCall(prompts.render("bad_tool", name=call.name[:40]))
    arguments = json_object(call.arguments)
    if arguments is None:
        raise BadCall(prompts.render("bad_json"))
    latest = frames[-1].index
    image = arguments.get("image")
    if image is None:
        image = latest
    if type(image) is not int or not 0 <= image <= latest:
        raise BadCall(prompts.render("bad_image", image=storable(str(image))[:40], latest=latest))
    written = _numbers(arguments.get("bbox_2d"))
    if written is None:
        raise BadCall(prompts.render("bad_box", coordinates=coordinates(convention)))
    label = arguments.get("label")
    return ZoomCall(image, written, storable(label) if isinstance(label, str) else None)


def place(
    written: Sequence[float], frame: Frame, size: Size, convention: Convention, received: Size | None = None
) -> Box:
    """The crop that a box of `frame` stands for: whole pixels of the original, whose size is `size`.

    written: four finite numbers in `convention`. received: size of the frame's image as the model got it, where that
    is known and differs from what was sent; absolute pixels are counted in it. The box is clamped to the frame, then
    snapped to at least MIN_SIDE pixels a side. Raises BadCall when it is empty, turned around or outside.
    """
    rule = coordinates(convention)
    shown = [round(value, 3) for value in written]
    if convention != "relative_1" and max(written) <= 1:
        raise BadCall(prompts.render("bad_scale", box=shown, coordinates=rule))
    asked = to_frame(written, frame, convention, received)
    if asked.width <= 0 or asked.height <= 0:
        raise BadCall(prompts.render("bad_empty", box=shown, coordinates=rule))
    inside = asked.clamped(frame.size.width, frame.size.height)
    if inside.area <= 0:
        raise BadCall(prompts.render("bad_outside", box=shown, image=frame.index, coordinates=rule))
    # The last bits of a quotient would make a side of 32 px one of 31.999..., which grows, and an edge one further out.
    exact = Box(*(round(value, 6) for value in frame.to_original(inside).as_list()))
    if exact.area <= 0:
        raise BadCall(prompts.render("bad_empty", box=shown, coordinates=rule))
    return imaging.snap(exact, size, MIN_SIDE)


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


def system_text(convention: Convention, max_zooms: int) -> str:
    """What a model that was not trained for the tool has to be told about it."""
    example = [0.25, 0.5, 0.5, 0.75] if convention == "relative_1" else [250, 500, 500, 750]
    return prompts.render("system_agent", coordinates=coordinates(convention), max_zooms=max_zooms, example=example)


def _numbers(value: object) -> tuple[float, ...] | None:
    """Four numbers of a sane size, or None. JSON as Python reads it holds NaN, infinities and huge integers."""
    if not isinstance(value, list) or len(value) != 4:
        return None
    if any(type(number) not in (int, float) or not -1e9 < number < 1e9 for number in value):
        return None
    return tuple(value)
