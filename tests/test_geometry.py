"""Boxes, sizes and frames keep their rules for all numbers, against points that are moved one by one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoomgap.geometry import Box, Frame, Point, Size

TURNS = (0, 90, 180, 270)
modest = settings(max_examples=40, deadline=None)
sizes = st.builds(Size, st.integers(1, 8000), st.integers(1, 8000))
numbers = st.floats(-9000, 9000)
turns = st.sampled_from(TURNS)
quarter_turns = st.integers(-8, 8).map(lambda times: 90 * times)


def boxes(places: st.SearchStrategy[float], sides: st.SearchStrategy[float]) -> st.SearchStrategy[Box]:
    return st.builds(lambda x, y, width, height: Box(x, y, x + width, y + height), places, places, sides, sides)


some = boxes(numbers, st.floats(0, 9000))
whole_pixels = boxes(st.integers(0, 8000), st.integers(1, 8000))
few_pixels = boxes(st.integers(0, 9), st.integers(1, 9))
frames = st.builds(Frame, st.integers(0, 9), sizes, whole_pixels, turns)


def near(box: Box, slack: float = 1e-6) -> object:
    return pytest.approx(box.as_list(), abs=slack)


def point_turned(x: float, y: float, size: Size, degrees: int) -> tuple[float, float]:
    """Where a point of an image lies once the image is turned clockwise: drawn on paper, one case a turn."""
    return {
        0: (x, y),
        90: (size.height - y, x),
        180: (size.width - x, size.height - y),
        270: (y, size.width - x),
    }[degrees % 360]


def around(points: list[tuple[float, float]]) -> Box:
    xs, ys = zip(*points, strict=True)
    return Box(min(xs), min(ys), max(xs), max(ys))


def corners(box: Box) -> list[tuple[float, float]]:
    return [(x, y) for x in (box.x1, box.x2) for y in (box.y1, box.y2)]


# boxes


@modest
@given(some)
def test_measures_of_a_box(box):
    assert (box.width, box.height) == (box.x2 - box.x1, box.y2 - box.y1)
    assert box.area == box.width * box.height
    assert box.side**2 == pytest.approx(box.area)
    assert box.center == Point((box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2)
    assert Box(*box.as_list()) == box


@pytest.mark.parametrize("box", [Box(5, 0, 2, 3), Box(0, 5, 3, 2), Box(5, 5, 2, 2), Box(1, 1, 1, 9)])
def test_a_box_that_is_turned_around_or_empty_has_no_area(box):
    assert (box.area, box.side) == (0, 0)
    assert box.iou(Box(0, 0, 9, 9)) == box.intersection(Box(0, 0, 9, 9)) == Box(0, 0, 9, 9).covers(box) == 0


@modest
@given(some, numbers, numbers)
def test_a_shift_moves_both_corners(box, dx, dy):
    moved = box.shifted(dx, dy)
    assert (moved.width, moved.height) == pytest.approx((box.width, box.height), abs=1e-6)
    assert (moved.x1 - box.x1, moved.y1 - box.y1) == pytest.approx((dx, dy), abs=1e-6)
    assert moved.shifted(-dx, -dy).as_list() == near(box)


@modest
@given(some, st.floats(0.01, 100), st.floats(0.01, 100))
def test_a_scale_multiplies_each_axis_by_its_own(box, sx, sy):
    assert box.scaled(sx, sy).as_list() == [box.x1 * sx, box.y1 * sy, box.x2 * sx, box.y2 * sy]
    assert box.scaled(sx, sy).scaled(1 / sx, 1 / sy).as_list() == near(box)


@modest
@given(some, st.floats(0, 20))
def test_a_grown_box_keeps_its_centre(box, factor):
    grown = box.grown(factor)
    assert (grown.center.x, grown.center.y) == pytest.approx((box.center.x, box.center.y), abs=1e-6)
    assert (grown.width, grown.height) == pytest.approx((box.width * factor, box.height * factor), abs=1e-6)


@modest
@given(some, sizes)
def test_a_clamped_box_lies_inside_and_keeps_what_did(box, size):
    inside = box.clamped(size.width, size.height)
    assert 0 <= inside.x1 <= inside.x2 <= size.width
    assert 0 <= inside.y1 <= inside.y2 <= size.height
    assert inside.clamped(size.width, size.height) == inside
    assert inside.area == pytest.approx(box.intersection(Box(0, 0, size.width, size.height)), abs=1e-6)


@modest
@given(whole_pixels, whole_pixels)
def test_overlap_is_symmetric_and_bounded(box, other):
    shared = box.intersection(other)
    assert shared == other.intersection(box)
    assert 0 <= shared <= min(box.area, other.area)
    assert 0 <= box.iou(other) == other.iou(box) <= 1
    assert (box.iou(other) == 1) == (box == other)
    assert box.covers(other) == shared / other.area


@modest
@given(few_pixels, few_pixels)
def test_overlap_is_the_count_of_shared_pixels(box, other):
    def pixels(of: Box) -> set[tuple[int, int]]:
        return {(x, y) for x in range(int(of.x1), int(of.x2)) for y in range(int(of.y1), int(of.y2))}

    assert box.area == len(pixels(box))
    assert box.intersection(other) == len(pixels(box) & pixels(other))
    assert box.iou(other) == len(pixels(box) & pixels(other)) / len(pixels(box) | pixels(other))


# turns


@modest
@given(some, sizes, turns)
def test_a_turned_box_has_the_corners_turned(box, size, degrees):
    wanted = around([point_turned(x, y, size, degrees) for x, y in corners(box)])
    assert box.turned(degrees, size).as_list() == near(wanted)


@modest
@given(whole_pixels, sizes, quarter_turns, quarter_turns)
def test_turns_add_up_and_come_back(box, size, first, second):
    turned = box.turned(first, size)
    assert turned.turned(second, size.turned(first)) == box.turned(first + second, size)
    assert turned.turned(-first, size.turned(first)) == box
    assert box.turned(first + 360, size) == turned
    again = box
    for number in range(4):
        again = again.turned(90, size.turned(90 * number))
    assert again == box


@modest
@given(sizes, quarter_turns)
def test_a_quarter_turn_swaps_the_sides(size, degrees):
    sides = (size.height, size.width) if degrees % 180 else (size.width, size.height)
    assert size.turned(degrees) == Size(*sides)
    assert size.turned(degrees).pixels == size.pixels == size.width * size.height
    whole = Box(0, 0, size.width, size.height)
    assert whole.turned(degrees, size) == Box(0, 0, *sides)


# frames


@modest
@given(frames, some)
def test_a_frame_maps_there_and_back(frame, box):
    assert frame.to_original(frame.from_original(box)).as_list() == near(box)
    assert frame.from_original(frame.to_original(box)).as_list() == near(box)


@modest
@given(frames)
def test_a_frame_shows_all_of_its_box_and_nothing_else(frame):
    whole = Box(0, 0, frame.size.width, frame.size.height)
    assert frame.to_original(whole).as_list() == near(frame.box)
    assert frame.from_original(frame.box).as_list() == near(whole)


@modest
@given(frames, st.floats(0, 1), st.floats(0, 1))
def test_a_point_of_a_frame_lies_where_the_turned_part_has_it(frame, across, down):
    """Cut the part out of the original, turn it, enlarge it: the frame's arithmetic in the order of the pixels."""
    part = Size(int(frame.box.width), int(frame.box.height))
    x, y = point_turned(across * part.width, down * part.height, part, frame.turn)
    turned = part.turned(frame.turn)
    wanted = (x / turned.width * frame.size.width, y / turned.height * frame.size.height)
    spot = Box(0, 0, 0, 0).shifted(frame.box.x1 + across * part.width, frame.box.y1 + down * part.height)
    seen = frame.from_original(spot)
    assert (seen.x1, seen.y1) == pytest.approx(wanted, abs=1e-6)
    back = frame.to_original(Box(*wanted, *wanted))
    assert (back.x1, back.y1) == pytest.approx((spot.x1, spot.y1), abs=1e-6)


@pytest.mark.parametrize(
    ("turn", "seen"),
    [(0, Box(0, 0, 20, 10)), (90, Box(90, 0, 100, 20)), (180, Box(180, 90, 200, 100)), (270, Box(0, 180, 10, 200))],
)
def test_the_upper_left_of_a_part_goes_around_clockwise(turn, seen):
    frame = Frame(1, Size(200, 100).turned(turn), Box(400, 300, 800, 500), turn)
    corner = Box(400, 300, 440, 320)
    assert frame.from_original(corner) == seen
    assert frame.to_original(seen) == corner
