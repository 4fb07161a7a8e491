"""What counts in a comparison of two texts: words without case, punctuation, leading articles and plural s.

Numbers are compared in digits ("five" is "5"), British spellings as American ones, Chinese by character.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

from zoomgap.grading.numbers import HAN_NUMBER, IN_WORDS, MEASURE, WORDS, in_han, in_words
from zoomgap.grading.plain import PLAIN

SPELLINGS = {
    "grey": "gray", "greyish": "grayish", "colour": "color", "coloured": "colored", "colourful": "colorful",
    "multicoloured": "multicolored", "centre": "center", "theatre": "theater", "metre": "meter", "litre": "liter",
    "fibre": "fiber", "aluminium": "aluminum", "tyre": "tire", "armour": "armor",
    "harbour": "harbor", "neighbour": "neighbor", "jewellery": "jewelry", "chequered": "checkered",
}  # fmt: skip
_ONE = r"[^\W_぀-ヿ㐀-鿿가-힣]"  # Chinese, Japanese and Korean are compared by character
_WORD = re.compile(
    rf"""(?ix)(?P<number>{IN_WORDS}) | (?P<han>[{HAN_NUMBER}]+)
    | (?<!{_ONE})[-+]?\d+(?:[.,:/]\d+)*(?!{_ONE}) | {_ONE}+(?:'{_ONE}+)* | [^\W_] | [$€£¥%°+\#]"""
)
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+")
_A_MEASURE = re.compile(MEASURE)


class Word(NamedTuple):
    """A word as it is compared, and where it stands."""

    form: str
    start: int
    end: int


def words(text: str) -> list[Word]:
    """The words of a plain text."""
    return [Word(_form(match[0], match.lastgroup), *match.span()) for match in _WORD.finditer(text)]


def normal(text: str) -> tuple[str, ...]:
    """What of a text is compared. Texts are equal when this is."""
    forms = [word.form for word in words(unicodedata.normalize("NFKC", text.translate(PLAIN)).translate(PLAIN))]
    while len(forms) > 1 and forms[0] in ("a", "an", "the"):
        forms.pop(0)
    if len(forms) > 2 and forms[0] == "1" and _A_MEASURE.fullmatch(forms[1]):
        forms = forms[2:]  # the Chinese article, as in 一只猫
    return tuple(forms) or (text.strip(),)


@lru_cache(maxsize=65536)
def _form(word: str, kind: str | None) -> str:
    if kind == "number":
        return str(in_words(word))
    if kind == "han":
        value = in_han(word)
        return word if value is None else str(value)
    word = word.casefold().replace("'", "")
    if _THOUSANDS.fullmatch(word):
        return word.replace(",", "")
    word = word[:-1] if len(word) > 3 and word[-1] == "s" and word[-2] not in "sui" else word
    return str(WORDS[word]) if word in WORDS else SPELLINGS.get(word, word)
