"""Enrichment of attention whose truth is planted."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoomgap.compare.attention import (
    FLOOR,
    Look,
    Measured,
    controls,
    coverage,
    enrichment,
    flip_p,
    labels,
    log_enrichment,
    look,
    model_row,
    moved,
    outline,
)
from zoomgap.geometry import Box, Point, Size

SIZE = Size(400, 200)

sides = st.floats(0, 1, allow_nan=False)
boxes = st.builds(
    lambda x, y, w, h: Box(x * 400, y * 200, x * 400 + w * 400, y * 200 + h * 200).clamped(400, 200),
    sides, sides, st.floats(0.01, 1), st.floats(0.01, 1),
)  # fmt: skip
grids = st.tuples(st.integers(1, 9), st.integers(1, 9))


def naive_coverage(found: list[Box], rows: int, columns: int, fine: int = 40) -> np.ndarray:
    """By points, `fine` a side in each cell."""
    ys, xs = (np.arange(n * fine) + 0.5 for n in (rows, columns))
    ys, xs = ys * SIZE.height / (rows * fine), xs * SIZE.width / (columns * fine)
    inside = np.zeros((ys.size, xs.size), dtype=bool)
    for box in found:
        inside |= ((ys >= box.y1) & (ys < box.y2))[:, None] & ((xs >= box.x1) & (xs < box.x2))
    return inside.reshape(rows, fine, columns, fine).mean((1, 3)).ravel()


@given(st.lists(boxes, min_size=1, max_size=4), grids)
def test_cells_are_covered_as_a_count_of_points_says(found, grid):
    assert coverage(found, SIZE, *grid) == pytest.approx(naive_coverage(found, *grid), abs=0.11)


def test_part_of_a_cell_counts_by_its_area():
    # Cells of 100 x 100 px: half of the first, an eighth of the one right of it, nothing below.
    found = coverage([Box(50, 0, 125, 50), Box(0, 0, 50, 50)], SIZE, 2, 4)
    assert found == pytest.approx([0.5, 0.125, 0, 0, 0, 0, 0, 0])
    assert coverage([Box(0, 0, 50, 50), Box(25, 0, 50, 50)], SIZE, 2, 4)[0] == pytest.approx(0.25), "a union"
    assert coverage([Box(-70, -9, 100, 300)], SIZE, 2, 4) == pytest.approx([1, 0, 0, 0, 1, 0, 0, 0]), "cut at the edge"
    odd = coverage([Box(3, 5, 340, 199)], Size(341, 199), 7, 11)
    assert odd.mean() == pytest.approx(337 * 194 / (341 * 199))
    assert coverage([Box(0, 0, 341, 199)], Size(341, 199), 7, 11) == pytest.approx(np.ones(77))


@given(st.lists(boxes.filter(lambda box: box.area > 1), min_size=1, max_size=3), grids, st.floats(1e-6, 5))
def test_even_attention_is_no_enrichment(found, grid, level):
    cover = coverage(found, SIZE, *grid)
    assert log_enrichment(np.full((3, cover.size), level), cover) == pytest.approx(np.zeros(3), abs=1e-9)


def test_planted_attention_gives_its_enrichment():
    cover = coverage([Box(0, 0, 100, 100)], SIZE, 2, 4)
    attention = np.full(8, 0.02)
    attention[0] = 0.3
    assert np.exp(log_enrichment(attention, cover)) == pytest.approx(0.3 / 0.44 * 8)
    halved = coverage([Box(0, 0, 50, 100)], SIZE, 2, 4)
    assert np.exp(log_enrichment(attention, halved)) == pytest.approx(0.15 / 0.44 * 16)
    assert np.exp(log_enrichment(np.eye(8)[1], cover)) == pytest.approx(FLOOR), "none is told as the floor"
    assert np.isnan(log_enrichment(np.zeros(8), cover)), "an answer that sees no image says nothing"
    whole = coverage([Box(0, 0, 400, 200)], SIZE, 2, 4)
    assert np.exp(log_enrichment(attention, whole)) == pytest.approx(1)


@given(st.lists(boxes.filter(lambda box: box.area > 1), min_size=1, max_size=3), sides, sides)
def test_moved_boxes_keep_their_shape_inside_the_image(found, x, y):
    there = moved(found, SIZE, Point(x, y))
    for before, after in zip(found, there, strict=True):
        assert (after.width, after.height) == pytest.approx((before.width, before.height))
    around = outline(there)
    assert min(around.x1, around.y1) >= -1e-6
    assert around.x2 <= 400 + 1e-6
    assert around.y2 <= 200 + 1e-6


def test_controls_lie_where_others_do():
    box = Box(100, 100, 120, 120)
    found = controls([box], SIZE, [Point(0.5, 0.5), Point(0.9, 0.1), Point(1, 0)], (0, 1))
    assert sorted(there[0].as_list() for there in found) == [[190, 90, 210, 110], [350, 10, 370, 30], [380, 0, 400, 20]]
    many = [Point(x, 0.1) for x in np.linspace(0, 1, 60).tolist()]
    assert len(controls([box], SIZE, many, (0, 1))) == 8
    assert controls([box], SIZE, many, (0, 1)) == controls([box], SIZE, many, (0, 1))
    assert controls([box], SIZE, many, (0, 1)) != controls([box], SIZE, many, (0, 2))
    assert controls([box], SIZE, [], (0, 1)) == []


GRID = (6, 8)


def planted(
    strength: float, n: int = 120, seed: int = 0, model: str = "m", middle: float = 0.0, same_cluster: int = 1, heads=2
) -> Measured:
    """n answers whose attention in layer 5 has `strength` times as much on the evidence, layer 2 none; `middle` adds to
    the cells in the middle, where all the evidence lies. Head 1 alone looks."""
    rng = np.random.default_rng(seed)
    spots = [Point(*rng.uniform(0.35, 0.65, 2)) if middle else Point(*rng.uniform(0, 1, 2)) for _ in range(n)]
    size = Size(800, 600)
    evidence = [moved([Box(0, 0, 100, 100)], size, spot) for spot in spots]
    looks = []
    noise = np.random.default_rng(seed + 1)
    for k, there in enumerate(evidence):
        cover = coverage(there, size, *GRID)
        elsewhere = controls(there, size, spots[:k] + spots[k + 1 :], (0, k))
        attention = noise.lognormal(0, 0.5, (2, heads, cover.size)) * 0.01
        attention += middle * 0.01 * coverage([Box(240, 180, 560, 420)], size, *GRID)
        attention[1, heads - 1] *= 1 + (strength - 1) * (cover > 0)
        covers = [coverage(moved_boxes, size, *GRID) for moved_boxes in elsewhere]
        name = f"c{k // same_cluster}"
        looks.append(
            look(
                attention.astype(np.float32), cover, covers, sample=f"s{k}", cluster=name, px=float(10 + k % 30),
                verdict="correct" if k % 3 else "incorrect",
            )
        )  # fmt: skip
    return Measured(model=model, weights="0" * 64, dtype="float32", layers=(2, 5), looks=looks, skipped={})


def test_what_is_planted_is_found_and_nothing_else():
    found = enrichment("b", [planted(20)], answers="own", n=120, seed=0)
    (model,) = found.models
    plain, looking = model.layers
    assert (plain.layer, looking.layer) == (2, 5)
    assert plain.over_control.low < 1 < plain.over_control.high
    assert looking.over_control.low > 2
    assert looking.enrichment.low > 2
    assert looking.control.high < 1
    assert model.best is looking
    assert looking.best_head.value > looking.enrichment.value, "one head looks, the mean of two less so"
    assert plain.best_head.value == pytest.approx(plain.enrichment.value, rel=0.2), "the best of chance is chance"
    names = [group.name for group in looking.groups]
    assert names == ["small", "middle", "large", "right", "wrong"]
    assert [group.enrichment.n for group in looking.groups] == [40, 40, 40, 80, 40]


def test_a_bias_to_the_middle_is_not_taken_for_evidence():
    found = enrichment("b", [planted(1, n=200, middle=8)], answers="own", n=200, seed=0)
    for row in found.models[0].layers:
        assert row.enrichment.low > 1.5, "evidence in the middle is enriched"
        assert row.over_control.low < 1 < row.over_control.high
        assert row.over_control.value == pytest.approx(1, abs=0.1)


def test_models_are_compared_over_the_samples_that_both_answered():
    base, student = planted(4, model="base"), planted(12, model="student")
    student = replace(student, looks=student.looks[10:])
    found = enrichment("b", [base, student], answers="own", n=120, seed=0)
    plain, looking = found.pairs
    assert (looking.a, looking.b, looking.layer, looking.ratio.n) == ("base", "student", 5, 110)
    assert looking.ratio.low > 1
    assert looking.adjusted < 0.01
    assert plain.adjusted >= plain.p_value
    assert [ratio.n for ratio in looking.by_size] == [30, 40, 40]
    assert all(ratio.low > 1 for ratio in looking.by_size)
    same = enrichment("b", [base, planted(4, model="again")], answers="own", n=120, seed=0).pairs
    assert [pair.ratio.value for pair in same] == [1, 1]
    assert [pair.p_value for pair in same] == [1, 1]


def test_models_of_unlike_layers_are_not_compared():
    other = planted(4, model="other")
    other = replace(other, layers=(0, 1))
    found = enrichment("b", [planted(4), other], answers="own", n=120, seed=0)
    assert found.pairs == ()
    assert "cannot be compared" in found.refused[0]


def test_what_is_too_few_has_no_interval():
    few = enrichment("b", [planted(9, n=9), planted(3, n=9, model="o")], answers="own", n=9, seed=0)
    assert few.models[0].layers[1].enrichment.value > 1
    assert few.models[0].layers[1].enrichment.low is None
    assert few.pairs[1].ratio.low is None
    assert few.pairs[1].p_value is None
    one = enrichment("b", [planted(9, n=1)], answers="own", n=1, seed=0).models[0].layers[1]
    assert one.enrichment.n == 1
    assert one.over_control == (0, None, None, None), "there is no other sample to take a place from"
    assert one.best_head.value is None
    none = Measured(model="m", weights="", dtype="", layers=(), looks=[], skipped={"no evidence box": 3})
    assert enrichment("b", [none], answers="own", n=3, seed=0).models[0].best is None


def test_clusters_widen_intervals():
    alone = enrichment("b", [planted(4)], answers="own", n=120, seed=0).models[0].layers[1].enrichment
    copies = planted(4, n=30)
    copies = replace(copies, looks=list(copies.looks) * 4)
    found = enrichment("b", [copies], answers="own", n=120, seed=0).models[0].layers[1].enrichment
    assert found.n == alone.n
    assert np.log(found.high / found.low) > 1.5 * np.log(alone.high / alone.low)


def test_intervals_cover_what_is_planted():
    """Of 200 repetitions with 60 answers each, 95% intervals hold the truth in 90 to 99%."""
    rng = np.random.default_rng(0)
    held = 0
    for repetition in range(200):
        looks = [
            Look(
                sample=f"s{k}", cluster=f"c{k}", px=1.0, verdict="correct", area=0.1, enrichment=np.array([value]),
                control=np.array([np.nan]), image=np.ones(1), heads=np.array([[value]]),
            )
            for k, value in enumerate(rng.normal(0.7, 1.0, 60))
        ]  # fmt: skip
        one = Measured(model="m", weights="", dtype="", layers=(0,), looks=looks, skipped={})
        found = model_row(one, repetition).layers[0].enrichment
        held += found.low <= np.exp(0.7) <= found.high
    assert 180 <= held <= 198


def test_p_of_flipped_signs():
    rng = np.random.default_rng(1)
    clusters = np.arange(60)
    assert flip_p(rng.normal(1, 1, 60), clusters, 0) < 0.001
    assert flip_p(np.array([1.0, -1.0] * 30), clusters, 0) == 1
    few = flip_p(np.array([1.0, 2.0, 3.0]), np.arange(3), 0)
    assert few == pytest.approx(2 / 8, abs=0.02), "two of eight ways are as extreme"
    together = flip_p(np.ones(60), np.repeat(np.arange(3), 20), 0)
    assert together == pytest.approx(2 / 8, abs=0.02), "a cluster counts once"
    level = [flip_p(rng.normal(0, 1, 30), np.arange(30), k) < 0.05 for k in range(100)]
    assert sum(level) <= 12


def test_json_is_plain_and_stable():
    found = enrichment(
        "b", [planted(4, n=20), planted(9, n=20, model="hf:/x/s")], answers="own", n=25, seed=3
    ).to_json()
    assert json.loads(json.dumps(found)) == found
    assert set(found) == {
        "bench", "answers", "seed", "n", "models", "pairs", "refused", "draws", "controls", "floor",
    }  # fmt: skip
    layer = found["models"][0]["layers"][1]
    assert set(layer["enrichment"]) == {"n", "value", "low", "high"}
    assert layer["layer"] == 5
    assert found["pairs"][0]["b"] == "hf:/x/s"


def test_models_are_called_by_their_folders():
    assert labels(["micro", "hf:/a/b/student/"]) == {"micro": "micro", "hf:/a/b/student/": "student"}
    assert labels(["hf:/a/s", "hf:/b/s"]) == {"hf:/a/s": "hf:/a/s", "hf:/b/s": "hf:/b/s"}
