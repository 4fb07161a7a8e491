"""Timing sessions as a comparison tells them: percentiles, paired ratios, parts of the time, and throughput."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from zoomgap.compare.decomposition import CAUSES, Clocks, Measured, clocks_of, costs, in_words, measure, parts
from zoomgap.compare.latency import expanded, latency_ratio, paired, timed, too_many_errors, unlike
from zoomgap.compare.stats import Array, Codes, bootstrap_weights, design_effect
from zoomgap.compare.table import RunData
from zoomgap.records import TimedAnswer

MIN_TAIL = 20
"""Fewer answers hold none of the slowest 5%."""
MIN_BLOCKS = 3


class Quantile(NamedTuple):
    """A quantile in ms and its bounds; None where so few answers do not bound it."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Ms of one of CAUSES, with bounds where it is a difference of two runs; None where it could not be told."""

    cause: str
    ms: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedRow:
    """One run of the session: n timed answers, percentiles and mean in ms, and the parts that add up to the mean.

    call_ms, image_token_ms: fitted costs of one call and one image token (or 1000 pixels) of the run's model.
    """

    run: str
    n: int
    errors: int
    p50_ms: float | None
    p50_low: float | None
    p50_high: float | None
    p95_ms: float | None
    p95_low: float | None
    p95_high: float | None
    mean_ms: float | None
    turns: float | None
    image_tokens: float | None
    completion_tokens: float | None
    call_ms: float | None
    image_token_ms: float | None
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedPair:
    """Runs a and b over the n samples and rounds that both answered: ratio a / b and difference a - b in ms.

    parts: of the difference; they add up to it.
    """

    a: str
    b: str
    n: int
    ratio: float | None
    low: float | None
    high: float | None
    difference_ms: float | None
    difference_low: float | None
    difference_high: float | None
    parts: tuple[Part, ...]
    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySession:
    """A session of one answer at a time. ended: None where it was cut short: n says what there is.

    unit: what image_token_ms is of. how: where the parts come from, in words.
    """

    id: str
    started: str
    ended: str | None
    seed: int
    samples: int
    rounds: int
    warm_up: int
    circumstances: Mapping[str, Any]
    unit: str
    how: str
    runs: tuple[TimedRow, ...]
    pairs: tuple[TimedPair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRow:
    """One run with so many answers in flight: answers a second, geometric mean over blocks, and its ratio to the first.

    Bounds are those of Student's t over blocks, the ratio's over blocks paired. refused: why there is no ratio.
    """

    run: str
    n: int
    errors: int
    blocks: int
    per_second: float | None
    low: float | None
    high: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThroughputSession:
    """A session with `in_flight` answers of one run at a time."""

    id: str
    started: str
    ended: str | None
    seed: int
    in_flight: int
    warm_up: int
    circumstances: Mapping[str, Any]
    runs: tuple[RateRow, ...]


def latency_session(
    runs: Sequence[RunData], cluster_of: Mapping[str, int], draws: int = 1000, confidence: float = 0.95
) -> LatencySession | None:
    """What the timing session of these runs says; None where none holds them.

    cluster_of: cluster code of each sample id.
    """
    held = [run for run in runs if run.times is not None]
    if not held or held[0].times is None:
        return None
    session = held[0].times.session
    bench = _Bench(held, cluster_of, draws, confidence)
    return LatencySession(
        **{name: getattr(session, name) for name in ("id", "started", "ended", "seed", "samples", "rounds", "warm_up")},
        circumstances=session.circumstances,
        unit="image token" if bench.clocks.tokens else "1000 pixels sent",
        how=in_words(bench.clocks),
        runs=tuple(bench.row(run) for run in held),
        pairs=tuple(bench.pair(a, b) for a, b in combinations(held, 2)),
    )


class _Bench:
    """The answers of a session, with what its runs and pairs share: clocks, clusters, draws and costs."""

    def __init__(self, held: Sequence[RunData], cluster_of: Mapping[str, int], draws: int, confidence: float) -> None:
        self.cluster_of, self.confidence = cluster_of, confidence
        self.answers = {run.id: _answers(run) for run in held}
        everything = [answer for found in self.answers.values() for answer in found]
        self.clocks: Clocks = clocks_of(everything)
        codes = sorted({cluster_of[answer.sample] for answer in everything})
        self.place = {code: place for place, code in enumerate(codes)}
        # The first row is the sample itself, each cluster once.
        ones = np.ones((1, max(len(codes), 1)), np.float32)
        self.weights = np.concatenate([ones, bootstrap_weights(ones.shape[1], draws, 0)])
        self.model_of = {run.id: run.model for run in held}
        self.costs = {model: self._costs(model) for model in self.model_of.values()}

    def _costs(self, model: tuple[str | None, ...]) -> Array | None:
        measured = [self.measured(self.answers[run]) for run, own in self.model_of.items() if own == model]
        measured = [part for part in measured if part.left.size]
        return costs(measured, self.weights) if measured else None

    def codes(self, answers: Sequence[TimedAnswer]) -> Codes:
        return np.array([self.place[self.cluster_of[answer.sample]] for answer in answers], dtype=np.int64)

    def measured(self, answers: Sequence[TimedAnswer]) -> Measured:
        return measure(answers, self.clocks, self.codes(answers))

    def row(self, run: RunData) -> TimedRow:
        answers = self.answers[run.id]
        walls = np.array([answer.wall_ms for answer in answers])
        codes = self.codes(answers)
        middle = quantile(walls, 0.5, codes, self.confidence)
        tail = quantile(walls, 0.95, codes, self.confidence) if walls.size >= MIN_TAIL else Quantile(None, None, None)
        cost = self.costs[run.model]
        fitted = dict(zip(self.clocks.counts, cost[0].tolist(), strict=True)) if cost is not None else {}
        once = self.weights[:1]
        split = parts(self.measured(answers), self.clocks, cost if cost is None else cost[:1], once) if answers else {}
        return TimedRow(
            run=run.id,
            n=len(answers),
            errors=len(run.times.answers) - len(answers) if run.times else 0,
            p50_ms=middle.value,
            p50_low=middle.low,
            p50_high=middle.high,
            p95_ms=tail.value,
            p95_low=tail.low,
            p95_high=tail.high,
            mean_ms=float(walls.mean()) if walls.size else None,
            **{name: _mean(answers, name) for name in ("turns", "image_tokens", "completion_tokens")},
            call_ms=fitted.get("calls"),
            image_token_ms=fitted.get("image_tokens"),
            parts=tuple(Part(cause=name, ms=_first(split.get(name))) for name in CAUSES),
        )

    def pair(self, a: RunData, b: RunData) -> TimedPair:
        ratio = latency_ratio(a, b, self.cluster_of, self.weights[1:], self.confidence)
        found = paired(a, b)
        both = [[one for one in side if isinstance(one, TimedAnswer)] for side in zip(*found, strict=True)]
        known = {name: getattr(ratio, name) for name in ("ratio", "low", "high")}
        if ratio.refused:
            nothing = tuple(Part(cause=name, ms=None) for name in CAUSES)
            bounds = dict.fromkeys(("difference_ms", "difference_low", "difference_high"))
            return TimedPair(a=a.id, b=b.id, n=ratio.n, **known, **bounds, parts=nothing, refused=ratio.refused)
        own = [self.costs[run.model] for run in (a, b)]
        # What one of the two cannot split is split for neither: their parts would not be of the same things.
        left, right = (
            parts(self.measured(answers), self.clocks, None if own[0] is None or own[1] is None else cost, self.weights)
            for answers, cost in zip(both, own, strict=True)
        )
        changes = {name: _minus(left[name], right[name]) for name in CAUSES}
        total = np.sum([change for change in changes.values() if change is not None], axis=0)
        whole = self._part("", total)
        return TimedPair(
            a=a.id,
            b=b.id,
            n=ratio.n,
            **known,
            difference_ms=whole.ms,
            difference_low=whole.low,
            difference_high=whole.high,
            parts=tuple(self._part(name, change) for name, change in changes.items()),
            refused=(),
        )

    def _part(self, cause: str, change: Array | None) -> Part:
        if change is None:
            return Part(cause=cause, ms=None)
        bounds = expanded(change[1:], self.weights.shape[1], self.confidence)
        return Part(cause=cause, ms=float(change[0]), low=bounds.low, high=bounds.high)


def _answers(run: RunData) -> list[TimedAnswer]:
    return [answer for answer in timed(run) if isinstance(answer, TimedAnswer)]


def _mean(answers: Sequence[TimedAnswer], name: str) -> float | None:
    values = [getattr(answer, name) for answer in answers]
    return float(np.mean(values)) if values and None not in values else None


def _first(values: Array | None) -> float | None:
    return None if values is None else float(values[0])


def _minus(a: Array | None, b: Array | None) -> Array | None:
    return None if a is None or b is None else a - b


def quantile(values: Array, share: float, clusters: Codes, confidence: float = 0.95) -> Quantile:
    """A quantile with bounds that are order statistics, which hold for any distribution of times.

    Where answers come in clusters the ranks are those of a sample smaller by the design effect.
    """
    n = values.size
    if n == 0:
        return Quantile(None, None, None)
    value = float(np.quantile(values, share))
    effect = design_effect((values <= value).astype(float), clusters)
    size = max(1, int(n / effect))
    tail = (1 - confidence) / 2
    below = int(stats.binom.ppf(tail, size, share))
    above = int(stats.binom.ppf(1 - tail, size, share)) + 1
    ordered = np.sort(values)
    low = float(ordered[max(int(below * n / size), 1) - 1]) if below >= 1 else None
    high = float(ordered[min(int(np.ceil(above * n / size)), n) - 1]) if above <= size else None
    return Quantile(value, low, high)


def throughput_session(runs: Sequence[RunData], confidence: float = 0.95) -> ThroughputSession | None:
    """What the throughput session of these runs says; None where none holds them. The first of them is the measure."""
    held = [run for run in runs if run.rates is not None]
    if not held or held[0].rates is None:
        return None
    session = held[0].rates.session
    return ThroughputSession(
        **{name: getattr(session, name) for name in ("id", "started", "ended", "seed", "in_flight", "warm_up")},
        circumstances=session.circumstances,
        runs=tuple(_rate_row(run, held[0], confidence) for run in held),
    )


def _rate_row(run: RunData, first: RunData, confidence: float) -> RateRow:
    assert run.rates is not None
    blocks = run.rates.blocks
    own = _rates(run)
    shared = sorted(own.keys() & _rates(first).keys())
    rate = log_mean([own[block] for block in sorted(own)], confidence)
    refused = _no_ratio(run, first, len(shared))
    ratio = Quantile(None, None, None)
    if not refused and run is not first:
        ratio = log_mean([own[block] - _rates(first)[block] for block in shared], confidence)
    return RateRow(
        run=run.id,
        n=sum(block.answers for block in blocks),
        errors=sum(block.errors for block in blocks),
        blocks=len(blocks),
        per_second=rate.value,
        low=rate.low,
        high=rate.high,
        ratio=ratio.value,
        ratio_low=ratio.low,
        ratio_high=ratio.high,
        refused=refused,
    )


def _rates(run: RunData) -> dict[int, float]:
    """Log of answers a second by block; a block of errors alone has none."""
    blocks = run.rates.blocks if run.rates else ()
    return {block.block: float(np.log(block.answers / block.seconds)) for block in blocks if block.answers}


def _no_ratio(run: RunData, first: RunData, shared: int) -> tuple[str, ...]:
    swapped = (_as_times(run), _as_times(first))
    reasons = [*unlike(*swapped), *dict.fromkeys(reason for side in swapped if (reason := too_many_errors(side)))]
    if not reasons and shared < MIN_BLOCKS:
        reasons.append(f"only {shared} shared blocks")
    return tuple(reasons)


def _as_times(run: RunData) -> RunData:
    """The run with its throughput session where the rules of latency look."""
    return RunData(run.spec, run.label, (), (), times=run.rates)


def log_mean(logs: Sequence[float], confidence: float = 0.95) -> Quantile:
    """Geometric mean and Student's t interval of what these are the logarithms of; no bounds under MIN_BLOCKS."""
    if not logs:
        return Quantile(None, None, None)
    values = np.array(logs)
    mean = float(values.mean())
    if values.size < MIN_BLOCKS:
        return Quantile(float(np.exp(mean)), None, None)
    half = float(stats.t.ppf((1 + confidence) / 2, values.size - 1)) * float(values.std(ddof=1)) / np.sqrt(values.size)
    return Quantile(float(np.exp(mean)), float(np.exp(mean - half)), float(np.exp(mean + half)))
