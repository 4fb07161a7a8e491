"""A box goes from the original into what the model writes and back, whatever it counts in and however deep it looks.

Everything here is worked out a second time, point by point: the parts of an image that a picture shows, by which a
box is written, and the pixels of the original that it has to mean.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from zoomgap import imaging
from zoomgap.agents import tools
from zoomgap.agents.graph import look_and_answer
from zoomgap.errors import ImageError
from zoomgap.geometry import Box, Frame, Size
from zoomgap.models.families import FAMILIES, UNKNOWN
from zoomgap.models.resize import processed_size
from zoomgap.models.scripted import ScriptedModel
from zoomgap.records import Convention, Image, Reply, Request, Sample, ToolCall

CONVENTIONS: tuple[Convention, ...] = ("relative_1000", "relative_1", "absolute", "relative_1000_yx")
UNITS = {"relative_1000": (1000, 1000), "relative_1000_yx": (1000, 1000), "relative_1": (1, 1)}
SIDE = 32
modest = settings(max_examples=50, deadline=None)


class Shown(NamedTuple):
    """A picture as the test sees it: pixels of the original, turned clockwise, and its size as the model got it."""

    box: Box
    turn: int
    received: Size

    def part(self, x: float, y: float) -> tuple[float, float]:
        """A point of the original as parts of the picture's width and height."""
        across, down = (x - self.box.x1) / self.box.width, (y - self.box.y1) / self.box.height
        return {
            0: (across, down), 90: (1 - down, across), 180: (1 - across, 1 - down), 270: (down, 1 - across),
        }[self.turn]  # fmt: skip

    def units(self, convention: Convention) -> tuple[int, int]:
        """What the model counts in, across and down its picture."""
        return UNITS.get(convention, (self.received.width, self.received.height))

    def written(self, box: Box, convention: Convention) -> list[float]:
        """A box of the original as a model of that convention writes it."""
        points = [self.part(x, y) for x in (box.x1, box.x2) for y in (box.y1, box.y2)]
        (left, right), (top, bottom) = ((min(values), max(values)) for values in zip(*points, strict=True))
        across, down = self.units(convention)
        numbers = [left * across, top * down, right * across, bottom * down]
        return [numbers[place] for place in (1, 0, 3, 2)] if convention.endswith("yx") else numbers

    def step(self, convention: Convention) -> tuple[float, float]:
        """Pixels of the original from one whole number to the next, across and down the original."""
        across, down = self.units(convention)
        if self.turn % 180:
            across, down = down, across
        return self.box.width / across, self.box.height / down


class Chain(NamedTuple):
    """An original and the pictures that were shown of it, the code's own frames beside the test's."""

    size: Size
    frames: tuple[Frame, ...]
    shown: tuple[Shown, ...]
    convention: Convention


def spans(low: int, high: int, least: int) -> st.SearchStrategy[tuple[int, int]]:
    """Whole-pixel spans of at least so many pixels, where there are as many: the shortest, touching an end, or any."""
    least = min(least, high - low)
    starts = st.sampled_from((low, high - least)) | st.integers(low, high - least)
    return starts.flatmap(
        lambda start: st.tuples(
            st.just(start), st.sampled_from((start + least, high)) | st.integers(start + least, high)
        )
    )


def targets(box: Box, least: int = 1) -> st.SearchStrategy[Box]:
    """Whole pixels of the original within a box."""
    x1, y1, x2, y2 = map(int, box.as_list())
    return st.builds(lambda x, y: Box(x[0], y[0], x[1], y[1]), spans(x1, x2, least), spans(y1, y2, least))


def is_sliver(box: Box) -> bool:
    return max(box.width, box.height) > 200 * min(box.width, box.height)


SIZES = st.sampled_from(
    [Size(7680, 4320), Size(4320, 7680), Size(800, 600), Size(601, 1799), Size(2, 2), Size(2, 3), Size(40, 8000),
     Size(6400, 32), Size(31, 33), Size(33, 31)]
) | st.builds(Size, st.integers(2, 9000), st.integers(2, 9000)).filter(
    lambda size: max(size.width, size.height) <= 200 * min(size.width, size.height)
)  # fmt: skip
BUDGETS = [(f.view_pixels, f.crops, f.factor) for f in (*FAMILIES, UNKNOWN)]


@st.composite
def chains(draw) -> Chain:
    """Up to three pictures after the whole: of the latest or of an earlier one, cut or turned."""
    size, (view, crops, factor) = draw(SIZES), draw(st.sampled_from(BUDGETS))
    convention = draw(st.sampled_from(CONVENTIONS))
    family = draw(st.none() | st.sampled_from(FAMILIES))

    def seen(index: int, sent: Size, box: Box, turn: int) -> tuple[Frame, Shown]:
        try:
            received = processed_size(family, sent) if family else sent
        except ImageError:  # over 200 times as long as wide: the server would refuse it
            received = sent
        return Frame(index, sent, box, turn), Shown(box, turn, received)

    whole = imaging.fit_size(size, view, factor)
    pictures = [seen(0, whole, Box(0, 0, size.width, size.height), 0)]
    for _ in range(draw(st.integers(0, 3))):
        frame, shown = draw(st.sampled_from((pictures[-1], pictures[-1], pictures[0])))
        if draw(st.integers(0, 2)) == 0:
            box, turn = frame.box, (frame.turn + draw(st.sampled_from((90, 180, 270)))) % 360
        else:
            target = draw(targets(frame.box, draw(st.sampled_from((1, SIDE)))))
            written = shown.written(target, convention)
            if refused(written, target, convention):
                continue
            box, turn = tools.place(written, frame, size, convention, shown.received), frame.turn
        upright = whole if box == pictures[0][0].box else imaging.cut_size(box, crops.most, factor, crops.least)
        sent = Size(upright.height, upright.width) if turn % 180 else upright
        pictures.append(seen(len(pictures), sent, box, turn))
    return Chain(size, *(tuple(column) for column in zip(*pictures, strict=True)), convention)


def refused(written: Sequence[float], target: Box, convention: Convention) -> bool:
    """A sliver, and numbers under 2 where they are not parts: nobody could tell them from parts."""
    return is_sliver(target) or (convention != "relative_1" and max(map(abs, written)) < 2)


def edges(box: Box, other: Box) -> list[float]:
    return [abs(a - b) for a, b in zip(box.as_list(), other.as_list(), strict=True)]


@modest
@given(chains(), st.data())
def test_a_box_is_back_within_a_pixel_and_what_is_cut_holds_it(chain, data):
    """To a ten-thousandth of a pixel in fact: written in full, nothing is lost but the last bits of a float."""
    size, convention = chain.size, chain.convention
    for frame, shown in zip(chain.frames, chain.shown, strict=True):
        target = data.draw(targets(frame.box, data.draw(st.sampled_from((1, SIDE)))))
        written = json.loads(json.dumps(shown.written(target, convention)))
        back = frame.to_original(tools.to_frame(written, frame, convention, shown.received))
        assert max(edges(back, target)) < 1e-4
        if refused(written, target, convention):
            with pytest.raises(tools.BadCall):
                tools.place(written, frame, size, convention, shown.received)
            continue
        taken = tools.place(written, frame, size, convention, shown.received)
        assert all(value == int(value) for value in taken.as_list())
        assert 0 <= taken.x1 <= target.x1 < target.x2 <= taken.x2 <= size.width
        assert 0 <= taken.y1 <= target.y1 < target.y2 <= taken.y2 <= size.height
        least = min(SIDE, size.width, size.height)
        assert min(taken.width, taken.height) >= least
        if min(target.width, target.height) >= least:
            assert taken == target


@modest
@given(chains(), st.data())
def test_whole_numbers_are_right_to_half_a_step(chain, data):
    """A model of 0 to 1000 cannot say more: what it loses is its grid's, and a pixel for the edges of what is cut."""
    frame, shown, convention = chain.frames[-1], chain.shown[-1], chain.convention
    target = data.draw(targets(frame.box, data.draw(st.sampled_from((1, SIDE)))))
    digits = 3 if convention == "relative_1" else None
    written = [round(number, digits) for number in shown.written(target, convention)]
    across, down = (step / (1000 if digits else 1) for step in shown.step(convention))
    slack = [across / 2, down / 2] * 2
    back = frame.to_original(tools.to_frame(written, frame, convention, shown.received))
    assert all(off <= most + 1e-4 for off, most in zip(edges(back, target), slack, strict=True))
    try:
        taken = tools.place(written, frame, chain.size, convention, shown.received)
    except tools.BadCall:
        # Rounded to nothing, to a sliver, or to numbers that read as parts.
        assert refused(written, back, convention) or min(back.width, back.height) < 1e-6
        return
    assert taken.covers(back.clamped(chain.size.width, chain.size.height)) > 1 - 1e-6
    if min(back.width, back.height) >= SIDE:
        assert all(off <= most + 1.001 for off, most in zip(edges(taken, target), slack, strict=True))


@modest
@given(chains(), st.data())
def test_a_box_over_the_edge_is_what_its_picture_holds_of_it(chain, data):
    frame, shown, convention = chain.frames[-1], chain.shown[-1], chain.convention
    held = data.draw(targets(frame.box, SIDE))
    over = [data.draw(st.floats(0.001, 0.9)) for _ in range(4)]
    asked = Box(
        held.x1 - over[0] * shown.box.width if held.x1 == shown.box.x1 else held.x1,
        held.y1 - over[1] * shown.box.height if held.y1 == shown.box.y1 else held.y1,
        held.x2 + over[2] * shown.box.width if held.x2 == shown.box.x2 else held.x2,
        held.y2 + over[3] * shown.box.height if held.y2 == shown.box.y2 else held.y2,
    )
    written = shown.written(asked, convention)
    assume(not refused(written, held, convention))
    assert tools.place(written, frame, chain.size, convention, shown.received) == held


@modest
@given(st.data(), st.integers(1, 31), st.integers(1, 300), st.booleans())
def test_a_small_box_grows_about_its_centre_and_keeps_its_shape(data, short, long, upright):
    size = Size(4000, 3800)
    width, height = sorted((short, long), reverse=not upright)
    x, y = data.draw(st.integers(0, size.width - width)), data.draw(st.integers(0, size.height - height))
    assume(max(width, height) <= 200 * min(width, height))
    small = Box(x, y, x + width, y + height)
    frame = Frame(0, Size(1024, 960), Box(0, 0, size.width, size.height))
    shown = Shown(frame.box, 0, frame.size)
    taken = tools.place(shown.written(small, "relative_1"), frame, size, "relative_1")
    grow = SIDE / min(width, height)
    # Whole pixels about a centre that may lie on half a one: up to a pixel more at each end.
    assert 0 <= taken.width - min(width * grow, size.width) <= 2
    assert 0 <= taken.height - min(height * grow, size.height) <= 2
    for low, high, middle, limit in (
        (taken.x1, taken.x2, x + width / 2, size.width), (taken.y1, taken.y2, y + height / 2, size.height),
    ):  # fmt: skip
        assert abs((low + high) / 2 - middle) <= 1 or low == 0 or high == limit


@modest
@given(chains(), st.data(), st.floats(0, 1))
def test_padding_is_a_part_of_the_sides_on_each_side(chain, data, padding):
    frame, shown, size = chain.frames[-1], chain.shown[-1], chain.size
    target = data.draw(targets(frame.box, SIDE))
    assume(not is_sliver(target))
    written = shown.written(target, "relative_1")
    taken = tools.place(written, frame, size, "relative_1", padding=padding)
    dx, dy = padding * target.width, padding * target.height
    wanted = Box(
        max(target.x1 - dx, 0), max(target.y1 - dy, 0),
        min(target.x2 + dx, size.width), min(target.y2 + dy, size.height),
    )  # fmt: skip
    assume(not is_sliver(wanted))
    assert max(edges(taken, wanted)) <= 1
    assert taken.covers(target) == 1


# through the agent


Ask = tuple[str, int, Any]
"""A tool, the image that it is about, and the parts of it to zoom into or the degrees to turn it by."""

WAY: tuple[Ask, ...] = (
    ("zoom_in", 0, (0.13, 0.25, 0.63, 0.77)),
    ("zoom_in", 1, (0.25, 0.2, 0.8, 0.95)),
    ("zoom_in", 2, (0.0, 0.5, 0.6, 1.0)),  # three deep
    ("zoom_in", 0, (0.5, 0.4, 1.0, 1.0)),  # the original again
    ("rotate", 1, 90),
    ("zoom_in", 5, (0.1, 0.2, 0.7, 0.6)),
    ("rotate", 6, 180),
    ("zoom_in", 7, (0.3, 0.0, 1.0, 0.85)),
    ("view_whole", 0, None),
    ("zoom_in", 9, (0.0, 0.0, 0.25, 0.3)),
    ("rotate", 10, 270),
    ("zoom_in", 11, (0.05, 0.4, 0.9, 1.0)),
)


def spot(shown: Shown, u: float, v: float) -> tuple[float, float]:
    """The point of the original at parts u and v of a picture's width and height."""
    across, down = {0: (u, v), 90: (v, 1 - u), 180: (1 - u, 1 - v), 270: (1 - v, u)}[shown.turn]
    return shown.box.x1 + across * shown.box.width, shown.box.y1 + down * shown.box.height


def meant(ask: Ask, pictures: Sequence[tuple[Box, int]], size: Size) -> tuple[Box, int]:
    """The part of the original, and its turn, that a call has to bring."""
    tool, image, rest = ask
    box, turn = pictures[image]
    if tool == "view_whole":
        return Box(0, 0, size.width, size.height), 0
    if tool == "rotate":
        return box, (turn + rest) % 360
    here = Shown(box, turn, Size(1, 1))
    xs, ys = zip(spot(here, *rest[:2]), spot(here, *rest[2:]), strict=True)
    low = [math.floor(round(min(values), 6)) for values in (xs, ys)]
    high = [math.ceil(round(max(values), 6)) for values in (xs, ys)]
    return Box(*low, *high), turn


def pictures_of(request: Request) -> list[Image]:
    return [part for message in request.messages for part in message.content if isinstance(part, Image)]


def walker(way: Sequence[Ask], convention: Convention):
    """A model that asks along a way, in its convention, counting in pictures of a size of its own making."""

    def received(image: Image) -> Size:
        return Size(image.width // 2 + 5, image.height * 2 // 3 + 1)

    def reply(request: Request) -> Reply:
        seen = [received(image) for image in pictures_of(request)]
        if len(seen) > len(way):
            return Reply(text="B")
        tool, image, rest = way[len(seen) - 1]
        arguments: dict[str, Any] = {}
        if tool == "rotate":
            arguments = {"degrees": rest, "image": image}
        if tool == "zoom_in":
            across, down = UNITS.get(convention, (seen[image].width, seen[image].height))
            numbers = [value * unit for value, unit in zip(rest, (across, down) * 2, strict=True)]
            if convention.endswith("yx"):
                numbers = [numbers[1], numbers[0], numbers[3], numbers[2]]
            arguments = {"bbox_2d": numbers, "image": image}
        call = ToolCall(f"c{len(seen)}", tool, json.dumps(arguments))
        return Reply(text="", tool_calls=(call,), image_sizes=tuple(seen))

    return reply


def paint(world, picture: PIL.Image.Image) -> None:
    """Make the world's sample one about `picture`."""
    info = world.kept.add_image(imaging.encode(picture, "image/png"), "image/png", Size(*picture.size))
    fields = {name: getattr(world.sample, name) for name in Sample.__slots__}
    world.sample = Sample(**{**fields, "image": info.sha256, "width": info.width, "height": info.height})


async def walk(world, way: Sequence[Ask], convention: Convention):
    model = ScriptedModel(walker(way, convention))
    context = world.context(model, convention=convention, tools=tools.NAMES, max_zooms=len(way), image_return="tool")
    outcome = await look_and_answer(world.sample, "Which?", context)
    assert (outcome.stop_reason, outcome.text) == ("answered", "B")
    return outcome.steps[: len(way)], model.history


@pytest.mark.parametrize(
    ("convention", "size"),
    [(each, (1700, 1300)) for each in CONVENTIONS] + [(each, (811, 1945)) for each in CONVENTIONS]
    + [("absolute", (7680, 4320))],
)  # fmt: skip
async def test_every_step_of_an_agent_says_what_was_written_and_what_it_means(world, convention, size):
    paint(world, PIL.Image.new("RGB", size))
    steps, history = await walk(world, WAY, convention)
    pictures = [(Box(0, 0, *size), 0)]
    for step, ask in zip(steps, WAY, strict=True):
        box, turn = meant(ask, pictures, Size(*size))
        assert (step.box, step.turn) == (box, turn)
        assert step.error is None
        assert step.frame == ask[1]
        asked = json.loads(step.tool_call.arguments).get("bbox_2d")
        assert step.box_written == (asked and tuple(asked))
        assert step.convention == (asked and convention)
        pictures.append((box, turn))
    sent = pictures_of(history[-1])
    assert sent[1:] == [step.observation for step in steps]
    for (box, turn), image in zip(pictures, sent, strict=True):
        width, height = (box.height, box.width) if turn % 180 else (box.width, box.height)
        assert image.width / image.height == pytest.approx(width / height, rel=0.35)  # sides are multiples of 32
        assert (image.width > image.height) == (width > height) or image.width == image.height


# through the pixels

COLOURS = {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0)}
PLACES = {
    "red": Box(230, 150, 262, 170), "lime": Box(330, 145, 350, 185), "blue": Box(250, 220, 270, 262),
    "yellow": Box(340, 230, 390, 250),
}  # fmt: skip


def found(pixels: np.ndarray, colour: str) -> Box:
    """The smallest box around the pixels that are nearer to a colour than to grey."""
    near = np.linalg.norm(pixels - COLOURS[colour], axis=2) < np.linalg.norm(pixels - 128, axis=2)
    others = [np.linalg.norm(pixels - value, axis=2) for name, value in COLOURS.items() if name != colour]
    near &= np.linalg.norm(pixels - COLOURS[colour], axis=2) < np.min(others, axis=0)
    ys, xs = np.nonzero(near)
    return Box(xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("turn", [0, 90, 180, 270])
async def test_a_crop_has_its_pixels_where_its_frame_says(world, turn, convention):
    picture = imaging.grey(Size(640, 420))
    for colour, box in PLACES.items():
        picture.paste(colour, tuple(map(int, box.as_list())))
    paint(world, picture)
    turned: tuple[Ask, ...] = (("rotate", 0, turn),) if turn else ()
    first, second = len(turned), len(turned) + 1
    cuts: tuple[Ask, ...] = (("zoom_in", first, (0.2, 0.25, 0.78, 0.75)), ("zoom_in", second, (0.1, 0.1, 0.9, 0.9)))
    steps, _ = await walk(world, (*turned, *cuts), convention)
    for step in steps:
        assert step.turn == turn
        shown = step.observation
        frame = Frame(1, Size(shown.width, shown.height), step.box, step.turn)
        pixels = world.pixels(shown.sha256)
        for colour, box in PLACES.items():
            assert max(edges(found(pixels, colour), frame.from_original(box))) < 1.5, colour
