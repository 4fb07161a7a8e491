"""The charts of the report: each a drawing, what it shows, and the table of the same figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from zoomgap.compare import figures
from zoomgap.compare.rows import Comparison
from zoomgap.compare.words import count, px, share, sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A drawing with the table behind it. caption: n, and how the figures were computed; it may be empty where the
    section says so for all its charts. rows: a cell for each of `columns`; the first names the row.
    """

    title: str
    svg: Markup
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def acuity_charts(comparison: Comparison) -> list[Chart]:
    """Accuracy above chance over the size of the evidence, a chart for each dimension in which a run has a curve."""
    return [
        Chart(
            title=name,
            svg=Markup(svg),
            caption=_acuity_caption(comparison, name),
            columns=("run", "px", "n", "above chance %", _at(comparison)),
            rows=list(_acuity_rows(comparison, name)),
        )
        for name in comparison.runs[0].by_dimension
        if (svg := figures.psychometric(comparison, name))
    ]


def _acuity_rows(comparison: Comparison, dimension: str) -> Iterator[tuple[str, ...]]:
    for row in figures.headline(comparison):
        acuity = row.by_dimension[dimension].acuity
        for point in acuity.points if acuity else ():
            bounds = _interval(point.low, point.high)
            yield row.label, px(point.px), f"{point.n:,}", share(point.accuracy), bounds


def _acuity_caption(comparison: Comparison, dimension: str) -> str:
    """What each drawn run reads half of, or why that is not known."""
    parts = []
    for row in figures.headline(comparison):
        acuity = row.by_dimension[dimension].acuity
        if acuity is None:
            continue
        told = acuity.reason
        if acuity.px is not None:
            told = f"{px(acuity.px)} px ({sizes(acuity.low, acuity.high)})"
        parts.append(f"{figures.short(row)}: {told}, n {acuity.n:,}")
    return "; ".join(parts) + "."


def frontier_chart(comparison: Comparison) -> Chart | None:
    """Accuracy over median time of the runs that one could deploy; None where under two have comparable times."""
    svg = figures.frontier(comparison)
    if not svg:
        return None
    rows = sorted(figures.timed_alike(comparison), key=lambda row: row.p50_ms or 0.0)
    return Chart(
        title="What a millisecond buys",
        svg=Markup(svg),
        caption=f"n {_span_of([row.attempted for row in rows])} answers a run. Median wall time of an answer; service "
        "accuracy with its Wilson interval. The dashed steps join what no other run beats in both.",
        columns=("run", "median ms", "accuracy %", _at(comparison), "n"),
        rows=[
            (row.label, count(row.p50_ms), share(row.accuracy), _interval(row.low, row.high), f"{row.attempted:,}")
            for row in rows
        ],
    )  # fmt: skip


def evidence_chart(comparison: Comparison) -> Chart | None:
    """Model accuracy of every run by size of the evidence; None without evidence boxes."""
    svg = figures.by_evidence(comparison)
    if not svg:
        return None
    bins = comparison.runs[0].by_evidence
    counts = ", ".join(f"{score.n:,}" for score in bins)
    drawn, runs = len(figures.lines(comparison)), len(comparison.runs)
    more = f" {drawn} runs are drawn; the table has all {runs}." if drawn < runs else ""
    return Chart(
        title="Accuracy by size of the evidence",
        svg=Markup(svg),
        caption=f"Thirds of the answers by size: n {counts} in the first run. Model accuracy with its Wilson interval; "
        f"the guess rate is not taken off.{more}",
        columns=("run", *(f"{score.evidence_low:.0f} to {score.evidence_high:.0f} px" for score in bins)),
        rows=[
            (row.label, *(f"{share(s.accuracy)} ({_interval(s.low, s.high)}), n {s.n:,}" for s in row.by_evidence))
            for row in comparison.runs
        ],
    )  # fmt: skip


def _at(comparison: Comparison) -> str:
    return f"{comparison.settings.confidence:.0%} interval"


def _interval(low: float, high: float) -> str:
    return f"{share(low)} to {share(high)}"


def _span_of(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
