"""The rules for open text: a short phrase is an answer, in a longer reply the answer has to be announced."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator

from zoomgap.grading.language import ANCHOR, DOUBTFUL, LEAD, REASON, REFUSED, SENTENCE_END
from zoomgap.grading.options import Mark
from zoomgap.grading.rules import anchors, end_of_sentence
from zoomgap.grading.words import normal, words

FEW_WORDS = 8
"""Up to so many words are an answer; two Chinese characters count as one."""

_VERB = r"(?:\b(?:is|are|was|reads|says|shows)|'s)\b"
_STATEMENT = re.compile(
    rf"""(?ix)\s*(?:it|this|that|(?:the|its)\s(?:(?!{_VERB})[^.!?\n]){{1,80}})\s*{_VERB}(?!.*{_VERB})
    | \s*[^\s,.!?:是为]{{0,20}}?(?:写着|写的是|显示为?|读作)
    | \s*(?:它|这|那|图中)[^\s,.!?:是为]{{0,12}}[是为]"""
)
_QUOTED = re.compile(r"""\s*:?\s*(?:"([^"\n]*[^"\s][^"\n]*)"|'([^'\n]*[^'\s][^'\n]*)'(?!\w))""")
_EDGE = string.whitespace + "".join(set(string.punctuation) - set("$%+#-"))
_CJK = re.compile("[぀-ヿ㐀-鿿가-힣]")


def text_rules(text: str, gold: tuple[str, ...] | None = None) -> Iterator[tuple[str, list[Mark]]]:
    """The rules in their order, with what each finds in a plain text.

    gold: what is compared of it, if known: a doubtful phrase is an answer when it is the gold.
    """
    if gold is not None and text.strip() and normal(text) == gold:
        yield "whole", [_mark(text, 0, len(text))]
    announced, found = anchors(text), []
    for anchor, limit in zip(announced, [*(after.start() for after in announced[1:]), len(text)], strict=False):
        is_json = text[max(anchor.start() - 1, 0)] == '"'
        end = end_of_sentence(text, anchor.end(), limit)
        found += _quoted(text, anchor.end(), limit, is_json) or _phrase(text, anchor.end(), end, gold)
    yield "anchored", found
    reason = REASON.search(text)
    yield "only", [] if announced else _phrase(text, 0, reason.start() if reason else len(text), gold)


def _quoted(text: str, start: int, end: int, is_json: bool = False) -> list[Mark]:
    """What stands in quotes at the beginning and is all that does, but for the other fields of an object."""
    match = _QUOTED.match(text, start, end)
    if match is None or not (is_json or '"' not in text[match.end() : end]):
        return []
    return [_mark(text, *match.span(match.lastindex or 0))]


def _phrase(text: str, start: int, end: int, gold: tuple[str, ...] | None) -> list[Mark]:
    """The one short phrase between two places, without "it is" before it and punctuation around it; or nothing."""
    starts = [start]
    while match := _before(text, starts[-1], end):
        starts.append(match.end())
    if len(starts) > 1 and (quoted := _quoted(text, starts[-1], end)):
        return quoted
    marks = [_trimmed(text, start, end) for start in starts]
    if equal := [mark for mark in marks if mark.answer and normal(mark.answer) == gold]:
        return equal[-1:]
    answer = marks[-1].answer or ""
    few = answer and sum(0.5 if _CJK.match(word.form) else 1 for word in words(answer)) <= FEW_WORDS
    short = few and not ANCHOR.search(answer) and not SENTENCE_END.search(text, *marks[-1][1:])
    return marks[-1:] if short and not REFUSED.match(answer) and not DOUBTFUL.search(answer) else []


def _before(text: str, start: int, end: int) -> re.Match[str] | None:
    """What stands before the answer: "so", "maybe", "it is"."""
    start = end - len(text[start:end].lstrip(_EDGE + "%#"))
    return LEAD.match(text, start, end) or _STATEMENT.match(text, start, end)


def _trimmed(text: str, start: int, end: int) -> Mark:
    start = end - len(text[start:end].lstrip(_EDGE + "%#"))
    return _mark(text, start, start + len(text[start:end].rstrip(_EDGE + "-$")))


def _mark(text: str, start: int, end: int) -> Mark:
    """The words between two places as they are written."""
    end = start + len(text[start:end].rstrip())
    return Mark(" ".join(text[start:end].split()), end - len(text[start:end].lstrip()), end)
