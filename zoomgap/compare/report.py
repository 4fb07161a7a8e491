"""The report: one HTML file that opens anywhere, with no network and nothing beside it.

Everything that a model or a benchmark wrote is data: the template escapes it. Only the figures, drawn here, are markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from zoomgap import pages
from zoomgap.compare import figures, figures_dual
from zoomgap.compare.finding import finding
from zoomgap.compare.matrix import matrix
from zoomgap.compare.rows import Comparison
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


def render(comparison: Comparison, traces: Sequence[TraceView] = ()) -> str:
    """The whole report as HTML. Traces over MAX_TRACE_BYTES together are left out, and the page says how many."""
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
            untimed=_untimed(comparison),
            evidence=Markup(figures.by_evidence(comparison)),
            matrix=matrix(comparison),
            duals=[(dual, Markup(figures_dual.losses(dual))) for dual in comparison.dual],
            contributions=[
                (item, Markup(figures_dual.gains(item)), Markup(figures_dual.zoom_counts(item)))
                for item in comparison.contribution
            ],
            groups=[list(group) for _, group in groupby(comparison.gaps, key=lambda gap: gap.model)],
            time_parts=Markup(figures.time_parts(comparison)),
            part_colors=figures.PART_COLORS,
            traces=kept,
            left_out=len(traces) - len(kept),
            max_text=MAX_TEXT,
            box_colors=pages.BOX_COLORS,
        )
    )


def _untimed(comparison: Comparison) -> list[str]:
    """Deployable runs that the frontier leaves out because their timings cannot be compared."""
    shown = {row.run for row in figures.timed_alike(comparison)}
    return [
        row.label
        for row in comparison.runs
        if row.arm in figures.RIVALS and row.run not in shown and row.role not in figures.CONTROLS
    ]


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
