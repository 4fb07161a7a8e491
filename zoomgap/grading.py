"""Rule grading: reads the one answer that a reply gives, or nothing. It never guesses.

Thinking and tool markup is blanked; each letter, option text or number that could be an answer becomes a mark. The
first rule that finds marks decides: `<answer>`, `\\boxed{}`, "the answer is" or a closing "so B", a line that is only
the answer, and last the one mark of the reply. Marks of one rule that contradict each other leave it `unparsed`.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from zoomgap.errors import UsageError
from zoomgap.records import AnswerKind, Grade, Verdict

GRADER = "rules-2"
FEW_WORDS = 8  # an open text reply up to this length is an answer; in a longer one the answer has to be named


class Extraction(NamedTuple):
    """What was read: a choice's letter, an integer in digits, or text as written. span: start and end in the reply."""

    answer: str
    rule: str
    span: tuple[int, int]


_Found = tuple[str | None, int, int]
"""A possible answer, or None for one that cannot be valid, with its span: no step moves an offset of the reply."""
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_PLAIN = _FULL_WIDTH | str.maketrans("。、‘’“”「」【】−\u00a0\u3000", '.,\'\'""""()-  ')
_BRACES = str.maketrans("{}", "  ")
_BLANKED = (
    re.compile(r"(?is)<(think|thinking|tool_call|tool_response)>.*?(?:</\1>|\Z)"),
    re.compile(r"(?is)\A.*</(?:think|thinking)>"),
    re.compile(
        r"(?m)<\|(?!begin_of_box|end_of_box)[^|<>\n]{1,40}\|>|</?s>|[*`\ue000\ue001]+|^[^\S\n]*#+(?=\s)|\\[()\[\]]"
        r"|(?<!\w)_+|_+(?!\w)|\\(?:text)?color\s*\{[^{}]*\}|\\(?:(?:text|math)[a-z]*|rm|bf|it|underline|emph)(?![A-Za-z])"
        r"|\$(?=\\?[A-Za-z])|(?<=[A-Za-z}])\$|</[a-z]*\Z|[^\S\n ]+"
    ),
)
_END = r"(?:\}|\Z)"  # of braces; a reply may be cut off inside
_INSIDE = r"[^{}]*+"
for _ in range(3):
    _INSIDE = rf"[^{{}}]*+(?:\{{{_INSIDE}{_END}[^{{}}]*+)*+"
_CONTAINERS = (
    ("answer_tag", re.compile(r"(?i)<answer>([^<]*(?:<(?!/?answer>)[^<]*)*)")),
    ("boxed", re.compile(rf"\\f?box(?:ed)?\s*\{{({_INSIDE}){_END}")),
    ("boxed", re.compile(r"<\|begin_of_box\|>([^<]*(?:<(?!\|(?:begin|end)_of_box\|>)[^<]*)*)")),
)
# A lone capital; "A", "I" and small letters only where no word follows that makes them a word themselves.
_LETTER = re.compile(
    r"(?a)(?<![\w'])(?<!\w-)(?:[B-HJ-Z](?![\w'+#]|-\w)|[A-Za-z](?=[^\S\n]*(?:[^\w\s'+#\ue000-]|\n|\Z))"
    r"|[A-Za-z](?=\s+(?:because|since|as|or|and|is|given|due|based|for)\b))"
)
# A word or number as a whole: "10-12" and "3.5" are refused, "T-5" and "the one" say no number.
_CHUNK = re.compile(
    r"(?ai)\b(?:the|this|that|each|every|any|no|which|another)\s+one\b|\bone\s+(?:of|by)\b"
    r"|(?:(?<![\w)])[-+](?=\d))?(?:\w|(?<=\d)[.,:/](?=\d)|(?<=\w)['–-](?=\w))+"
)
_INTEGER = re.compile(r"(?a)[-+]?(?:\d{1,18}|\d{1,3}(?:,\d{3}){1,5})(?:\.0+)?")
_NUMBER_WORDS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen twenty"""
_NUMBERS = {word: str(value) for value, word in enumerate(re.findall(r"\w+", _NUMBER_WORDS))}
_LARGE_NUMBER = re.compile(r"(?:thir|for|fif|six|seven|eigh|nine)ty\b|hundred|thousand|million|dozen|half|twenty-")
_GAP = r"[^\w\ue000\ue001\n]*"
_FILLERS = rf"(?:\b(?:final|correct|answer|option|choice|letter|the|an?|my|is|most|likely|only|just)\b{_GAP}){{0,6}}"
_JOINED = rf"[^\w\ue000\ue001\n.]*(?:\b(?:or|and|to)\b{_GAP}{_FILLERS})?\ue000\ue001*"
_MARKS = rf"(?P<marks>\ue000\ue001*(?:{_JOINED}|{_GAP}\ue000\ue001*(?!\ue001|[^\S\n]+\w))*+)"
_HEAD = re.compile(rf"(?i){_GAP}{_FILLERS}{_MARKS}")
_ALONE = re.compile(rf"(?im)^{_GAP}{_FILLERS}{_MARKS}{_GAP}$")
_ANCHOR = re.compile(
    r"(?i)(?:\bthe\s+)?(?:\b(?:final|correct|right|best|my)\s+)*\b(?:answer|ans|option|choice)(?:\s+to\s[^.:\n]{0,80}?)?"
    r"\s*(?:(?:\bis|\b(?:would|should|must)\s+be)(?![\w'])|[:=])[\s:]*"
    r"|(?:答案|答え|正解|正确选项|정답)\s*(?:应该)?(?:是|为|為|は|은|:)+\s*|(?<!不)[选選][择擇]?(?=\s*\(?\ue000)"
    r"|\b(?:so|therefore|thus|hence|choose|pick|select|say|think|go\s+with|it\s+is|it's)\b[\s:,]*"
    rf"(?={_GAP}{_FILLERS}{_MARKS}[^\w\ue000\ue001]*\Z)"
)
# What takes an anchor back ("I don't think the answer is"), and what makes a mere mention no answer.
_DENIED = re.compile(r"(?i)(?:\b(?:not|never|if|whether|wrong|incorrect)|n't)\b(?:(?!\bbut\b)[^.!?,;:\n])*\Z")
_NEGATION = re.compile(r"(?i)\b(?:not?|never|neither|nor|without|wrong|incorrect|cannot|except)\b|n't\b|不|没")
_SENTENCE_END = re.compile(r"(?i)(?<!\bSt)(?<!\bMr)(?<!\bDr)[.!?](?=[\s\"')]|\Z)|\n|(?<!\s),?\s+(?:because|since)\b")
_VERB = r"(?:\b(?:is|are|was|reads|says|shows)|'s)\b"
_STATEMENT = re.compile(rf"(?i)\s*(?:it|this|that|(?:the|its)\s(?:(?!{_VERB})[^.!?\n]){{1,80}})\s*{_VERB}(?!.*{_VERB})")
_TIED = re.compile(r"\w-\.|\.-\w")
_ONE = r"[^\W_぀-ヿ㐀-鿿가-힣]"  # Chinese, Japanese and Korean are compared by character
_WORD = re.compile(rf"(?<!{_ONE})[-+]?\d+(?:[.,:/]\d+)*(?!{_ONE})|{_ONE}+(?:'{_ONE}+)*|[^\W_]|[$€£¥%°+#]")
_EDGE = string.whitespace + "".join(set(string.punctuation) - set("$%+#-"))


def error_grade() -> Grade:
    """The verdict on an answer that never came, which is no answer."""
    return Grade(verdict="error", rule="error", answer=None, span=None, grader=GRADER)


def grade(reply: str, *, answer: str, answer_kind: AnswerKind, choices: Sequence[str] = ()) -> Grade:
    """Verdict on a final message: correct, incorrect or unparsed.

    answer: the gold; its letter for choices. Raises UsageError for a gold that no reply could match.
    """
    text, gold = _blank(reply), _gold(answer, answer_kind, tuple(choices))
    found = _read(text, answer_kind, tuple(choices))
    if answer_kind == "text" and text.strip() and normal(text) == gold:
        found = Extraction(" ".join(text.split()), "whole", (0, len(reply)))
    if found is None:
        return Grade(verdict="unparsed", rule="none", answer=None, span=None, grader=GRADER)
    verdict: Verdict = "correct" if normal(found.answer) == gold else "incorrect"
    return Grade(verdict=verdict, rule=found.rule, answer=found.answer, span=found.span, grader=GRADER)


def extract(reply: str, answer_kind: AnswerKind, choices: Sequence[str] = ()) -> Extraction | None:
    """The one answer that the reply gives, or None. Without `choices` the letters A to H are valid."""
    return _read(_blank(reply), answer_kind, tuple(choices))


def normal(text: str) -> tuple[str, ...]:
    """The words that count in a comparison: without case, punctuation, leading articles and plural s."""
    words = [word for word, _, _ in _words(unicodedata.normalize("NFKC", text).translate(_PLAIN))]
    while len(words) > 1 and words[0] in ("a", "an", "the"):
        words.pop(0)
    return tuple(words) or (text.strip(),)


def _words(text: str) -> list[tuple[str, int, int]]:
    found = ((match[0].casefold().replace("'", ""), *match.span()) for match in _WORD.finditer(text))
    return [(w[:-1] if len(w) > 3 and w[-1] == "s" and w[-2] not in "sui" else w, a, b) for w, a, b in found]


@lru_cache(maxsize=4096)
def _gold(answer: str, kind: AnswerKind, choices: tuple[str, ...]) -> tuple[str, ...]:
    found = None if kind == "text" else extract(answer, kind, choices)
    if found is None and (kind != "text" or not answer.strip()):
        raise UsageError(f"no reply can match the gold {answer!r} of kind {kind}: give a letter, integer or text")
    return normal(found.answer if found else answer)


def _letters(choices: Sequence[str]) -> str:
    return string.ascii_uppercase[: len(choices) or 8]


def _blank(reply: str) -> str:
    """The reply with everything that is no answer replaced by as many spaces."""
    text = reply.translate(_PLAIN)
    for pattern in _BLANKED:
        text = pattern.sub(lambda match: " " * len(match[0]), text)
    return text


def _read(text: str, kind: AnswerKind, choices: tuple[str, ...]) -> Extraction | None:
    for rule, pattern in _CONTAINERS:
        matches = list(pattern.finditer(text))
        inner = [(m.start(1), _read(m[1], kind, choices)) for m in matches if m[1].strip() or m is matches[-1]]
        if inner:
            return _agreed(rule, [(x.answer, at + x.span[0], at + x.span[1]) if x else (None, 0, 0) for at, x in inner])
    text = text.translate(_BRACES)
    rules = _text_rules(text) if kind == "text" else _mark_rules(text, kind, choices)
    return next((_agreed(rule, found) for rule, found in rules if found), None)


def _agreed(rule: str, found: Sequence[_Found]) -> Extraction | None:
    """The last of the possible answers if all of them say the same."""
    answer, start, end = found[-1]
    same = len({value and normal(value) for value, _, _ in found}) == 1
    return Extraction(answer, rule, (start, end)) if answer is not None and same else None


def _anchors(text: str) -> list[re.Match[str]]:
    return [m for m in _ANCHOR.finditer(text) if not _DENIED.search(text[max(m.start() - 60, 0) : m.start()])]


def _mark_rules(text: str, kind: AnswerKind, choices: tuple[str, ...]) -> Iterator[tuple[str, list[_Found]]]:
    """The rules for choices and integers, with what each finds."""
    found = _numbers(text) if kind == "integer" else _named(text, choices)
    negated = kind == "choice" and not (found and text[found[0][1] : found[0][2]].lower() in ("yes", "no"))
    text, letters = _marked(text, found), _letters(choices)
    capitals = ((m[0].upper(), m) for m in _LETTER.finditer(text) if kind == "choice")
    lone = [(c if c in letters else None, *m.span()) for c, m in capitals if c in letters or m[0] == c]
    text = _marked(text, lone)
    marks = {start: (value, start, end) for value, start, end in (*found, *lone)}
    heads = (_HEAD.match(text, anchor.end()) for anchor in _anchors(text))
    for rule, matches in (("anchored", heads), ("alone", _ALONE.finditer(text))):
        yield rule, [marks[at] for match in matches if match for at in range(*match.span("marks")) if at in marks]
    # A letter somewhere in a sentence is no answer by itself: it opens the reply, or an option's text is there too.
    opens = _HEAD.match(text, len(text) - len(text.lstrip()))
    if (kind == "integer" or opens or any(value for value, _, _ in found)) and not (negated and _NEGATION.search(text)):
        yield "only", list(marks.values())


def _marked(text: str, found: Sequence[_Found]) -> str:
    """The text with each span turned into a mark of the same length."""
    chars = list(text)
    for _, start, end in found:
        chars[start:end] = "\ue000" + "\ue001" * (end - start - 1)
    return "".join(chars)


def _numbers(text: str) -> list[_Found]:
    """Every number in digits or words; None for one that is not a plain integer up to twenty in words."""
    found: list[_Found] = []
    for match in _CHUNK.finditer(text):
        word = match[0].lower()
        digits = word.replace(",", "").split(".")[0] if _INTEGER.fullmatch(word) else _NUMBERS.get(word)
        if digits or not re.search("[a-z_]", word) or _LARGE_NUMBER.match(word):
            found.append((digits and str(int(digits)), *match.span()))
    return found


def _named(text: str, choices: tuple[str, ...]) -> list[_Found]:
    """Every option named by its text, the longest where several fit; numbers if all options are numbers."""
    options = _options(choices)
    if options and all(_INTEGER.fullmatch(" ".join(name)) for name in options):
        return [(options.get((value or "",)), start, end) for value, start, end in _numbers(text)]
    found, words, at = list[_Found](), _words(text), 0
    while at < len(words):
        same = (n for n in options if n[0] == words[at][0] and n == tuple(w for w, _, _ in words[at : at + len(n)]))
        name = next(same, words[at][:1])
        start, end = words[at][1], words[at + len(name) - 1][2]
        # A glyph is written as a capital unless it stands alone; "infra-red" is not red.
        plain = end - start > 1 or len(words) == 1 or text[start] not in "abcdefghijklmnopqrstuvwxyzI"
        if name in options and plain and not _TIED.search(text[max(start - 2, 0) : start] + "." + text[end : end + 2]):
            found.append((options[name], start, end))
        at += len(name)
    return found


@lru_cache(maxsize=4096)
def _options(choices: tuple[str, ...]) -> dict[tuple[str, ...], str | None]:
    """Letter of each option's words, the longest first; None for doubles. A text that is a valid letter is left out."""
    letters, names = _letters(choices), [normal(choice) for choice in choices]
    pairs = sorted(zip(names, letters, strict=False), key=lambda pair: -len(" ".join(pair[0])))
    texts = [pair for pair in pairs if " ".join(pair[0]).upper() not in ("", *letters)]
    return {name: letter if names.count(name) == 1 else None for name, letter in texts}


def _text_rules(text: str) -> Iterator[tuple[str, list[_Found]]]:
    """The rules for open text, with what each finds."""
    anchors, found = _anchors(text), []
    for anchor, limit in zip(anchors, [*(after.start() for after in anchors[1:]), len(text)], strict=False):
        stop = _SENTENCE_END.search(text, anchor.end(), limit)
        found += _phrase(text, anchor.end(), stop.start() if stop else limit)
    yield "anchored", found
    yield "only", [] if anchors else _phrase(text, 0, len(text))


def _phrase(text: str, start: int, end: int) -> list[_Found]:
    """The one short phrase between two positions, without "it is" in front and punctuation around; or nothing."""
    start = end - len(text[start:end].lstrip(_EDGE + "%#"))
    start = statement.end() if (statement := _STATEMENT.match(text, start, end)) else start
    start = end - len(text[start:end].lstrip(_EDGE + "%#"))
    end = start + len(text[start:end].rstrip(_EDGE + "-$"))
    phrase = " ".join(text[start:end].split())
    few = 0 < len(phrase.split()) <= FEW_WORDS and not _ANCHOR.search(phrase)
    return [(phrase, start, end)] if few and not _SENTENCE_END.search(text, start, end) else []
