"""A reply without what is no answer: thoughts, tool calls, emphasis, what was taken back.

Every step puts as many spaces as it takes away, so that an offset in the plain text is one in the reply.
"""

from __future__ import annotations

import re
import unicodedata

from zoomgap.grading.language import RETRACTION

_TRADITIONAL = str.maketrans(
    "選項應該為約還與擇認覺斷顯錯誤確無沒對終後綜總圖寫這讀難僅論過個隻條張顆輛棟塊盞層頭會數幾兩萬億負號將邊別並當餘糾著",
    "选项应该为约还与择认觉断显错误确无没对终后综总图写这读难仅论过个只条张颗辆栋块盏层头会数几两万亿负号将边别并当余纠着",
)
"""Characters of the words that the rules look for."""
_STYLED = (*range(0xFF01, 0xFF5F), *range(0x24B6, 0x24EA), *range(0x1F130, 0x1F14A), *range(0x1D400, 0x1D800))
_BADGES = {first + place: chr(ord("A") + place) for first in (0x1F150, 0x1F170) for place in range(26)}
PLAIN = (
    {code: same for code in _STYLED if len(same := unicodedata.normalize("NFKC", chr(code))) == 1}
    | _BADGES
    | _TRADITIONAL
    | str.maketrans("。、‘’“”「」『』【】−‐‑◁▷\u00a0\u3000", '.,\'\'""""""()---<>  ')
)
"""Full-width, circled, squared and mathematical characters as plain ones, Chinese punctuation as English."""

_THINK = r"think|thinking|thought|reasoning|seed:think"
_HIDDEN = (
    re.compile(
        rf"(?is)<({_THINK}|tool_call|tool_response|sandbox_output)>.*?(?:</\1>|\Z)|\[THINK\].*?(?:\[/THINK\]|\Z)"
    ),
    # What a server has cut the beginning of, or a channel of its own.
    re.compile(rf"(?is)\A.*(?:</(?:{_THINK})>|\[/THINK\]|<\|channel\|>final<\|message\|>)"),
)
_MARKUP = re.compile(
    r"""(?mx) <\|(?!begin_of_box|end_of_box)[^|<>\n]{1,40}\|> | </?s>            # a tokenizer's own
    | </?(?:b|i|u|em|strong|mark|p|br|div|span|center|font|ul|ol|li|h[1-6])\s*/?>
    | ~~[^~\n]{1,200}~~                                                          # struck out
    | ^[^\S\n]*```(?:json|text|txt|markdown|md|html|latex|python)(?=\n)
    | [*`\ue000-\ue002]+ | ^[^\S\n]*\#+(?=\s) | (?<!\w)_+ | _+(?!\w)
    | \\[()\[\]] | \\(?:text)?color\s*\{[^{}]*\}
    | \\(?:(?:text|math)[a-z]*|boldsymbol|rm|bf|it|underline|emph)(?![A-Za-z])
    | </[a-z]*\Z                                                                 # a tag that was cut off
    | [^\S\n ]+"""
)
_FORMULA = re.compile(r"(\${1,2})(?=[^\s$])([^$\n]{0,200}[^\s$])\1(?!\d)")


def plain(reply: str) -> str:
    """The reply with spaces for all that is no part of an answer, as long as before."""
    text = reply if reply.isascii() else reply.translate(PLAIN)
    if "<" in text or "[" in text:
        for hidden in _HIDDEN:
            text = hidden.sub(_spaces, text)
    text = _MARKUP.sub(_spaces, text)
    if "$" in text:
        text = _FORMULA.sub(_inside, text)
    taken_back = max((match.end() for match in RETRACTION.finditer(text)), default=0)
    return " " * taken_back + text[taken_back:]


def _spaces(match: re.Match[str]) -> str:
    return " " * len(match[0])


def _inside(match: re.Match[str]) -> str:
    """The last group, with spaces for what is around it."""
    inner = match.lastindex or 0
    before, after = match.start(inner) - match.start(), match.end() - match.end(inner)
    return " " * before + match[inner] + " " * after
