from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from zoomgap.compare.comparison import compare
from zoomgap.compare.rows import Settings
from zoomgap.compare.table import RunData, Table
from zoomgap.compare.verdicts import ALL_KINDS, UNREADABLE, cell_verdicts, decide, evidence_bins, merged, places
from zoomgap.records import RunSpec

QUICK = Settings(draws=50, curve_draws=10)
MODEL = {"model": "m", "weights": "w"}
MARGIN = QUICK.margin


@given(st.lists(st.integers(0, 900), min_size=1, max_size=6), st.integers(1, 1000))
def test_merged_sizes_are_neighbours_that_count_enough(counts, least):
    groups = merged(counts, least, most=len(counts))
    assert [i for group in groups for i in group] == list(range(len(counts)))
    sums = [sum(counts[i] for i in group) for group in groups]
    assert len(groups) == 1 or min(sums) >= least
    # No way to make one group more is left out: greedily, each group closed as soon as it counts enough.
    most, running = 0, 0
    for count in counts:
        running += count
        if running >= least:
            most, running = most + 1, 0
    assert len(groups) == max(1, most)
    assert len(merged(counts, least)) == min(3, len(groups))


def test_a_tie_keeps_the_smallest_evidence_apart():
    assert merged([400, 100, 400], 350) == [range(0, 1), range(1, 3)]
    assert merged([300, 300, 400], 350) == [range(0, 2), range(2, 3)]


class Sim(NamedTuple):
    """Answers whose chances are known: the table, the seats and the chance of each role at each answer."""

    table: Table
    seats: Mapping[str, int]
    chances: Mapping[str, np.ndarray]
    guess: float


def simulate(
    chances: Mapping[str, Mapping[str, float] | float],
    seed: int,
    n: int = 3600,
    cluster: int = 1,
    guess: float = 0.0,
    blind: bool = False,
) -> Sim:
    """Three dimensions and sizes of 5 to 56 px. chances: of each role, alike everywhere or by dimension.

    Answers of one cluster hang together, and so do those of the roles. blind: the guess rate is read off a run.
    """
    rng = np.random.default_rng(seed)
    clusters = np.arange(n) // cluster
    dimension = np.array(["color", "ocr", "counting"])[clusters % 3]
    octave = rng.uniform(np.log2(5), np.log2(56), clusters.max() + 1)[clusters]
    common = rng.normal(size=clusters.max() + 1)[clusters] * np.sqrt(0.3) + rng.normal(size=n) * np.sqrt(0.3)
    roles = list(chances)
    known = {
        role: np.array([value[d] if isinstance(value, Mapping) else value for d in dimension])
        for role, value in chances.items()
    }
    rows = [*(known[role] for role in roles), *([np.full(n, guess)] if blind else [])]
    draws = [stats.norm.cdf(common + rng.normal(size=n) * np.sqrt(0.4)) for _ in rows]
    right = np.array([(draw < chance).astype(float) for draw, chance in zip(draws, rows, strict=True)])
    if blind:
        right[-1, rng.random(n) > 0.2] = np.nan
    arms = [*("agent" if role == "agent" else "direct" for role in roles), *(["no-image"] if blind else [])]
    runs = tuple(
        RunData(RunSpec(benchmark="b", benchmark_sha256="0", arm=arm, model=f"m{k}"), arm, [], [])
        for k, arm in enumerate(arms)
    )
    rates = np.full(right.shape, guess)
    if blind:
        for name in np.unique(dimension):
            rates[:, dimension == name] = np.nanmean(right[-1, dimension == name])
    table = Table(
        runs=runs,
        samples=(),
        sample=np.arange(n),
        attempt=np.zeros(n, dtype=np.int64),
        right=right,
        error=np.zeros(right.shape, dtype=bool),
        cluster=clusters,
        dimension=dimension,
        octave=octave,
        tight=np.ones(n, dtype=bool),
        guess=rates,
        column={},
    )
    return Sim(table, {role: k for k, role in enumerate(roles)}, known, guess)


def false_verdicts(sim: Sim, settings: Settings = QUICK) -> tuple[int, int]:
    """How many verdicts are not true of the chances that the answers were drawn with, and how many there are."""
    cells = cell_verdicts(sim.table, sim.seats, settings)
    found = places(sim.table, sim.table.shared(*sim.seats.values()), settings.min_cell)
    wrong = 0
    for cell, place in zip(cells, found, strict=True):
        p = {role: float(chance[place.mask].mean()) for role, chance in sim.chances.items()}
        glance = p.get("student", p.get("base"))
        best = max(p[role] for role in ("base", "agent", "student") if role in p)
        tiny = 1e-12
        wrong += {
            "neither reads it": (best - sim.guess) / (1 - sim.guess) >= UNREADABLE - tiny,
            "one glance suffices": p.get("base", 0.0) - p["agent"] <= -MARGIN + tiny,
            "distilled": "floor" in p and (glance - p["agent"] <= -MARGIN + tiny or glance <= p["floor"] + tiny),
            "zoom still needed": p["agent"] - glance <= MARGIN + tiny,
            "undecided": False,
        }[cell.verdict]
    return wrong, sum(cell.verdict != "undecided" for cell in cells)


BORDERS = {
    "the base is behind by just the margin": ({"base": 0.7, "agent": 0.75}, {}),
    "in clusters": ({"base": 0.7, "agent": 0.75}, {"cluster": 4}),
    "the student is behind by just the margin": ({"base": 0.5, "agent": 0.75, "student": 0.7, "floor": 0.5}, {}),
    "the student is as good as its floor": ({"base": 0.6, "agent": 0.75, "student": 0.74, "floor": 0.74}, {}),
    "an arm just reads": ({"base": 0.3, "agent": 0.4}, {"guess": 0.2}),
    "an arm just reads above a measured guess": ({"base": 0.3, "agent": 0.4}, {"guess": 0.2, "blind": True}),
    "one dimension hides in the mix": (
        {"base": {"color": 0.7, "ocr": 0.75, "counting": 0.65}, "agent": 0.75},
        {"cluster": 4},
    ),
}


def faulty_tables(world: str, repetitions: int) -> int:
    """How many tables of verdicts hold a false one."""
    chances, options = BORDERS[world]
    return sum(false_verdicts(simulate(chances, seed, **options))[0] > 0 for seed in range(repetitions))


@pytest.mark.parametrize("world", BORDERS)
def test_false_verdicts_are_rare(world):
    """At the very border of a rule, where a false verdict is likeliest; over the bound with a chance under 1%."""
    assert faulty_tables(world, 40) <= stats.binom.isf(0.01, 40, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("world", BORDERS)
def test_no_verdict_is_false_in_95_of_100_repetitions(world):
    assert faulty_tables(world, 1000) <= 50


@pytest.mark.parametrize(
    ("chances", "verdict"),
    [
        ({"base": 0.1, "agent": 0.12}, "neither reads it"),
        ({"base": 0.97, "agent": 0.97}, "one glance suffices"),
        ({"base": 0.4, "agent": 0.97, "student": 0.98, "floor": 0.4}, "distilled"),
        ({"base": 0.4, "agent": 0.9, "student": 0.6, "floor": 0.4}, "zoom still needed"),
        ({"base": 0.4, "agent": 0.9}, "zoom still needed"),
        ({"agent": 0.9, "student": 0.6}, "zoom still needed"),
    ],
)
def test_what_is_plain_is_said_everywhere(chances, verdict):
    sim = simulate(chances, 0, n=9000)
    cells = cell_verdicts(sim.table, sim.seats, QUICK)
    assert [cell.verdict for cell in cells] == [verdict] * 16
    assert false_verdicts(sim)[0] == 0


def test_few_answers_a_kind_still_decide_over_all_kinds():
    """600 samples in three dimensions: none has enough on its own, all together have."""
    sim = simulate({"base": 0.4, "agent": 0.9}, 0, n=600)
    cells = cell_verdicts(sim.table, sim.seats, QUICK)
    assert [(c.dimension, c.evidence_low, c.n, c.verdict) for c in cells] == [
        ("color", None, 200, "undecided"),
        ("counting", None, 200, "undecided"),
        ("ocr", None, 200, "undecided"),
        (ALL_KINDS, None, 600, "zoom still needed"),
    ]
    more = simulate({"base": 0.4, "agent": 0.9}, 0, n=1200)
    sized = cell_verdicts(more.table, more.seats, QUICK)
    assert [c.verdict for c in sized if c.dimension == ALL_KINDS] == ["zoom still needed"] * 4
    assert [c.n for c in sized if c.dimension == ALL_KINDS] == [400, 400, 400, 1200]


def test_sizes_of_a_kind_are_merged_only_with_neighbours():
    sim = simulate({"base": 0.4, "agent": 0.9}, 0, n=2700)
    bins = evidence_bins(sim.table)
    cells = [c for c in cell_verdicts(sim.table, sim.seats, QUICK) if c.dimension == "ocr"]
    assert len(cells) == 3, "two merged sizes and all"
    assert cells[0].evidence_low == bins[0].low
    assert cells[0].evidence_high == cells[1].evidence_low
    assert cells[1].evidence_high == bins[2].high
    assert cells[0].n + cells[1].n == cells[2].n == 900
    assert min(cell.n for cell in cells) >= QUICK.min_cell


@given(st.integers(300, 4000), st.integers(0, 50))
def test_places_of_a_row_share_no_answer(n, seed):
    sim = simulate({"base": 0.5, "agent": 0.5}, seed, n=n)
    found = places(sim.table, np.ones(n, dtype=bool), 350)
    for name in {place.dimension for place in found}:
        *sized, everything = [place for place in found if place.dimension == name]
        assert sum(place.n for place in sized) in (0, everything.n)
        assert all(a.high == b.low for a, b in pairwise(sized))
        assert len(sized) != 1


BOUNDS = {"base": 0.9, "agent": 0.9, "base - agent": -0.2, "agent - base": 0.03}
STUDENT = {"student": 0.9, "student - agent": -0.2, "agent - student": 0.03}


@pytest.mark.parametrize(
    ("bounds", "verdict", "reason"),
    [
        ({**BOUNDS, "base": 0.2, "agent": 0.24, "base - agent": 0.0}, "neither reads it", "24% above chance"),
        ({**BOUNDS, "base": 0.2, "agent": 0.24, **STUDENT}, "undecided", "no rule"),
        ({**BOUNDS, "base - agent": -0.04}, "one glance suffices", "4.0 points behind"),
        ({**BOUNDS, **STUDENT, "base - agent": -0.04, "student - agent": 0.0, "student - floor": 0.1},
         "one glance suffices", "base"),
        ({**BOUNDS, **STUDENT, "student - agent": -0.03, "student - floor": 0.01}, "distilled", "above the floor"),
        ({**BOUNDS, **STUDENT, "student - agent": -0.03, "student - floor": -0.01}, "undecided", "not shown"),
        ({**BOUNDS, **STUDENT, "student - agent": -0.03}, "undecided", "no floor is compared"),
        ({**BOUNDS, "agent - base": 0.06}, "zoom still needed", "no student is compared"),
        ({**BOUNDS, **STUDENT, "agent - student": 0.06, "agent - base": 0.2}, "zoom still needed", "6.0 points ahead"),
        ({**BOUNDS, **STUDENT, "agent - student": 0.06, "agent - base": 0.0}, "zoom still needed", "base that is not"),
        ({**BOUNDS, "agent - base": 0.01}, "undecided", "1.0 to 20.0 points ahead of the base"),
        ({**BOUNDS, "agent - base": -0.02}, "undecided", "2.0 points behind to 20.0 ahead of the base"),
    ],
)  # fmt: skip
def test_the_rules_in_their_order(bounds, verdict, reason):
    found, why = decide(bounds, 0.05)
    assert found == verdict
    assert reason in why


def test_without_an_agent_or_a_glance_the_comparison_says_why(world):
    w = world(500)
    alone = compare([w.run("b", **MODEL)], settings=QUICK)
    assert alone.verdicts == ()
    assert "no agent is compared" in alone.verdict_note
    agent = compare([w.run("a", arm="agent", **MODEL)], settings=QUICK)
    assert agent.verdicts == ()
    assert "no model at one glance" in agent.verdict_note
    both = compare([w.run("b", 30, **MODEL), w.run("a", 6, arm="agent", **MODEL)], settings=QUICK)
    assert both.verdict_note == ""


def test_answers_without_boxes_count_over_all_sizes(world):
    w = world(1200, ("ocr",))
    runs = [w.run("b", 30, **MODEL), w.run("a", 6, arm="agent", **MODEL)]
    half = [
        RunData(r.spec, r.label, [
            replace(x, sample=replace(x.sample, evidence=())) if k % 10 == 0 else x for k, x in enumerate(r.results)
        ], [])
        for r in runs
    ]  # fmt: skip
    cells = compare(half, settings=QUICK).verdicts
    assert [cell.n for cell in cells] == [360, 360, 360, 1200]
