"""Figures of the dual view and of the tool's contribution, in the style of figures.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from zoomgap.compare.agent_rows import Contribution, Dual, Sighting, ZoomCount
from zoomgap.compare.figures import GRID, MUTED, PALETTE, Label, _canvas, _errorbar, _percent, _svg, _write_labels

LOSSES: dict[Sighting, str] = {"no zoom": "no-zoom loss", "missed": "localisation loss", "held": "recognition loss"}
COLORS: dict[Sighting, str] = {"no zoom": PALETTE[7], "missed": PALETTE[4], "held": PALETTE[6]}
SIGNS: dict[Sighting, str] = {"no zoom": "s", "missed": "o", "held": "D"}


def losses(dual: Dual) -> str:
    """The three losses over all answers and by size of the evidence; "" where there is no region arm or no answer."""
    parts = [part for part in (dual.overall, *dual.by_evidence) if part.n and part.losses]
    if not parts:
        return ""
    figure, axes = _canvas(4.6, 2.9, right=0.76)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    labels = []
    for place, name in enumerate(LOSSES):
        shown = [(k, part.losses[place]) for k, part in enumerate(parts) if part.losses[place].value is not None]
        if not shown:
            continue
        x = np.array([k for k, _ in shown]) + 0.16 * (place - 1)
        middle = np.array([loss.value for _, loss in shown], dtype=float)
        whiskers = np.array(
            [[v - (loss.low or 0.0), (loss.high or 0.0) - v] for v, (_, loss) in zip(middle, shown, strict=True)]
        )
        _errorbar(axes, x, middle, whiskers.T, COLORS[name], SIGNS[name], 5.0)
        labels.append(Label(float(middle[-1]), LOSSES[name], COLORS[name]))
    axes.set_xticks(range(len(parts)), [part.name for part in parts])
    axes.set_xlim(-0.4, len(parts) - 0.6)
    _in_points(axes)
    axes.set_ylabel("lost against the region arm, points")
    axes.set_xlabel("smallest evidence, px of the direct view")
    _write_labels(axes, labels)
    return _svg(
        figure, f"losses-{dual.run}", "Accuracy that the agent loses against the region arm, by where it looked"
    )


def gains(contribution: Contribution, places: Mapping[str, int]) -> str:
    """What the agent is ahead of each control by, over all answers and by size; "" without one that is not refused.

    places: of the runs' colours.
    """
    controls = [control for control in contribution.controls if not control.refused]
    if not controls:
        return ""
    figure, axes = _canvas(4.6, 2.9, right=0.78)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    names = ["all answers", *(part.name for part in controls[0].by_evidence)]
    offsets = np.linspace(-0.24, 0.24, len(controls)) if len(controls) > 1 else np.zeros(1)
    labels = []
    for k, (control, offset) in enumerate(zip(controls, offsets, strict=True)):
        figures = [(control.difference, control.low, control.high)]
        figures += [(part.difference, part.low, part.high) for part in control.by_evidence]
        known = [(i, d, low, high) for i, (d, low, high) in enumerate(figures) if None not in (d, low, high)]
        x, middle, low, high = (np.array(column, dtype=float) for column in zip(*known, strict=True))
        color = PALETTE[places[control.run]]
        _errorbar(axes, x + offset, middle, np.stack([middle - low, high - middle]), color, "oD^sv"[k % 5], 5.0)
        labels.append(Label(float(middle[-1]), control.arm, color))
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.4, len(names) - 0.6)
    _in_points(axes)
    axes.set_ylabel("agent − control, points")
    axes.set_xlabel("smallest evidence, px of the direct view")
    _write_labels(axes, labels)
    return _svg(figure, f"gains-{contribution.run}", "How far the agent is ahead of each control")


def zoom_counts(contribution: Contribution, places: Mapping[str, int]) -> str:
    """How often the agent zoomed, and the accuracy at each count; "" without answers. places: as in `gains`."""
    counts: Sequence[ZoomCount] = contribution.histogram
    if not counts:
        return ""
    figure, axes = _canvas(4.6, 2.9, right=0.76)
    x = np.arange(len(counts), dtype=np.float64)
    axes.bar(x, [count.share for count in counts], width=0.7, color=GRID, linewidth=0)
    middle = np.array([count.accuracy for count in counts])
    whiskers = np.array([[c.accuracy - c.low for c in counts], [c.high - c.accuracy for c in counts]])
    color = PALETTE[places[contribution.run]]
    _errorbar(axes, x, middle, whiskers, color, "o", 5.0)
    axes.set_xticks(x, [str(count.zooms) for count in counts])
    axes.set_xlim(-0.6, len(counts) - 0.4)
    axes.set_ylim(0, 1.05)
    _percent(axes)
    axes.set_xlabel("zooms before the answer")
    _write_labels(
        axes,
        [Label(counts[-1].share, "share of answers", MUTED), Label(counts[-1].accuracy, "accuracy", color)],
    )
    return _svg(figure, f"zooms-{contribution.run}", "How often the agent zoomed, and its accuracy at each count")


def _in_points(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(lambda value, _: f"{value * 100:+.0f}".replace("-", "−").replace("+0", "0"))
