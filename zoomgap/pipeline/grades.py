"""Verdicts: on replies made elsewhere, and anew on stored runs."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

from zoomgap.agents import Regraded, regrade
from zoomgap.errors import UsageError
from zoomgap.grading import error_grade, grade
from zoomgap.pipeline.arms import Count
from zoomgap.records import AnswerKind, Grade
from zoomgap.storage import Store

KINDS: tuple[str, ...] = get_args(AnswerKind)


class Scored(NamedTuple):
    """A graded line. id: as the line has it."""

    id: Any
    answer_kind: AnswerKind
    grade: Grade

    def to_json(self) -> dict[str, Any]:
        grade = self.grade
        return {"id": self.id, "verdict": grade.verdict, "rule": grade.rule, "span": grade.span and list(grade.span)}


class BadLine(NamedTuple):
    """A line that cannot be graded. number: from 1."""

    number: int
    why: str


def score(lines: Iterable[bytes]) -> Iterator[Scored | BadLine]:
    """Grade replies made elsewhere, one JSON object a line, as they come; empty lines are passed over.

    Fields: id, answer (the gold), answer_kind, reply (null where none came: an error), choices for a choice. Others,
    such as the question, are not read.
    """
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield _scored(line)
            except UsageError as error:
                yield BadLine(number, str(error))


def _scored(line: bytes) -> Scored:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise UsageError("it is no JSON in UTF-8: write one object a line") from None
    if not isinstance(row, dict):
        raise UsageError("it is no JSON object: write one with id, answer, answer_kind, reply and choices")
    if lost := [name for name in ("id", "answer", "answer_kind", "reply") if name not in row]:
        raise UsageError(f"'{lost[0]}' is missing: give it in every line")
    kind, reply, choices = row["answer_kind"], row["reply"], row.get("choices") or []
    if kind not in KINDS:
        raise UsageError(f"answer_kind {kind!r} is not known: use {', '.join(KINDS)}")
    if not isinstance(reply, str | None):
        raise UsageError(f"reply {reply!r} is no text: give a string, or null where none came")
    if not isinstance(choices, list) or not all(isinstance(choice, str | int | float) for choice in choices):
        raise UsageError(f"choices {choices!r} are no list of texts: give the options in the order of their letters")
    if len(choices) > 26:
        raise UsageError(f"{len(choices)} choices are more than there are letters: give up to 26")
    if not isinstance(row["answer"], str | int):
        raise UsageError(f"answer {row['answer']!r} is no text: give the gold as a string")
    texts = [str(choice) for choice in choices]
    # The gold is tried even where no reply came, so that a line is bad whatever was answered.
    found = grade(reply or "", answer=str(row["answer"]), answer_kind=kind, choices=texts)
    return Scored(row["id"], kind, error_grade() if reply is None else found)


@dataclass(slots=True)
class Tally:
    """Counts of verdicts by the form of the answer."""

    verdicts: defaultdict[str, Counter[str]]

    @classmethod
    def new(cls) -> Tally:
        return cls(defaultdict(Counter))

    def add(self, scored: Scored) -> None:
        self.verdicts[scored.answer_kind][scored.grade.verdict] += 1
        self.verdicts["all"][scored.grade.verdict] += 1

    def rows(self) -> list[dict[str, Any]]:
        """A row for each form and one for all. accuracy: share of correct ones with its Wilson interval; an error is
        wrong."""
        from zoomgap.compare.stats import wilson

        rows = []
        for kind in (kind for kind in (*KINDS, "all") if kind in self.verdicts):
            found = self.verdicts[kind]
            n, right = found.total(), found["correct"]
            low, high = wilson(right, n)
            counts = {"n": n, "correct": right, "incorrect": found["incorrect"], "unparsed": found["unparsed"]}
            rows.append(
                {
                    "answer_kind": kind,
                    **counts,
                    "errors": found["error"],
                    "accuracy": right / n,
                    "low": low,
                    "high": high,
                }
            )
        return rows


def runs_to_regrade(store: Store, run: str | None) -> list[str]:
    """The run (its first characters suffice), or all that answer questions with a gold."""
    if run is not None:
        return [store.run(run).id]
    without_gold = {info.name for info in store.benchmarks() if info.source.get("kind") == "ask"}
    return [info.id for info in store.runs() if info.spec.benchmark not in without_gold]


def regrade_runs(store: Store, runs: Sequence[str], count: Count | None = None) -> list[Regraded]:
    """Give the answers of runs verdicts of this version's rules. count: told of answers done, of how many."""
    sizes = [len(store.trajectory_ids(run)) for run in runs]
    found = []
    for place, run in enumerate(runs):
        before = sum(sizes[:place])
        found.append(regrade(store, run, count and (lambda done, before=before: count(before + done, sum(sizes)))))
    return found


def regraded_json(found: Regraded) -> dict[str, Any]:
    """A regraded run as `zoomgap regrade --json` prints it."""
    changes = [
        {
            "trace": change.trajectory, "sample": change.sample, "attempt": change.attempt,
            "grader_before": change.before.grader, "before": change.before.verdict, "after": change.after.verdict,
            "read_before": change.before.answer, "read": change.after.answer, "rule": change.after.rule,
        }
        for change in found.changes
    ]  # fmt: skip
    counts = {"run": found.run, "grader": found.grader, "n": found.n, "new": found.new, "changed": len(changes)}
    return {**counts, "changes": changes}
