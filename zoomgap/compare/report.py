"""The report: one HTML file that opens anywhere, with no network and nothing beside it.

Everything that a model or a benchmark wrote is data: the template escapes it. Only the figures, drawn here, are markup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment
from markupsafe import Markup

from zoomgap import pages
from zoomgap.compare import figures
from zoomgap.compare.rows import Cell, Comparison, PairRow, RunRow
from zoomgap.geometry import Box, Size

MAX_TRACE_BYTES = 3_000_000
"""JPEG bytes of all traces together: a report stays a file that one can mail."""
MAX_TEXT = 2_000
"""Characters of a question or reply that are shown."""


@dataclass(frozen=True, slots=True)
class TraceView:
    """One answer to look at. image_jpeg may be smaller than the original, whose `size` the boxes are measured in.

    zooms: box in pixels of the original, what the model called it, JPEG of the crop.
    """

    title: str
    question: str
    image_jpeg: bytes
    size: Size
    zooms: Sequence[tuple[Box, str, bytes]]
    reply: str
    verdict: str
    gold: str

    @property
    def bytes(self) -> int:
        return len(self.image_jpeg) + sum(len(crop) for _, _, crop in self.zooms)


def render(comparison: Comparison, traces: Sequence[TraceView] = (), timing: Comparison | None = None) -> str:
    """The whole report as HTML. timing: runs of one answer at a time, whose times stand in a table of their own.

    Traces over MAX_TRACE_BYTES together are left out, and the page says how many.
    """
    kept, total = [], 0
    for trace in traces:
        total += trace.bytes
        if total <= MAX_TRACE_BYTES:
            kept.append(trace)
    dimensions = list(comparison.runs[0].by_dimension)
    curves = [(name, Markup(svg)) for name in dimensions if (svg := figures.psychometric(comparison, name))]
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            comparison=comparison,
            finding=finding(comparison),
            headline=figures.headline(comparison),
            names={row.run: row.label for row in comparison.runs},
            colors={row.run: comparison.runs.index(row) % len(figures.PALETTE) for row in comparison.runs},
            curves=curves,
            frontier=Markup(figures.frontier(comparison)),
            routing=Markup(figures.routing(comparison)),
            untimed=_untimed(comparison),
            evidence=Markup(figures.by_evidence(comparison)),
            matrix=_matrix(comparison.verdicts),
            groups=[list(group) for _, group in groupby(comparison.gaps, key=lambda gap: gap.model)],
            timing=timing,
            traces=kept,
            left_out=len(traces) - len(kept),
            max_text=MAX_TEXT,
            box_colors=pages.BOX_COLORS,
        )
    )


def finding(comparison: Comparison) -> str:
    """The comparison in one plain sentence."""
    base, agent, student = (comparison.role(role) for role in ("base", "agent", "student"))
    glance = student or base
    if agent is None or glance is None:
        return _plain_finding(comparison)
    pair, turned = _pair(comparison, agent, glance)
    if pair.verdict == "refused":
        return f"No verdict on {agent.label} and {glance.label}: {pair.reason}."
    ratio = next((r for r in comparison.acuity_ratios if (r.a, r.b) == (agent.run, glance.run)), None)
    cost = _cost(pair, turned, agent.timing.concurrency)
    if ratio is None:
        return _difference_finding(agent, glance, pair, turned) + cost + "."
    named = [agent, glance] if base is None else [agent, glance, base]
    shared = _shared_dimensions(named) or _shared_dimensions([agent, glance])
    sizes = {row.run: _acuity_over(row, shared) for row in named if shared <= set(row.acuity_dimensions)}
    near, far = f"{sizes[agent.run]:.2g}", f"{sizes[glance.run]:.2g}"
    before = (
        f" ({sizes[base.run]:.2g} px before distillation)" if base and base is not glance and base.run in sizes else ""
    )
    reads = f"one glance of the {glance.role} reads down to {far} px{before}, zooming down to {near} px"
    kinds = len(agent.by_dimension)
    if len(shared) < kinds:
        reads += f" (over {len(shared)} of {kinds} kinds of question)"
    if ratio.high is not None and ratio.high < 1:
        return f"Zooming still earns its cost for details of {near} to {far} px: {reads}{cost}."
    if ratio.low is not None and ratio.low > 1:
        return f"One glance reads smaller details than zooming does: {reads}{cost}."
    return f"One glance and zooming read equally small details, as far as these answers tell: {reads}{cost}."


def _pair(comparison: Comparison, a: RunRow, b: RunRow) -> tuple[PairRow, bool]:
    """The pair of two runs, and whether it is stored the other way round."""
    pair = comparison.pair(a.run, b.run)
    if pair is not None:
        return pair, False
    return next(p for p in comparison.pairs if (p.a, p.b) == (b.run, a.run)), True


def _cost(pair: PairRow, turned: bool, concurrency: int | None) -> str:
    if pair.latency_ratio is None:
        return ""
    ratio = 1 / pair.latency_ratio if turned else pair.latency_ratio
    flight = f" with {concurrency} answers in flight" if concurrency is not None and concurrency > 1 else ""
    return f", at {ratio:.1f} times the time of a glance{flight}"


def _shared_dimensions(rows: Sequence[RunRow]) -> set[str]:
    """The dimensions in which all these runs have a threshold."""
    return set.intersection(*(set(row.acuity_dimensions) for row in rows))


def _acuity_over(row: RunRow, dimensions: set[str]) -> float:
    """Geometric mean of the run's thresholds over these dimensions, px."""
    acuities = [row.by_dimension[name].acuity for name in sorted(dimensions)]
    return float(2 ** np.mean([np.log2(a.px) for a in acuities if a is not None and a.px is not None]))


def _difference_finding(a: RunRow, b: RunRow, pair: PairRow, turned: bool) -> str:
    difference, low, high = pair.difference or 0.0, pair.low or 0.0, pair.high or 0.0
    if turned:
        difference, low, high = -difference, -high, -low
    told = "" if pair.verdict in ("a better", "b better") else f", {_NOT_TOLD[pair.verdict]}"
    return (
        f"{a.label} is {abs(difference) * 100:.1f} points {'ahead of' if difference >= 0 else 'behind'} {b.label} over "
        f"{pair.n:,} shared answers (95% interval of the difference {low * 100:+.1f} to {high * 100:+.1f}){told}"
    )


_NOT_TOLD = {"undecided": "which decides nothing", "equivalent": "which makes them equivalent", "refused": "refused"}


def _plain_finding(comparison: Comparison) -> str:
    first = comparison.runs[0]
    if len(comparison.runs) == 1:
        return (
            f"{first.label} answers {first.accuracy:.1%} of {first.attempted:,} questions correctly "
            f"(95% interval {first.low:.1%} to {first.high:.1%})."
        )
    pair = comparison.pairs[0]
    second = comparison.run(pair.b)
    if pair.verdict == "refused":
        return f"No verdict on {first.label} and {second.label}: {pair.reason}."
    return _difference_finding(first, second, pair, False) + "."


def _untimed(comparison: Comparison) -> list[str]:
    """Deployable runs that the frontier leaves out because their timings cannot be compared."""
    shown = {row.run for row in figures.timed_alike(comparison)}
    return [
        row.label
        for row in comparison.runs
        if row.arm in figures.RIVALS and row.run not in shown and row.role not in figures.CONTROLS
    ]


def _matrix(cells: Sequence[Cell]) -> Mapping[str, list[Cell]]:
    """Cells by dimension, small evidence first."""
    return {name: list(group) for name, group in groupby(cells, key=lambda cell: cell.dimension)}


def _environment() -> Environment:
    environment = pages.environment(Path(__file__).parent)
    environment.filters |= {
        "share": lambda value: "–" if value is None else f"{value * 100:.1f}",
        "points": lambda value: "–" if value is None else f"{value * 100:+.1f}".replace("-", "−"),
        "whole": lambda value: f"{round(value * 100)}".replace("-", "−"),
        "px": lambda value: "–" if value is None else f"{value:.3g}",
        "ms": lambda value: "–" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}",
        "count": lambda value: "–" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}",
        "p": lambda value: "< 0.0001" if value < 0.0001 else f"{value:.4f}",
        "value": _value,
    }
    return environment


def _value(value: Any) -> str:
    """A field of a run in a table: hashes by their first digits."""
    text = "none" if value is None else str(value)
    return text[:12] + "…" if len(text) == 64 and " " not in text else text
