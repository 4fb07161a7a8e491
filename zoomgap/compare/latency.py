"""Time to an answer: percentiles, where the time goes, and the paired ratio of two runs.

Answers pool across invocations, timings do not: a run's timings are those of its most common circumstances, and two
runs are compared only where all circumstances agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoomgap.compare.stats import Codes, Mask, Resamples, bootstrap_means, percentiles
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
    winner = _most_common(run)
    return next((i.circumstances for i in run.invocations if canonical_json(dict(i.circumstances)) == winner), {})


def _most_common(run: RunData) -> str:
    counts: Counter[str] = Counter()
    for invocation, count in zip(*np.unique(run.invoked, return_counts=True), strict=True):
        counts[_known(run).get(str(invocation), "{}")] += int(count)
    return counts.most_common(1)[0][0]


def _known(run: RunData) -> dict[str, str]:
    """The circumstances of each invocation, in their one spelling."""
    return {invocation.id: canonical_json(dict(invocation.circumstances)) for invocation in run.invocations}


def timed_mask(run: RunData) -> Mask:
    """Which of the run's answers were given without an error, under its most common circumstances; (results,)."""
    known, chosen = _known(run), _most_common(run)
    names = np.unique(run.invoked)
    used = names[[known.get(str(name), "{}") == chosen for name in names]]
    return np.asarray(np.isin(run.invoked, used) & (run.verdicts != "error"))


def timed(run: RunData) -> list[Result]:
    """Those answers."""
    return [run.results[place] for place in np.flatnonzero(timed_mask(run)).tolist()]


def timing(run: RunData) -> Timing:
    """Latency of one run."""
    answers = timed_mask(run)
    walls = run.column("wall_ms")[answers]
    p50, p95 = np.percentile(walls, [50, 95]).tolist() if walls.size else (None, None)
    means = {part: mean_of(run, answers, part) for part in PARTS}
    overhead = None
    if walls.size and means["model_ms"] is not None:
        overhead = max(0.0, float(walls.mean()) - means["model_ms"] - (means["tool_ms"] or 0.0))
    concurrency = circumstances(run).get("concurrency")
    return Timing(
        n=walls.size,
        concurrency=concurrency if isinstance(concurrency, int) else None,
        per_second=throughput(run),
        p50_ms=p50,
        p95_ms=p95,
        overhead_ms=overhead,
        **means,
    )


def throughput(run: RunData) -> float | None:
    """Answers a second over the invocations of the most common circumstances; None where one never ended."""
    answers = timed_mask(run)
    used = set(run.invoked[answers].tolist())
    spans = [invocation.seconds for invocation in run.invocations if invocation.id in used]
    known = [span for span in spans if span]
    return float(answers.sum() / sum(known)) if known and len(known) == len(spans) else None


def mean_of(run: RunData, answers: Mask | Codes, part: str) -> float | None:
    """Mean of one field over some of a run's answers; None unless all have it. No tool call is no tool time."""
    values = run.column(part)
    if part == "tool_ms":
        values = np.where(np.isnan(values) & (run.column("zooms") == 0), 0.0, values)
    values = values[answers]
    return None if values.size == 0 or np.isnan(values).any() else float(values.mean())


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
    a: RunData, b: RunData, cluster_of: Mapping[str, int], weights: Resamples, confidence: float = 0.95
) -> LatencyRatio:
    """Paired latency of two runs; refused where circumstances differ or fewer than MIN_PAIRS answers are shared.

    cluster_of: cluster code of each sample id; weights: from `bootstrap_weights`.
    """
    refused = unlike(a, b)
    places = np.array([b.places.get(key, -1) for key in a.places])
    walls_a, walls_b = a.column("wall_ms"), b.column("wall_ms")[places]
    mine = np.flatnonzero(timed_mask(a) & (places >= 0) & timed_mask(b)[places] & (walls_a > 0) & (walls_b > 0))
    if not refused and mine.size < MIN_PAIRS:
        refused = (f"only {mine.size} shared timings",)
    if refused:
        return LatencyRatio(mine.size, None, None, None, refused, {})
    logs = np.log(walls_a[mine] / walls_b[mine])
    codes = np.array([cluster_of[a.results[place].sample.id] for place in mine.tolist()])
    interval = percentiles(bootstrap_means(logs, codes, weights), confidence)
    parts: dict[str, float | None] = {}
    for part in PARTS:
        left, right = mean_of(a, mine, part), mean_of(b, places[mine], part)
        parts[part] = None if left is None or right is None else left - right
    low, high = float(np.exp(interval.low)), float(np.exp(interval.high))
    return LatencyRatio(mine.size, float(np.exp(logs.mean())), low, high, (), parts)
