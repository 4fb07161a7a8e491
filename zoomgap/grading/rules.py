"""The rules for choices and integers: possible answers become marks, which are looked for where answers stand."""

from __future__ import annotations

import re
from bisect import bisect_left
from itertools import pairwise

from zoomgap.grading.language import (
    ALONE,
    ANCHOR,
    ANCHOR_AFTER,
    ASKED,
    CONCLUSION,
    DENIED,
    DROPPED,
    HEAD,
    MARK,
    MAYBE,
    MAYBE_BEFORE,
    MORE,
    MORE_COUNTED,
    NO_CONTENT,
    NO_MENTION,
    OPENING,
    OR_BEFORE,
    SENTENCE_END,
    TAKEN_BACK,
    TOTAL,
)
from zoomgap.grading.numbers import numbers
from zoomgap.grading.options import Mark, Options, lone_letters, named, options_of
from zoomgap.grading.words import words
from zoomgap.records import AnswerKind

FEW = 4
"""So many words after "the answer is" name something, possible or not; more may lead up to an answer elsewhere."""
NEAR = 120
"""Characters before an anchor in which its alternatives stand."""

_PERHAPS_A = re.compile(r"\s*A\s")
_APART = re.compile(r"[\w,;+&/]")


class Page:
    """A plain text with its marks.

    text: with a mark for each possible answer. marks: by place, those that the reply does not deny. named: places of
    the marks that are more than a letter.
    """

    def __init__(self, text: str, kind: AnswerKind, choices: tuple[str, ...]) -> None:
        self.kind, self.counts = kind, kind == "integer"
        if kind == "integer":
            found = [Mark(None if n.value is None else str(n.value), n.start, n.end) for n in numbers(text)]
            self.text = _marked(text, found)
            self.polar = False
            letters: list[Mark] = []
        else:
            options = options_of(choices)
            self.counts = bool(options.numbers)
            text = _without_repeats(text, options)
            found = list(named(text, options))
            self.polar = bool(found) and text[found[0].start : found[0].end].lower() in ("yes", "no")
            letters = list(lone_letters(_marked(text, found), options.letters))
            self.text = _marked(text, [*found, *letters])
        self.named = {mark.start for mark in found}
        self.marks = sorted([*found, *letters], key=lambda mark: mark.start)
        self._deny()

    def _deny(self) -> None:
        """Drop the marks that the reply says are not the answer, each with the letter or text beside it."""
        chars, kept = list(self.text), self.marks
        for match in DENIED[self.kind].finditer(self.text):
            first, last = self._places(*match.span())
            start, end = match.span()
            said = {mark.answer for mark in self.marks[first:last]}
            if first and self._belongs(self.marks[first - 1], self.marks[first], said):
                start = self.marks[first - 1].start
            if last < len(self.marks) and self._belongs(self.marks[last - 1], self.marks[last], said):
                end = self.marks[last].end
            chars[start:end] = DROPPED * (end - start)
        self.text = "".join(chars)
        self.marks = [mark for mark in kept if self.text[mark.start] == MARK]

    def _belongs(self, first: Mark, second: Mark, said: set[str | None]) -> bool:
        """Whether two neighbours are a letter and its text, as in "D. green"."""
        return {first.answer, second.answer} <= said and not re.search(r"\w", self.text[first.end : second.start])

    def _places(self, start: int, end: int) -> tuple[int, int]:
        """The marks that begin between two places, as indices."""
        first, last = (bisect_left(self.marks, at, key=lambda mark: mark.start) for at in (start, end))
        return first, last

    def between(self, start: int, end: int) -> list[Mark]:
        """The marks that begin between two places. Numbers apart are none: 3 red and 3 blue dots are not 3."""
        first, last = self._places(start, end)
        marks = self.marks[first:last]
        gaps = (self.text[one.end : other.start] for one, other in pairwise(marks)) if self.counts else ()
        return [Mark(None, start, end)] if any(_APART.search(gap) for gap in gaps) else marks

    def anchored(self) -> list[Mark]:
        """What is announced: after "the answer is", before "is correct", in the sentence that draws the conclusion.

        Where an answer is called final, only that. An announced answer that is not possible is a mark without one.
        """
        found: list[Mark] = []
        unread: list[Mark] = []
        announced, stop = anchors(self.text), -1
        for anchor, limit in zip(
            announced, [*(after.start() for after in announced[1:]), len(self.text)], strict=False
        ):
            if anchor.end() > stop:  # else in the same sentence as the one before
                stop = end_of_sentence(self.text, anchor.end(), len(self.text))
            head = HEAD.match(self.text, anchor.end())
            if self.text[stop : stop + 1] == "?" or (head and ASKED.match(self.text, head.end())):
                continue  # a question announces nothing
            if head:
                found += self._announced(anchor.start(), head)
                continue
            end = min(stop, limit)
            found += (inside := self.mentioned(anchor.end(), end))
            content = self.text[anchor.end() : end]
            if not inside and _PERHAPS_A.match(content):
                found.append(Mark(None, anchor.start(), anchor.end()))
            elif not inside and 0 < len(words(content)) <= FEW and not NO_CONTENT.search(content):
                unread.append(Mark(None, anchor.start(), anchor.end()))
        for match in ANCHOR_AFTER.finditer(self.text):
            if not TAKEN_BACK.search(self.text, max(match.start() - 60, 0), match.start()):
                found += self.between(*match.span("marks"))
        return found + self.concluded() or unread

    def _announced(self, at: int, head: re.Match[str]) -> list[Mark]:
        """The marks after an anchor that begins at a place, and what they are an alternative to; one that is not valid
        where another thing is counted too."""
        marks = self.between(*head.span("marks"))
        if self.counts and MORE_COUNTED.match(self.text, head.end()):
            return [Mark(None, *head.span("marks"))]
        near = max(at - NEAR, 0)
        before = self.text[near:at]
        if alternative := OR_BEFORE.search(before):
            sentence = _last_sentence(before[: alternative.start()])
            return [*self.between(near + sentence, at), *marks]
        if doubt := MAYBE_BEFORE.search(before):
            earlier = MAYBE.finditer(self.text, near + _last_sentence(before[: doubt.start()]), at)
            return [*(mark for match in earlier for mark in self.between(*match.span("marks"))), *marks]
        return marks

    def concluded(self) -> list[Mark]:
        """The marks of the last sentence if it draws a conclusion, or the one sum of the reply."""
        totals = [match.end() for match in TOTAL.finditer(self.text)] if self.counts else []
        start = max([0, *(match.end() for match in CONCLUSION.finditer(self.text)), *totals[-1:]])
        if len(totals) > 1 and start == totals[-1]:
            return []
        last = self.text[start:].rstrip(" \n.!?\"')")
        return self.mentioned(start, len(self.text)) if start and not re.search(r"[.!?;]\s|\n", last) else []

    def alone(self) -> list[Mark]:
        """The marks of lines that are nothing else. A number after a label of its own ("Row 2:") is the label's.

        A single letter that opens a line counts with them; several are a list of the options.
        """
        found: list[Mark] = []
        for match in ALONE.finditer(self.text):
            group = "marks" if match["marks"] else "last"
            if self.kind == "choice" or not self.text[: match.start()].rstrip().endswith(":"):
                found += self.between(*match.span(group))
        if self.kind == "integer" or not found:
            return found
        known = self.named | {mark.start for mark in found}
        opening = [mark for match in OPENING.finditer(self.text) for mark in self.between(*match.span("marks"))]
        letters = [mark for mark in opening if mark.start not in known]
        return [*letters, *found] if len({mark.answer for mark in letters}) == 1 else found

    def mentioned(self, start: int, end: int) -> list[Mark]:
        """All marks of a passage, unless it denies, asks, or has a letter only somewhere in a sentence."""
        marks, passage = self.between(start, end), self.text[start:end]
        opens = HEAD.match(passage, len(passage) - len(passage.lstrip()))
        if self.kind == "choice" and not opens and not any(m.start in self.named and m.answer for m in marks):
            return []
        if not self.polar and NO_MENTION[self.kind].search(passage):
            return []
        # Of "the bus is red, the car is not blue" nothing is left, of "it is not red but blue" the rest.
        apart = DROPPED in passage and SENTENCE_END.search(passage.strip(" \n.!"))
        return [] if apart else marks


def anchors(text: str) -> list[re.Match[str]]:
    """What announces an answer and is not taken back; the final ones if there are any."""
    found = [m for m in ANCHOR.finditer(text) if not TAKEN_BACK.search(text[max(m.start() - 60, 0) : m.start()])]
    return [match for match in found if match["final"] or match["last"]] or found


def _last_sentence(text: str) -> int:
    """Where the last sentence of a text begins."""
    text = text.rstrip(" .!?;,\n")
    return max(text.rfind(mark) for mark in ".!?;\n") + 1


def end_of_sentence(text: str, start: int, limit: int) -> int:
    """Where the sentence ends that a place is in, at most the limit."""
    stop = SENTENCE_END.search(text, start, limit)
    return stop.start() if stop else limit


def _marked(text: str, found: list[Mark]) -> str:
    """The text with each mark's place turned into MARK and MORE, of the same length."""
    chars = list(text)
    for _, start, end in found:
        chars[start:end] = MARK + MORE * (end - start - 1)
    return "".join(chars)


def _without_repeats(text: str, options: Options) -> str:
    """The text without the list of all choices, line breaks kept."""
    if options.repeat is None:
        return text
    return options.repeat.sub(lambda match: re.sub("[^\n]", " ", match[0]), text)
