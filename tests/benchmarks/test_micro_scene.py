import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from zoomgap.benchmarks.micro.questions import VALUES
from zoomgap.benchmarks.micro.scene import (
    BENCHMARK,
    COLORS,
    FILL,
    SHAPES,
    SceneConfig,
    holding_radius,
    make_scene,
    outline,
)
from zoomgap.errors import UsageError
from zoomgap.imaging import scale_of
from zoomgap.records import DIMENSIONS

SEEDS = range(1200)


@pytest.fixture(scope="module")
def scenes():
    return [make_scene(seed) for seed in SEEDS]


def inside(point, corners) -> bool:
    """Whether a point lies in a polygon (even-odd rule)."""
    x, y = point
    crossings = 0
    for (x1, y1), (x2, y2) in zip(corners, corners[1:] + corners[:1], strict=True):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) / (y2 - y1) * (x2 - x1):
            crossings += 1
    return crossings % 2 == 1


def test_same_arguments_give_the_same_scene_and_other_seeds_another():
    assert make_scene(7) == make_scene(7)
    assert make_scene(7) != make_scene(13)
    assert make_scene(7, dimension="color") != make_scene(7, dimension="ocr")


def test_seed_picks_the_dimension_unless_it_is_given(scenes):
    assert all(scene.target.detail.dimension == DIMENSIONS[scene.seed % 6] for scene in scenes)
    assert make_scene(0, dimension="object").target.detail.dimension == "object"
    config = SceneConfig(dimensions=("ocr", "color"))
    assert [make_scene(seed, config).target.detail.dimension for seed in range(3)] == ["ocr", "color", "ocr"]


def test_unknown_dimension_is_refused():
    with pytest.raises(UsageError, match="smell"):
        make_scene(0, dimension="smell")


def test_sizes_lie_in_the_benchmark_ranges(scenes):
    for scene in scenes:
        assert 767 <= max(scene.size.width, scene.size.height) <= 2048
        assert min(scene.size.width, scene.size.height) >= 575
        assert scene.scale == scale_of(scene.size, BENCHMARK.view_pixels)
        assert 2 <= len(scene.carriers) <= 6


def test_names_are_unique_and_details_share_one_dimension(scenes):
    for scene in scenes:
        assert len({carrier.name for carrier in scene.carriers}) == len(scene.carriers)
        assert {carrier.detail.dimension for carrier in scene.carriers} == {scene.target.detail.dimension}


def test_values_differ_while_there_are_enough(scenes):
    for scene in scenes:
        values = [carrier.detail.value for carrier in scene.carriers]
        assert set(values) <= set(VALUES[scene.target.detail.dimension])
        assert len(set(values)) >= min(len(values), len(VALUES[scene.target.detail.dimension]) - 1)


def test_color_marks_differ_from_their_carrier(scenes):
    marks = [c for scene in scenes for c in scene.carriers if c.detail.dimension == "color"]
    assert marks
    assert all(carrier.color != carrier.detail.value for carrier in marks)


def test_carriers_stay_apart_and_inside_the_picture(scenes):
    for scene in scenes:
        for k, one in enumerate(scene.carriers):
            box = one.box
            assert box.x1 >= 0
            assert box.y1 >= 0
            assert box.x2 <= scene.size.width
            assert box.y2 <= scene.size.height
            for other in scene.carriers[:k]:
                apart = math.hypot(one.center.x - other.center.x, one.center.y - other.center.y)
                assert apart > one.radius + other.radius


def test_details_lie_inside_the_fill_of_their_carrier(scenes):
    for scene in scenes:
        for carrier in scene.carriers:
            corners = [(p.x, p.y) for p in carrier.polygon(FILL)]
            box = carrier.detail.box
            for point in ((box.x1, box.y1), (box.x2, box.y1), (box.x1, box.y2), (box.x2, box.y2)):
                assert inside(point, corners)


def test_asked_carriers_are_visible(scenes):
    radii = [scene.target.radius * scene.scale for scene in scenes]
    assert min(radii) >= 14 - 0.01
    assert max(radii) <= 0.5 * 256


def test_asked_evidence_is_log_uniform_in_the_direct_view(scenes):
    low, high = map(math.log, BENCHMARK.evidence_view)
    places = [(math.log(s.target.detail.box.side * s.scale) - low) / (high - low) for s in scenes]
    assert stats.kstest(places, "uniform").pvalue > 0.01
    for dimension in DIMENSIONS:
        some = [p for p, s in zip(places, scenes, strict=True) if s.target.detail.dimension == dimension]
        assert stats.kstest(some, "uniform").pvalue > 0.002


def test_asked_evidence_is_uncorrelated_with_scale_position_and_value(scenes):
    view = np.log([s.target.detail.box.side * s.scale for s in scenes])
    others = {
        "scale": [s.scale for s in scenes],
        "x": [s.target.center.x / s.size.width for s in scenes],
        "y": [s.target.center.y / s.size.height for s in scenes],
        "count": [len(s.carriers) for s in scenes],
        "shape": [SHAPES.index(s.target.shape) for s in scenes],
        "value": [VALUES[s.target.detail.dimension].index(s.target.detail.value) for s in scenes],
    }
    for name, values in others.items():
        assert abs(np.corrcoef(view, values)[0, 1]) < 0.09, name


def test_answers_and_names_are_balanced(scenes):
    for dimension in DIMENSIONS:
        answers = [s.target.detail.value for s in scenes if s.target.detail.dimension == dimension]
        counts = [answers.count(value) for value in VALUES[dimension]]
        assert stats.chisquare(counts).pvalue > 0.001, dimension
    assert stats.chisquare([sum(s.target.color == c for s in scenes) for c in COLORS]).pvalue > 0.001
    firsts = [s.asked / (len(s.carriers) - 1) for s in scenes]
    assert 0.45 < np.mean(firsts) < 0.55


def test_counted_dots_match_the_answer_and_stay_on_the_plate(scenes):
    plates = [c.detail for s in scenes for c in s.carriers if c.detail.dimension == "counting"]
    assert plates
    for detail in plates:
        assert len(detail.marks) == int(detail.value)
        assert all(detail.box.covers(mark) > 0.999 for mark in detail.marks)
        assert 0 < detail.decisive_px <= 0.2 * detail.box.side + 0.01


@given(
    shape=st.sampled_from(SHAPES),
    angle=st.floats(-0.3, 0.3),
    width=st.floats(2, 300),
    height=st.floats(2, 300),
)
def test_holding_radius_holds_the_rectangle_and_little_more(shape, angle, width, height):
    radius = holding_radius(shape, angle, width, height) * FILL
    corners = [(radius * x, radius * y) for x, y in outline(shape, angle)]
    edge = [
        (x * width / 2, y * height / 2) for t in np.linspace(-1, 1, 21) for x, y in ((t, -1), (t, 1), (-1, t), (1, t))
    ]
    assert all(inside(point, corners) for point in edge)
    assert not all(inside(point, [(0.9 * x, 0.9 * y) for x, y in corners]) for point in edge)


@given(
    seed=st.integers(0, 3_999_999),
    side=st.integers(96, 600),
    count=st.integers(1, 12),
    radius=st.floats(10, 130),
    evidence=st.floats(3, 150),
)
def test_any_config_ends_and_keeps_the_evidence_inside(seed, side, count, radius, evidence):
    config = SceneConfig(
        sides=(side, side),
        aspects=(1.0, 16 / 9),
        carriers=(1, count),
        radius_view=(radius, radius),
        evidence_view=(evidence, evidence),
    )
    scene = make_scene(seed, config)
    box = scene.target.detail.box
    assert box.width >= 1
    assert box.height >= 1
    assert box.clamped(scene.size.width, scene.size.height) == box
