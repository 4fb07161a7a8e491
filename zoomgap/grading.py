"""Rule grading: reads the one answer that a reply gives, or nothing. It never guesses.

Thinking and tool markup is blanked first. Then the first rule that finds a candidate decides: an `<answer>` tag,
`\\boxed{}`, "the answer is" or "answer:", a closing "so B", a line that is only the answer, and last the whole reply.
Candidates of one rule that contradict each other leave the reply `unparsed`. Blanking keeps every offset, so spans
point into the reply as written.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from zoomgap.errors import UsageError
from zoomgap.records import AnswerKind, Grade

GRADER = "rules-1"
FEW_WORDS = 6
"""An open text reply up to this length is read as an answer, a longer one only by what it marks as its answer."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """What was read: a choice's letter, an integer in digits, or text as written; span is start and end in the reply."""

    answer: str
    rule: str
    span: tuple[int, int]


class _Token(NamedTuple):
    raw: str
    norm: str
    start: int
    end: int


_CJK = "぀-ヿ㐀-鿿가-힣"
_WORD = rf"[^\W_{_CJK}]"
_TOKEN = re.compile(
    rf"(?<!{_WORD})[-+−]?\d+(?:[.,:/]\d+)*(?!{_WORD})|{_WORD}+(?:'{_WORD}+)*|[{_CJK}$€£¥%°+#]"
)  # fmt: skip
# Whole runs that hold a number: "10-12", "3.5" and "T-5" must be seen as one thing to be refused or ignored.
_CHUNK = re.compile(r"(?:(?<![\w)])[-+−](?=\d))?(?:\w|(?<=\d)[.,:/](?=\d)|(?<=\w)['–−-](?=\w))+", re.ASCII)
_INTEGER = re.compile(r"[-+−]?(?:\d{1,18}|\d{1,3}(?:,\d{3}){1,5})(?:\.0+)?", re.ASCII)
_PRONOUN = re.compile(
    r"\b(?:the|this|that|each|every|any|no|which|another)\s+one\b|\bone\s+(?:of|by)\b", re.IGNORECASE
)  # fmt: skip

_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_PLAIN = {**_FULL_WIDTH, **{ord(a): b for a, b in zip("。、‘’“”「」【】\u00a0\u3000", ".,''\"\"\"\"()  ", strict=True)}}
_HIDDEN = re.compile(r"<(think|thinking|tool_call|tool_response)>.*?(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_ORPHAN = re.compile(r"\A.*</(?:think|thinking)>", re.DOTALL | re.IGNORECASE)
_MARKUP = re.compile(
    r"<\|(?!begin_of_box|end_of_box)[^|<>\n]{1,40}\|>|</?s>|[*`]+|^\s*#+(?=\s)|\\[()\[\]]|(?<!\w)_+|_+(?!\w)"
    r"|\\(?:text|textbf|mathrm|mathbf)\s*\{|\$(?=\\?[A-Za-z])|(?<=[A-Za-z}])\$", re.MULTILINE
)  # fmt: skip
_CONTAINERS = (
    ("answer_tag", re.compile(r"<answer>([^<]*(?:<(?!/?answer>)[^<]*)*)", re.IGNORECASE)),
    ("boxed", re.compile(r"(?:\\boxed\s*\{|<\|begin_of_box\|>)([^{}<]*)(?:\}|<\|end_of_box\|>)")),
)
_ANCHOR = re.compile(
    r"(?:\bthe\s+)?(?:\b(?:final|correct|right|best|my)\s+)*\b(?:answer|option|choice)(?:\s+to\s[^.:\n]{0,80}?)?"
    r"\s*(?:(?:\bis|\b(?:would|should|must)\s+be)(?![\w'])|[:=])[\s:]*"
    r"|(?:答案|答え|正解|正确选项|정답)\s*(?:应该)?(?:是|为|為|は|은|:)+\s*|(?<!不)[选選][择擇]?(?=\s*\(?[A-Z])", re.IGNORECASE
)  # fmt: skip
_DENIED = re.compile(r"(?:\b(?:not|never|if|whether|wrong|incorrect)|n't)\b(?:(?!\bbut\b)[^.!?,;:\n])*\Z", re.IGNORECASE)
_CONCLUSION = re.compile(
    r"\b(?:so|therefore|thus|hence|choose|pick|select|think|go\s+with|it\s+is|it's)\b[\s:,]*"
    r"(?:(?:it\s+is|it's|option|choice|letter)\s+)*\(?([A-Z])\)?[\s.!]*\Z", re.IGNORECASE
)  # fmt: skip
_SENTENCE_END = re.compile(r"(?<!\bSt)(?<!\bMr)(?<!\bDr)[.!?](?=[\s\"')]|\Z)|\n|,?\s+(?:because|since)\b", re.IGNORECASE)
_STATEMENT = re.compile(
    r"\s*(?:it|this|that|(?:the|its)\s[^.!?\n]{1,80}?)(?:\s+(?:is|are|was|reads|says|shows)|'s)\s+", re.IGNORECASE
)  # fmt: skip
_VERB = re.compile(r"\b(?:is|are|was|reads|says|shows)\b", re.IGNORECASE)

_ARTICLES = frozenset(("a", "an", "the"))
_FILLERS = frozenset(
    "answer option choice letter final correct the my most likely probably clearly definitely exactly only just".split()
)  # fmt: skip
_CONNECTIVES = frozenset("because since as or and is given due based for".split())
_NEGATIONS = frozenset("not no never neither nor without wrong incorrect cannot except instead rather".split())
_NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()
_NUMBERS = {word: str(value) for value, word in enumerate(_NUMBER_WORDS)}
_OTHER_NUMBERS = frozenset("thirty forty fifty sixty seventy eighty ninety hundred thousand million dozen half".split())


def error_grade() -> Grade:
    """The verdict on an answer that never came: an error, which is no answer."""
    return Grade(verdict="error", rule="error", answer=None, span=None, grader=GRADER)


def grade(reply: str, *, answer: str, answer_kind: AnswerKind, choices: Sequence[str] = ()) -> Grade:
    """Verdict on a final message: correct, incorrect or unparsed.

    answer: the gold; the letter for choices. Raises UsageError for a gold that no reply could match.
    """
    gold = _gold(answer, answer_kind, choices)
    found = extract(reply, answer_kind, choices)
    if answer_kind == "text" and (found is None or normal(found.answer) != gold):
        whole = _trimmed(_blanked(reply), "whole", 0, len(reply))
        found = whole if whole is not None and normal(whole.answer) == gold else found
    if found is None:
        return Grade(verdict="unparsed", rule="none", answer=None, span=None, grader=GRADER)
    same = (normal(found.answer) if answer_kind == "text" else found.answer) == gold
    verdict = "correct" if same else "incorrect"
    return Grade(verdict=verdict, rule=found.rule, answer=found.answer, span=found.span, grader=GRADER)


def _gold(answer: str, kind: AnswerKind, choices: Sequence[str]) -> str | tuple[str, ...]:
    if kind == "text":
        return normal(answer)
    if kind == "choice":
        letter = answer.strip().upper()
        if len(letter) == 1 and letter in _letters(choices):
            return letter
        raise UsageError(f"answer {answer!r} is not the letter of a choice ({_letters(choices)}): give the letter")
    numbers = [value for value, _, _ in _numbers(answer)]
    if len(numbers) == 1 and numbers[0] is not None:
        return numbers[0]
    raise UsageError(f"answer {answer!r} is not one integer: give an integer, or the answer kind text")


def extract(reply: str, answer_kind: AnswerKind, choices: Sequence[str] = ()) -> Extraction | None:
    """The one answer that the reply gives, or None. Without `choices` the letters A to H are valid."""
    return _read(_blanked(reply), answer_kind, choices)


def normal(text: str) -> tuple[str, ...]:
    """The words that count in a comparison: no case, punctuation, leading article or plural s."""
    words = [token.norm for token in _tokens(unicodedata.normalize("NFKC", text).translate(_PLAIN))]
    while len(words) > 1 and words[0] in _ARTICLES:
        words.pop(0)
    return tuple(words) or (text.strip(),)


def _blanked(reply: str) -> str:
    """The reply with everything that is no answer replaced by as many spaces."""
    text = reply.translate(_PLAIN)
    for pattern in (_HIDDEN, _ORPHAN, _MARKUP):
        text = pattern.sub(lambda match: " " * len(match[0]), text)
    return text


def _read(text: str, kind: AnswerKind, choices: Sequence[str]) -> Extraction | None:
    for rule, pattern in _CONTAINERS:
        matches = [match for match in pattern.finditer(text) if match[1].strip()]
        if matches:
            inner = [(_read(match[1], kind, choices), match.start(1)) for match in matches]
            return _agreed([
                found and Extraction(found.answer, rule, (found.span[0] + at, found.span[1] + at)) for found, at in inner
            ])  # fmt: skip
    scope = _Scope(text, choices)
    for find in _RULES[kind]:
        candidates = list(find(scope))
        if candidates:
            return _agreed(candidates)
    return None


def _agreed(candidates: Sequence[Extraction | None]) -> Extraction | None:
    """The last candidate if all say the same; a None among them is a contradiction in itself."""
    readable = [found for found in candidates if found is not None]
    same = len(readable) == len(candidates) and len({normal(found.answer) for found in readable}) == 1
    return readable[-1] if same else None


def _letters(choices: Sequence[str]) -> str:
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(choices) or 8]


def _tokens(text: str) -> list[_Token]:
    return [_Token(match[0], _norm(match[0]), *match.span()) for match in _TOKEN.finditer(text)]


def _norm(word: str) -> str:
    word = word.casefold().replace("'", "").replace("−", "-")
    plural = len(word) > 3 and word[-1] == "s" and word[-2] not in "sui"
    return word[:-1] if plural else word
