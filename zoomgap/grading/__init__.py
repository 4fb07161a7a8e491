"""Rule grading: reads the one answer that a reply gives, or nothing. It never guesses.

Thoughts and tool calls are left out, and so is what the reply takes back. Each letter, choice or number that could be
an answer is looked for where answers stand, and the first rule that finds any decides:

1. `answer_tag`: in the last `<answer>` tags;
2. `boxed`: in `\\boxed{}`;
3. `anchored`: after "the answer is", before "is correct", in a last sentence that begins with "so";
4. `alone`: on a line of its own;
5. `only`: nowhere else in the reply; a letter has to open it.

What one rule finds must agree, else the reply is `unparsed`. Open text has no rule 4; as a whole it may equal the gold
(`whole`). The words are in language.py; docs/grading.md shows each rule at work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from zoomgap.errors import UsageError
from zoomgap.grading.opentext import text_rules
from zoomgap.grading.options import Mark
from zoomgap.grading.plain import plain
from zoomgap.grading.rules import Page
from zoomgap.grading.words import normal
from zoomgap.records import AnswerKind, Grade, Verdict

__all__ = ["GRADER", "Extraction", "error_grade", "extract", "grade", "normal", "reward"]

GRADER = "rules-5"

_END = r"(?:\}|\Z)"  # of braces; a reply may be cut off inside
_INSIDE = r"[^{}]*+"
for _ in range(3):
    _INSIDE = rf"[^{{}}]*+(?:\{{{_INSIDE}{_END}[^{{}}]*+)*+"
_CONTAINERS = (
    ("answer_tag", re.compile(r"(?i)<answer>([^<]*(?:<(?!/?answer>)[^<]*)*)")),
    ("boxed", re.compile(rf"\\f?box(?:ed)?\s*\{{({_INSIDE}){_END}")),
    ("boxed", re.compile(r"<\|begin_of_box\|>([^<]*(?:<(?!\|(?:begin|end)_of_box\|>)[^<]*)*)")),
)
_BRACES = str.maketrans("{}", "  ")
_STRAY = re.compile(r"(?i)</?answer>")


class Extraction(NamedTuple):
    """What was read: a choice's letter, an integer in digits, or text as written. span: start and end in the reply."""

    answer: str
    rule: str
    span: tuple[int, int]


def grade(reply: str, *, answer: str, answer_kind: AnswerKind, choices: Sequence[str] = ()) -> Grade:
    """Verdict on a final message: correct, incorrect or unparsed.

    answer: the gold; its letter for choices. Raises UsageError for a gold that no reply could match.
    """
    text, gold = plain(reply), _gold(answer, answer_kind, tuple(choices))
    found = _read(text, answer_kind, tuple(choices), gold)
    if found is None:
        return Grade(verdict="unparsed", rule="none", answer=None, span=None, grader=GRADER)
    verdict: Verdict = "correct" if normal(found.answer) == gold else "incorrect"
    return Grade(verdict=verdict, rule=found.rule, answer=found.answer, span=found.span, grader=GRADER)


def error_grade() -> Grade:
    """The verdict on an answer that never came, which is no answer."""
    return Grade(verdict="error", rule="error", answer=None, span=None, grader=GRADER)


def reward(reply: str, *, answer: str, answer_kind: AnswerKind, choices: Sequence[str] = ()) -> float:
    """1.0 for a correct reply, 0.0 for an incorrect or unparsed one: the same grader in training as in measuring.

    An error is no reply and has no reward: leave it out. Raises UsageError for a gold that no reply could match.
    """
    return float(grade(reply, answer=answer, answer_kind=answer_kind, choices=choices).verdict == "correct")


def extract(reply: str, answer_kind: AnswerKind, choices: Sequence[str] = ()) -> Extraction | None:
    """The one answer that the reply gives, or None. Without `choices` the letters A to H are valid."""
    return _read(plain(reply), answer_kind, tuple(choices))


@lru_cache(maxsize=4096)
def _gold(answer: str, kind: AnswerKind, choices: tuple[str, ...]) -> tuple[str, ...]:
    found = None if kind == "text" else extract(answer, kind, choices)
    if found is None and (kind != "text" or not answer.strip()):
        raise UsageError(f"no reply can match the gold {answer!r} of kind {kind}: give a letter, integer or text")
    return normal(found.answer if found else answer)


def _read(
    text: str, kind: AnswerKind, choices: tuple[str, ...], gold: tuple[str, ...] | None = None
) -> Extraction | None:
    """What a plain text says. gold: what is compared of it; open text alone heeds it."""
    for rule, container in _CONTAINERS:
        matches = list(container.finditer(text))
        inner = [(m.start(1), _read(m[1], kind, choices, gold)) for m in matches if m[1].strip() or m is matches[-1]]
        if inner:
            return _agreed(
                rule, [Mark(x.answer, at + x.span[0], at + x.span[1]) if x else Mark(None, 0, 0) for at, x in inner]
            )
    text = _STRAY.sub(lambda match: " " * len(match[0]), text).translate(_BRACES)
    rules = text_rules(text, gold) if kind == "text" else _mark_rules(Page(text, kind, choices))
    return next((_agreed(rule, found) for rule, found in rules if found), None)


def _mark_rules(page: Page) -> Iterator[tuple[str, list[Mark]]]:
    yield "anchored", page.anchored()
    yield "alone", page.alone()
    yield "only", page.mentioned(0, len(page.text))


def _agreed(rule: str, found: Sequence[Mark]) -> Extraction | None:
    """The last of the possible answers if all of them say the same."""
    answer, start, end = found[-1]
    same = len({mark.answer and normal(mark.answer) for mark in found}) == 1
    return Extraction(answer, rule, (start, end)) if answer is not None and same else None
