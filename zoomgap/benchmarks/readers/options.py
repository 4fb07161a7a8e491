"""Choices that stand inside a question's text, and labels in front of them."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import NamedTuple

_LETTERS = string.ascii_uppercase
_LABELS = (r"\(([A-Z])\)", r"\[([A-Z])\]", r"([A-Z])[.．、](?=\s)", r"([A-Z])\)", r"([A-Z])\s?[:：](?=\s)")
"""(A)   [A]   A.   A)   A:"""
_ALONE = tuple(re.compile(rf"(?m)^[^\S\n]*{label}[^\S\n]*") for label in _LABELS)
_INLINE = tuple(re.compile(rf"(?:(?<=\s)|\A){label}\s*") for label in _LABELS)
_LABELLED = tuple(re.compile(rf"(?s)\s*{label}\s*(.*)") for label in _LABELS)
_HEADING = re.compile(
    r"(?i)\s*\b(?:(?:answer\s+)?(?:options?|choices?)|(?:the\s+)?(?:options|choices)\s+are\s+listed\s+below)\s*[:：]\s*\Z"
)
_INSTRUCTION = re.compile(
    r"(?i)(?:\n|(?<=[.?!])\s)\s*(?:please\s+)?(?:(?:answer|respond|reply|select|choose|pick|give)\b[^\n]*"
    r"\b(?:options?|letters?|choices?)\b[^\n]*|(?:the\s+best\s+)?answer(?:\s+is)?\s*:?\s*)(?=\n|\Z)"
)
_PLACEHOLDER = re.compile(r"<image>\s*")


class Asked(NamedTuple):
    """A question in its own words, and its choices, () where none were found."""

    question: str
    choices: tuple[str, ...]


def split_options(text: str) -> Asked:
    """A question apart from the choices in its text: each on a line of its own, or all on one line.

    Choices have labels A, B, C and so on in one of the five spellings above. An instruction after them ("Answer with
    the option's letter") goes, other words there stay with the question.
    """
    for patterns in (_ALONE, _INLINE):
        chains = [chain for pattern in patterns if (chain := _chain(list(pattern.finditer(text))))]
        if chains:
            return _cut(text, max(chains, key=lambda chain: (len(chain), chain[0].start())))
    return Asked(tidy(text), ())


def tidy(text: str) -> str:
    """A question without placeholders of images, a heading "Question:" and space around it."""
    return re.sub(r"(?i)\Aquestion\s*:\s*", "", _PLACEHOLDER.sub("", text).strip()).strip()


def without_labels(choices: Sequence[str]) -> tuple[str, ...]:
    """Choices without the labels A, B, C and so on, where all have them; else as they are."""
    for pattern in _LABELLED:
        found = [pattern.fullmatch(choice) for choice in choices]
        if choices and all(m and m[1] == letter for m, letter in zip(found, _LETTERS, strict=False)):
            return tuple(m[2].strip() for m in found if m)
    return tuple(choice.strip() for choice in choices)


def _chain(labels: list[re.Match[str]]) -> list[re.Match[str]]:
    """The longest run of labels A, B, C ... in that order, the last one where several are as long; [] under two."""
    best: list[re.Match[str]] = []
    for start, first in enumerate(labels):
        if first[1] != "A":
            continue
        chain = [first]
        for label in labels[start + 1 :]:
            if len(chain) < len(_LETTERS) and label[1] == _LETTERS[len(chain)]:
                chain.append(label)
        if len(chain) >= max(len(best), 2):
            best = chain
    return best


def _cut(text: str, labels: list[re.Match[str]]) -> Asked:
    ends = [*(label.start() for label in labels[1:]), len(text)]
    parts = [text[label.end() : end] for label, end in zip(labels, ends, strict=True)]
    last, _, after = (_INSTRUCTION.sub("", parts[-1]) + "\n").partition("\n")
    choices = [re.sub(r"\s*[,;]?\s*\Z", "", part) for part in parts[:-1]] + [last.strip()]
    stem = _HEADING.sub("", text[: labels[0].start()]).rstrip()
    words = [tidy(stem), after.strip()]
    return Asked("\n".join(word for word in words if word), tuple(" ".join(choice.split()) for choice in choices))
