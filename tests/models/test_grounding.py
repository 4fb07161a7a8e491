from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoomgap.geometry import Box, Size
from zoomgap.models.grounding import MARK_SIZES, MARKS, Sighting, decide, expected, read_box
from zoomgap.records import Convention

CONVENTIONS = get_args(Convention)


def sightings(convention: Convention, noise=lambda: 0.0, size: Size = MARK_SIZES[0]):
    """What a model that means `convention` writes of the marks, `noise` in parts of a side added."""
    for place in MARKS:
        values, units = expected(Box(*place), convention, size)
        yield Sighting(tuple(v + noise() * u for v, u in zip(values, units, strict=True)), Box(*place), size)


@settings(deadline=None)
@given(st.sampled_from(CONVENTIONS), st.sampled_from(MARK_SIZES), st.data())
def test_each_convention_is_told_from_noisy_boxes(convention, size, data):
    noise = st.floats(-0.05, 0.05)
    assert decide(list(sightings(convention, lambda: data.draw(noise), size))) == convention


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_two_boxes_suffice_one_does_not_and_a_stray_one_does_no_harm(convention):
    seen = list(sightings(convention))
    assert decide(seen[:2]) == convention
    assert decide(seen[:1]) == "undecided"
    assert decide([seen[0]._replace(written=(7.0, 7.0, 9.0, 9.0)), *seen[1:]]) == convention


def test_without_boxes_there_is_nothing_to_decide():
    assert decide([]) is None


@pytest.mark.parametrize("scale", [100, 500, 10_000])
def test_other_scales_fit_none(scale):
    """Percent of Molmo, pixels of an image that was resized unseen, and nonsense."""
    seen = [Sighting(tuple(v * scale for v in place), Box(*place), MARK_SIZES[0]) for place in MARKS]
    assert decide(seen) == "undecided"


def test_other_orders_fit_none():
    for convention in ("absolute", "relative_1"):
        turned = [s._replace(written=tuple(s.written[k] for k in (1, 0, 3, 2))) for s in sightings(convention)]
        assert decide(turned) == "undecided"


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.floats(0, 2000)] * 4), min_size=4, max_size=4))
def test_numbers_without_meaning_are_seldom_taken_for_boxes(written):
    seen = [Sighting(numbers, Box(*place), MARK_SIZES[0]) for numbers, place in zip(written, MARKS, strict=True)]
    found = decide(seen)
    if found != "undecided":
        fitting = 0
        for sighting in seen:
            values, units = expected(sighting.shown, found, MARK_SIZES[0])
            close = zip(sighting.written, values, units, strict=True)
            fitting += all(abs(number - value) < 0.25 * unit for number, value, unit in close)
        assert fitting >= 2


def test_pixels_are_counted_in_the_image_that_the_model_got():
    got = Size(672, 336)
    assert decide(list(sightings("absolute", size=got))) == "absolute"
    assert decide([s._replace(size=MARK_SIZES[0]) for s in sightings("absolute", size=got)]) == "undecided"


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("[941, 67, 1102, 215]", (941, 67, 1102, 215)),
        ('```json\n[{"bbox_2d": [941, 67, 1102, 215], "label": "red"}]\n```', (941, 67, 1102, 215)),
        ("[[0.1, 0.25, 0.5, 0.75]]", (0.1, 0.25, 0.5, 0.75)),
        ("<|box_start|>(123,45),(678,910)<|box_end|>", (123, 45, 678, 910)),
        ("<|det|>[[12, 34, 56, 78]]<|/det|>", (12, 34, 56, 78)),
        ("The image is 1344 by 672. The box is [1, 2, 3, 4].", (1, 2, 3, 4)),
        ("First [1, 2, 3, 4], no, rather [5, 6, 7, 8].", (5, 6, 7, 8)),
        ("x1: 10, y1: 20, x2: 30, y2: 40", (10, 20, 30, 40)),
        ("(10px, 20px, 30px, 40px)", (10, 20, 30, 40)),
        ("10 20 30 40.", (10, 20, 30, 40)),
        ("[1; 2; 3; 4]", (1, 2, 3, 4)),
        ("[-1, 2, 3, 4]", (-1, 2, 3, 4)),
    ],
)
def test_boxes_are_read(text, box):
    assert read_box(text) == box


@pytest.mark.parametrize(
    "text",
    [
        "",
        "none",
        "at the top right",
        "[1, 2, 3]",
        "1 2 3 4 5",
        "The image is 1344 by 672, box 1, 2, 3, 4",
        "[1e9,2,3,4]",
    ],
)
def test_no_box(text):
    assert read_box(text) is None


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("0123456789.,-[]() px\n")))
def test_any_text_can_be_read(text):
    found = read_box(text)
    assert found is None or len(found) == 4
