from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from zoomgap.compare.comparison import compare, protocol_differences
from zoomgap.compare.rows import Settings
from zoomgap.compare.table import RunData, make_table
from zoomgap.errors import UsageError

QUICK = Settings(draws=300, curve_draws=60)
RUN_KEYS = [
    "run",
    "bench",
    "arm",
    "model",
    "n",
    "attempted",
    "answered",
    "unparsed",
    "errors",
    "correct",
    "accuracy",
    "low",
    "high",
    "p50_ms",
    "p95_ms",
    "prompt_tokens",
    "completion_tokens",
    "image_tokens",
    "turns",
    "cost",
    "seconds",
    "resumed",
    "model_accuracy",
    "service_accuracy",
    "acuity_px",
    "acuity_low",
    "acuity_high",
    "ceiling",
    "by_dimension",
    "by_evidence",
]
PAIR_KEYS = [
    "a",
    "b",
    "n",
    "both",
    "only_a",
    "only_b",
    "neither",
    "difference",
    "low",
    "high",
    "p_value",
    "latency_ratio",
    "verdict",
]
MODEL = {"model": "m", "weights": "w"}


@pytest.fixture(scope="module")
def family(world):
    """A base, its agent and diagnostic arms, a student and its controls over the same 4,800 samples."""
    w = world(4800)
    runs = {
        "base": w.run("base", 20, shared=0.7, wall=50, **MODEL),
        "agent": w.run("agent", 7, shared=0.7, wall=200, turns=3, arm="agent", **MODEL),
        "student": w.run("student", 12, shared=0.7, wall=50, model="s"),
        "floor": w.run("floor", 19, shared=0.7, model="f"),
        "placebo": w.run("placebo", 19, shared=0.7, model="p"),
        "ceiling": w.run("ceiling", 10, shared=0.7, model="c"),
        "region": w.run("region", 6, shared=0.7, arm="region", **MODEL),
        "lowres": w.run("lowres", 13, shared=0.7, arm="region-lowres", **MODEL),
        "blind": w.run("blind", 900, arm="no-image", **MODEL),
    }
    roles = {runs[name].id: name for name in ("base", "agent", "student", "floor", "placebo", "ceiling")}
    return runs, roles, compare(list(runs.values()), roles, settings=QUICK)


def test_the_json_has_the_stable_keys_and_no_nan(family):
    _, _, found = family
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert all(key in run for run in document["runs"] for key in RUN_KEYS)
    assert all(key in pair for pair in document["pairs"] for key in PAIR_KEYS)
    assert {"dimension", "evidence_low", "evidence_high", "n", "verdict"} <= set(document["verdicts"][0])
    assert document["protocol_differences"][0]["field"] == "arm"


def test_equal_input_and_seed_give_equal_output(family):
    runs, roles, found = family
    again = compare(list(runs.values()), roles, settings=QUICK)
    assert again.to_json() == found.to_json()
    other = compare(list(runs.values()), roles, settings=replace(QUICK, seed=1))
    assert other.pairs[0].difference == found.pairs[0].difference
    assert other.pairs[0].low != found.pairs[0].low


def test_acuity_of_every_run_is_near_the_truth(family):
    _, _, found = family
    for name, px in {"base": 20, "agent": 7, "student": 12, "ceiling": 10}.items():
        assert found.role(name).acuity_px == pytest.approx(px, rel=0.1)
    blind = next(row for row in found.runs if row.arm == "no-image")
    assert blind.acuity_px is None
    student_base = found.acuity_ratios[0]
    assert student_base.low < 12 / 20 < student_base.high


def test_gaps_add_up(family):
    _, _, found = family
    gaps = {gap.name: gap for gap in found.gaps}
    assert set(gaps) == {"zooming", "localisation", "resolution"}
    assert gaps["zooming"].difference == pytest.approx(gaps["localisation"].difference + gaps["resolution"].difference)
    assert gaps["zooming"].low > 0.2
    assert [part.n for part in gaps["zooming"].by_evidence] == [1600] * 3


def test_recovered_share(family):
    runs, roles, found = family
    student, placebo = found.recovered
    right = {name: np.mean([r.verdict == "correct" for r in runs[name].results]) for name in runs}
    expected = (right["student"] - right["floor"]) / (right["ceiling"] - right["floor"])
    assert student.share == pytest.approx(expected)
    assert student.low < expected < student.high
    assert placebo.low < 0 < placebo.high
    swapped = {run: {"floor": "ceiling", "ceiling": "floor"}.get(role, role) for run, role in roles.items()}
    refused = compare(list(runs.values()), swapped, settings=QUICK).recovered[0]
    assert refused.share is None
    assert "not clearly above" in refused.reason


def test_verdicts_by_size(family):
    _, _, found = family
    cells = {(cell.dimension, index % 4): cell for index, cell in enumerate(found.verdicts)}
    assert len(cells) == 12, "three sizes and all of them, for two kinds and all of them"
    assert cells["ocr", 0].verdict == "zoom still needed"
    assert cells["ocr", 0].bounds["agent - student"] > 0.05
    assert cells["color", 2].verdict in ("one glance suffices", "distilled")
    assert all(cell.n > 700 for cell in found.verdicts)


def test_small_cells_stay_undecided(world):
    w = world(300)
    found = compare([w.run("b", 40, **MODEL), w.run("a", 5, arm="agent", **MODEL)], settings=QUICK)
    assert {cell.verdict for cell in found.verdicts} == {"undecided"}
    assert "at least 350" in found.verdicts[0].reason


@pytest.mark.parametrize(
    ("base", "agent", "verdict"), [(5.0, 5.0, "one glance suffices"), (500.0, 500.0, "neither reads it")]
)
def test_rules_in_order(world, base, agent, verdict):
    w = world(4800)
    runs = [w.run("b", base, shared=0.9, **MODEL), w.run("a", agent, shared=0.9, arm="agent", **MODEL)]
    found = compare(runs, settings=QUICK)
    assert found.role("base").label == "b"
    assert sum(cell.verdict == verdict for cell in found.verdicts) >= 4


def test_distilled_needs_a_floor(world):
    w = world(4800)
    base, agent = w.run("b", 60, **MODEL), w.run("a", 6, shared=0.95, arm="agent", **MODEL)
    student, floor = w.run("s", 6, shared=0.95, model="s"), w.run("f", 60, model="f")
    roles = {student.id: "student"}
    without = compare([base, agent, student], roles, settings=QUICK).verdicts
    assert "distilled" not in {cell.verdict for cell in without}
    shown = compare([base, agent, student, floor], roles | {floor.id: "floor"}, settings=QUICK).verdicts
    assert sum(cell.verdict == "distilled" for cell in shown) >= 3


def test_chance_of_a_false_verdict_is_held(world):
    """The agent is ahead by just under the margin: in 20 worlds of three cells hardly one says zooming is needed."""
    false = 0
    for seed in range(20):
        w = world(1300, ("ocr",), seed=seed)
        agent = w.run("a", 14, 0.95, shared=0.5, arm="agent", **MODEL)
        base = w.run("b", 14 * 2**0.039, 0.90, shared=0.5, **MODEL)
        found = compare([base, agent], settings=replace(QUICK, draws=20, curve_draws=5))
        assert min(cell.n for cell in found.verdicts) >= 350
        false += any(cell.verdict == "zoom still needed" for cell in found.verdicts)
    assert false <= 3


def test_errors_count_as_wrong_for_the_service_alone_and_refuse_a_verdict(world):
    w = world(1000)
    flaky, sound = w.run("flaky", 10, errors=0.1, **MODEL), w.run("sound", 10, arm="agent", **MODEL)
    found = compare([flaky, sound], settings=QUICK)
    row = found.runs[0]
    assert row.attempted == row.answered + row.unparsed + row.errors == 1000
    assert row.errors > 50
    assert row.service_accuracy == row.accuracy == row.correct / 1000
    assert row.model_accuracy == row.correct / (1000 - row.errors)
    assert found.pairs[0].n == 1000 - row.errors
    assert found.pairs[0].verdict == "refused"
    assert "flaky" in found.pairs[0].reason
    assert {cell.verdict for cell in found.verdicts} == {"undecided"}


def test_pairs_tell_better_equivalent_and_undecided(world):
    w = world(3000)
    runs = [w.run("sharp", 6, shared=0.9), w.run("sharp too", 6, shared=0.97), w.run("blunt", 25, shared=0.9)]
    found = compare(runs, settings=QUICK)
    sharp, same, blunt = (run.id for run in runs)
    assert found.pair(sharp, blunt).verdict == "a better"
    assert found.pair(sharp, blunt).test == "McNemar mid-p"
    assert found.pair(sharp, same).verdict == "equivalent"
    pair = found.pair(sharp, blunt)
    assert pair.both + pair.only_a + pair.only_b + pair.neither == pair.n == 3000
    assert pair.difference == pytest.approx((pair.only_a - pair.only_b) / pair.n)
    assert pair.p_value >= pair.p_raw
    few = world(40)
    assert compare([few.run("x", 10), few.run("y", 10)], settings=QUICK).pairs[0].verdict == "undecided"


def test_clusters_widen_intervals(world):
    w = world(1200, cluster=4)
    run = w.run("a", 14)
    copies = [replace(r, verdict=run.results[i - i % 4].verdict) for i, r in enumerate(run.results)]
    low, high = (lambda row: (row.low, row.high))(compare([RunData(run.spec, "a", copies, [])], settings=QUICK).runs[0])
    free = compare([RunData(run.spec, "a", world(1200).run("a", 14).results, [])], settings=QUICK).runs[0]
    assert high - low == pytest.approx(2 * (free.high - free.low), rel=0.1)


def test_the_guess_rate_is_read_from_the_blind_run(world):
    w = world(2000)
    direct, blind = w.run("d", 12, **MODEL), w.run("blind", 900, arm="no-image", **MODEL)
    known = make_table([direct])
    read = make_table([direct, blind])
    choice = np.array([bool(s.choices) for s in read.samples])
    assert set(known.guess[0][choice]) == {0.25}
    assert read.guess[0][choice].mean() == pytest.approx(0.25, abs=0.04)
    assert read.guess[0][choice][0] != 0.25
    assert make_table([direct], guess=lambda sample: 0.1).guess.max() == 0.1


def test_region_boxes_get_no_threshold(world):
    w = world(500)
    run = w.run("a")
    results = [replace(r, sample=replace(r.sample, evidence_kind="region")) for r in run.results]
    row = compare([RunData(run.spec, "a", results, [])], settings=QUICK).runs[0]
    assert row.acuity_px is None
    assert row.by_dimension["ocr"].acuity is None
    assert len(row.by_evidence) == 3


def test_sets_without_evidence_are_compared_all_the_same(world):
    w = world(2000)
    bare = [
        RunData(run.spec, run.label, [replace(r, sample=replace(r.sample, evidence=())) for r in run.results], [])
        for run in (w.run("b", 40, **MODEL), w.run("a", 5, arm="agent", **MODEL))
    ]
    found = compare(bare, settings=QUICK)
    assert [(cell.evidence_low, cell.verdict) for cell in found.verdicts] == [(None, "zoom still needed")] * 3


def test_protocol_differences_reach_into_sampling(world):
    spec = world(1).run("a").spec
    other = replace(spec, sampling=replace(spec.sampling, seed=5), view_pixels=9)
    found = {item.field: item.values for item in protocol_differences([spec, other])}
    assert found == {"sampling.seed": {spec.id: 0, other.id: 5}, "view_pixels": {spec.id: 65_536, other.id: 9}}


def test_bad_input_is_named(world):
    w = world(20)
    run = w.run("a")
    with pytest.raises(UsageError, match="no runs"):
        compare([])
    with pytest.raises(UsageError, match="no results"):
        compare([RunData(run.spec, "a", [], [])])
    with pytest.raises(UsageError, match="named twice"):
        compare([run, run])
    with pytest.raises(UsageError, match=r"two versions of a benchmark \(sim 0 and sim 1\)"):
        compare([run, w.run("b", benchmark_sha256="1")])
    with pytest.raises(UsageError, match=r"unlike benchmarks \(sim 0 and other 1\)"):
        compare([run, w.run("b", benchmark="other", benchmark_sha256="1")])
    with pytest.raises(UsageError, match="answer twice"):
        compare([RunData(run.spec, "a", [*run.results, run.results[0]], [])])
    with pytest.raises(UsageError, match="not compared"):
        compare([run], {"nowhere": "base"})
    with pytest.raises(UsageError, match="unknown"):
        compare([run], {run.id: "king"})
    other = w.run("b")
    with pytest.raises(UsageError, match="two runs"):
        compare([run, other], {run.id: "base", other.id: "base"})


def test_verdicts_of_two_graders_are_not_compared(world):
    made = world(n=40)
    first, second = (
        replace(run, results=[replace(result, grader=grader) for result in run.results])
        for run, grader in ((made.run("a"), "rules-1"), (made.run("b"), "rules-2"))
    )
    assert compare([first], settings=QUICK).grader == "rules-1"
    with pytest.raises(UsageError, match="verdicts of rules-1 and rules-2 cannot be compared: zoomgap regrade"):
        compare([first, second], settings=QUICK)


def test_a_rerun_in_other_words_takes_the_place_of_no_arm(world):
    w = world(300)
    again = w.run("again", 20, variant=1, prompts="other", **MODEL)
    base, agent = w.run("base", 20, **MODEL), w.run("agent", 7, arm="agent", **MODEL)
    region = w.run("region", 6, arm="region", **MODEL)
    found = compare([again, base, agent, region], settings=QUICK)
    assert found.role("base").run == base.id
    (gap,) = found.gaps
    assert (gap.a, gap.b, gap.refused) == (region.id, base.id, "")
