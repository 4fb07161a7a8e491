"""The report: one HTML file that opens anywhere, with no network and nothing beside it.

Everything that a model or a benchmark wrote is data: the template escapes it. Only the figures, drawn here, are markup.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, zip_longest
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from zoomgap import pages
from zoomgap.compare import charts, figures, figures_dual
from zoomgap.compare.finding import finding
from zoomgap.compare.matrix import matrix
from zoomgap.compare.methods import command, methods, warnings
from zoomgap.compare.rows import Comparison
from zoomgap.compare.words import FILTERS
from zoomgap.geometry import Box, Size

MAX_TRACE_BYTES = 3_000_000
"""JPEG bytes of all sample pages together: a report stays a file that one can mail."""
MAX_TEXT = 2_000
"""Characters of a question or reply that are shown."""


@dataclass(frozen=True, slots=True)
class ZoomView:
    """A place that an agent looked at. box: pixels of the original; crop: JPEG or PNG as the model saw it, b"" where it
    saw none; label: what the model called it.
    """

    box: Box
    label: str
    crop: bytes


@dataclass(frozen=True, slots=True)
class AnswerView:
    """What one run said to a question."""

    run: str
    verdict: str
    reply: str
    zooms: Sequence[ZoomView] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleView:
    """One question and its answers. images: JPEG of each of its pictures, maybe smaller than the originals; boxes are
    on the first, in pixels of its original, which has `size`. gold: a letter where there are choices.
    """

    id: str
    dimension: str
    question: str
    choices: Sequence[str]
    gold: str
    images: Sequence[bytes]
    size: Size
    evidence: Sequence[Box]
    answers: Sequence[AnswerView]

    @property
    def zooms(self) -> list[ZoomView]:
        """The places to draw on the image: those of the first answer that has any."""
        return next((list(answer.zooms) for answer in self.answers if answer.zooms), [])

    @property
    def bytes(self) -> int:
        crops = (len(zoom.crop) for answer in self.answers for zoom in answer.zooms)
        return sum(map(len, self.images)) + sum(crops)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleGroup:
    """Samples that have something in common, of which there are `total`. how: how those shown were chosen; single:
    whether it is about one run alone.
    """

    title: str
    total: int
    how: str
    single: bool
    views: Sequence[SampleView]


def render(comparison: Comparison, samples: Sequence[SampleGroup] = ()) -> str:
    """The whole report as HTML. Sample pages over MAX_TRACE_BYTES together are left out, and the page says how many."""
    kept, left_out = _within(samples, MAX_TRACE_BYTES)
    colors = figures.places(comparison)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            comparison=comparison,
            finding=finding(comparison),
            warnings=warnings(comparison),
            headline=figures.headline(comparison),
            names={row.run: row.label for row in comparison.runs},
            colors=colors,
            curves=charts.acuity_charts(comparison),
            frontier=charts.frontier_chart(comparison),
            routing=Markup(figures.routing(comparison)),
            untimed=_untimed(comparison),
            evidence=charts.evidence_chart(comparison),
            matrix=matrix(comparison),
            duals=[(dual, Markup(figures_dual.losses(dual))) for dual in comparison.dual],
            contributions=[
                (item, Markup(figures_dual.gains(item, colors)), Markup(figures_dual.zoom_counts(item, colors)))
                for item in comparison.contribution
            ],
            time_parts=Markup(figures.time_parts(comparison)),
            part_colors=figures.PART_COLORS,
            causes=_causes(comparison),
            groups=[list(group) for _, group in groupby(comparison.gaps, key=lambda gap: gap.model)],
            faulty=_faulty_fields(comparison),
            groups_of_samples=kept,
            left_out=left_out,
            methods=methods(comparison),
            command=command(comparison),
            max_text=MAX_TEXT,
            box_colors=pages.BOX_COLORS,
            letters=ascii_uppercase,
        )
    )


def _within(groups: Sequence[SampleGroup], most: int) -> tuple[list[SampleGroup], int]:
    """The groups with as many samples as fit in `most` bytes, taken in turn, and how many did not fit."""
    kept: list[list[SampleView]] = [[] for _ in groups]
    total = left_out = 0
    for row in zip_longest(*(group.views for group in groups)):
        for place, view in enumerate(row):
            if view is None:
                continue
            total += view.bytes
            if total <= most:
                kept[place].append(view)
            else:
                left_out += 1
    shown = [replace(group, views=views) for group, views in zip(groups, kept, strict=True) if views]
    return shown, left_out


def _faulty_fields(comparison: Comparison) -> dict[str, str]:
    """Of each field that puts pairs in doubt, how many."""
    counts = Counter(fault.field for fault in comparison.protocol_faults)
    allowed = {fault.field for fault in comparison.protocol_faults if fault.allowed}
    return {
        name: f"puts {n} pair{'s' if n > 1 else ''} in doubt{', allowed' if name in allowed else ''}"
        for name, n in counts.items()
    }


def _causes(comparison: Comparison) -> set[str]:
    """The causes that the time of some run of the session has: the others need no place in table and legend."""
    session = comparison.timing_session
    return {part.cause for row in session.runs for part in row.parts if part.ms} if session else set()


def _untimed(comparison: Comparison) -> list[str]:
    """Deployable runs that the frontier leaves out because their timings cannot be compared."""
    shown = {row.run for row in figures.timed_alike(comparison)}
    return [
        row.label
        for row in comparison.runs
        if row.arm in figures.DEPLOYABLE and row.run not in shown and row.role not in figures.CONTROLS
    ]


def _environment() -> Environment:
    environment = pages.environment(Path(__file__).parent)
    environment.filters |= FILTERS | {"contents": _contents, "json": _json}
    return environment


def _contents(body: str) -> list[tuple[str, Markup]]:
    """Id and heading of each section of the page; headings are markup of the page's own, escaped already."""
    found = re.findall(r'<section id="([\w-]+)">\s*<h2>(.*?)</h2>', body, re.DOTALL)
    return [(id, Markup(title)) for id, title in found]


def _json(value: Any) -> str:
    """A value as JSON on one line."""
    return json.dumps(value, ensure_ascii=False, default=list)
