"""Time to an answer: percentiles, where the time goes, and the paired ratio of two runs.

Where a timing session holds a run, its times are those of the session. Else they are those of its answers: answers pool
across invocations, timings do not, so a run's timings are those of its most common circumstances. Two runs are compared
only where all circumstances agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from zoomgap.compare.stats import Array, Interval, bootstrap_means, bootstrap_weights, percentiles
from zoomgap.compare.table import RunData
from zoomgap.records import Result, RunSpec, TimedAnswer, canonical_json

PARTS = ("turns", "completion_tokens", "image_tokens", "preprocess_ms", "model_ms", "tool_ms")
"""What a run's time is made of: calls, generated tokens, image tokens, preprocessing, model and tool time."""
MIN_PAIRS = 10
MAX_ERROR_RATE = 0.02
"""Over which the answers of a timing session say too little about the run."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Percentiles of the wall time in ms over n answers of like circumstances, and means an answer.

    A mean is None unless every answer has its value: a clock that could not be read is not 0. overhead_ms: wall time
    that is neither model nor tool. concurrency: answers in flight at once; per_second: answers that came in a second
    of the command's time, None where it was cut short. session: the timing session, None for the run's own answers.
    """

    session: str | None
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
    """The circumstances of the run's timing session, else those under which most of its answers were given."""
    if run.times is not None:
        session = run.times.session
        return {**session.circumstances, **session.runs.get(run.id, {})}
    known = {invocation.id: canonical_json(dict(invocation.circumstances)) for invocation in run.invocations}
    counts = Counter(known.get(result.invocation, "{}") for result in run.results)
    winner = counts.most_common(1)[0][0]
    return next((i.circumstances for i in run.invocations if known[i.id] == winner), {})


def timed(run: RunData) -> Sequence[Result | TimedAnswer]:
    """The run's answers without errors: of its timing session, else those of its most common circumstances."""
    if run.times is not None:
        return [answer for answer in run.times.answers if answer.verdict != "error"]
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
        session=run.times.session.id if run.times else None,
        n=len(results),
        concurrency=concurrency if isinstance(concurrency, int) else None,
        per_second=throughput(run),
        p50_ms=p50,
        p95_ms=p95,
        overhead_ms=overhead,
        **means,
    )


def throughput(run: RunData) -> float | None:
    """Answers a second over the invocations of the most common circumstances; None where one never ended.

    A timing session of one answer at a time is no measure of it.
    """
    used = {result.invocation for result in timed(run) if isinstance(result, Result)}
    spans = [invocation.seconds for invocation in run.invocations if invocation.id in used]
    known = [span for span in spans if span]
    return len(timed(run)) / sum(known) if known and len(known) == len(spans) else None


def mean_of(results: Sequence[Result | TimedAnswer], part: str) -> float | None:
    """Mean of one field over the results; None unless all have it. No tool call is no tool time."""
    values = [getattr(result, part) for result in results]
    if part == "tool_ms":
        values = [0.0 if v is None and r.zooms == 0 else v for v, r in zip(values, results, strict=True)]
    if not values or any(value is None for value in values):
        return None
    return float(np.mean(values))


def unlike_places(a: RunSpec, b: RunSpec) -> list[str]:
    """What differs between the places where two runs are answered."""
    if (a.endpoint is None) != (b.endpoint is None):
        return ["transport (in process, HTTP)"]
    return ["endpoint"] if a.endpoint != b.endpoint else []


def unlike(a: RunData, b: RunData) -> tuple[str, ...]:
    """Names of the circumstances in which two runs differ; timings compare only when there are none."""
    names = unlike_places(a.spec, b.spec)
    sessions = {run.times.session.id if run.times else None for run in (a, b)}
    if len(sessions) > 1:
        return (*names, "timing session")
    left, right = circumstances(a), circumstances(b)
    names += [key for key in sorted({*left, *right}) if left.get(key) != right.get(key)]
    return tuple(names)


def paired(a: RunData, b: RunData) -> list[tuple[Result | TimedAnswer, Result | TimedAnswer]]:
    """Timed answers of two runs to one sample in one attempt or round."""
    others = {_key(answer): answer for answer in timed(b)}
    pairs = [(answer, others[key]) for answer in timed(a) if (key := _key(answer)) in others]
    return [(x, y) for x, y in pairs if x.wall_ms > 0 and y.wall_ms > 0]


def _key(answer: Result | TimedAnswer) -> tuple[str, int]:
    return (answer.sample.id, answer.attempt) if isinstance(answer, Result) else (answer.sample, answer.round)


def latency_ratio(
    a: RunData, b: RunData, cluster_of: Mapping[str, int], weights: NDArray[np.float32], confidence: float = 0.95
) -> LatencyRatio:
    """Paired latency of two runs; refused where circumstances differ or fewer than MIN_PAIRS answers are shared.

    cluster_of: cluster code of each sample id; weights: from `bootstrap_weights`. A timing session holds few of the
    comparison's clusters, so it gets as many draws of its own.
    """
    refused = unlike(a, b)
    pairs = paired(a, b)
    if not refused and len(pairs) < MIN_PAIRS:
        refused = (f"only {len(pairs)} shared timings",)
    if not refused and a.times is not None and b.times is not None:
        refused = tuple(too_many_errors(run) for run in (a, b) if too_many_errors(run))
    if refused:
        return LatencyRatio(len(pairs), None, None, None, refused, {})
    logs = np.log([x.wall_ms / y.wall_ms for x, y in pairs])
    codes = np.array([cluster_of[_key(x)[0]] for x, _ in pairs])
    if a.times is not None:
        codes = np.unique(codes, return_inverse=True)[1]
        weights = bootstrap_weights(int(codes.max()) + 1, len(weights), 0)
        interval = expanded(bootstrap_means(logs, codes, weights), weights.shape[1], confidence)
    else:
        interval = percentiles(bootstrap_means(logs, codes, weights), confidence)
    parts: dict[str, float | None] = {}
    for part in PARTS:
        left, right = mean_of([x for x, _ in pairs], part), mean_of([y for _, y in pairs], part)
        parts[part] = None if left is None or right is None else left - right
    low, high = float(np.exp(interval.low)), float(np.exp(interval.high))
    return LatencyRatio(len(pairs), float(np.exp(logs.mean())), low, high, (), parts)


def too_many_errors(run: RunData, most: float = MAX_ERROR_RATE) -> str:
    """Why a session's times of a run say too little, or "": what failed may well have been what is slow."""
    answers = run.times.answers if run.times else ()
    errors = sum(answer.verdict == "error" for answer in answers)
    return f"{errors} of {len(answers)} timed answers of {run.label} are errors" if errors > most * len(answers) else ""


def expanded(draws: Array, clusters: int, confidence: float = 0.95) -> Interval:
    """The central interval of bootstrap draws of a mean, its tails widened to what Student's t asks of few clusters.

    Hesterberg (2015), "What teachers should know about the bootstrap": a percentile interval is too narrow by
    sqrt((n - 1) / n) and by z over t.
    """
    t = float(stats.t.ppf((1 + confidence) / 2, max(clusters - 1, 1)))
    tail = float(stats.norm.cdf(-t * np.sqrt(clusters / max(clusters - 1, 1))))
    return percentiles(draws, 1 - 2 * tail)
