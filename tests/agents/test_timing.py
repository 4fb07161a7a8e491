"""Timing with a real store. Run as a program, this file is the process that the interruption test kills."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from itertools import combinations, groupby
from pathlib import Path

import pytest

from zoomgap.agents import Progress, TimedRun, TimingBench, spread_samples
from zoomgap.agents.runner import MAX_ERRORS_IN_A_ROW
from zoomgap.agents.timing import timed_answer, turn_order
from zoomgap.errors import ModelError, RefusedError
from zoomgap.models.scripted import ScriptedModel
from zoomgap.records import Clocks, Reply, Request, RunSpec, Step, TimingSession, Trajectory, Usage
from zoomgap.storage import Store

from ..samples import make_samples

CALL = '<tool_call>{"name": "zoom_in", "arguments": {"bbox_2d": [0, 0, 500, 500]}}</tool_call>'


def zoom_then_answer(request: Request) -> str:
    return CALL if request.tools and len(request.messages) == 2 else "7"


class Forgetful(ScriptedModel):
    """Counts how often it was told to forget images."""

    forgot = 0

    def forget(self) -> None:
        self.forgot += 1


def bench(store: Store, arms: dict[str, ScriptedModel], n: int, rounds: int = 1, mode: str = "latency", **more):
    """A bench of one run an arm, its session, and n samples."""
    samples = make_samples(store, n)
    timed = []
    for arm, model in arms.items():
        spec = RunSpec(benchmark="b", benchmark_sha256="0" * 64, arm=arm, model="scripted")  # type: ignore[arg-type]
        store.start_run(spec)
        timed.append(TimedRun(spec=spec, model=model))
    session = TimingSession(
        id="t1", benchmark="b", mode=mode, started="2026-01-01", seed=0, samples=n, rounds=rounds, warm_up=1,  # type: ignore[arg-type]
        in_flight=4, runs={run.spec.id: {} for run in timed}, circumstances={"concurrency": 1},
    )  # fmt: skip
    store.start_timing_session(session)
    return TimingBench(store, timed, n * rounds * len(timed), **more), session, samples


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "zoomgap.db") as opened:
        yield opened


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_every_run_is_as_often_in_every_place_and_before_every_other(n):
    turns = [turn_order(range(n), turn) for turn in range(2 * n)]
    for run in range(n):
        assert [sum(turn[place] == run for turn in turns) for place in range(n)] == [2] * n
    for a, b in combinations(range(n), 2):
        assert sum(turn.index(a) < turn.index(b) for turn in turns) == n
        follows = sum(turn.index(b) - turn.index(a) == 1 for turn in turns)
        assert follows == sum(turn.index(a) - turn.index(b) == 1 for turn in turns)


async def test_runs_answer_in_turn_on_each_sample(store):
    models = {arm: Forgetful(zoom_then_answer) for arm in ("direct", "agent", "tiles")}
    seen: list[Progress] = []
    timing, session, samples = bench(store, models, 6, 2, progress=seen.append)
    await timing.warm_up(samples, 2)
    assert store.timings("t1") == []
    await timing.latency(session, samples)
    found = store.timings("t1")
    turns = [list(group) for _, group in groupby(found, key=lambda a: (a.round, a.sample))]
    assert [turn[0].sample for turn in turns] == [sample.id for sample in samples] * 2
    ids = [run.spec.id for run in timing.runs]
    assert [[a.run for a in turn] for turn in turns] == [turn_order(ids, k) for k in range(12)]
    assert all([a.position for a in turn] == [0, 1, 2] for turn in turns)
    agents = [a for a in found if a.run == ids[1]]
    assert {(a.turns, a.zooms) for a in agents} == {(2, 1)}
    assert all(a.tool_ms > 0 and 0 <= a.view_ms <= a.wall_ms for a in agents)
    assert {(a.tool_ms, a.model_ms, a.first_byte_ms, a.image_tokens) for a in found if a.run == ids[0]} == {
        (0.0, None, None, None)
    }
    assert {model.forgot for model in models.values()} == {12}
    assert (seen[-1].done, seen[-1].total, seen[-1].eta_s) == (36, 36, 0)
    assert store.trajectories() == []
    assert {a.verdict for a in found if a.sample == "s3"} == {"incorrect"}


async def test_a_run_that_fails_is_stored_as_errors_until_it_is_given_up(store):
    def down(request: Request) -> Reply:
        raise ModelError("it is down")

    timing, session, samples = bench(
        store, {"direct": ScriptedModel(zoom_then_answer), "tiles": ScriptedModel(down)}, 40
    )
    with pytest.raises(ModelError, match="in a row, the last one: it is down"):
        await timing.latency(session, samples)
    ok, failed = ([a for a in store.timings("t1") if a.run == run.spec.id] for run in timing.runs)
    assert {a.verdict for a in failed} == {"error"}
    assert {a.error for a in failed} == {"it is down"}
    assert len(failed) == MAX_ERRORS_IN_A_ROW
    assert len(ok) >= MAX_ERRORS_IN_A_ROW - 1
    assert all(a.error is None for a in ok)
    assert store.timing_sessions()[0].ended is None


async def test_a_refusal_ends_it_at_once(store):
    timing, session, samples = bench(store, {"direct": ScriptedModel(["7", RefusedError("401: set the key")])}, 5)
    with pytest.raises(RefusedError, match="401"):
        await timing.latency(session, samples)
    assert len(store.timings("t1")) == 1


async def test_blocks_are_taken_in_turn_with_as_many_in_flight(store):
    class Counting(ScriptedModel):
        now = most = 0

        async def reply(self, request: Request) -> Reply:
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.01)
            self.now -= 1
            return await super().reply(request)

    models = {arm: Counting(zoom_then_answer) for arm in ("direct", "tiles")}
    timing, session, samples = bench(store, models, 12, mode="throughput")
    await timing.throughput(session, [samples[:6], samples[6:]])
    assert {model.most for model in models.values()} == {4}
    ids = [run.spec.id for run in timing.runs]
    found = store.timing_blocks("t1")
    assert [(b.run, b.block, b.position) for b in found] == [
        (ids[0], 0, 0), (ids[1], 0, 1), (ids[1], 1, 0), (ids[0], 1, 1),
    ]  # fmt: skip
    assert {(b.answers, b.errors) for b in found} == {(6, 0)}
    assert all(b.seconds > 0.015 for b in found)
    assert len(store.timings("t1")) == 24
    assert {a.view_ms for a in store.timings("t1")} == {None}


def test_samples_are_spread_over_dimensions_and_sizes(store):
    samples = make_samples(store, 40)
    mixed = [replace(s, dimension="ab"[k % 2], width=64) for k, s in enumerate(samples)]
    chosen = spread_samples(mixed, 10, 0)
    assert len({s.id for s in chosen}) == 10
    assert sum(s.dimension == "a" for s in chosen) == 5
    assert chosen == spread_samples(mixed, 10, 0) != spread_samples(mixed, 10, 1)
    assert {s.id for s in spread_samples(mixed, 99, 0)} == {s.id for s in mixed}


def test_a_sum_is_unknown_where_a_part_of_it_is(store):
    (sample,) = make_samples(store, 1)
    steps = (
        Step(index=0, request=Request(messages=()), clocks=Clocks(model_ms=5, first_byte_ms=2),
             usage=Usage(completion_tokens=3)),
        Step(index=1, request=Request(messages=()), clocks=Clocks(model_ms=7), usage=Usage(completion_tokens=4)),
        Step(index=2, call=1, request=Request(messages=())),
    )  # fmt: skip
    made = Trajectory(
        run="r", sample="s0", attempt=0, invocation="t", stop_reason="answered", text="0", steps=steps, wall_ms=20
    )
    found = timed_answer(made, sample, "t", 0, 0)
    assert (found.model_ms, found.first_byte_ms, found.completion_tokens, found.image_tokens) == (12, None, 7, None)
    assert (found.turns, found.verdict) == (2, "correct")


def stored(path: Path) -> int:
    if not path.is_file():
        return 0
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM timings").fetchone()[0])
    except sqlite3.OperationalError:  # the tables are being made
        return 0
    finally:
        connection.close()


def test_what_was_timed_before_a_kill_stays(tmp_path):
    path = tmp_path / "zoomgap.db"
    command = [sys.executable, "-m", "tests.agents.test_timing", str(path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2])
    try:
        while stored(path) < 7:
            assert process.poll() is None, process.stderr and process.stderr.read().decode()
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with Store.open(path) as store:
        found = store.timings("t1")
        assert 7 <= len(found) < 400
        assert store.timing_sessions()[0].ended is None
        assert store.verify() == []
        # What is there is whole: turns in order, and only the last one may lack its end.
        ids = [run.id for run in store.runs()]
        expected = [run for turn in range(200) for run in turn_order(ids, turn)]
        assert [a.run for a in found] == expected[: len(found)]


class SlowModel(ScriptedModel):
    async def reply(self, request: Request) -> Reply:
        await asyncio.sleep(0.02)
        return await super().reply(request)


if __name__ == "__main__":
    arms = {"direct": SlowModel(zoom_then_answer), "agent": SlowModel(zoom_then_answer)}
    timing, session, samples = bench(Store.open(sys.argv[1]), arms, 200)
    asyncio.run(timing.latency(session, samples))
