"""The comparison in one sentence, for the person who decides. It claims what the verdicts prove and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

import numpy as np

from zoomgap.compare.rows import Cell, CellVerdict, Comparison, PairRow, Role, RunRow
from zoomgap.compare.verdicts import ALL_KINDS, span_name

GLANCE: dict[CellVerdict, Role] = {"one glance suffices": "base", "distilled": "student"}
"""Who answers in one glance as well as the agent."""
CALLED: dict[Role, str] = {"base": "the base model", "student": "the distilled student", "agent": "the agent"}
PARTS = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth", 6: "a sixth", 8: "an eighth", 10: "a tenth"}
MAX_EXCEPTIONS = 2
ALL_SIZES = "over all sizes together"
NO_BOXES = "for these questions, whose evidence has no known size"


class Span(NamedTuple):
    """Neighbouring sizes under one verdict, and where they lie in words."""

    verdict: CellVerdict
    where: str


def finding(comparison: Comparison) -> str:
    """One sentence, without a full stop inside it."""
    base, agent, student = (comparison.role(role) for role in ("base", "agent", "student"))
    glance = student or base
    if agent is None or glance is None:
        return _plain(comparison)
    pair = _oriented(comparison, agent, glance)
    if pair.verdict == "refused":
        return f"No verdict on {agent.label} and {glance.label}: {pair.reason}."
    row = pooled(comparison.verdicts)
    sized = [cell for cell in row if cell.evidence_low is not None]
    used = sized if _decided(sized) else [cell for cell in row if cell.evidence_low is None]
    if not _decided(used):
        return _undecided(comparison, used[0], pair, agent, glance)
    found = spans(used, ALL_SIZES if _has_sizes(comparison) else NO_BOXES)
    found.sort(key=lambda span: span.verdict == "undecided")  # what is known comes first
    said = f"{_clauses(comparison, found, agent)}{_exceptions(comparison, used)}{_acuity(comparison)}"
    return f"{said[0].upper()}{said[1:]}."


def pooled(cells: Sequence[Cell]) -> list[Cell]:
    """The row over all kinds of question, or that of the only kind."""
    everything = [cell for cell in cells if cell.dimension == ALL_KINDS]
    return everything or list(cells)


def _has_sizes(comparison: Comparison) -> bool:
    return any(score.evidence_low is not None for score in comparison.runs[0].by_evidence)


def _decided(cells: Sequence[Cell]) -> bool:
    return any(cell.verdict != "undecided" for cell in cells)


def spans(cells: Sequence[Cell], unsized: str = ALL_SIZES) -> list[Span]:
    """Cells of one row, small evidence first, as spans of one verdict each. unsized: what to say of all sizes."""
    groups = [(verdict, list(group)) for verdict, group in groupby(cells, key=lambda cell: cell.verdict)]
    return [Span(verdict, _where(cells, group) or unsized) for verdict, group in groups]


def _where(cells: Sequence[Cell], group: Sequence[Cell]) -> str:
    low, high = group[0].evidence_low, group[-1].evidence_high
    if low is None or high is None:
        return ""
    if len(group) == len(cells):
        return f"at all sizes shown ({low:.0f} to {high:.0f} px)"
    if group[0] is cells[0]:
        return f"for details under {high:.0f} px"
    return (
        f"for details from {low:.0f} px up" if group[-1] is cells[-1] else f"for details of {low:.0f} to {high:.0f} px"
    )


def _clause(span: Span) -> str:
    if span.verdict == "zoom still needed":
        return f"zooming is still needed {span.where}"
    if span.verdict == "neither reads it":
        return f"neither zooming nor one glance reads enough {span.where}"
    if span.verdict == "undecided":
        return f"these answers do not decide {span.where}"
    return f"one glance of {CALLED[GLANCE[span.verdict]]} answers as well as zooming {span.where}"


def _clauses(comparison: Comparison, found: Sequence[Span], agent: RunRow) -> str:
    """The spans in words, with what a glance saves, or zooming costs, behind the last that it is about."""
    clauses = [_clause(span) for span in found]
    told = [k for k, span in enumerate(found) if span.verdict in GLANCE]
    told = told or [k for k, span in enumerate(found) if span.verdict == "zoom still needed"]
    if told:
        clauses[told[-1]] += _time(comparison, found[told[-1]].verdict, agent)
    return "; ".join(clauses)


def _time(comparison: Comparison, verdict: CellVerdict, agent: RunRow) -> str:
    """How the time of a glance and of zooming compare; "" where they were not taken alike."""
    row = (
        comparison.role(GLANCE[verdict]) if verdict in GLANCE else comparison.role("student") or comparison.role("base")
    )
    ratio = None if row is None else _oriented(comparison, row, agent).latency_ratio
    if ratio is None:
        return ""
    flight = agent.timing.concurrency
    many = f" with {flight} answers in flight" if flight is not None and flight > 1 else ""
    if verdict in GLANCE:
        return f", in {part_of(ratio)}{many}"
    return f", at {1 / ratio:.1f} times the time of a glance{many}"


def part_of(ratio: float) -> str:
    """A ratio of times in words."""
    if ratio > 1.1:
        return f"{ratio:.1f} times the time"
    if ratio > 0.9:
        return "about the same time"
    nearest = min(PARTS, key=lambda n: abs(np.log(ratio * n)))
    return f"{PARTS[nearest]} of the time" if abs(np.log(ratio * nearest)) < 0.1 else f"{ratio:.0%} of the time"


def _exceptions(comparison: Comparison, used: Sequence[Cell]) -> str:
    """The kinds of question whose own verdict is another than that of all kinds at the same sizes."""
    named = []
    for name, group in groupby(comparison.verdicts, key=lambda cell: cell.dimension):
        cells = list(group)
        if cells[0] in used or cells[-1] in used:
            continue
        own = (cells[:-1] or cells) if used[0].evidence_low is not None else cells[-1:]
        unlike = [cell for cell in own if _contradicts(cell, [u for u in used if _overlap(u, cell)])]
        for verdict, alike in groupby(unlike, key=lambda cell: cell.verdict):
            named.append(f"{name} {_sizes(list(alike), len(own))}({verdict})")
    more = f" and {len(named) - MAX_EXCEPTIONS} more" if len(named) > MAX_EXCEPTIONS else ""
    return f"; not so for {', '.join(named[:MAX_EXCEPTIONS])}{more}" if named else ""


def _contradicts(cell: Cell, others: Sequence[Cell]) -> bool:
    """Whether a verdict goes against all that is decided about the same sizes."""
    decided = [other.verdict for other in others if other.verdict != "undecided"]
    if cell.verdict == "undecided" or not decided:
        return False
    # Whether the base or the student suffices at one glance, zooming is not needed.
    return all(cell.verdict != v and not {cell.verdict, v} <= set(GLANCE) for v in decided)


def _overlap(a: Cell, b: Cell) -> bool:
    if a.evidence_low is None or a.evidence_high is None or b.evidence_low is None or b.evidence_high is None:
        return True
    return a.evidence_low < b.evidence_high and b.evidence_low < a.evidence_high


def _sizes(cells: Sequence[Cell], sizes: int) -> str:
    """Which of so many sizes the cells are, where they are not all."""
    if len(cells) == sizes:
        return ""
    return f"of {' and '.join(span_name(cell.evidence_low, cell.evidence_high) for cell in cells)} "


def _acuity(comparison: Comparison) -> str:
    """The sizes at which half is read, over the kinds where all named runs have one; "" where there are none."""
    rows = [row for role in ("agent", "student", "base") if (row := comparison.role(role))]
    shared = set.intersection(*(set(row.acuity_dimensions) for row in rows))
    if not shared:
        return ""
    sizes = [f"{_acuity_over(row, shared):.2g} px by {_who(row)}" for row in rows]
    kinds = len(rows[0].by_dimension)
    over = f", over {len(shared)} of {kinds} kinds" if len(shared) < kinds else ""
    return f" (half is read at {', '.join(sizes)}{over})"


def _who(row: RunRow) -> str:
    return "zooming" if row.role == "agent" else f"the {row.role}"


def _acuity_over(row: RunRow, dimensions: set[str]) -> float:
    """Geometric mean of the run's thresholds over these dimensions, px."""
    acuities = [row.by_dimension[name].acuity for name in sorted(dimensions)]
    return float(2 ** np.mean([np.log2(a.px) for a in acuities if a is not None and a.px is not None]))


def _undecided(comparison: Comparison, cell: Cell, pair: PairRow, agent: RunRow, glance: RunRow) -> str:
    """No verdict on all answers: how far apart the two are, and why that decides nothing."""
    least = comparison.settings.min_cell
    margin = f"which with a margin of {comparison.settings.margin * 100:.3g} points decides nothing"
    refused = f"but there is no verdict: {cell.reason}" if not cell.bounds else margin
    why = f"but a verdict rests on at least {least} answers" if cell.n < least else refused
    apart = _apart(comparison, agent, glance, pair)
    return f"Whether zooming is still needed stays undecided: {apart}, {why}{_acuity(comparison)}."


def _oriented(comparison: Comparison, a: RunRow, b: RunRow) -> PairRow:
    """The difference and time of a against b, however the pair is stored; its counts and verdict stay as they are."""
    pair = comparison.pair(a.run, b.run)
    if pair is not None:
        return pair
    stored = next(p for p in comparison.pairs if (p.a, p.b) == (b.run, a.run))
    return replace(
        stored,
        a=stored.b,
        b=stored.a,
        difference=None if stored.difference is None else -stored.difference,
        low=None if stored.high is None else -stored.high,
        high=None if stored.low is None else -stored.low,
        latency_ratio=None if stored.latency_ratio is None else 1 / stored.latency_ratio,
    )


def _apart(comparison: Comparison, a: RunRow, b: RunRow, pair: PairRow) -> str:
    difference, low, high = pair.difference or 0.0, pair.low or 0.0, pair.high or 0.0
    return (
        f"{a.label} is {abs(difference) * 100:.1f} points {'ahead of' if difference >= 0 else 'behind'} {b.label} over "
        f"{pair.n:,} shared answers ({comparison.settings.confidence:.0%} interval of the difference "
        f"{low * 100:+.1f} to {high * 100:+.1f})"
    )


_NOT_TOLD = {"undecided": "which decides nothing", "equivalent": "which makes them equivalent", "refused": "refused"}


def _plain(comparison: Comparison) -> str:
    """No agent and glance to set against one another: the first run, and the second if there is one."""
    first = comparison.runs[0]
    if len(comparison.runs) == 1:
        return (
            f"{first.label} answers {first.accuracy:.1%} of {first.attempted:,} questions correctly "
            f"({comparison.settings.confidence:.0%} interval {first.low:.1%} to {first.high:.1%})."
        )
    pair = comparison.pairs[0]
    second = comparison.run(pair.b)
    if pair.verdict == "refused":
        return f"No verdict on {first.label} and {second.label}: {pair.reason}."
    told = "" if pair.verdict in ("a better", "b better") else f", {_NOT_TOLD[pair.verdict]}"
    return f"{_apart(comparison, first, second, pair)}{told}."
