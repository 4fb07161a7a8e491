from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.compare.zooming import answered
from zoomgap.compare import figures_dual
from zoomgap.compare.comparison import compare
from zoomgap.compare.contribution import CONTROLS
from zoomgap.compare.rows import Settings
from zoomgap.compare.table import RunData
from zoomgap.records import Sampling

QUICK = Settings(draws=200, curve_draws=10)
MODEL = {"model": "m", "weights": "w"}
WARM = Sampling(temperature=0.7)


def rights(n: int, seed: int = 9) -> dict[str, np.ndarray]:
    """Outcomes of an agent and its controls that hang on the sample: what each takes away costs some answers."""
    rng = np.random.default_rng(seed)
    ease = rng.random(n)
    reach = {"agent": 0.8, "agent-lowres": 0.7, "agent-random": 0.5, "agent-blind": 0.45, "direct-schema": 0.4,
             "direct": 0.44}  # fmt: skip
    return {arm: np.where(rng.random(n) < 0.8, ease, rng.random(n)) < share for arm, share in reach.items()}


@pytest.fixture(scope="module")
def known(world):
    w = world(2400)
    right = rights(2400)
    zooms = [k // 2 % 4 for k in range(2400)]
    runs = {
        arm: answered(
            w.run(arm, arm=arm, **MODEL), lambda k, a=arm: right[a][k], zooms=zooms if arm == "agent" else None
        )
        for arm in ("agent", *CONTROLS)
    }
    return runs, right, compare(list(runs.values()), settings=QUICK)


def test_each_control_is_the_difference_of_gain_and_harm(known):
    _, right, found = known
    (item,) = found.contribution
    assert [control.arm for control in item.controls] == list(CONTROLS)
    for control in item.controls:
        a, b = right["agent"], right[control.arm]
        assert control.gain == pytest.approx((a & ~b).mean())
        assert control.harm == pytest.approx((~a & b).mean())
        assert control.difference == pytest.approx(control.gain - control.harm)
        assert control.low < control.difference < control.high
        assert control.gain_low < control.gain < control.gain_high
        assert control.survived.share == pytest.approx((a & b).sum() / a.sum())
        assert control.survived.n == a.sum()
        assert [part.n for part in control.by_evidence] == [800] * 3
        assert sum(part.n * part.difference for part in control.by_dimension) / 2400 == pytest.approx(
            control.difference
        )


def test_the_schema_effect_is_that_of_the_format_alone(known):
    _, right, found = known
    schema = found.contribution[0].schema
    assert schema.difference == pytest.approx(right["direct-schema"].mean() - right["direct"].mean())
    assert schema.low < -0.04 < schema.high
    agent = known[0]["agent"]
    assert compare([agent, known[0]["direct"]], settings=QUICK).contribution[0].schema is None


def test_zooms_are_counted_with_the_accuracy_at_each_count(known):
    _, right, found = known
    (item,) = found.contribution
    assert [count.zooms for count in item.histogram] == [0, 1, 2, 3]
    zooms = np.arange(2400) // 2 % 4
    for count in item.histogram:
        mask = zooms == count.zooms
        assert (count.n, count.share) == (600, 0.25)
        assert count.accuracy == pytest.approx(right["agent"][mask].mean())
        assert count.direct == pytest.approx(right["direct"][mask].mean())
    few = right["agent"] & (zooms <= 1)
    assert item.within_one == pytest.approx(few.mean())
    assert item.of_right == pytest.approx(few.sum() / right["agent"].sum())


def test_controls_of_another_model_or_number_of_zooms_are_none(world):
    w = world(60)
    agent = w.run("a", arm="agent", **MODEL)
    others = [
        w.run("b", arm="agent-lowres", model="m", weights="v"),
        w.run("c", arm="agent-lowres", max_zooms=1, **MODEL),
        w.run("d", arm="agent-random", view_pixels=9, **MODEL),
    ]
    assert compare([agent, *others], settings=QUICK).contribution[0].controls == ()
    schema = w.run("e", arm="direct-schema", max_zooms=3, **MODEL)
    direct = w.run("f", arm="direct", max_zooms=0, **MODEL)
    found = compare([agent, schema, direct], settings=QUICK).contribution[0].controls
    assert [control.run for control in found] == [schema.id, direct.id]


def test_a_control_with_errors_is_refused(world):
    w = world(200)
    runs = [w.run("a", arm="agent", **MODEL), w.run("b", arm="agent-blind", errors=0.3, **MODEL)]
    (control,) = compare(runs, settings=QUICK).contribution[0].controls
    assert "endpoint errors in b" in control.refused


def test_the_agent_against_itself_is_another_run_under_another_seed(world):
    w = world(1000)
    right = rights(1000)
    again = np.roll(right["agent"], 1)
    first = answered(w.run("a", arm="agent", sampling=WARM, **MODEL), lambda k: right["agent"][k])
    second = answered(w.run("a2", arm="agent", sampling=replace(WARM, seed=1), **MODEL), lambda k: again[k])
    rerun = compare([first, second], settings=QUICK).contribution[0].rerun
    assert rerun.run == second.id
    assert rerun.share == pytest.approx((right["agent"] & again).sum() / right["agent"].sum())
    assert rerun.low < rerun.share < rerun.high


def test_a_greedy_rerun_is_not_independent(world):
    w = world(60)
    runs = [w.run("a", arm="agent", **MODEL), w.run("b", arm="agent", sampling=Sampling(seed=1), **MODEL)]
    rerun = compare(runs, settings=QUICK).contribution[0].rerun
    assert rerun.share is None
    assert "greedy" in rerun.reason
    alone = compare(runs[:1], settings=QUICK).contribution[0].rerun
    assert "no second run of this agent" in alone.reason


def test_attempts_are_reruns_of_each_other(world):
    w = world(500)
    run = w.run("a", arm="agent", attempts=3, sampling=WARM, **MODEL)
    outcome = np.random.default_rng(9).random((3, 500)) < 0.6
    results = [
        replace(r, attempt=t, verdict="correct" if outcome[t, k] else "incorrect")
        for t in range(3)
        for k, r in enumerate(run.results)
    ]
    rerun = compare([RunData(run.spec, "a", results, [])], settings=QUICK).contribution[0].rerun
    solved, kept = outcome, outcome & np.roll(outcome, -1, axis=0)
    assert rerun.n == solved.sum()
    assert rerun.share == pytest.approx(kept.sum() / solved.sum())
    assert rerun.low < 0.6 < rerun.high


def test_where_one_zoom_is_enough(world):
    """Large things need no second zoom, small ones do."""
    w = world(2400, ("ocr",))
    large = w.octave > np.log2(25)
    ease = np.random.default_rng(9).random(2400)
    full = answered(w.run("full", arm="agent", max_zooms=3, **MODEL), lambda k: ease[k] < 0.9, zooms=[2] * 2400)
    one = answered(w.run("one", arm="agent", max_zooms=1, **MODEL), lambda k: ease[k] < (0.9 if large[k] else 0.6))
    found = compare([one, full], settings=QUICK)
    item = next(item for item in found.contribution if item.run == full.id)
    assert item.one_zoom_run == one.id
    small, _, big, everything = item.one_zoom
    assert small.verdict == everything.verdict == "more zooms are needed"
    assert big.verdict == "one zoom is enough"
    assert small.low < -0.3 < small.high < -0.05
    other = next(item for item in found.contribution if item.run == one.id)
    assert other.one_zoom == ()
    assert "once at most" in other.one_zoom_reason
    assert found.role("agent").run == full.id, "the one that may zoom most"


def test_few_answers_say_nothing_of_one_zoom(world):
    w = world(200)
    runs = [w.run("full", arm="agent", **MODEL), w.run("one", arm="agent", max_zooms=1, **MODEL)]
    cells = compare(runs, settings=QUICK).contribution[0].one_zoom
    assert {(cell.verdict, cell.difference) for cell in cells} == {("undecided", None)}
    assert "at least 350" in cells[0].reason
    alone = compare(runs[:1], settings=QUICK).contribution[0]
    assert "--max-zooms 1" in alone.one_zoom_reason


def test_all_wrong_has_no_share_of_what_was_solved(world):
    w = world(50)
    agent = answered(w.run("a", arm="agent", **MODEL), lambda k: False)
    control = answered(w.run("b", arm="agent-blind", **MODEL), lambda k: True)
    item = compare([agent, control], settings=QUICK).contribution[0]
    assert item.of_right is None
    assert item.within_one == 0
    assert item.controls[0].survived.share is None
    assert "solved none" in item.controls[0].survived.reason


def test_what_is_refused_stands_in_no_figure_beside(world):
    w = world(200)
    agent, faulty = w.run("a", arm="agent", **MODEL), w.run("d", errors=0.3, **MODEL)
    schema = w.run("s", arm="direct-schema", **MODEL)
    (item,) = compare([agent, faulty, schema], settings=QUICK).contribution
    assert item.schema is None
    assert {count.direct for count in item.histogram} == {None}
    (alone,) = compare([agent, faulty], settings=QUICK).contribution
    assert figures_dual.gains(alone, {}) == ""
