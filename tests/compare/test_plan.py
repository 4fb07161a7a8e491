from __future__ import annotations

from dataclasses import replace

import pytest
from scipy.stats import norm
from statsmodels.stats.power import normal_sample_size_one_tail

from zoomgap.compare.comparison import compare
from zoomgap.compare.plan import needed, pilot_of, plan_before
from zoomgap.compare.rows import Settings
from zoomgap.compare.table import RunData
from zoomgap.errors import UsageError
from zoomgap.records import Plan

QUICK = Settings(draws=100, curve_draws=20)


def plan(created, margin=0.03):
    return Plan(benchmark="sim", margin=margin, power=0.9, level=0.05, created=created)


def test_samples_are_those_of_the_textbook():
    """With no difference to the variance, that of statsmodels: one tail of a mean of differences with sd sqrt(0.2)."""
    found = needed(0.05, discordance=0.2)
    sd = (0.2 - 0.05**2) ** 0.5
    assert found.difference == pytest.approx(normal_sample_size_one_tail(0.05, 0.8, 0.025, sd), abs=1)
    z = norm.ppf(0.975) + norm.ppf(0.9)
    assert found.equivalence == pytest.approx(z**2 * 0.2 / 0.05**2, abs=1)
    assert found.in_all == 18 * found.cell > 18 * 350


def test_clusters_and_cells_need_more():
    alone, alike = needed(0.05), needed(0.05, cluster_size=4, icc=0.5)
    assert alike.design_effect == 2.5
    assert alike.difference == pytest.approx(2.5 * alone.difference, abs=2)
    assert needed(0.05, cells=36).cell > alone.cell
    assert needed(0.5, discordance=0.9).cell == 350


def test_a_pilot_tells_discordance_and_clusters(world):
    w = world(2000, cluster=4)
    a, b = w.run("a", 8, shared=0.8), w.run("b", 14, shared=0.8)
    pilot = pilot_of(a, b)
    differ = sum(x.verdict != y.verdict for x, y in zip(a.results, b.results, strict=True))
    assert pilot.discordance == pytest.approx((differ + 1) / 2002)
    assert needed(0.05, pilot).pilot_n == 2000
    with pytest.raises(UsageError, match="share 0 answers"):
        pilot_of(a, RunData(b.spec, "b", [replace(r, attempt=1) for r in b.results], []))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"margin": 0.0}, "margin 0 is no share"),
        ({"margin": 0.05, "power": 1.0}, "power 1 is no share"),
        ({"margin": 0.05, "level": -1}, "level -1"),
        ({"margin": 0.3}, "cannot differ by 30.0%"),
        ({"margin": 0.05, "icc": 2}, "icc 2"),
        ({"margin": 0.05, "cluster_size": 0.5}, "clusters of 0.5"),
        ({"margin": 0.05, "cells": 0}, "0 cells"),
        ({"margin": 0.05, "power": 0.01}, "power 0.01 is no more than the level 0.05"),
        ({"margin": 0.05, "cluster_size": float("inf")}, "clusters of inf"),
    ],
)
def test_numbers_out_of_range_are_named(given, named):
    with pytest.raises(UsageError, match=named):
        needed(**given)


def test_a_plan_counts_only_before_the_first_answer(world):
    w = world(60)
    runs = [w.run("a"), w.run("b")]  # started 2025-01-01
    early, newer, late = plan("2024-01-01T00:00:00"), plan("2024-06-01T00:00:00", 0.04), plan("2025-06-01T00:00:00")
    assert plan_before([early, newer, late], runs) == newer
    assert plan_before([late], runs) is None
    assert plan_before([], runs) is None
    assert plan_before([early], [RunData(runs[0].spec, "a", runs[0].results, [])]) is None


def test_the_margin_is_told_with_its_origin(world):
    w = world(60)
    runs = [w.run("a"), w.run("b")]
    fixed = compare(runs, settings=QUICK, plan=plan("2024-01-01T00:00:00"))
    assert fixed.margin_note == "margin 0.03, fixed on 2024-01-01 before the first answer"
    assert (fixed.settings.margin, fixed.settings.power, fixed.settings.confidence) == (0.03, 0.9, 0.95)
    assert "not fixed before" in compare(runs, settings=QUICK).margin_note
    assert fixed.to_json()["plan"]["margin"] == 0.03
