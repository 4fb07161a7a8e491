"""Figures of a comparison as SVG text that follows the page's light or dark colours.

Colours are CSS variables with a light fallback (Okabe and Ito's palette, told apart by colour-blind readers), so one
drawing serves both. Curves are labelled where they end; there are no legends to look up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import StringIO
from typing import NamedTuple
from xml.sax.saxutils import escape

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from zoomgap.compare.acuity import CurvePoint
from zoomgap.compare.rows import Comparison, RunRow
from zoomgap.compare.stats import Array

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#882255", "#737373", "#8a6239")
INK, MUTED, GRID = "#1b1f24", "#5c6570", "#d8dee4"
VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid"} | {c: f"--c{i}" for i, c in enumerate(PALETTE)}
MARKERS = "osD^vP*Xp<"
"""One more than there are colours: with many runs a colour comes back under another mark."""
FONT_SIZE = 8.0
FONT = {"svg.fonttype": "none", "svg.hashsalt": "zoomgap", "font.size": FONT_SIZE, "font.family": "sans-serif"}
MAX_CURVES = 4
MAX_LABEL = 24
RIVALS = ("direct", "tiles", "agent", "router")
CONTROLS = ("floor", "placebo", "ceiling")
"""Arms that one could deploy, and students that one would not: they are there to be compared with."""


class Label(NamedTuple):
    """Text to write beside the end of a curve at height y."""

    y: float
    text: str
    color: str


def color_of(comparison: Comparison, row: RunRow) -> str:
    """The run's colour, the same in every figure and table."""
    return PALETTE[comparison.runs.index(row) % len(PALETTE)]


def short(row: RunRow) -> str:
    """The run's role, else its label cut to a length that fits beside a curve."""
    name = row.role or row.label
    return name if len(name) <= MAX_LABEL else name[: MAX_LABEL - 1] + "…"


def headline(comparison: Comparison) -> list[RunRow]:
    """The few runs that the curves are about: base, agent and student, else the first that could be deployed."""
    chosen = [row for row in comparison.runs if row.role in ("base", "agent", "student")]
    return (chosen or [row for row in comparison.runs if row.arm in RIVALS] or list(comparison.runs))[:MAX_CURVES]


def psychometric(comparison: Comparison, dimension: str) -> str:
    """Chance-corrected accuracy over evidence size in one dimension, with data bins; "" where no run has a curve."""
    rows = [row for row in headline(comparison) if _points(row, dimension)]
    if not rows:
        return ""
    figure, axes = _canvas(3.4, 2.5, right=0.73)
    sizes = [point.px for row in rows for point in _points(row, dimension)]
    low, high = min(sizes) * 0.85, max(sizes) * 1.1
    axes.axhline(0.5, color=MUTED, linewidth=0.7, dashes=(3, 3))
    labels = []
    for row in rows:
        acuity = row.by_dimension[dimension].acuity
        assert acuity is not None
        color = color_of(comparison, row)
        points = acuity.points
        px, middle = np.array([p.px for p in points]), np.array([p.accuracy for p in points])
        whiskers = np.abs([[p.accuracy - p.low for p in points], [p.high - p.accuracy for p in points]])
        _errorbar(axes, px, middle, whiskers, color, _marker(comparison, row))
        end = float(middle[-1])
        text = short(row)
        if acuity.midpoint is not None:
            grid = np.geomspace(low, high, 60)
            axes.plot(grid, acuity.at(grid), color=color, linewidth=1.6)
            end = float(acuity.at(np.array([high]))[0])
        if acuity.px is not None:
            axes.plot([acuity.px], [0.5], marker="|", markersize=9, markeredgewidth=1.8, color=color)
            text = f"{text} {acuity.px:.3g} px"
        labels.append(Label(end, text, color))
    _log_sizes(axes, low, high)
    axes.set_ylim(-0.08, 1.05)
    axes.set_xlabel("smallest evidence, px of the direct view")
    axes.set_ylabel("accuracy above chance")
    _write_labels(axes, labels)
    return _svg(figure, f"curve-{dimension}", f"{dimension}: accuracy above chance over the size of the evidence")


def frontier(comparison: Comparison) -> str:
    """Accuracy over median time of the arms that one could deploy; "" where under two have comparable timings."""
    rows = timed_alike(comparison)
    if len(rows) < 2:
        return ""
    figure, axes = _canvas(4.6, 3.2, right=0.95)
    best = -1.0
    stairs: list[RunRow] = []
    for row in sorted(rows, key=lambda r: (r.p50_ms or 0.0, -r.accuracy)):
        if row.accuracy > best:
            stairs.append(row)
            best = row.accuracy
    times, heights = [row.p50_ms or 0.0 for row in stairs], [row.accuracy for row in stairs]
    axes.plot(times, heights, color=MUTED, linewidth=0.9, dashes=(3, 3), drawstyle="steps-post", zorder=1)
    for row in rows:
        whiskers = np.array([[row.accuracy - row.low], [row.high - row.accuracy]])
        color = color_of(comparison, row)
        _errorbar(axes, np.array([row.p50_ms]), np.array([row.accuracy]), whiskers, color, _marker(comparison, row), 6)
    span = [row.p50_ms or 1.0 for row in rows]
    axes.set_xscale("log")
    axes.set_xlim(min(span) / 1.5, max(span) * 2.4)
    bottom, top = min(row.low for row in rows), max(row.high for row in rows)
    axes.set_ylim(bottom - 0.12 * (top - bottom) - 0.01, top + 0.12 * (top - bottom) + 0.01)
    _beside(axes, rows, [Label(row.accuracy, short(row), color_of(comparison, row)) for row in rows])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else "")
    _percent(axes)
    axes.set_xlabel("median time to an answer, ms (log scale)")
    axes.set_ylabel("service accuracy")
    return _svg(figure, "frontier", "Service accuracy over median time to an answer")


def routing(comparison: Comparison) -> str:
    """Accuracy over mean cost of a router at all its thresholds, between one glance and the agent; "" without one."""
    routed = comparison.router
    if routed is None:
        return ""
    measured = routed.measured
    known = [policy for policy in measured.policies if policy.cost is not None]
    never, always = measured.policy("never zoom"), measured.policy("always zoom")
    if never.cost is None or always.cost is None:
        return ""
    figure, axes = _canvas(5.4, 3.4, right=0.74)
    glance, agent = (color_of(comparison, comparison.run(run)) for run in (routed.glance, routed.agent))
    colors = {"never zoom": glance, "always zoom": agent, "router": PALETTE[2], "oracle": MUTED}
    axes.plot([never.cost, always.cost], [never.accuracy, always.accuracy], color=MUTED, linewidth=0.9, dashes=(3, 3))
    curve = sorted((point.cost, point.accuracy) for point in measured.curve if point.cost is not None)
    axes.plot(*zip(*curve, strict=True), color=PALETTE[2], linewidth=1.4)
    labels = []
    for place, policy in enumerate(known):
        color = colors.get(policy.name, PALETTE[(place + 2) % len(PALETTE)])
        whiskers = np.array([[policy.accuracy - policy.low], [policy.high - policy.accuracy]])
        middle = np.array([policy.accuracy])
        _errorbar(axes, np.array([policy.cost]), middle, whiskers, color, MARKERS[place % len(MARKERS)], 6)
        labels.append(Label(policy.accuracy, policy.name, color))
    axes.set_xlim(0, max(point.cost or 0 for point in (*known, *measured.curve)) * 1.04)
    bottom, top = min(policy.low for policy in known), max(policy.high for policy in known)
    axes.set_ylim(bottom - 0.05 * (top - bottom) - 0.005, top + 0.05 * (top - bottom) + 0.005)
    _percent(axes)
    axes.set_xlabel(f"{routed.axis_name}, an answer")
    axes.set_ylabel("model accuracy")
    _write_labels(axes, labels)
    return _svg(figure, "router", "Accuracy of a router over its cost, between one glance and the agent")


def timed_alike(comparison: Comparison) -> list[RunRow]:
    """Deployable runs whose timings share the circumstances of the first of them."""
    rows = [row for row in comparison.runs if row.arm in RIVALS and row.role not in CONTROLS and row.p50_ms]
    if not rows:
        return []
    refused = {run for pair in comparison.pairs if pair.latency_refused and pair.a == rows[0].run for run in (pair.b,)}
    return [row for row in rows if row.run not in refused]


def by_evidence(comparison: Comparison) -> str:
    """Model accuracy of every run in each bin of evidence sizes; "" without evidence boxes."""
    spans = [score.evidence_low for score in comparison.runs[0].by_evidence]
    if len(spans) < 2 or spans[0] is None:
        return ""
    figure, axes = _canvas(4.6, 3.4, right=0.7)
    labels = []
    offsets = np.linspace(-0.12, 0.12, len(comparison.runs)) if len(comparison.runs) > 1 else np.zeros(1)
    for row, offset in zip(comparison.runs, offsets, strict=True):
        scores = [(i, s) for i, s in enumerate(row.by_evidence) if s.accuracy is not None]
        if not scores:
            continue
        middle = np.array([s.accuracy for _, s in scores], dtype=float)
        whiskers = np.abs(
            [[m - s.low for m, (_, s) in zip(middle, scores, strict=True)],
             [s.high - m for m, (_, s) in zip(middle, scores, strict=True)]]
        )  # fmt: skip
        x = np.array([i for i, _ in scores]) + offset
        color = color_of(comparison, row)
        axes.plot(x, middle, color=color, linewidth=1.2)
        _errorbar(axes, x, middle, whiskers, color, _marker(comparison, row))
        labels.append(Label(float(middle[-1]), short(row), color))
    names = [f"{s.evidence_low:.0f} to {s.evidence_high:.0f}" for s in comparison.runs[0].by_evidence]
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.3, len(names) - 0.8)
    axes.set_ylim(0, 1.02)
    _percent(axes)
    axes.set_xlabel("smallest evidence, px of the direct view")
    axes.set_ylabel("model accuracy")
    _write_labels(axes, labels)
    return _svg(figure, "evidence", "Accuracy of every run by size of the evidence")


PART_COLORS = {
    "calls": 0, "image_tokens": 5, "generated_tokens": 2, "view": 8, "preprocess": 4, "tool": 1, "rest": 7,
    "unsplit": 3,
}  # fmt: skip
"""Colours of the causes of time, as places in PALETTE."""


def time_parts(comparison: Comparison) -> str:
    """Mean time to an answer of each run in the timing session, stacked by cause; "" without a session.

    Causes below 0, which a fit may leave, stand left of 0. The table beside it is its legend.
    """
    session = comparison.timing_session
    rows = [row for row in session.runs if row.n] if session else []
    if not rows:
        return ""
    figure, axes = _canvas(6.4, 0.75 + 0.42 * len(rows), right=0.8)
    axes.grid(axis="x", color=GRID, linewidth=0.5)
    axes.grid(visible=False, axis="y")
    for place, row in enumerate(rows):
        up = down = 0.0
        for part in row.parts:
            ms = part.ms or 0.0
            axes.barh(place, ms, left=up if ms >= 0 else down, height=0.62, color=PALETTE[PART_COLORS[part.cause]])
            up, down = up + max(ms, 0.0), down + min(ms, 0.0)
        axes.annotate(
            f"{row.mean_ms:.0f} ms", (up, place), xytext=(5, 0), textcoords="offset points", va="center", color=INK,
            fontsize=FONT_SIZE,
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), [short(comparison.run(row.run)) for row in rows])
    axes.invert_yaxis()
    box = axes.get_position()
    axes.set_position((0.24, box.y0, 0.62, box.height))
    axes.set_xlabel("mean time to an answer, ms")
    return _svg(figure, "time-parts", "Mean time to an answer of each run by cause")


def _points(row: RunRow, dimension: str) -> tuple[CurvePoint, ...]:
    score = row.by_dimension.get(dimension)
    return score.acuity.points if score and score.acuity else ()


def _marker(comparison: Comparison, row: RunRow) -> str:
    return MARKERS[comparison.runs.index(row) % len(MARKERS)]


def _canvas(width: float, height: float, right: float) -> tuple[Figure, Axes]:
    """An empty figure in inches; the axes end at `right` (share of the width) and leave the rest to labels."""
    with matplotlib.rc_context(FONT):
        figure = Figure(figsize=(width, height))
        FigureCanvasSVG(figure)
        left, bottom = 0.58 / width, 0.45 / height
        axes = figure.add_axes((left, bottom, right - left, 1 - bottom - 0.1 / height))
    axes.patch.set_visible(False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GRID)
    axes.tick_params(which="both", colors=MUTED, length=2.5, width=0.6)
    axes.grid(axis="y", color=GRID, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.xaxis.label.set_color(MUTED)
    axes.yaxis.label.set_color(MUTED)
    return figure, axes


def _errorbar(axes: Axes, x: Array, y: Array, whiskers: Array, color: str, marker: str, size: float = 4.0) -> None:
    # A bound at 0 or 1 can lie past the mean by a rounding error, which matplotlib refuses.
    spans = np.maximum(whiskers, 0)
    axes.errorbar(x, y, yerr=spans, fmt=marker, color=color, markersize=size, elinewidth=0.9, markeredgewidth=0)


def _percent(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")


def _log_sizes(axes: Axes, low: float, high: float) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xlim(low, high)
    ticks = [t for t in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048) if low <= t <= high]
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()


def spread(heights: Sequence[float], gap: float, low: float = -np.inf, high: float = np.inf) -> list[float]:
    """The heights moved apart to at least `gap`, order kept: upwards, then down from `high` where they rose over it."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    result = list(heights)
    floor, roof = low, high
    for index in order:
        result[index] = max(result[index], floor)
        floor = result[index] + gap
    for index in reversed(order):
        result[index] = min(result[index], roof)
        roof = result[index] - gap
    return result


def _line(axes: Axes) -> float:
    """Height of a line of text in units of the y axis."""
    low, high = axes.get_ylim()
    figure = axes.get_figure(root=True)
    assert figure is not None
    return (high - low) * 0.145 / (figure.get_figheight() * axes.get_position().height)


def _write_labels(axes: Axes, labels: Sequence[Label]) -> None:
    """Labels right of the axes at the heights of their curves' ends."""
    low, high = axes.get_ylim()
    heights = spread([label.y for label in labels], _line(axes), low, high)
    for label, height in zip(labels, heights, strict=True):
        place = 1.02, (height - low) / (high - low)
        axes.text(*place, label.text, transform=axes.transAxes, color=label.color, va="center", fontsize=FONT_SIZE)


def _beside(axes: Axes, rows: Sequence[RunRow], labels: Sequence[Label]) -> None:
    """Labels right of points; those of points at nearly the same time are moved apart."""
    columns: dict[int, list[int]] = {}
    for index, row in enumerate(rows):
        columns.setdefault(round(float(np.log2(row.p50_ms or 1.0))), []).append(index)
    for column in columns.values():
        heights = spread([labels[i].y for i in column], _line(axes), *axes.get_ylim())
        for i, height in zip(column, heights, strict=True):
            axes.annotate(
                labels[i].text, (rows[i].p50_ms or 1.0, height), xytext=(6, -8), textcoords="offset points",
                color=labels[i].color, va="center", fontsize=FONT_SIZE,
            )  # fmt: skip


def _svg(figure: Figure, name: str, title: str) -> str:
    """The drawing as an inline element: ids made unique to `name`, colours as variables, a title for screen readers."""
    buffer = StringIO()
    with matplotlib.rc_context(FONT):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    key = re.sub(r"[^a-zA-Z0-9_-]", "-", name)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{key}-", text)
    for color, variable in VARIABLES.items():
        text = text.replace(color, f"var({variable}, {color})")
    # Its own style element would reach the whole page, and its fonts are those of the machine that drew.
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"font-family: [^;]*", "font-family: system-ui, sans-serif", text)
    label = escape(title, {'"': "&quot;"})
    head = f'<svg role="img" aria-label="{label}" class="figure" stroke-linejoin="round" stroke-linecap="butt"'
    return text.replace("<svg", head, 1).rstrip()
