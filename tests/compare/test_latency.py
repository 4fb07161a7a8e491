from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from zoomgap.compare.latency import latency_ratio, timed, timing, unlike
from zoomgap.compare.stats import bootstrap_weights
from zoomgap.compare.table import RunData
from zoomgap.records import Invocation


def ratio_of(a, b):
    codes = {result.sample.id: index for index, result in enumerate(a.results)}
    return latency_ratio(a, b, codes, bootstrap_weights(len(codes), 200, 0))


def test_paired_ratio_and_what_it_is_made_of(world):
    w = world(300)
    agent = w.run("agent", wall=400, turns=3, arm="agent", model="m")
    direct = w.run("direct", wall=100, model="m")
    found = ratio_of(agent, direct)
    assert found.ratio == pytest.approx(4, rel=0.05)
    assert found.low < found.ratio < found.high
    assert found.parts["turns"] == 2
    assert found.parts["completion_tokens"] == 16
    assert found.parts["model_ms"] == pytest.approx(240)
    assert found.parts["tool_ms"] == pytest.approx(3)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"concurrency": 8}, "concurrency"),
        ({"processor": "another"}, "processor"),
        ({"packages": {"torch": "3"}}, "packages"),
    ],
)
def test_unlike_circumstances_are_refused_by_name(world, change, name):
    w = world(50)
    a, b = (
        w.run("a"),
        w.run("b", circumstances={"concurrency": 1, "processor": "a test"} | {"packages": {"torch": "2"}} | change),
    )
    assert unlike(a, b) == (name,)
    found = ratio_of(a, b)
    assert found.ratio is None
    assert found.refused == (name,)


def test_a_process_and_a_wire_are_never_compared(world):
    w = world(50)
    assert "HTTP" in unlike(w.run("a"), w.run("b", endpoint="http://localhost"))[0]


def test_timings_do_not_pool_over_circumstances(world):
    run = world(100).run("a", wall=100)
    slow = Invocation(id="slow", run=run.id, started="2025-01-02", circumstances={"concurrency": 64})
    results = [replace(r, invocation="slow", wall_ms=9_000.0) if i < 30 else r for i, r in enumerate(run.results)]
    both = RunData(run.spec, run.label, results, [*run.invocations, slow])
    assert timed(both).mask.sum() == 70
    assert timing(both).p95_ms < 200


def test_percentiles_leave_out_errors_and_unknown_clocks_stay_unknown(world):
    run = world(200).run("a", errors=0.3)
    results = [replace(r, preprocess_ms=None) if i == 199 else r for i, r in enumerate(run.results)]
    found = timing(
        RunData(run.spec, run.label, [replace(results[199], verdict="correct"), *results[:199]], run.invocations)
    )
    walls = [r.wall_ms for r in results[:199] if r.verdict != "error"] + [results[199].wall_ms]
    assert found.p50_ms == pytest.approx(np.percentile(walls, 50))
    assert found.preprocess_ms is None
    assert found.tool_ms == 0.0


def test_few_shared_timings_are_refused(world):
    w = world(5)
    assert ratio_of(w.run("a"), w.run("b")).refused == ("only 5 shared timings",)
