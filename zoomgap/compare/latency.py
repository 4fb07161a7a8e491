"""Time to an answer: percentiles, where the time goes, and the paired ratio of two runs.

Where a timing session holds a run, its times are those of the session. Else they are those of its answers: answers pool
across invocations, timings do not, so a run's timings are those of its most common circumstances. Two runs are compared
only where all circumstances agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from zoomgap.compare.stats import Array, Codes, Mask, Resamples, bootstrap_means, bootstrap_weights, percentiles
from zoomgap.compare.table import Columns, RunData
from zoomgap.records import RunSpec, canonical_json

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


class Timed(NamedTuple):
    """Answers with their times, and which of them are timings; mask: (answers,)."""

    answers: Columns
    mask: Mask


class Paired(NamedTuple):
    """Places of timings of two runs to one sample in one attempt or round, in the answers of each; both (pairs,)."""

    a: Codes
    b: Codes


def circumstances(run: RunData) -> Mapping[str, Any]:
    """The circumstances of the run's timing session, else those under which most of its answers were given."""
    if run.times is not None:
        session = run.times.session
        return {**session.circumstances, **session.runs.get(run.id, {})}
    winner = _most_common(run)
    return next((i.circumstances for i in run.invocations if canonical_json(dict(i.circumstances)) == winner), {})


def _most_common(run: RunData) -> str:
    known, counts = _known(run), Counter[str]()
    for invocation, count in zip(*np.unique(run.invoked, return_counts=True), strict=True):
        counts[known.get(str(invocation), "{}")] += int(count)
    return counts.most_common(1)[0][0]


def _known(run: RunData) -> dict[str, str]:
    """The circumstances of each invocation, in their one spelling."""
    return {invocation.id: canonical_json(dict(invocation.circumstances)) for invocation in run.invocations}


def own_timed(run: RunData) -> Mask:
    """Which of the run's own answers were given without an error, under its most common circumstances; (results,)."""
    known, chosen = _known(run), _most_common(run)
    names = np.unique(run.invoked)
    used = names[[known.get(str(name), "{}") == chosen for name in names]]
    return np.asarray(np.isin(run.invoked, used) & (run.verdicts != "error"))


def timed(run: RunData) -> Timed:
    """The run's timings: of its timing session, else its own answers under their most common circumstances."""
    if run.times is not None:
        return Timed(run.times, np.asarray(run.times.verdicts != "error"))
    return Timed(run, own_timed(run))


def each_ms(run: RunData) -> Array:
    """Time of each of the run's own answers, NaN where it is not known; (results,).

    A timing session holds a few samples: an answer then gets the mean of the session's answers with as many calls, or
    of all where none had so many. Without a session it is its own time, under the most common circumstances.
    """
    if run.times is None:
        return np.where(own_timed(run), run.column("wall_ms"), np.nan)
    answers, mask = timed(run)
    walls, calls = answers.column("wall_ms")[mask], answers.column("turns")[mask]
    if walls.size < MIN_PAIRS:
        return np.full(len(run.results), np.nan)
    means = {count: float(walls[calls == count].mean()) for count in np.unique(calls).tolist()}
    known = np.array([means.get(count, float(walls.mean())) for count in run.column("turns").tolist()])
    return np.where(run.verdicts == "error", np.nan, known)


def timing(run: RunData) -> Timing:
    """Latency of one run."""
    answers, mask = timed(run)
    walls = answers.column("wall_ms")[mask]
    p50, p95 = np.percentile(walls, [50, 95]).tolist() if walls.size else (None, None)
    means = {part: mean_of(answers, mask, part) for part in PARTS}
    overhead = None
    if walls.size and means["model_ms"] is not None:
        overhead = max(0.0, float(walls.mean()) - means["model_ms"] - (means["tool_ms"] or 0.0))
    concurrency = circumstances(run).get("concurrency")
    return Timing(
        session=run.times.session.id if run.times else None,
        n=walls.size,
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
    if run.times is not None:
        return None
    answers = own_timed(run)
    used = set(run.invoked[answers].tolist())
    spans = [invocation.seconds for invocation in run.invocations if invocation.id in used]
    known = [span for span in spans if span]
    return float(answers.sum() / sum(known)) if known and len(known) == len(spans) else None


def mean_of(answers: Columns, among: Mask | Codes, part: str) -> float | None:
    """Mean of one field over some answers; None unless all have it. No tool call is no tool time."""
    values = answers.column(part)
    if part == "tool_ms":
        values = np.where(np.isnan(values) & (answers.column("zooms") == 0), 0.0, values)
    values = values[among]
    return None if values.size == 0 or np.isnan(values).any() else float(values.mean())


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


def paired(a: RunData, b: RunData) -> Paired:
    """The timings that two runs share."""
    (left, mine), (right, others) = timed(a), timed(b)
    places = np.array([right.places.get(key, -1) for key in left.places], dtype=np.int64)
    if not right.places:
        return Paired(places[:0], places[:0])
    both = mine & (places >= 0) & others[places] & (left.column("wall_ms") > 0)
    both &= right.column("wall_ms")[places] > 0
    return Paired(np.flatnonzero(both), places[both])


def latency_ratio(
    a: RunData, b: RunData, cluster_of: Mapping[str, int], weights: Resamples, confidence: float = 0.95
) -> LatencyRatio:
    """Paired latency of two runs; refused where circumstances differ or fewer than MIN_PAIRS answers are shared.

    cluster_of: cluster code of each sample id; weights: from `bootstrap_weights`. A timing session holds few of the
    comparison's clusters, so it gets as many draws of its own.
    """
    refused = unlike(a, b)
    (left, _), (right, _) = timed(a), timed(b)
    mine, others = paired(a, b)
    if not refused and mine.size < MIN_PAIRS:
        refused = (f"only {mine.size} shared timings",)
    if not refused and a.times is not None and b.times is not None:
        refused = tuple(too_many_errors(run) for run in (a, b) if too_many_errors(run))
    if refused:
        return LatencyRatio(mine.size, None, None, None, refused, {})
    logs = np.log(left.column("wall_ms")[mine] / right.column("wall_ms")[others])
    keys = list(left.places)
    codes = np.array([cluster_of[keys[place][0]] for place in mine.tolist()], dtype=np.int64)
    clusters = None
    if a.times is not None:
        codes = np.unique(codes, return_inverse=True)[1].astype(np.int64)
        clusters = int(codes.max()) + 1
        weights = bootstrap_weights(clusters, weights.shape[0], 0)
    interval = percentiles(bootstrap_means(logs, codes, weights), confidence, clusters)
    parts: dict[str, float | None] = {}
    for part in PARTS:
        first, second = mean_of(left, mine, part), mean_of(right, others, part)
        parts[part] = None if first is None or second is None else first - second
    low, high = float(np.exp(interval.low)), float(np.exp(interval.high))
    return LatencyRatio(mine.size, float(np.exp(logs.mean())), low, high, (), parts)


def too_many_errors(run: RunData, most: float = MAX_ERROR_RATE) -> str:
    """Why a session's times of a run say too little, or "": what failed may well have been what is slow."""
    answers = run.times.answers if run.times else ()
    errors = sum(answer.verdict == "error" for answer in answers)
    return f"{errors} of {len(answers)} timed answers of {run.label} are errors" if errors > most * len(answers) else ""
