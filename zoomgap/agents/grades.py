"""Verdicts on what arms answered: given when an answer comes, and given anew by a newer grader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from zoomgap import grading, prompts
from zoomgap.errors import UsageError
from zoomgap.grading import GRADER
from zoomgap.records import Grade, Sample
from zoomgap.storage import Store


class Change(NamedTuple):
    """An answer on which two versions of the rules differ."""

    trajectory: int
    sample: str
    attempt: int
    before: Grade
    after: Grade


@dataclass(frozen=True, slots=True, kw_only=True)
class Regraded:
    """A run and the verdicts that it has of `grader`. n: answers; new: verdicts given by this call."""

    run: str
    grader: str
    n: int
    new: int
    changes: tuple[Change, ...]


def grade_answer(text: str, sample: Sample, *, failed: bool, variant: int = 0) -> Grade:
    """The verdict on a final message, or on an answer that never came (failed). variant: of the run that asked."""
    if failed:
        return grading.error_grade()
    sample = prompts.vary(sample, variant)
    return grading.grade(text, answer=sample.answer, answer_kind=sample.answer_kind, choices=sample.choices)


def regrade(store: Store, run: str, count: Callable[[int], None] | None = None) -> Regraded:
    """Give every answer of a run (an id or its beginning) a verdict of this version's rules, where it has none.

    Earlier verdicts stay; a transaction holds a few hundred new ones, and the same call goes on after an interruption.
    count: told how many answers are done. Raises UsageError for a run of questions without a gold.
    """
    spec, done, new = store.run(run), 0, 0
    changes: list[Change] = []
    for chunk in store.graded(run):
        if lost := next((answer.sample.id for answer in chunk if not answer.sample.answer), None):
            raise UsageError(f"run {run} answers '{lost}', which has no gold: there is nothing to grade by")
        grades = [
            answer.grade or grade_answer(answer.text, answer.sample, failed=answer.failed, variant=spec.variant)
            for answer in chunk
        ]
        new += store.add_grades(
            (answer.trajectory, g) for answer, g in zip(chunk, grades, strict=True) if not answer.grade
        )
        changes += [
            Change(answer.trajectory, answer.sample.id, answer.attempt, answer.before, g)
            for answer, g in zip(chunk, grades, strict=True)
            if answer.before and answer.before.verdict != g.verdict
        ]
        done += len(chunk)
        if count:
            count(done)
    return Regraded(run=spec.id, grader=GRADER, n=done, new=new, changes=tuple(changes))
