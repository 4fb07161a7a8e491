"""After how many questions what was spent once is earned back by cheaper answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from zoomgap.compare.routing import Bounds
from zoomgap.compare.stats import Array, Codes, Resamples, bootstrap_means, percentiles

Unit = Literal["seconds", "dollars"]


@dataclass(frozen=True, slots=True)
class Spent:
    """A thing that was paid for once. note: what it is made of, or how it was estimated."""

    what: str
    amount: float
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """saved: a question, mean over the n that both answered. queries: after how many what was spent has come back; None
    for never. queries_low, queries_high: from the interval of what is saved; None where it may never come back.
    reason: why never, or why perhaps never, "" otherwise."""

    unit: Unit
    student: str
    agent: str
    n: int
    spent: tuple[Spent, ...]
    total: float
    student_each: float
    agent_each: float
    saved: Bounds
    queries: float | None
    queries_low: float | None
    queries_high: float | None
    reason: str


def break_even(
    unit: Unit,
    student: str,
    agent: str,
    student_cost: Array,
    agent_cost: Array,
    clusters: Codes,
    weights: Resamples,
    spent: Sequence[Spent],
    confidence: float = 0.95,
) -> BreakEven:
    """student_cost, agent_cost: (K,) of the same K > 0 questions in `unit`. weights: from `bootstrap_weights`."""
    each = agent_cost - student_cost
    interval = percentiles(bootstrap_means(each, clusters, weights), confidence)
    saved = Bounds(float(each.mean()), interval.low, interval.high)
    total = sum(item.amount for item in spent)
    reason = ""
    if saved.value <= 0:
        reason = "an answer costs no less than the agent's, so nothing comes back"
    elif saved.low <= 0:
        reason = "the interval of what an answer saves reaches 0, so it may never come back"

    def after(each_saved: float) -> float | None:
        return total / each_saved if each_saved > 0 else None

    return BreakEven(
        unit=unit, student=student, agent=agent, n=each.size, spent=tuple(spent), total=total,
        student_each=float(student_cost.mean()), agent_each=float(agent_cost.mean()), saved=saved,
        queries=after(saved.value), queries_low=after(saved.high), queries_high=after(saved.low), reason=reason,
    )  # fmt: skip
