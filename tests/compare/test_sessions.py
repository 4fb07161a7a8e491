from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from tests.markup import HOSTILE, Tags
from zoomgap.compare import compare, figures, render
from zoomgap.compare.latency import latency_ratio, unlike
from zoomgap.compare.rows import Settings
from zoomgap.compare.sessions import latency_session, log_mean, quantile, throughput_session
from zoomgap.compare.stats import bootstrap_weights
from zoomgap.compare.table import RunData, SessionTimes
from zoomgap.records import RunSpec, TimedAnswer, TimedBlock, TimingSession

QUICK = Settings(draws=200, curve_draws=30)


def session_of(held: list[RunData], **change) -> TimingSession:
    own = {run.id: {"batch_size": 1, "cache_bytes": 2**30, "stream": None} for run in held}
    given = {
        "id": "t1", "benchmark": "sim", "mode": "latency", "started": "2026-01-01", "ended": "2026-01-02", "seed": 0,
        "samples": 60, "rounds": 1, "warm_up": 2, "in_flight": 1, "runs": own, "circumstances": {"concurrency": 1},
    }  # fmt: skip
    return TimingSession(**{**given, **change})


def answer(run: RunData, sample: str, wall: float, turns: int = 1, number: int = 0, **change) -> TimedAnswer:
    given = {
        "session": "t1", "run": run.id, "sample": sample, "round": number, "position": 0, "wall_ms": wall,
        "verdict": "correct", "view_ms": 5.0, "model_ms": wall * 0.8, "preprocess_ms": 2.0, "first_byte_ms": wall * 0.4,
        "tool_ms": 1.0 * (turns - 1), "completion_tokens": 8 * turns, "image_tokens": 64 * turns**2, "turns": turns,
        "pixels_sent": 65_536 * turns, "zooms": turns - 1,
    }  # fmt: skip
    return TimedAnswer(**{**given, **change})


def timed(answers: Mapping[RunData, list[TimedAnswer]], **change) -> list[RunData]:
    session = session_of(list(answers), **change)
    return [replace(run, times=SessionTimes(session, found)) for run, found in answers.items()]


def walls(n: int, middle: float, seed: int, spread: float = 0.3) -> np.ndarray:
    return middle * np.exp(np.random.default_rng(seed).normal(0, spread, n))


def simulated(n: int = 40, ratio: float = 4.0, seed: int = 0) -> list[RunData]:
    """A direct run and an agent whose time is `ratio` times as long, of one model."""
    direct, agent = (RunData(RunSpec(benchmark="sim", benchmark_sha256="0", arm=arm, model="m"), arm, [], [])
                     for arm in ("direct", "agent"))  # fmt: skip
    ease, noise = walls(n, 100, seed), walls(2 * n, 1, seed + 10**6, 0.15).reshape(2, n)
    turns = np.random.default_rng(seed).integers(2, 5, n)
    return timed(
        {
            direct: [answer(direct, f"s{k}", ease[k] * noise[0, k]) for k in range(n)],
            agent: [answer(agent, f"s{k}", ratio * ease[k] * noise[1, k], int(turns[k])) for k in range(n)],
        }
    )


CODES = {f"s{k}": k for k in range(500)}


def test_a_known_ratio_is_covered():
    """n of 12 samples: percentiles of a bootstrap alone cover 90.5%."""
    weights, hits = bootstrap_weights(12, 500, 0), 0
    repetitions = 1000
    for seed in range(repetitions):
        direct, agent = simulated(12, seed=seed)
        found = latency_ratio(agent, direct, CODES, weights)
        hits += found.low <= 4 <= found.high
    assert 0.925 < hits / repetitions < 0.975


def test_a_known_difference_is_covered_and_its_parts_add_up():
    hits = 0
    repetitions = 150
    expected = 3 * 100 * np.exp(0.3**2 / 2 + 0.15**2 / 2)
    for seed in range(repetitions):
        (pair,) = latency_session(simulated(60, seed=seed)[::-1], CODES, 300).pairs
        assert sum(part.ms for part in pair.parts if part.ms is not None) == pytest.approx(pair.difference_ms)
        hits += pair.difference_low <= expected <= pair.difference_high
    assert hits / repetitions > 0.89


@pytest.mark.parametrize(("share", "n"), [(0.5, 20), (0.5, 200), (0.95, 200)])
def test_bounds_of_percentiles_hold_for_skewed_times(share, n):
    truth = np.quantile(np.exp(np.random.default_rng(1).normal(size=10**6)), share)
    rng, hits = np.random.default_rng(2), 0
    for _ in range(1000):
        found = quantile(np.exp(rng.normal(size=n)), share, np.arange(n))
        hits += (found.low or 0) <= truth <= (found.high or np.inf)
    assert hits / 1000 > 0.93


def test_so_few_answers_do_not_bound_the_slow_end():
    times = np.arange(1.0, 61)
    assert quantile(times, 0.95, np.arange(60)).high is None
    assert quantile(times, 0.95, np.arange(60)).low is not None
    assert quantile(times[:3], 0.5, np.arange(3)) == (2.0, None, None)
    assert quantile(times[:0], 0.5, np.arange(0)) == (None, None, None)


def test_repeated_samples_are_worth_less_than_new_ones():
    times = np.repeat(walls(30, 100, 0), 4)
    alone, clustered = (quantile(times, 0.5, codes) for codes in (np.arange(120), np.repeat(np.arange(30), 4)))
    assert clustered.high - clustered.low > 1.5 * (alone.high - alone.low)


def test_rows_name_what_a_session_holds():
    runs = simulated(40)
    found = latency_session(runs, CODES, 200)
    direct, agent = found.runs
    assert (direct.n, direct.errors, found.samples) == (40, 0, 60)
    assert direct.p50_low < direct.p50_ms < direct.p50_high
    assert sum(part.ms for part in agent.parts if part.ms is not None) == pytest.approx(agent.mean_ms)
    assert (direct.call_ms, direct.image_token_ms) == (agent.call_ms, agent.image_token_ms)
    assert direct.call_ms is not None


def test_a_run_that_fails_is_counted_and_its_ratio_refused():
    direct, agent = simulated(40)
    third = replace(direct, spec=replace(direct.spec, arm="tiles"), label="tiles")
    broken = [answer(agent, f"s{k}", 9e9, verdict="error", error="down") for k in range(38)]
    kept = [replace(a, run=third.id) for a in direct.times.answers]
    runs = timed({direct: list(direct.times.answers), agent: broken, third: kept})
    found = latency_session(runs, CODES, 200)
    assert [(row.n, row.errors) for row in found.runs] == [(40, 0), (0, 38), (40, 0)]
    assert (found.runs[1].p50_ms, found.runs[1].mean_ms) == (None, None)
    refused = {(pair.a, pair.b): pair.refused for pair in found.pairs}
    assert refused[direct.id, third.id] == ()
    assert refused[direct.id, agent.id] == ("only 0 shared timings",)
    some = [*agent.times.answers[:37], *broken[:3]]
    (pair,) = latency_session(timed({direct: list(direct.times.answers), agent: some}), CODES, 200).pairs
    assert pair.refused == ("3 of 40 timed answers of agent are errors",)
    assert pair.ratio is pair.difference_ms is None


def test_what_one_model_cannot_split_is_split_for_neither():
    direct, agent = simulated(40)
    student = RunData(replace(direct.spec, model="student"), "student", [], [])
    answers = {
        direct: list(direct.times.answers),
        agent: list(agent.times.answers),
        student: [replace(a, run=student.id) for a in direct.times.answers],
    }
    found = latency_session(timed(answers), CODES, 200)
    assert found.runs[2].call_ms is None
    causes = {(pair.a, pair.b): {part.cause: part.ms for part in pair.parts} for pair in found.pairs}
    assert causes[direct.id, agent.id]["calls"] is not None
    mixed = causes[agent.id, student.id]
    assert mixed["calls"] is mixed["image_tokens"] is None
    pair = found.pairs[2]
    assert sum(ms for ms in mixed.values() if ms is not None) == pytest.approx(pair.difference_ms)


def test_unlike_circumstances_in_a_session_are_refused_by_name():
    direct, agent = simulated(40)
    own = {direct.id: {"batch_size": 1, "cache_bytes": 0}, agent.id: {"batch_size": 1, "cache_bytes": 2**30}}
    runs = timed({direct: list(direct.times.answers), agent: list(agent.times.answers)}, runs=own)
    assert unlike(*runs) == ("cache_bytes",)
    assert latency_session(runs, CODES, 200).pairs[0].refused == ("cache_bytes",)
    elsewhere = replace(agent, spec=replace(agent.spec, endpoint="http://localhost/v1"))
    assert "HTTP" in unlike(direct, elsewhere)[0]
    assert unlike(direct, replace(agent, times=None)) == ("timing session",)


def test_a_comparison_goes_by_the_session_and_never_mixes(world):
    w = world(120)
    base, agent, other = w.run("base", wall=900), w.run("agent", arm="agent", wall=900), w.run("other", arm="tiles")
    runs = timed({
        base: [answer(base, f"s{k}", 100.0 + k % 7) for k in range(30)],
        agent: [answer(agent, f"s{k}", 300.0 + k % 7, 2 + k % 2) for k in range(30)],
    })  # fmt: skip
    found = compare([*runs, other], settings=QUICK)
    assert found.run(base.id).p50_ms == pytest.approx(103, abs=3)
    assert found.run(base.id).timing.session == "t1"
    assert found.run(other.id).timing.session is None
    assert found.pair(base.id, agent.id).latency_ratio == pytest.approx(1 / 3, rel=0.05)
    assert found.pair(base.id, other.id).latency_refused == ("timing session",)
    assert [row.run for row in found.timing_session.runs] == [base.id, agent.id]
    assert found.to_json()["timing_session"]["pairs"][0]["parts"][0]["cause"] == "calls"
    assert compare([base, other], settings=QUICK).timing_session is None


def test_the_section_shows_parts_and_escapes(world):
    w = world(60)
    base, agent = w.run(HOSTILE), w.run(HOSTILE + "2", arm="agent")
    runs = timed({
        base: [answer(base, f"s{k}", 100.0 + k % 7) for k in range(30)],
        agent: [answer(agent, f"s{k}", 300.0 + k % 7, 2 + k % 2) for k in range(30)],
    }, ended=None, circumstances={"concurrency": 1, "cpu": HOSTILE, "load": None})  # fmt: skip
    found = compare(runs, settings=QUICK)
    page = render(found)
    assert "Mean time to an answer by cause" in page
    assert "it was cut short" in page
    assert "Read from clocks" in page
    assert "unbounded" in page
    assert "script" not in Tags(page).tags
    assert 'id="time-parts-' in figures.time_parts(found)
    assert figures.time_parts(compare([w.run("a"), w.run("b")], settings=QUICK)) == ""


def blocks(run: RunData, rates: list[float], errors: int = 0) -> RunData:
    """The run in a throughput session with another one."""
    session = session_of([], mode="throughput", in_flight=8)
    made = [
        TimedBlock(session="t1", run=run.id, block=k, position=0, answers=10, errors=errors, seconds=10 / rate)
        for k, rate in enumerate(rates)
    ]
    failed = [answer(run, f"e{k}", 1.0, verdict="error") for k in range(errors)]
    return replace(run, times=None, rates=SessionTimes(session, failed, made))


def test_throughput_is_told_over_blocks():
    direct, agent = simulated(1)
    runs = [blocks(direct, [8, 9, 10, 8]), blocks(agent, [2, 2.2, 2.4, 2.1])]
    first, second = throughput_session(runs).runs
    assert first.per_second == pytest.approx((8 * 9 * 10 * 8) ** 0.25)
    assert first.low < first.per_second < first.high
    assert first.ratio is None
    assert second.ratio == pytest.approx(second.per_second / first.per_second)
    assert second.ratio_high < 0.3
    few = throughput_session([blocks(direct, [8, 9]), blocks(agent, [2, 2])]).runs
    assert (few[1].refused, few[0].low) == (("only 2 shared blocks",), None)
    failing = throughput_session([runs[0], blocks(agent, [2, 2, 2], errors=3)]).runs
    assert failing[1].refused == ("3 of 3 timed answers of agent are errors",)
    assert throughput_session([direct]) is None


def test_a_known_rate_is_covered():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(2000):
        found = log_mean(rng.normal(np.log(5), 0.1, 6).tolist())
        hits += found.low <= 5 <= found.high
    assert 0.93 < hits / 2000 < 0.97
