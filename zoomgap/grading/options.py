"""The choices of a question as a reply may name them."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from functools import lru_cache
from itertools import takewhile
from typing import NamedTuple

from zoomgap.grading.numbers import Number, numbers
from zoomgap.grading.plain import PLAIN
from zoomgap.grading.words import Word, normal, words


class Mark(NamedTuple):
    """A possible answer, or None for one that is not valid, and where it stands."""

    answer: str | None
    start: int
    end: int


class Options(NamedTuple):
    """letters: the valid ones, A to H where the choices stand in the question.

    names: letter by the words of the choice, or by those that tell it from the others, the longest first; None for
    choices that are alike. places: names of directions, such as "left", that another choice goes on from, such as
    "upper left". numbers: letter by number where nothing else tells the choices apart. repeat: finds all choices, or
    all letters, one after the other.
    """

    letters: str
    names: dict[tuple[str, ...], str | None]
    places: frozenset[tuple[str, ...]]
    numbers: dict[int, str]
    repeat: re.Pattern[str] | None

    @property
    def longest(self) -> int:
        """Words of the longest name."""
        return max(map(len, self.names), default=0)


# A lone letter. "A" and "I" are words where another follows, small letters too, and "a" after another as well.
_LETTER = re.compile(
    r"""(?ax)(?<!\w)(?<!\w['-])(?:[B-HJ-Z](?![\w+\#]|['-]\w)
    | (?:[A-Zb-z]|(?<!\w\ )a)(?!-\w)(?=[^\S\n]*(?:[^\w\s+\#'\ue000]|'(?!\w)|\n|\Z))
    | A(?=[^\S\n]+[A-HJ-Z](?![\w+\#]|['-]\w))
    | [A-Zb-z](?=\s+(?:because|since|as|or|and|but|is|given|due|based|for|vs|versus|nor)\b))"""
)
DIRECTIONS = frozenset(
    ("left", "right", "top", "bottom", "upper", "lower", "middle", "center", "north", "south", "east", "west")
)
_BY_PLACE = re.compile(r"(?i)(?:\b(?:option|choice)|选项)\s*(?:no\.?|\#)?\s*\Z")
_TIED = re.compile(r"\w-\.|\.-\w")
_NO_THING = re.compile(r"(?i)\s*+(?:[^\w\s]|\Z|(?:it|there|they|he|she|this|that|the|i|we)\b)")


@lru_cache(maxsize=4096)
def options_of(choices: tuple[str, ...]) -> Options:
    """The choices as they are looked for. A choice whose text is a valid letter has no name: the letter counts."""
    letters = string.ascii_uppercase[: len(choices) or 8]
    forms = [normal(choice) for choice in choices]
    pairs = sorted(zip(forms, letters, strict=False), key=lambda pair: -len(" ".join(pair[0])))
    named = [*pairs, *zip(_cores(forms, letters), letters, strict=False)]
    names: dict[tuple[str, ...], str | None] = {}
    for form, letter in named:
        if " ".join(form).upper() not in ("", *letters):
            names.setdefault(form, letter if forms.count(form) < 2 else None)
    return Options(letters, names, _places(forms), _numbered(choices, letters), _repeat(choices, letters))


def named(text: str, options: Options) -> Iterator[Mark]:
    """Every choice that a plain text names by its words, the longest where several fit, or by its number."""
    if options.numbers:
        yield from (_numbered_mark(text, number, options) for number in numbers(text))
        return
    found, free = words(text), 0
    firsts = {name[0] for name in options.names}
    for at in [at for at, word in enumerate(found) if word.form in firsts]:
        forms = tuple(word.form for word in found[at : at + options.longest])
        name = next((name for name in options.names if name == forms[: len(name)]), None)
        if at >= free and name is not None:
            free = at + len(name)
            start, end = found[at].start, found[free - 1].end
            if _is_named(text, name, start, end, len(found)):
                other = name in options.places and _goes_on(text, found, at, free)
                yield Mark(None if other else options.names[name], start, end)


def lone_letters(text: str, letters: str) -> Iterator[Mark]:
    """Every letter that stands for itself; a capital that no choice has is one without an answer."""
    for match in _LETTER.finditer(text):
        letter = match[0].upper()
        if letter in letters or (match[0] == letter and letter != "I"):
            yield Mark(letter if letter in letters else None, *match.span())


def _is_named(text: str, name: tuple[str, ...], start: int, end: int, count: int) -> bool:
    """Whether the words are the choice: not a part of "infra-red", a glyph in small letters, or the no of "no dogs"."""
    if _TIED.search(text[max(start - 2, 0) : start] + "." + text[end : end + 2]):
        return False
    if name == ("no",):
        return _NO_THING.match(text, end) is not None
    return end - start > 1 or count == 1 or text[start] not in "abcdefghijklmnopqrstuvwxyzI"


def _places(forms: list[tuple[str, ...]]) -> frozenset[tuple[str, ...]]:
    words = [set(form) for form in forms]
    return frozenset(
        form for form, own in zip(forms, words, strict=True) if any(own < other <= DIRECTIONS for other in words)
    )


def _goes_on(text: str, found: list[Word], first: int, after: int) -> bool:
    """Whether another direction stands beside the words from `first` up to `after`: "left" in "lower left"."""
    beside = [(first - 1, first)] * (first > 0) + [(after - 1, after)] * (after < len(found))
    return any(
        {found[one].form, found[other].form} <= DIRECTIONS and text[found[one].end : found[other].start] in (" ", "-")
        for one, other in beside
    )


def _numbered_mark(text: str, number: Number, options: Options) -> Mark:
    """The choice of a number. "Option 3" is none where the third choice is another than 3."""
    value, start, end = number
    letter = None if value is None else options.numbers.get(value)
    if letter and _BY_PLACE.search(text, max(start - 16, 0), start):
        letter = letter if options.letters[: value or 0].endswith(letter) else None
    return Mark(letter, start, end)


def _cores(forms: list[tuple[str, ...]], letters: str) -> list[tuple[str, ...]]:
    """The words that tell each choice from the others, where all begin or end alike: "left" of "on the left side"."""
    head = _shared(forms)
    tail = _shared([form[head:][::-1] for form in forms])
    cores = [form[head : len(form) - tail] for form in forms]
    apart = all(cores) and len(set(cores)) == len(cores) > 1 and not any(" ".join(c).upper() in letters for c in cores)
    return cores if apart and head + tail else []


def _shared(forms: list[tuple[str, ...]]) -> int:
    """How many words all begin with."""
    return sum(1 for _ in takewhile(lambda words: len(set(words)) == 1, zip(*forms, strict=False)))


def _numbered(choices: tuple[str, ...], letters: str) -> dict[int, str]:
    found: list[list[Number]] = [list(numbers(choice.translate(PLAIN))) for choice in choices]
    values = [each[0].value for each in found if len(each) == 1 and each[0].value is not None]
    around = {
        normal(f"{choice[: each[0].start]} . {choice[each[0].end :]}")
        for choice, each in zip(choices, found, strict=True)
        if each
    }
    alike = len(values) == len(set(values)) == len(choices) and len(around) == 1
    return dict(zip(values, letters, strict=False)) if alike else {}


def _repeat(choices: tuple[str, ...], letters: str) -> re.Pattern[str] | None:
    if len(choices) < 2:
        return None
    gap, texts = r"[\s,;|•-]*", [r"\s+".join(map(re.escape, choice.translate(PLAIN).split())) for choice in choices]
    listed = [rf"\(?{letter}\)?[.):]?\s*{text}\.?" for letter, text in zip(letters, texts, strict=False)]
    repeats = [gap.join(listed)]
    if len(letters) > 2:
        between = r"\)?[\s,/]+(?:or\s+|and\s+|或)?\(?"
        repeats.append(rf"\b{between.join(letters)}\b")
    return re.compile("|".join(repeats), re.IGNORECASE)
