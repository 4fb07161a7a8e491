from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.compare.zooming import answered, crop
from zoomgap.compare.comparison import compare
from zoomgap.compare.dual import COVER, dual_views, sight
from zoomgap.compare.rows import Settings
from zoomgap.compare.stats import bootstrap_weights
from zoomgap.compare.table import RunData, make_table
from zoomgap.compare.verdicts import evidence_bins
from zoomgap.geometry import Box, Size

QUICK = Settings(draws=300, curve_draws=10)
MODEL = {"model": "m", "weights": "w"}
SIZE = Size(1024, 1024)
VIEW = 0.25
"""Pixels of the view for one of the original."""
SMALL, LARGE = Box(100, 100, 120, 120), Box(600, 600, 700, 700)


def test_a_crop_holds_what_it_shows_nearly_all_of():
    inside = sight([crop(SMALL.grown(2))], [SMALL], SIZE, VIEW)
    assert inside == (True, True, True, True, pytest.approx(128 / 40 * 20))
    edge = Box(100 + (1 - COVER) * 20 + 0.01, 0, 300, 300)
    assert not sight([crop(edge)], [SMALL], SIZE, VIEW).every
    assert sight([crop(Box(101.9, 0, 300, 300))], [SMALL], SIZE, VIEW).every


def test_two_things_may_be_held_by_two_crops():
    small, large = crop(SMALL.grown(2)), crop(LARGE.grown(2), 2)
    assert sight([small, large], [SMALL, LARGE], SIZE, VIEW)[:4] == (True, False, False, True)
    assert sight([large], [SMALL, LARGE], SIZE, VIEW)[:4] == (False, False, False, False)
    both = crop(Box(90, 90, 720, 720), 3, Size(512, 512))
    assert sight([both], [SMALL, LARGE], SIZE, VIEW)[:4] == (True, True, True, True)
    assert sight([both, small], [SMALL, LARGE], SIZE, VIEW)[:4] == (True, True, False, True)
    assert sight([both, small], [SMALL, LARGE], SIZE, VIEW).px == 64, "in the crop that shows it largest"


def test_what_shows_it_no_larger_than_the_view_is_no_look_closer():
    whole = crop(Box(0, 0, 1024, 1024), 1, Size(256, 256))
    assert not sight([whole], [SMALL], SIZE, VIEW).every
    reduced = crop(Box(0, 0, 1000, 1000), 1, Size(128, 128))
    assert not sight([reduced], [SMALL], SIZE, VIEW).every
    as_large = crop(Box(0, 0, 512, 512), 1, Size(128, 128))
    assert sight([as_large], [SMALL], SIZE, VIEW).every


@given(st.lists(st.tuples(*[st.floats(0, 1000)] * 2, *[st.floats(32, 400)] * 2), max_size=4))
def test_stricter_ways_of_holding_are_never_likelier(places):
    crops = [crop(Box(x, y, x + w, y + h), k) for k, (x, y, w, h) in enumerate(places, 1)]
    found = sight(crops, [SMALL, LARGE], SIZE, VIEW)
    assert found.last <= found.one <= found.every <= found.smallest == (found.px > 0)


@pytest.fixture(scope="module")
def known(world):
    """2,400 answers: no zoom in 1 of 8, missed in 2 of 8, held in 5 of 8; outcomes by a fixed pattern."""
    w = world(2400)
    sightings = [
        ("no zoom", "missed", "missed", "held", "held", "held", "held", "held")[k // 2 % 8] for k in range(2400)
    ]
    rng = np.random.default_rng(9)
    draw = rng.random((2, 2400))
    chance = {"no zoom": 0.5, "missed": 0.3, "held": 0.85}
    agent = answered(w.run("a", arm="agent", **MODEL), lambda k: draw[0, k] < chance[sightings[k]], sightings)
    region = answered(w.run("r", arm="region", **MODEL), lambda k: draw[1, k] < 0.9)
    return agent, region, sightings, compare([agent, region], settings=QUICK)


def test_losses_are_those_of_the_answers_and_add_up(known):
    agent, region, sightings, found = known
    (dual,) = found.dual
    a, r = (np.array([x.verdict == "correct" for x in run.results], dtype=float) for run in (agent, region))
    group = np.array(sightings)
    for loss in dual.overall.losses:
        assert loss.value == pytest.approx(((r - a) * (group == loss.name)).mean())
        assert loss.lost == ((r > a) & (group == loss.name)).sum()
        assert loss.won == ((r < a) & (group == loss.name)).sum()
    for part in (dual.overall, *dual.by_dimension, *dual.by_evidence):
        assert part.difference == pytest.approx(sum(loss.value for loss in part.losses))
        assert part.difference == pytest.approx(part.region - part.agent)
    pair = found.pair(agent.id, region.id)
    assert dual.overall.difference == pytest.approx(-pair.difference)
    assert (dual.overall.low, dual.overall.high) == pytest.approx((-pair.high, -pair.low), abs=0.003)


def test_losses_recover_the_truth(known):
    dual = known[3].dual[0]
    truth = {"no zoom": (0.9 - 0.5) / 8, "missed": (0.9 - 0.3) * 2 / 8, "held": (0.9 - 0.85) * 5 / 8}
    for loss in dual.overall.losses:
        assert loss.low < truth[loss.name] < loss.high
        assert loss.value == pytest.approx(truth[loss.name], abs=0.03)
    assert dual.overall.held == pytest.approx(5 / 8)


def test_groups_make_up_the_accuracy(known):
    agent, _, _, found = known
    (dual,) = found.dual
    accuracy = sum(result.verdict == "correct" for result in agent.results) / 2400
    assert sum(group.share * group.accuracy for group in dual.groups) == pytest.approx(accuracy)
    assert [group.n for group in dual.groups] == [300, 600, 1500]
    assert dual.ways["each box in some crop"] == pytest.approx(1500 / 2100)
    assert dual.crop_px > 2 * dual.view_px


def test_intervals_of_losses_cover_the_truth(world):
    """95% intervals over 120 worlds in clusters of four: the true loss lies inside in 90 to 99%."""
    w = world(400, ("ocr",), cluster=4)
    agent, region = w.run("a", arm="agent", **MODEL), w.run("r", arm="region", **MODEL)
    inside = 0
    for seed in range(120):
        rng = np.random.default_rng(1000 + seed)
        sightings = ["missed" if x else "held" for x in np.repeat(rng.random(100) < 0.5, 4)]
        draw = np.where(rng.random((2, 400)) < 0.5, np.repeat(rng.random(100), 4), rng.random((2, 400)))
        found = (draw[0] < [0.4 if s == "missed" else 0.8 for s in sightings]).tolist()
        shown = (draw[1] < 0.9).tolist()
        runs = [answered(agent, found.__getitem__, sightings), answered(region, shown.__getitem__)]
        table = make_table(runs)
        weights = bootstrap_weights(table.clusters, 300, seed)
        missed = dual_views(table, evidence_bins(table), weights, QUICK)[0].overall.losses[1]
        inside += missed.low < 0.25 < missed.high
    assert 106 <= inside <= 119


def test_a_perfect_reader_loses_by_looking_alone(world):
    w = world(600)
    sightings = [("missed", "held")[k % 3 > 0] for k in range(600)]
    agent = answered(w.run("a", arm="agent", **MODEL), lambda k: sightings[k] == "held", sightings)
    region = answered(w.run("r", arm="region", **MODEL), lambda k: True)
    none, missed, held = compare([agent, region], settings=QUICK).dual[0].overall.losses
    assert none.value is None, "no such answer"
    assert missed.value == pytest.approx(1 / 3)
    assert held.value == 0
    assert held.lost == held.won == 0


def test_what_the_agent_alone_has_right_counts_against_a_loss(world):
    w = world(600)
    agent = answered(w.run("a", arm="agent", **MODEL), lambda k: True, ["held"] * 600)
    region = answered(w.run("r", arm="region", **MODEL), lambda k: k % 4 > 0)
    held = compare([agent, region], settings=QUICK).dual[0].overall.losses[2]
    assert (held.value, held.lost, held.won) == (-0.25, 0, 150)


def test_without_a_region_run_it_says_where_the_agent_looked_and_no_more(known):
    agent = known[0]
    (dual,) = compare([agent], settings=QUICK).dual
    assert dual.region is None
    assert "no region run of this model" in dual.reason
    assert dual.overall.losses == ()
    assert dual.overall.difference is None
    assert [group.n for group in dual.groups] == [300, 600, 1500]
    assert {group.region_accuracy for group in dual.groups} == {None}


def test_the_region_run_of_another_model_is_no_bound(known, world):
    other = world(2400).run("r", arm="region", model="other", weights="w")
    assert compare([known[0], other], settings=QUICK).dual[0].region is None


def test_samples_without_boxes_get_no_number(world):
    w = world(200)
    agent = answered(w.run("a", arm="agent", **MODEL), lambda k: True, ["held"] * 200)

    def bare(keep: int) -> RunData:
        results = [replace(r, sample=replace(r.sample, evidence=())) if k >= keep else r
                   for k, r in enumerate(agent.results)]  # fmt: skip
        return RunData(agent.spec, "a", results, [], agent.crops)

    (none,) = compare([bare(0)], settings=QUICK).dual
    assert (none.n, none.unboxed, none.groups, none.ways) == (0, 200, (), {})
    assert "no evidence boxes" in none.reason
    assert none.overall.held is None
    (some,) = compare([bare(50)], settings=QUICK).dual
    assert (some.n, some.unboxed) == (50, 150)


def test_errors_and_other_arms_have_no_dual_view(known, world):
    agent, region, _, _ = known
    broken = [replace(r, verdict="error") if k < 240 else r for k, r in enumerate(agent.results)]
    (dual,) = compare([RunData(agent.spec, "a", broken, [], agent.crops), region], settings=QUICK).dual
    assert dual.n == 2160
    assert compare([region], settings=QUICK).dual == ()


def test_a_region_run_that_is_refused_bounds_nothing(world):
    w = world(200)
    agent = answered(w.run("a", arm="agent", **MODEL), lambda k: True, ["held"] * 200)
    (dual,) = compare([agent, w.run("r", arm="region", errors=0.3, **MODEL)], settings=QUICK).dual
    assert dual.region is None
    assert dual.reason.startswith("no losses: over 2% endpoint errors in r")
    assert dual.overall.losses == ()
