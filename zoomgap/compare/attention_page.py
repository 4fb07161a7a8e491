"""The page of `zoomgap attention`: one HTML file that opens from disk, with curves by layer and maps over images."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from numpy.typing import NDArray
from PIL import Image

from zoomgap import imaging, pages
from zoomgap.compare import figures
from zoomgap.compare.attention import CONTROLS, DRAWS, FLOOR, SIZES, Enrichment, Figure, Group, ModelRow, labels
from zoomgap.compare.figures import MARKERS, MUTED, PALETTE, Label
from zoomgap.compare.stats import FEW_CLUSTERS
from zoomgap.geometry import Box, Size
from zoomgap.records import Verdict

MAX_TEXT = 2_000
"""Characters of a question or reply that are shown."""
COLORS = "inferno"
FAINT, STRONG = 0.1, 0.75
"""Opacity of a heat map where there is no attention, and where there is most."""


@dataclass(frozen=True, slots=True, eq=False)
class Heat:
    """What one model's answer attends to in one layer. attention: (rows x columns,), the heads' mean."""

    model: str
    layer: int
    reply: str
    verdict: Verdict
    rows: int
    columns: int
    attention: NDArray[np.float32]

    @property
    def peak(self) -> float:
        """The most that a cell gets, over the even share; 0 where none goes to the image."""
        total = float(self.attention.sum())
        return float(self.attention.max()) * self.attention.size / total if total > 0 else 0.0

    @property
    def png(self) -> Markup:
        """The map as a data URI, one pixel a cell, the strongest cell brightest."""
        shares = self.attention / max(float(self.attention.max()), 1e-12)
        rgba = matplotlib.colormaps[COLORS](shares.reshape(self.rows, self.columns))
        rgba[..., 3] = FAINT + (STRONG - FAINT) * shares.reshape(self.rows, self.columns)
        data = imaging.encode(Image.fromarray(np.rint(rgba * 255).astype(np.uint8), "RGBA"), "image/png")
        return Markup("data:image/png;base64," + base64.b64encode(data).decode())


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """One sample. jpeg may be smaller than the original, in whose pixels the evidence is; heats: one a model."""

    title: str
    question: str
    gold: str
    jpeg: bytes
    size: Size
    evidence: Sequence[Box]
    heats: Sequence[Heat]


def render_attention(found: Enrichment, overlays: Sequence[Overlay]) -> str:
    """The whole page. Everything that a model or a benchmark wrote is data: the template escapes it."""
    environment = pages.environment(Path(__file__).parent)
    environment.filters |= {"times": times, "share": _share, "p": _p}
    names = labels([model.model for model in found.models])
    return environment.get_template("attention.html.j2").render(
        found=found,
        names=names,
        finding=finding(found),
        by_layer=Markup(by_layer(found, names)),
        by_size=Markup(by_size(found, names)),
        by_image=Markup(by_image(found, names)),
        colors={model.model: k % len(PALETTE) for k, model in enumerate(found.models)},
        overlays=overlays,
        box_colors=pages.BOX_COLORS,
        controls=CONTROLS,
        draws=DRAWS,
        floor=round(1 / FLOOR),
        few=FEW_CLUSTERS,
        sizes=SIZES,
        max_text=MAX_TEXT,
    )


def finding(found: Enrichment) -> str:
    """What was found, in one plain sentence."""
    names = labels([model.model for model in found.models])
    first = found.models[0]
    best = first.best
    if best is None or best.enrichment.value is None:
        return f"No answer of {names[first.model]} attends to the image."
    told = f"Answers of {names[first.model]} give the evidence {times(best.enrichment)} its share in layer {best.layer}"
    if best.over_control.value is not None:
        told += f", {times(best.over_control)} what they give to boxes of its size where other samples have theirs"
    for other in found.models[1:]:
        ratio = next((p for p in found.pairs if p.b == other.model and p.layer == best.layer), None)
        if ratio is not None and ratio.ratio.value is not None:
            sure = "" if ratio.adjusted is not None and ratio.adjusted < 0.05 else ", which is not told from 1"
            told += f"; {names[other.model]} there {times(ratio.ratio)} as much as {names[first.model]}{sure}"
    return told + "."


def times(figure: Figure) -> str:
    """A factor with its interval, in words."""
    if figure.value is None:
        return "–"
    bounds = "" if figure.low is None else f" ({figure.low:.3g} to {figure.high:.3g})"
    return f"{figure.value:.3g}×{bounds}"


def by_layer(found: Enrichment, names: Mapping[str, str]) -> str:
    """Enrichment over layers with intervals, and dashed what the moved boxes get."""
    figure, axes = figures._canvas(6.2, 3.2, right=0.78)
    axes.axhline(1, color=MUTED, linewidth=0.7, dashes=(3, 3))
    ends = []
    for place, model in enumerate(found.models):
        color = PALETTE[place % len(PALETTE)]
        known = [row for row in model.layers if row.enrichment.value is not None]
        controlled = [row for row in known if row.control.value is not None]
        axes.plot(
            [row.layer for row in controlled], [row.control.value or 1.0 for row in controlled],
            color=color, linewidth=1.0, dashes=(2, 2),
        )  # fmt: skip
        layers, values = [row.layer for row in known], [row.enrichment for row in known]
        _curve(axes, place, [layer + _aside(place, len(found.models)) for layer in layers], values)
        if known:
            ends.append(Label(known[-1].enrichment.value or 1.0, names[model.model], color))
    _log_times(axes)
    _layers(axes, found)
    axes.set_ylabel("enrichment")
    _log_labels(axes, ends)
    return figures._svg(figure, "layers", "Attention enrichment by layer, with 95% intervals, and that of moved boxes")


def by_size(found: Enrichment, names: Mapping[str, str]) -> str:
    """Enrichment by thirds of evidence size, each model in its best layer; "" without thirds."""
    figure, axes = figures._canvas(4.6, 3.0, right=0.72)
    axes.axhline(1, color=MUTED, linewidth=0.7, dashes=(3, 3))
    ends, ticks = [], []
    for place, model in enumerate(found.models):
        groups = [group for group in sizes_of(model) if group.enrichment.value is not None]
        if not groups:
            continue
        ticks = [f"{group.low_px:.3g} to {group.high_px:.3g}" for group in sizes_of(model)]
        x = [SIZES.index(group.name) + _aside(place, len(found.models)) for group in groups]
        _curve(axes, place, x, [group.enrichment for group in groups])
        ends.append(Label(groups[-1].enrichment.value or 1.0, names[model.model], PALETTE[place % len(PALETTE)]))
    if not ends:
        return ""
    _log_times(axes)
    axes.set_xticks(range(len(ticks)), ticks)
    axes.set_xlim(-0.3, len(ticks) - 0.7)
    axes.set_xlabel("smallest evidence, px of the direct view")
    axes.set_ylabel("enrichment")
    _log_labels(axes, ends)
    return figures._svg(figure, "sizes", "Enrichment by size of the evidence, in each model's best layer")


def by_image(found: Enrichment, names: Mapping[str, str]) -> str:
    """The share of all attention that goes to the image, by layer."""
    figure, axes = figures._canvas(4.6, 3.0, right=0.72)
    ends = []
    for place, model in enumerate(found.models):
        x = [row.layer + _aside(place, len(found.models)) for row in model.layers]
        _curve(axes, place, x, [row.image_share for row in model.layers])
        end = next((row.image_share.value for row in model.layers[::-1]), None) or 0.0
        ends.append(Label(end, names[model.model], PALETTE[place % len(PALETTE)]))
    axes.set_ylim(0, 1.02)
    figures._percent(axes)
    _layers(axes, found)
    axes.set_ylabel("of all attention")
    figures._write_labels(axes, ends)
    return figures._svg(figure, "image", "Share of the answer's attention that goes to the image, by layer")


def sizes_of(model: ModelRow) -> list[Group]:
    """Groups by size of the model's best layer."""
    return [group for group in (model.best.groups if model.best else ()) if group.name in SIZES]


def _curve(axes: Axes, place: int, x: Sequence[float], values: Sequence[Figure]) -> None:
    color, marker = PALETTE[place % len(PALETTE)], MARKERS[place % len(MARKERS)]
    middle = np.array([figure.value for figure in values], dtype=float)
    whiskers = np.array(
        [[m - f.low, f.high - m] if f.low is not None and f.high is not None else [0, 0]
         for m, f in zip(middle, values, strict=True)]
    ).reshape(-1, 2).T  # fmt: skip
    axes.plot(x, middle, color=color, linewidth=1.4)
    figures._errorbar(axes, np.array(x), middle, whiskers, color, marker)


def _aside(place: int, models: int) -> float:
    """A little to the side, so that intervals of several models do not hide one another."""
    return 0.08 * (place - (models - 1) / 2)


def _layers(axes: Axes, found: Enrichment) -> None:
    numbers = sorted({row.layer for model in found.models for row in model.layers})
    step = -(-len(numbers) // 12)
    axes.set_xticks(numbers[::step], [str(number) for number in numbers[::step]])
    axes.set_xlim(min(numbers) - 0.3, max(numbers) + 0.3)
    axes.set_xlabel("layer of the language part")


def _log_times(axes: Axes) -> None:
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}×" if value >= 1 else f"1/{1 / value:g}")
    axes.yaxis.set_minor_formatter(lambda value, _: "")
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.7), max(high, 1.5))


def _log_labels(axes: Axes, ends: Sequence[Label]) -> None:
    """Labels beside curves, moved apart as on a linear axis from 0 to 1 over the same height."""
    low, high = (float(np.log(bound)) for bound in axes.get_ylim())
    places = [(float(np.log(end.y)) - low) / (high - low) for end in ends]
    figure = axes.get_figure(root=True)
    assert figure is not None
    line = 0.145 / (figure.get_figheight() * axes.get_position().height)
    for end, height in zip(ends, figures.spread(places, line, 0.0, 1.0), strict=True):
        axes.text(
            1.02, height, end.text, transform=axes.transAxes, color=end.color, va="center", fontsize=figures.FONT_SIZE
        )


def _share(figure: Figure) -> str:
    if figure.value is None:
        return "–"
    bounds = "" if figure.low is None or figure.high is None else f" ({figure.low:.1%} to {figure.high:.1%})"
    return f"{figure.value:.1%}{bounds}"


def _p(value: Any) -> str:
    return "–" if value is None else "< 0.0001" if value < 0.0001 else f"{value:.4f}"
