"""Does zooming still earn its cost? One verdict for each dimension and size of evidence.

The rules are tried in order and the first that its bounds prove is the verdict. All bounds are simultaneous: each is
one-sided at (1 - confidence) / (rules x tested cells), so that with probability `confidence` no verdict is false.

A cell is tested where it holds `min_cell` answers. Where a dimension has fewer, neighbouring sizes are merged, at most
to all sizes; all dimensions together are a row of their own. Which cells there are hangs on counts alone, never on
what was answered, so the bounds stay honest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np

from zoomgap.compare.protocol import refusal
from zoomgap.compare.rows import Cell, CellVerdict, Role, Settings
from zoomgap.compare.stats import Mask, accuracy_interval, adjusted_interval
from zoomgap.compare.table import Table

UNREADABLE = 0.25
"""A chance-corrected accuracy under this is not reading."""
SEATED: tuple[Role, ...] = ("base", "agent", "student", "floor")
RULES = 4
"""At most so many rules can be false at once, with all of SEATED there."""
BINS = 3
PARTS = 6
"""Parts of the sizes that are put together to at most BINS: two or three even sizes can be made of them."""
ALL_KINDS = "all kinds"
"""Name of the row over all dimensions, in the mix that the set has."""


class Bin(NamedTuple):
    """Answers whose evidence has a size in [low, high) px; None, None takes all."""

    low: float | None
    high: float | None
    mask: Mask

    @property
    def name(self) -> str:
        """The sizes in words."""
        return span_name(self.low, self.high)


class Place(NamedTuple):
    """A cell of the table: answers of one dimension, or of ALL_KINDS, at one size."""

    dimension: str
    low: float | None
    high: float | None
    mask: Mask

    @property
    def n(self) -> int:
        return int(self.mask.sum())


def span_name(low: float | None, high: float | None) -> str:
    """Sizes of evidence in words."""
    return "all sizes" if low is None or high is None else f"{low:.0f} to {high:.0f} px"


def evidence_bins(table: Table, count: int = BINS) -> list[Bin]:
    """As many even parts of the evidence sizes; one bin of everything where the set has no evidence boxes."""
    known = table.octave[~np.isnan(table.octave)]
    if known.size == 0:
        return [Bin(None, None, np.ones(table.octave.size, dtype=bool))]
    edges = np.quantile(known, np.linspace(0, 1, count + 1))
    inner = np.searchsorted(edges[1:-1], table.octave, side="right")
    masks = [(inner == index) & ~np.isnan(table.octave) for index in range(count)]
    return [Bin(float(2 ** edges[i]), float(2 ** edges[i + 1]), mask) for i, mask in enumerate(masks) if mask.any()]


def merged(counts: Sequence[int], least: int, most: int = BINS) -> list[range]:
    """Neighbours put together until each group counts `least`: as many groups as can be up to `most`, else one of all.

    Of several ways the one whose smallest group is largest; then the one whose first group is shortest.
    """
    for cuts in range(min(most, len(counts)) - 1, 0, -1):
        ways = []
        for inner in combinations(range(1, len(counts)), cuts):
            groups = [range(a, b) for a, b in pairwise((0, *inner, len(counts)))]
            ways.append((min(sum(counts[i] for i in group) for group in groups), groups))
        smallest, groups = max(ways, key=lambda way: way[0])
        if smallest >= least:
            return groups
    return [range(len(counts))]


def places(table: Table, shared: Mask, least: int) -> list[Place]:
    """The cells over `shared` answers: each dimension by size and over all sizes, then all dimensions together."""
    bins = evidence_bins(table, PARTS)
    rows = [(name, shared & (table.dimension == name)) for name in table.dimensions]
    if len(rows) > 1:
        rows.append((ALL_KINDS, shared))
    found = []
    for name, mask in rows:
        groups = merged([int((mask & span.mask).sum()) for span in bins], least)
        if len(groups) > 1:
            for group in groups:
                inside = np.logical_or.reduce([bins[i].mask for i in group])
                found.append(Place(name, bins[group[0]].low, bins[group[-1]].high, mask & inside))
        found.append(Place(name, None, None, mask))
    return found


def missing(seats: Mapping[Role, int]) -> str:
    """Why there can be no verdict at all, or ""."""
    if "agent" not in seats:
        return "no verdicts: no agent is compared, so nothing says what zooming brings; add a run of --arm agent"
    if "base" not in seats and "student" not in seats:
        return (
            "no verdicts: no model at one glance is compared with the agent; add a run of --arm direct of the agent's "
            "model, or name a student with --role student=RUN"
        )
    return ""


def cell_verdicts(table: Table, seats: Mapping[Role, int], settings: Settings) -> tuple[Cell, ...]:
    """Verdicts over dimensions x sizes. seats: the row of each role; none where missing() says why."""
    if missing(seats):
        return ()
    rows = {role: seats[role] for role in SEATED if role in seats}
    faulty = refusal(table, list(rows.values()), settings)
    cells = places(table, table.shared(*rows.values()), settings.min_cell)
    tested = sum(place.n >= settings.min_cell for place in cells)
    confidence = 1 - 2 * (1 - settings.confidence) / (_rules(rows) * max(tested, 1))
    return tuple(_cell(table, rows, place, faulty, confidence, settings) for place in cells)


def _rules(rows: Mapping[Role, int]) -> int:
    """How many rules can be false at once: "one glance suffices" and "zoom still needed" contradict each other only
    where both speak of the base."""
    if "student" not in rows:
        return 2
    return RULES - ("base" not in rows) - ("floor" not in rows)


def _cell(
    table: Table,
    rows: Mapping[Role, int],
    place: Place,
    faulty: str,
    confidence: float,
    settings: Settings,
) -> Cell:
    bounds: dict[str, float] = {}
    verdict: CellVerdict = "undecided"
    if faulty:
        reason = faulty.partition(":")[0]
    elif place.n < settings.min_cell:
        reason = f"{place.n:,} answers, a verdict rests on at least {settings.min_cell:,}"
    else:
        bounds = _bounds(table, rows, place.mask, confidence)
        verdict, reason = decide(bounds, settings.margin)
    return Cell(
        dimension=place.dimension,
        evidence_low=place.low,
        evidence_high=place.high,
        n=place.n,
        verdict=verdict,
        reason=reason,
        bounds=bounds,
    )


def _bounds(table: Table, rows: Mapping[Role, int], mask: Mask, confidence: float) -> dict[str, float]:
    """Upper bounds of chance-corrected accuracies (`base`) and lower bounds of differences (`base - agent`)."""
    clusters = table.cluster[mask]
    right = {role: table.right[row][mask] for role, row in rows.items()}
    bounds = {}
    for role in ("base", "agent", "student"):
        if role in rows:
            bounds[role] = _corrected_upper(table, rows[role], mask, confidence)
    pairs: list[tuple[Role, Role]] = [("base", "agent"), ("agent", "base"), ("student", "agent"), ("agent", "student")]
    for a, b in [*pairs, ("student", "floor")]:
        if a in rows and b in rows:
            bounds[f"{a} - {b}"] = adjusted_interval(right[a] - right[b], clusters, confidence).low
    return bounds


def _corrected_upper(table: Table, row: int, mask: Mask, confidence: float) -> float:
    """Upper bound of a run's chance-corrected accuracy.

    A guess rate that was read off answers is itself uncertain: half of the error goes to its lower bound.
    """
    guess = float(table.guess[row][mask].mean())
    source = table.guess_row(row)
    if source is not None:
        confidence = (1 + confidence) / 2
        known = ~np.isnan(table.right[source]) & np.isin(table.dimension, np.unique(table.dimension[mask]))
        if known.any():
            blind = table.right[source][known]
            low = accuracy_interval(blind, table.cluster[known], confidence).low
            guess = max(0.0, guess - (float(blind.mean()) - low))
    high = accuracy_interval(table.right[row][mask], table.cluster[mask], confidence).high
    return (high - guess) / (1 - guess)


def decide(bounds: Mapping[str, float], margin: float) -> tuple[CellVerdict, str]:
    """The first rule that the bounds prove, and what proved it in words. bounds: as Cell has them."""
    uppers = {role: bounds[role] for role in ("base", "agent", "student") if role in bounds}
    student = "student" in uppers
    if max(uppers.values()) < UNREADABLE:
        return "neither reads it", f"every arm reads under {max(0.01, *uppers.values()):.0%} above chance"
    if bounds.get("base - agent", -1.0) > -margin:
        return "one glance suffices", f"the base is at most {_points(-bounds['base - agent'])} behind the agent"
    matched = bounds.get("student - agent", -1.0) > -margin
    if matched and bounds.get("student - floor", -1.0) > 0:
        return (
            "distilled",
            f"the student is at most {_points(-bounds['student - agent'])} behind the agent, and above the floor",
        )
    other = "student" if student else "base"
    if bounds[f"agent - {other}"] > margin:
        ahead = f"the agent is at least {_points(bounds[f'agent - {other}'])} ahead of the {other}"
        if not student:
            return "zoom still needed", f"{ahead}; no student is compared"
        if "agent - base" in bounds and bounds["agent - base"] <= margin:
            return "zoom still needed", f"{ahead}; against the base that is not shown"
        return "zoom still needed", ahead
    if matched:
        floor = "it is not shown to be above the floor" if "student - floor" in bounds else "no floor is compared"
        return (
            "undecided",
            f"the student is at most {_points(-bounds['student - agent'])} behind the agent, but {floor}",
        )
    least, most = bounds[f"agent - {other}"], -bounds[f"{other} - agent"]
    span = f"the agent is {_lead(least, most)} the {other}, which no rule decides"
    return "undecided", span if student else f"{span}; no student is compared"


def _lead(least: float, most: float) -> str:
    """By how much one arm is ahead, from one share to another."""
    low, high = abs(least) * 100, abs(most) * 100
    if least >= 0:
        return f"{low:.1f} to {high:.1f} points ahead of"
    return f"{low:.1f} points behind to {high:.1f} ahead of" if most > 0 else f"{high:.1f} to {low:.1f} points behind"


def _points(difference: float) -> str:
    """A bound on how far one arm is ahead, none where it is not."""
    return f"{max(0.0, difference) * 100:.1f} points"
