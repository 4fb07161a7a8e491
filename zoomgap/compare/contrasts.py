"""Which samples to show: drawn at random from those that one run got right and another did not, never picked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from zoomgap.compare.rows import Comparison
from zoomgap.records import Result

EACH = 4
"""Samples of each group."""


class Answered(NamedTuple):
    """One question as two runs answered it; b is None where there is one run only."""

    a: Result
    b: Result | None


@dataclass(frozen=True, slots=True)
class Group:
    """Answers that have something in common, of which there are `total`; `drawn` are those to show."""

    title: str
    total: int
    drawn: tuple[Answered, ...]


def headline_pair(comparison: Comparison) -> tuple[str, str | None]:
    """The two runs that samples are shown of: agent against one glance of the student, else of the base, else the first
    two runs; None second where there is one run."""
    agent = comparison.role("agent")
    glance = comparison.role("student") or comparison.role("base")
    if agent is not None and glance is not None:
        return agent.run, glance.run
    return comparison.runs[0].run, comparison.runs[1].run if len(comparison.runs) > 1 else None


def contrasts(a: Sequence[Result], b: Sequence[Result] | None, names: tuple[str, str], seed: int) -> list[Group]:
    """EACH samples that only a got right, that only b did and that neither did, drawn with `seed`; no empty groups.

    Of one run alone: its right and its wrong answers. Endpoint errors are in no group. Where runs zoom, those that
    neither got right are drawn from the samples in which one of them did. names: of a and b, for the titles.
    """
    pairs = _pairs(a, b)
    groups: Mapping[str, list[Answered]]
    if b is None:
        groups = {f"{names[0]} is right": [], f"{names[0]} is wrong": []}
        for pair in pairs:
            groups[f"{names[0]} is {'right' if pair.a.verdict == 'correct' else 'wrong'}"].append(pair)
    else:
        zoomed = [pair for pair in pairs if _zooms(pair)]
        none = "Neither is right" + (", with zooms" if zoomed else "")
        groups = {f"Only {names[0]} is right": [], f"Only {names[1]} is right": [], none: []}
        wins, losses, lost = groups.values()
        for pair in pairs:
            right = pair.a.verdict == "correct", pair.b is not None and pair.b.verdict == "correct"
            if right == (True, False):
                wins.append(pair)
            elif right == (False, True):
                losses.append(pair)
            elif right == (False, False) and (_zooms(pair) or not zoomed):
                lost.append(pair)
    rng = np.random.default_rng(seed)
    return [
        Group(title, len(members), tuple(members[k] for k in rng.permutation(len(members))[:EACH]))
        for title, members in groups.items()
        if members
    ]


def _pairs(a: Sequence[Result], b: Sequence[Result] | None) -> list[Answered]:
    """Answers of both without errors, in the order of their samples' ids."""
    found = [result for result in a if result.verdict != "error"]
    if b is None:
        pairs = [Answered(result, None) for result in found]
    else:
        others = {(result.sample.id, result.attempt): result for result in b if result.verdict != "error"}
        keyed = [(result, others.get((result.sample.id, result.attempt))) for result in found]
        pairs = [Answered(result, other) for result, other in keyed if other is not None]
    return sorted(pairs, key=lambda pair: (pair.a.sample.id, pair.a.attempt))


def _zooms(pair: Answered) -> bool:
    return pair.a.zooms > 0 or (pair.b is not None and pair.b.zooms > 0)
