"""What zooming brought an agent, told by controls that take one thing away each.

agent-lowres zooms without new pixels, agent-random is shown other places, agent-blind is shown nothing, direct-schema
may not call and direct has no tools. The order is that of the questions; every interval stands for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from zoomgap.compare.agent_rows import Contribution, Control, GapPart, OneZoomCell, Survival, ZoomCount, ZoomVerdict
from zoomgap.compare.matching import counterpart, same_protocol, unlike
from zoomgap.compare.protocol import refusal
from zoomgap.compare.rows import Settings
from zoomgap.compare.stats import (
    Array,
    Codes,
    Mask,
    Resamples,
    accuracy_interval,
    adjusted_interval,
    paired_difference,
)
from zoomgap.compare.table import RunData, Table
from zoomgap.compare.verdicts import Bin, places
from zoomgap.records import RunSpec

CONTROLS = ("agent-lowres", "agent-random", "agent-blind", "direct-schema", "direct")
"""New pixels, the right place, any picture, calls, tools at all: what the agent has and each has not."""


def contributions(
    table: Table, bins: Sequence[Bin], weights: Resamples, settings: Settings
) -> tuple[Contribution, ...]:
    """One for each run of the arm `agent`."""
    return tuple(_contribution(table, run, bins, weights, settings) for run in table.runs if run.spec.arm == "agent")


def _contribution(
    table: Table, run: RunData, bins: Sequence[Bin], weights: Resamples, settings: Settings
) -> Contribution:
    row = table.row(run)
    answered = table.shared(row)
    right, zooms = table.right[row], zoom_counts(table, run)
    found = {arm: counterpart(table.runs, run, arm) for arm in CONTROLS}
    few = answered & (zooms <= 1) & (right == 1)
    solved = int(right[answered].sum())
    one, reason = _one_zoom_run(table, run)
    return Contribution(
        run=run.id,
        model=run.spec.model,
        n=int(answered.sum()),
        controls=tuple(_control(table, run, other, bins, weights, settings) for other in found.values() if other),
        schema=_schema(table, found["direct-schema"], found["direct"], weights, settings),
        rerun=_rerun(table, run, settings),
        histogram=_histogram(table, row, zooms, found["direct"], settings),
        within_one=float(few.sum() / answered.sum()) if answered.any() else None,
        of_right=float(few.sum() / solved) if solved else None,
        one_zoom_run=one.id if one else None,
        one_zoom_reason=reason,
        one_zoom=_one_zoom(table, run, one, settings) if one else (),
    )


def zoom_counts(table: Table, run: RunData) -> Array:
    """How often each answer zoomed, (K,); NaN where the run has no answer."""
    counts = np.full(table.octave.size, np.nan)
    for result in run.results:
        counts[table.column[result.sample.id, result.attempt]] = result.zooms
    return counts


def _control(
    table: Table, run: RunData, other: RunData, bins: Sequence[Bin], weights: Resamples, settings: Settings
) -> Control:
    a, b = table.row(run), table.row(other)
    shared = table.shared(a, b)
    right_a, right_b, clusters = table.right[a][shared], table.right[b][shared], table.cluster[shared]
    whole = _difference(table, a, b, "all answers", shared, weights, settings)
    gain, harm = ((right_a > right_b).astype(np.float64), (right_a < right_b).astype(np.float64))
    gains, harms = (accuracy_interval(share, clusters, settings.confidence) for share in (gain, harm))
    return Control(
        arm=other.spec.arm,
        run=other.id,
        n=whole.n,
        difference=whole.difference,
        low=whole.low,
        high=whole.high,
        gain=float(gain.mean()) if whole.n else None,
        gain_low=gains.low,
        gain_high=gains.high,
        harm=float(harm.mean()) if whole.n else None,
        harm_low=harms.low,
        harm_high=harms.high,
        survived=_survived(right_a, right_b, clusters, other.id, settings),
        by_dimension=tuple(
            _difference(table, a, b, name, shared & (table.dimension == name), weights, settings)
            for name in table.dimensions
        ),
        by_evidence=tuple(
            _difference(table, a, b, span.name, shared & span.mask, weights, settings)
            for span in bins
            if span.low is not None
        ),
        refused=refusal(table, (a, b), settings) or ("" if whole.n else "the two share no answer"),
    )


def _difference(table: Table, a: int, b: int, name: str, mask: Mask, weights: Resamples, settings: Settings) -> GapPart:
    """accuracy(a) - accuracy(b) over some answers."""
    figure = paired_difference(
        table.right[a][mask], table.right[b][mask], table.cluster[mask], weights, settings.confidence
    )
    return GapPart(name=name, **figure._asdict())


def _survived(solved: Array, again: Array, clusters: Codes, run: str | None, settings: Settings) -> Survival:
    """The share of the answers right in `solved` that are right in `again` too; both 0 or 1, of the same answers."""
    kept = solved > 0
    n = int(kept.sum())
    if not n:
        return Survival(run=run, n=0, share=None, low=None, high=None, reason="the agent solved none of these")
    interval = accuracy_interval(again[kept], clusters[kept], settings.confidence)
    return Survival(run=run, n=n, share=float(again[kept].mean()), low=interval.low, high=interval.high, reason="")


def _rerun(table: Table, run: RunData, settings: Settings) -> Survival:
    """The agent against itself: another run that differs in what it drew at random alone, else its own attempts."""
    row = table.row(run)
    for other in table.runs:
        if other is not run and _redrawn(other.spec, run.spec):
            if other.spec.sampling.temperature == run.spec.sampling.temperature == 0:
                return _no_rerun(f"run {other.id} is greedy too and gives the same answers again: sample with a "
                                 "temperature, under two seeds")  # fmt: skip
            again = table.row(other)
            shared = table.shared(row, again)
            return _survived(
                table.right[row][shared], table.right[again][shared], table.cluster[shared], other.id, settings
            )
    if run.spec.attempts < 2:
        return _no_rerun("no second run of this agent under another seed: the shares above stand alone")
    if run.spec.sampling.temperature == 0:
        return _no_rerun("its attempts are greedy and give the same answers again: sample with a temperature")
    first, second = _next_attempts(table, row, run)
    return _survived(table.right[row][first], table.right[row][second], table.cluster[first], run.id, settings)


def _no_rerun(reason: str) -> Survival:
    return Survival(run=None, n=0, share=None, low=None, high=None, reason=reason)


def _redrawn(a: RunSpec, b: RunSpec) -> bool:
    """Whether two specs differ in seed, temperature and attempts at most."""
    sampling = replace(a.sampling, seed=b.sampling.seed, temperature=b.sampling.temperature)
    return replace(a, sampling=sampling, attempts=b.attempts) == b


def _next_attempts(table: Table, row: int, run: RunData) -> tuple[Codes, Codes]:
    """Columns of the answered attempts, and for each the next attempt at its sample (after the last, the first)."""
    answered = table.shared(row)
    pairs = [
        (table.column[sample, attempt], table.column.get((sample, (attempt + 1) % run.spec.attempts)))
        for sample, attempt in table.column
    ]
    both = [(a, b) for a, b in pairs if b is not None and answered[a] and answered[b]]
    return np.array([a for a, _ in both], dtype=np.int64), np.array([b for _, b in both], dtype=np.int64)


def _schema(
    table: Table, schema: RunData | None, direct: RunData | None, weights: Resamples, settings: Settings
) -> GapPart | None:
    """What the format alone changes: accuracy(direct-schema) - accuracy(direct); None where the two are refused."""
    if schema is None or direct is None:
        return None
    a, b = table.row(schema), table.row(direct)
    if refusal(table, (a, b), settings):
        return None
    return _difference(table, a, b, f"{schema.label} - {direct.label}", table.shared(a, b), weights, settings)


def _histogram(
    table: Table, row: int, zooms: Array, direct: RunData | None, settings: Settings
) -> tuple[ZoomCount, ...]:
    answered = table.shared(row)
    if direct is not None and refusal(table, (row, table.row(direct)), settings):
        direct = None
    counts = []
    for count in np.unique(zooms[answered]):
        mask = answered & (zooms == count)
        n, right = int(mask.sum()), table.right[row][mask]
        interval = accuracy_interval(right, table.cluster[mask], settings.confidence)
        glance = table.right[table.row(direct)][mask & table.shared(table.row(direct))] if direct else np.zeros(0)
        counts.append(
            ZoomCount(
                zooms=int(count),
                n=n,
                share=n / int(answered.sum()),
                correct=int(right.sum()),
                accuracy=float(right.mean()),
                low=interval.low,
                high=interval.high,
                direct=float(glance.mean()) if glance.size else None,
            )
        )
    return tuple(counts)


def _one_zoom_run(table: Table, run: RunData) -> tuple[RunData | None, str]:
    """The same agent with one zoom at most, or why there is none to set against."""
    if run.spec.max_zooms < 2:
        return None, "this agent may zoom once at most"
    found = [
        other
        for other in table.runs
        if other.spec.arm == "agent" and other.spec.max_zooms == 1 and same_protocol(other, run)
    ]
    one = min(found, key=lambda other: len(unlike(other.spec, run.spec)), default=None)
    return one, "" if one else "no run of this agent with --max-zooms 1 is compared"


def _one_zoom(table: Table, run: RunData, one: RunData, settings: Settings) -> tuple[OneZoomCell, ...]:
    """Where one zoom does as well: bounds hold together over both directions and all tested cells."""
    a, b = table.row(one), table.row(run)
    faulty = refusal(table, (a, b), settings)
    cells = places(table, table.shared(a, b), settings.min_cell)
    tested = sum(place.n >= settings.min_cell for place in cells)
    confidence = 1 - (1 - settings.confidence) / max(tested, 1)
    found = []
    for place in cells:
        difference = low = high = None
        verdict: ZoomVerdict = "undecided"
        if faulty:
            reason = faulty
        elif place.n < settings.min_cell:
            reason = f"{place.n} answers, a verdict rests on at least {settings.min_cell}"
        else:
            values = table.right[a][place.mask] - table.right[b][place.mask]
            low, high = adjusted_interval(values, table.cluster[place.mask], confidence)
            difference = float(values.mean())
            verdict, reason = _enough(low, high, settings.margin)
        found.append(
            OneZoomCell(
                dimension=place.dimension,
                evidence_low=place.low,
                evidence_high=place.high,
                n=place.n,
                difference=difference,
                low=low,
                high=high,
                verdict=verdict,
                reason=reason,
            )
        )
    return tuple(found)


def _enough(low: float, high: float, margin: float) -> tuple[ZoomVerdict, str]:
    if low > -margin:
        return "one zoom is enough", f"one zoom is at most {max(0.0, -low) * 100:.1f} points behind"
    if high < -margin:
        return "more zooms are needed", f"one zoom is at least {-high * 100:.1f} points behind"
    return "undecided", f"one zoom is between {low:+.1%} and {high:+.1%} of the full agent"
