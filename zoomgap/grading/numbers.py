"""Integers in digits and in words, English and Chinese.

A number that is no plain count (a range, a bound, a decimal, a date) is found too, without a value: nobody must then
take another number for the answer. Ordinals, labels such as "T5" and "the one on the left" are no numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip
_ONES = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9}
_TEENS = {
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19,
}  # fmt: skip
WORDS = {"zero": 0} | _ONES | _TEENS | _TENS
"""Values of single words."""
_SCALES = {"dozen": 12, "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_HAN_WORDS = {char: value for value, char in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2, "兩": 2}
_HAN_SCALES = {"十": 10, "百": 100, "千": 1000, "万": 10_000}

_ONE, _SCALE = "|".join(_ONES), "|".join(_SCALES)
_TO_99 = rf"(?:(?:{'|'.join(_TENS)})(?:(?:-|\ +)(?:{_ONE}))?|{'|'.join(_TEENS)}|{_ONE})\b"
_MORE_WORDS = rf"(?:\ +(?:{_SCALE})\b(?:\ +and(?=\ +{_TO_99}))?(?:\ +{_TO_99})?)"
_NO_PART = r"(?![\w'])(?!-\w)"
IN_WORDS = rf"(?=[zotfsen])(?<![\w'])(?<!\w-)(?:zero|{_TO_99}{_MORE_WORDS}*){_NO_PART}"
"""A number in English words, such as "two hundred and five", for a pattern with (?ix)."""

_HAN, HAN_NUMBER = r"\u3400-\u9fff", "零〇一二三四五六七八九十百千万两兩"
MEASURE = "[个個只隻条條张張颗顆位名辆輛件本朵座栋棟架艘匹块塊根片枚盏扇把台支棵次种人层行排组頭头步]"
_NUMBER = re.compile(
    rf"""(?aix)
      (?P<skipped>\b(?:the|this|that|each|every|any|no|which|another|an?)\ +(?:\w+\ +)?one\b|\bone\ +(?:of|by)\b
        |\bno\.\ *\d+|第\ *(?:\d+|[{HAN_NUMBER}]+)|(?<!\d)\d+[号月]
        |[每某另同上下任这那哪]一|(?<=是)一{MEASURE}(?=[{_HAN}]))
    | (?P<none>\bthere\ +(?:is|are)\ +none\b(?!\ +of)|(?:一{MEASURE}[都也]?)?没有(?=了?[^\w{_HAN}]*\Z))
    | (?P<denied>一{MEASURE}[都也])
    | (?P<words>(?:\b(?:minus|negative)\ +)?{IN_WORDS}|\ban?{_MORE_WORDS}+{_NO_PART})
    | (?P<digits>(?<![\w.])(?<!\w[-–'])(?:(?<![\w)])[-+]|负|\bminus\ +|\bnegative\ +)?
        \d(?:[\w½¼¾⅓⅔²³]|[.,:/](?=\d)|['~–-](?=\w))*+)(?:\ *(?P<scale>(?:{_SCALE})\b|[十百千万亿]))?
    | (?P<han>负?(?<![{HAN_NUMBER}几数])[{HAN_NUMBER}]+(?={MEASURE})
        |(?<![{_HAN}])负?[{HAN_NUMBER}]+(?![{_HAN}\w])|(?<=[是为有共约])[{HAN_NUMBER}]+(?![{_HAN}\w]))
"""
)
_PLAIN_DIGITS = re.compile(
    r"(?i)([-+负]|minus +|negative +)?(\d{1,18}|\d{1,3}(?:,\d{3}){1,5})(?:\.0{1,2})?(?:[cmk]m|kg|ml|px|ft)?"
)
_BOUND_BEFORE = re.compile(
    r"""(?ix)(?:\b(?:at\s+(?:least|most)|(?:more|less|fewer|greater|higher|lower)\s+than|over|under|above|below|up\s+to
        |beyond|exceed(?:s|ing)?|nearly|almost|(?:mini|maxi)mum\s+of|half|between|from)|[≥≤±]|(?:\A|[^\S\n])[<>]=?
        |至少|最多|最少|超过|不到|不足|多于|少于|大于|小于|将近|接近|近|不止|\d\s*[-+×x÷/])\s*(?:an?\s+)?\Z"""
)
_BOUND_AFTER = re.compile(
    rf"""(?ix)\ *(?:\+(?!\ *\d)|[-+×x÷/=]\ *[-+]?\d|(?:or|and)\s+(?:more|fewer|less|above|up|over|under)\b
        |(?:and\s+)?(?:an?\s+)?(?:half|halves|thirds?|quarters?|fifths?|tenths?)\b|[½¼¾]
        |{MEASURE}?(?:以上|以下|多(?!边)|余|几|半))"""
)


class Number(NamedTuple):
    """A number in a text. value: None where it is no plain integer."""

    value: int | None
    start: int
    end: int


def numbers(text: str) -> Iterator[Number]:
    """Every number of a text, in order."""
    for match in _NUMBER.finditer(text):
        if match["skipped"]:
            continue
        start, end = match.span()
        if match["none"]:
            # Not "are there any? none": only as all that the reply says.
            if match["none"].isascii() or not text[:start].strip(" \n.,!\"'()"):
                yield Number(0, start, end)
            continue
        digits = match["digits"]
        if digits and re.search("[a-z_]", digits, re.IGNORECASE) and not _PLAIN_DIGITS.fullmatch(digits):
            continue  # a label, an ordinal
        bound = _BOUND_BEFORE.search(text[max(start - 24, 0) : start]) or _BOUND_AFTER.match(text, end)
        yield Number(None if bound else _value(match), start, end)


def in_words(text: str) -> int:
    """The value of what IN_WORDS matches."""
    total = part = 0
    for word in re.findall(r"[a-z]+", text.lower()):
        if word in ("dozen", "hundred"):
            part = max(part, 1) * _SCALES[word]
        elif word in _SCALES:
            total, part = total + max(part, 1) * _SCALES[word], 0
        else:
            part += WORDS.get(word, 0)
    return total + part


def _value(match: re.Match[str]) -> int | None:
    if match["denied"]:  # not a single one is seen, told, sure ...
        return None
    if words := match["words"]:
        return in_words(words) * (-1 if words[:5].lower() in ("minus", "negat") else 1)
    if han := match["han"]:
        value = in_han(han.lstrip("负"))
        return value if value is None or han[0] != "负" else -value
    plain = _PLAIN_DIGITS.fullmatch(match["digits"])
    if plain is None or (match["scale"] and "." in plain[0]):
        return None
    scale = _SCALES.get((match["scale"] or "").lower()) or _HAN_SCALES.get(match["scale"] or "", 1)
    sign = -1 if plain[1] and plain[1] != "+" else 1
    return None if match["scale"] == "亿" else sign * scale * int(plain[2].replace(",", ""))


def in_han(text: str) -> int | None:
    """The value of a run of HAN_NUMBER; None for two digits in a row, which say "five or six"."""
    total = part = 0
    digit: int | None = None
    for char in text:
        if char in _HAN_WORDS:
            if digit:
                return None
            digit = _HAN_WORDS[char]
        elif char != "十" and not (digit or part):
            return None
        elif char == "万":
            total, part, digit = (total + part + (digit or 0)) * 10_000, 0, None
        else:
            part += (1 if digit is None else digit) * _HAN_SCALES[char]
            digit = None
    return total + part + (digit or 0)
