"""Stored runs of the embedded model, timed against one another."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from zoomgap.errors import UsageError
from zoomgap.pipeline import (
    ModelChoice,
    RunOptions,
    TimeOptions,
    compare_runs,
    latest_session,
    make_micro,
    run,
    time_runs,
    timing,
    write_report,
)
from zoomgap.records import RunSpec
from zoomgap.storage import Store

SEED = 8_520_000


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with direct and agent of the embedded model on 12 samples."""
    path = tmp_path_factory.mktemp("timing") / "z.db"
    with Store.open(path) as store:
        bench = make_micro(store, 12, SEED).name
        for arm in ("direct", "agent"):
            run(store, bench, arm, ModelChoice(), RunOptions())
    return path


@pytest.fixture
def store(path):
    with Store.open(path) as opened:
        yield opened


def ids(store: Store, *arms: str) -> list[str]:
    return [next(info.id for info in store.runs() if info.spec.arm == arm) for arm in arms or ("direct", "agent")]


def test_timed_in_turn_with_one_model_open_and_answers_left_alone(store, monkeypatch, tmp_path):
    opened = []
    real = timing.open_model
    monkeypatch.setattr(timing, "open_model", lambda *a, **k: opened.append(real(*a, **k)) or opened[-1])
    before, runs = store.counts()["trajectories"], ids(store)
    seen = []
    session = time_runs(store, [run[:8] for run in runs], TimeOptions(samples=12), seen.append)
    assert len(opened) == 1
    assert (seen[-1].done, seen[-1].total, seen[-1].errors) == (24, 24, 0)
    assert store.counts()["trajectories"] == before
    (kept,) = store.timing_sessions("latency")
    assert kept == replace(session, ended=kept.ended)
    assert kept.ended
    assert (kept.circumstances["concurrency"], kept.circumstances["warm_up"]) == (1, 2)
    assert kept.runs[runs[0]] == {"batch_size": 1, "cache_bytes": 2**30, "stream": None}
    answers = store.timings(session.id)
    assert [(a.run, a.position) for a in answers[:4]] == [(r, p) for p, r in enumerate(runs)] + [
        (r, p) for p, r in enumerate(runs[::-1])
    ]
    alike = 0
    for answer in answers:
        assert 0 < answer.preprocess_ms < answer.first_byte_ms < answer.model_ms < answer.wall_ms
        assert 0 < answer.view_ms < answer.wall_ms
        assert answer.image_tokens >= 16
        (row,) = store.trajectories(answer.run, sample=answer.sample)
        alike += (row.verdict, row.turns) == (answer.verdict, answer.turns)
    # Greedy answers are those of the run, but where rounding in a batch of another size tips a near tie.
    assert alike >= 20
    found = compare_runs(store, runs, {})
    assert found.timing_session.id == session.id
    pair = found.timing_session.pairs[0]
    assert pair.refused == ()
    assert 0 < pair.ratio < 1
    assert found.pairs[0].latency_ratio == pair.ratio
    parts = {part.cause: part.ms for part in pair.parts}
    assert sum(parts.values()) == pytest.approx(pair.difference_ms)
    assert parts["generated_tokens"] < 0 > parts["tool"]
    write_report(store, found, tmp_path / "r.html")
    assert session.id in (tmp_path / "r.html").read_text()


def test_the_latest_session_with_answers_counts(store):
    runs = ids(store)
    first = time_runs(store, runs, TimeOptions(samples=2, warm_up=0))
    assert latest_session(store, runs, "latency").id == first.id
    later = replace(first, id="empty", started="2026-01-01")
    store.start_timing_session(later)
    assert latest_session(store, runs, "latency").id == first.id
    alone = time_runs(store, runs[:1], TimeOptions(samples=1, warm_up=0))
    assert latest_session(store, runs, "latency").id == first.id
    assert latest_session(store, runs[:1], "latency").id == alone.id
    assert latest_session(store, ["other", runs[0]], "latency") is None
    # With so few answers there are figures, but none that would mean nothing.
    (pair,) = compare_runs(store, runs, {}).timing_session.pairs
    assert pair.refused == ("only 2 shared timings",)
    row = compare_runs(store, runs, {}).timing_session.runs[0]
    assert (row.n, row.p95_ms, row.p50_low) == (2, None, None)


def test_throughput_is_a_session_of_its_own(store):
    runs = ids(store)
    with pytest.raises(UsageError, match="--time-samples 24"):
        time_runs(store, runs, TimeOptions(samples=12, in_flight=4))
    session = time_runs(store, runs, TimeOptions(samples=12, in_flight=2, warm_up=1))
    assert (session.mode, session.in_flight, session.runs[runs[0]]["batch_size"]) == ("throughput", 2, 2)
    assert [b.run for b in store.timing_blocks(session.id)][:4] == [*runs, *runs[::-1]]
    found = compare_runs(store, runs, {}).throughput
    assert found.id == session.id
    assert [(row.n, row.errors, row.blocks) for row in found.runs] == [(12, 0, 6)] * 2
    assert found.runs[1].ratio < 1


def answered(store: Store, spec: RunSpec) -> str:
    """Store a run with the answers of another, under another name."""
    run = store.start_run(spec)
    for id in store.trajectory_ids(ids(store)[0]):
        trajectory = store.trajectory(id)
        store.add_trajectory(replace(trajectory, run=run))
    return run


REMOTE = {"endpoint": "http://127.0.0.1:9/v1", "model": "m", "weights": None, "dtype": None}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (REMOTE, "transport (in process, HTTP)"),
        ({"weights": "f" * 64}, "its weights were ffffffffffff and are"),
        ({"dtype": "float8"}, "its dtype were float8"),
        ({"prompts": "0" * 64}, "prompts 000000000000"),
    ],
)  # fmt: skip
def test_runs_that_cannot_be_timed_together_are_refused_in_one_line(path, tmp_path, change, said):
    with Store.open(path) as store:
        store.backup(tmp_path / "z.db")
    (tmp_path / "objects").symlink_to(path.parent / "objects")
    with Store.open(tmp_path / "z.db") as store:
        first = ids(store)[0]
        other = answered(store, replace(store.run(first), **change))
        sessions = len(store.timing_sessions())
        with pytest.raises(UsageError) as refused:
            time_runs(store, [first, other])
        assert said in str(refused.value)
        assert other in str(refused.value)
        assert "\n" not in str(refused.value)
        assert len(store.timing_sessions()) == sessions


def test_a_checkpoint_that_changed_is_another_model(store, tmp_path, tiny_checkpoint):
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint, folder)
    bench = store.run(ids(store)[0]).benchmark
    summary = run(store, bench, "direct", ModelChoice(model=f"hf:{folder}"), RunOptions(limit=1, max_tokens=2))
    assert time_runs(store, [summary.run], TimeOptions(warm_up=0)).samples == 1
    (folder / "generation_config.json").write_text(
        json.dumps(json.loads((folder / "generation_config.json").read_text()) | {"temperature": 0.5})
    )
    with pytest.raises(UsageError, match="no longer that of run"):
        time_runs(store, [summary.run])


def test_runs_of_unlike_sets_and_without_answers_are_refused(store):
    other = make_micro(store, 2, SEED + 100).name
    elsewhere = run(store, other, "direct", ModelChoice(), RunOptions()).run
    with pytest.raises(UsageError, match="unlike benchmarks"):
        time_runs(store, [ids(store)[0], elsewhere])
    empty = store.start_run(replace(store.run(ids(store)[0]), arm="tiles"))
    with pytest.raises(UsageError, match="share no answered sample"):
        time_runs(store, [ids(store)[0], empty])


def test_a_run_in_other_words_is_timed_and_graded_in_them(path):
    with Store.open(path) as store:
        run(store, store.benchmarks()[0].name, "direct", ModelChoice(), RunOptions(variant=1))
        variant = next(info.id for info in store.runs() if info.spec.variant)
        session = time_runs(store, [variant], TimeOptions(samples=12))
        known = {row.sample: row.verdict for row in store.trajectories(variant)}
        alike = sum(known[answer.sample] == answer.verdict for answer in store.timings(session.id))
    assert alike >= 10
