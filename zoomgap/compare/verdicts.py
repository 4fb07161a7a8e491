"""Does zooming still earn its cost? One verdict for each dimension and size of evidence.

The rules are tried in order and the first that its bounds prove is the verdict. All bounds are simultaneous: each is
one-sided at (1 - confidence) / (RULES x tested cells), so that with probability `confidence` no verdict is false.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from zoomgap.compare.protocol import refusal
from zoomgap.compare.rows import Cell, CellVerdict, Role, Settings
from zoomgap.compare.stats import Mask, accuracy_interval, adjusted_interval
from zoomgap.compare.table import Table

RULES = 3
"""At most three of the four can be false at once: "distilled" and "zoom still needed" contradict each other."""
UNREADABLE = 0.25
"""A chance-corrected accuracy under this is not reading."""
SEATED: tuple[Role, ...] = ("base", "agent", "student", "floor")
BINS = 3


class Bin(NamedTuple):
    """Answers whose evidence has a size in [low, high) px; None, None takes all."""

    low: float | None
    high: float | None
    mask: Mask


def evidence_bins(table: Table) -> list[Bin]:
    """Tertiles of the evidence size; one bin of everything where the set has no evidence boxes."""
    known = table.octave[~np.isnan(table.octave)]
    if known.size == 0:
        return [Bin(None, None, np.ones(table.octave.size, dtype=bool))]
    edges = np.quantile(known, np.linspace(0, 1, BINS + 1))
    inner = np.searchsorted(edges[1:-1], table.octave, side="right")
    masks = [(inner == index) & ~np.isnan(table.octave) for index in range(BINS)]
    return [Bin(float(2 ** edges[i]), float(2 ** edges[i + 1]), mask) for i, mask in enumerate(masks) if mask.any()]


def cell_verdicts(table: Table, seats: Mapping[Role, int], bins: list[Bin], settings: Settings) -> tuple[Cell, ...]:
    """Verdicts over dimensions x bins. seats: the row of each role; none without a base and an agent."""
    rows = {role: seats[role] for role in SEATED if role in seats}
    if "base" not in rows or "agent" not in rows:
        return ()
    refused = refusal(table, list(rows.values()), settings)
    shared = table.shared(*rows.values())
    masks = [(d, b, shared & b.mask & (table.dimension == d)) for d in table.dimensions for b in bins]
    tested = sum(int(mask.sum()) >= settings.min_cell for _, _, mask in masks)
    confidence = 1 - 2 * (1 - settings.confidence) / (RULES * max(tested, 1))
    cells = []
    for dimension, span, mask in masks:
        n, bounds = int(mask.sum()), {}
        verdict: CellVerdict = "undecided"
        if refused:
            reason = refused.partition(":")[0]
        elif n < settings.min_cell:
            reason = f"{n} answers, a verdict rests on at least {settings.min_cell}"
        else:
            bounds = _bounds(table, rows, mask, confidence)
            verdict, reason = _decide(bounds, settings.margin)
        cells.append(
            Cell(
                dimension=dimension,
                evidence_low=span.low,
                evidence_high=span.high,
                n=n,
                verdict=verdict,
                reason=reason,
                bounds=bounds,
            )
        )
    return tuple(cells)


def _bounds(table: Table, rows: Mapping[Role, int], mask: Mask, confidence: float) -> dict[str, float]:
    """Upper bounds of chance-corrected accuracies (`base`) and lower bounds of differences (`base - agent`)."""
    clusters = table.cluster[mask]
    right = {role: table.right[row][mask] for role, row in rows.items()}
    bounds = {}
    for role in ("base", "agent", "student"):
        if role in rows:
            guess = float(table.guess[rows[role]][mask].mean())
            high = accuracy_interval(right[role], clusters, confidence).high
            bounds[role] = (high - guess) / (1 - guess)
    pairs: list[tuple[Role, Role]] = [("base", "agent"), ("student", "agent"), ("student", "floor")]
    pairs.append(("agent", "student" if "student" in rows else "base"))
    for a, b in pairs:
        if a in rows and b in rows:
            bounds[f"{a} - {b}"] = adjusted_interval(right[a] - right[b], clusters, confidence).low
    return bounds


def _decide(bounds: Mapping[str, float], margin: float) -> tuple[CellVerdict, str]:
    """The first rule that the bounds prove, and the bound that proved it in words."""
    uppers = {role: bounds[role] for role in ("base", "agent", "student") if role in bounds}
    if max(uppers.values()) < UNREADABLE:
        return "neither reads it", f"every arm reads under {max(uppers.values()):.0%} above chance"
    if bounds["base - agent"] > -margin:
        return "one glance suffices", f"the base is at most {max(0.0, -bounds['base - agent']):.1%} behind the agent"
    matched = bounds.get("student - agent", -1.0) > -margin
    if matched and bounds.get("student - floor", -1.0) > 0:
        behind = max(0.0, -bounds["student - agent"])
        return "distilled", f"the student is at most {behind:.1%} behind the agent, and above the floor"
    other = "student" if "student" in uppers else "base"
    if bounds[f"agent - {other}"] > margin:
        return "zoom still needed", f"the agent is at least {bounds[f'agent - {other}']:.1%} ahead of the {other}"
    if matched:
        return "undecided", "the student matches the agent, but it is not shown to be above a floor"
    return "undecided", "the intervals are too wide for any rule"
