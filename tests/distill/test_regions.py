from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoomgap.distill.regions import RegionConfig, Traced, box_elsewhere, propose, region_of
from zoomgap.geometry import Box, Size

SIZE = Size(320, 256)


def changed(item: Traced, **fields) -> Traced:
    return item._replace(trajectory=replace(item.trajectory, **fields))


def with_last_box(item: Traced, box: Box) -> Traced:
    first, _, last = item.trajectory.steps
    return changed(item, steps=(replace(first, index=0, box=box), last))


def test_region_is_the_last_crop_and_points_to_its_step(world):
    regions, fell = propose(world.traced)
    assert fell == {}
    assert [region.trajectory for region in regions] == [1, 2, 3, 4, 5, 6]
    region, (_, zoom, _) = regions[0], world.traced[0].trajectory.steps
    assert (region.box, region.label, region.step) == (zoom.box, "block", 1)
    sample = world.traced[0].sample
    assert (region.sample, region.image, region.benchmark) == (sample.id, sample.image, sample.benchmark)


def test_a_turned_picture_and_the_whole_are_no_crops(world):
    item = world.traced[0]
    first, zoom, last = item.trajectory.steps
    turned = replace(zoom, box_written=None, turn=90)
    assert region_of(changed(item, steps=(first, turned, last))).step == first.index


def test_a_failed_call_is_no_crop(world):
    item = world.traced[0]
    first, zoom, last = item.trajectory.steps
    failed = replace(zoom, observation=None, error="the box is empty")
    assert region_of(changed(item, steps=(replace(first, box=Box(0, 0, 64, 64)), failed, last))).step == 0


def test_each_rule_is_counted(world):
    a, b, c, d, e, f = world.traced
    traced = [
        a,
        Traced(9, a.trajectory, a.sample),
        changed(b, stop_reason="endpoint_error"),
        changed(c, steps=c.trajectory.steps[-1:]),
        with_last_box(d, Box(0, 0, 320, 100)),
        with_last_box(e, Box(0, 0, 15, 40)),
        with_last_box(f, Box(90, 100, 210, 160)),
    ]
    regions, fell = propose(traced, RegionConfig(max_area=0.3))
    assert len(regions) == 2
    assert fell == {
        "same region again": 1, "stopped: endpoint_error": 1, "no zoom": 1, "too large": 1, "too small": 1,
    }  # fmt: skip


def test_an_item_is_about_one_picture(world):
    item = world.traced[0]
    several = item._replace(sample=replace(item.sample, more_images=("a" * 64,)))
    assert propose([several]) == ((), {"several pictures": 1})


def test_a_region_without_room_for_its_placebo_falls(world):
    item = with_last_box(world.traced[0], Box(90, 70, 230, 190))
    assert propose([item]).fell == {"no room elsewhere": 1}


def test_proposing_reads_no_gold(world):
    blind = [t._replace(sample=replace(t.sample, answer="?", evidence=())) for t in world.traced]
    assert propose(blind) == propose(world.traced)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_box_elsewhere_is_any_place_that_does_not_touch(data):
    size = Size(data.draw(st.integers(2, 9)), data.draw(st.integers(2, 9)))
    w, h = data.draw(st.integers(1, size.width)), data.draw(st.integers(1, size.height))
    x, y = data.draw(st.integers(0, size.width - w)), data.draw(st.integers(0, size.height - h))
    box = Box(x, y, x + w, y + h)
    places = {
        Box(i, j, i + w, j + h) for i in range(size.width - w + 1) for j in range(size.height - h + 1)
    }  # fmt: skip
    allowed = {place for place in places if place.intersection(box) == 0}
    found = {box_elsewhere(box, size, str(seed)) for seed in range(12)}
    assert found <= (allowed or {None})


def test_box_elsewhere_reaches_every_place_evenly():
    box, size = Box(2, 2, 4, 3), Size(6, 4)
    draws = [box_elsewhere(box, size, str(seed)) for seed in range(5_000)]
    allowed = {Box(i, j, i + 2, j + 1) for i in range(5) for j in range(4)} - {Box(i, 2, i + 2, 3) for i in (1, 2, 3)}
    counts = [draws.count(place) for place in allowed]
    assert sum(counts) == len(draws)
    assert min(counts) > 0.7 * len(draws) / len(allowed)
    assert box_elsewhere(box, size, "7") == draws[7]


@pytest.mark.parametrize("size", [Size(320, 256), Size(64, 64)])
def test_box_elsewhere_without_room(size):
    assert box_elsewhere(Box(10, 10, size.width - 10, size.height - 10), size, "") is None
