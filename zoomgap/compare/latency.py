"""Time to an answer: percentiles, where the time goes, and the paired ratio of two runs.

Answers pool across invocations, timings do not: a run's timings are those of its most common circumstances, and two
runs are compared only where all circumstances agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoomgap.compare.stats import bootstrap_means, percentiles
from zoomgap.compare.table import RunData
from zoomgap.records import Result, canonical_json

PARTS = ("turns", "completion_tokens", "image_tokens", "preprocess_ms", "model_ms", "tool_ms")
"""What a run's time is made of: calls, generated tokens, image tokens, preprocessing, model and tool time."""
MIN_PAIRS = 10


@dataclass(frozen=True, slots=True)
class Timing:
    """Percentiles of the wall time in ms over n answers of like circumstances, and means an answer.

    A mean is None unless every answer has its value: a clock that could not be read is not 0. overhead_ms: wall time
    that is neither model nor tool. concurrency: answers in flight at once; per_second: answers that came in a second
    of the command's time, None where it was cut short.
    """

    n: int
    concurrency: int | None
    per_second: float | None
    p50_ms: float | None
    p95_ms: float | None
    turns: float | None
    completion_tokens: float | None
    image_tokens: float | None
    preprocess_ms: float | None
    model_ms: float | None
    tool_ms: float | None
    overhead_ms: float | None


@dataclass(frozen=True, slots=True)
class LatencyRatio:
    """Geometric mean over shared answers of wall time a / wall time b; None where refused, with the reasons.

    parts: mean of a minus mean of b of each of PARTS over the same answers, None where unknown.
    """

    n: int
    ratio: float | None
    low: float | None
    high: float | None
    refused: tuple[str, ...]
    parts: Mapping[str, float | None]


def circumstances(run: RunData) -> Mapping[str, Any]:
    """The circumstances under which most of the run's answers were given."""
    known = {invocation.id: canonical_json(dict(invocation.circumstances)) for invocation in run.invocations}
    counts = Counter(known.get(result.invocation, "{}") for result in run.results)
    winner = counts.most_common(1)[0][0]
    return next((i.circumstances for i in run.invocations if known[i.id] == winner), {})


def timed(run: RunData) -> list[Result]:
    """The run's answers without errors that were given under its most common circumstances."""
    chosen = canonical_json(dict(circumstances(run)))
    known = {invocation.id: canonical_json(dict(invocation.circumstances)) for invocation in run.invocations}
    return [r for r in run.results if r.verdict != "error" and known.get(r.invocation, "{}") == chosen]


def timing(run: RunData) -> Timing:
    """Latency of one run."""
    results = timed(run)
    walls = np.array([result.wall_ms for result in results])
    p50, p95 = np.percentile(walls, [50, 95]).tolist() if results else (None, None)
    means = {part: mean_of(results, part) for part in PARTS}
    overhead = None
    if walls.size and means["model_ms"] is not None:
        overhead = max(0.0, float(walls.mean()) - means["model_ms"] - (means["tool_ms"] or 0.0))
    concurrency = circumstances(run).get("concurrency")
    return Timing(
        n=len(results),
        concurrency=concurrency if isinstance(concurrency, int) else None,
        per_second=throughput(run),
        p50_ms=p50,
        p95_ms=p95,
        overhead_ms=overhead,
        **means,
    )


def throughput(run: RunData) -> float | None:
    """Answers a second over the invocations of the most common circumstances; None where one never ended."""
    used = {result.invocation for result in timed(run)}
    spans = [invocation.seconds for invocation in run.invocations if invocation.id in used]
    known = [span for span in spans if span]
    return len(timed(run)) / sum(known) if known and len(known) == len(spans) else None


def mean_of(results: Sequence[Result], part: str) -> float | None:
    """Mean of one field over the results; None unless all have it. No tool call is no tool time."""
    values = [getattr(result, part) for result in results]
    if part == "tool_ms":
        values = [0.0 if v is None and r.zooms == 0 else v for v, r in zip(values, results, strict=True)]
    if not values or any(value is None for value in values):
        return None
    return float(np.mean(values))


def unlike(a: RunData, b: RunData) -> tuple[str, ...]:
    """Names of the circumstances in which two runs differ; timings compare only when there are none."""
    names = []
    if (a.spec.endpoint is None) != (b.spec.endpoint is None):
        names.append("transport (in process, HTTP)")
    elif a.spec.endpoint != b.spec.endpoint:
        names.append("endpoint")
    left, right = circumstances(a), circumstances(b)
    names += [key for key in sorted({*left, *right}) if left.get(key) != right.get(key)]
    return tuple(names)


def latency_ratio(
    a: RunData, b: RunData, cluster_of: Mapping[str, int], weights: NDArray[np.float32], confidence: float = 0.95
) -> LatencyRatio:
    """Paired latency of two runs; refused where circumstances differ or fewer than MIN_PAIRS answers are shared.

    cluster_of: cluster code of each sample id; weights: from `bootstrap_weights`.
    """
    refused = unlike(a, b)
    others = {(result.sample.id, result.attempt): result for result in timed(b)}
    pairs = [(result, others[key]) for result in timed(a) if (key := (result.sample.id, result.attempt)) in others]
    pairs = [(x, y) for x, y in pairs if x.wall_ms > 0 and y.wall_ms > 0]
    if not refused and len(pairs) < MIN_PAIRS:
        refused = (f"only {len(pairs)} shared timings",)
    if refused:
        return LatencyRatio(len(pairs), None, None, None, refused, {})
    logs = np.log([x.wall_ms / y.wall_ms for x, y in pairs])
    codes = np.array([cluster_of[x.sample.id] for x, _ in pairs])
    interval = percentiles(bootstrap_means(logs, codes, weights), confidence)
    parts: dict[str, float | None] = {}
    for part in PARTS:
        left, right = mean_of([x for x, _ in pairs], part), mean_of([y for _, y in pairs], part)
        parts[part] = None if left is None or right is None else left - right
    low, high = float(np.exp(interval.low)), float(np.exp(interval.high))
    return LatencyRatio(len(pairs), float(np.exp(logs.mean())), low, high, (), parts)
