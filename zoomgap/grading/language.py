"""The words that the rules look for, in English and Chinese.

A reply is searched after every possible answer in it was turned into a mark: MARK and as many MORE as it has further
characters, or DROPPED throughout where the reply itself denies it ("not A", "A is wrong"). So one pattern, such as
"the answer is <mark>", holds for letters, option texts and numbers alike.
"""

from __future__ import annotations

import re

MARK, MORE, DROPPED = "\ue000", "\ue001", "\ue002"

_ONE = f"{MARK}{MORE}*+"
_GAP = rf"[^\w{MARK}{MORE}\n]*+"
_GAP_BUT_ASKED = rf"[^\w{MARK}{MORE}\n?]*+"
_HEDGE = r"\b(?:maybe|perhaps|possibly|probably|likely)\b"
_FILLER = rf"""{_HEDGE}|\b(?:final|correct|best|most|only|just|exactly|about|around|approximately|roughly|clearly
    |definitely|answer|option|choice|letter|number|the|an?|my|is|be|it|it's|that|ok|okay|well|sure|hmm|actually)\b
    |选项|答案|字母|最终|正确|应该|大概|大约|可能|约|就|是|为"""
_FILLERS = rf"(?:(?:{_FILLER}){_GAP}){{0,6}}+"
_LINK = r"\b(?:or|and|to|versus|vs|also)\b|或者?|和|与|及|到|至|还是"
_JOINED = rf"[^\w{MARK}{MORE}\n.]*+(?:(?:(?:{_LINK}){_GAP}){{1,2}}{_FILLERS}|{_HEDGE}{_GAP})?{_ONE}"
_OF_LABEL = r"(?:(?<=[.:)]\ )(?:an?|the)\ )?"
# One mark, or several that belong together: "B. blue", "B: a car", "A or B", "A, B and C".
_MARKS = rf"{_ONE}(?:{_JOINED}|{_GAP}{_OF_LABEL}{_ONE}(?!{MORE}|[^\S\n]+\w)){{0,12}}+"
_END = rf"[^\w{MARK}{MORE}]*+\Z"

ABBREVIATION = "".join(rf"(?<!\b{word})" for word in ("St", "Mr", "Dr", "Fig", "No", "vs", "Vol", "eq", "approx"))
_REASON = r"(?<!\s)(?:,?\s+(?:because|since)|,\s+(?:which|as|meaning|indicating))\b | (?<=\w),?(?:因为|由于)"
REASON = re.compile(f"(?ix){_REASON}")
SENTENCE_END = re.compile(rf"""(?ix) {ABBREVIATION} [.!?;](?=[\s"')]|\Z|[\u3400-\u9fff]) | \n | {_REASON}""")

HEAD = re.compile(rf"(?ix){_GAP}{_FILLERS}(?P<marks>{_MARKS})")
"""Marks with nothing of weight before them."""

OPENING = re.compile(rf"(?imx)^{_GAP}{_FILLERS}(?P<marks>{_MARKS})")
"""A line that begins with marks."""

ALONE = re.compile(
    rf"""(?imx) ^{_GAP}{_FILLERS}(?P<marks>{_MARKS}){_GAP_BUT_ASKED}(?:选?项{_GAP_BUT_ASKED})?$
    | {ABBREVIATION}[.!?]\s+{_FILLERS}(?P<last>{_MARKS})[^\w{MARK}{MORE}?]*+\Z"""
)
"""A line, or the last sentence, that is only marks."""

ANCHOR = re.compile(
    rf"""(?ix) \b(?:
        (?:(?P<final>final)\s+)?(?:answer|ans|option|choice|guess|pick|selection|response|prediction|conclusion)(?:\s+to\s[^.:\n]{{0,80}}?)?
        ["'\s]*+(?:(?:\bis|\b(?:would|should|must|will)\s+be)(?![\w'])|[:=])[\s:]*+
      | (?:i|we)(?:'d|'ll|\s+will|\s+would)?\s+(?:choose|pick|select|guess|go\s+(?:with|for))\b
        (?={_GAP}{_FILLERS}{MARK})
      | (?:so|therefore|thus|hence|choose|pick|select|say|think|guess|go\s+with
        |(?:it|that|this)(?:'s|\s+(?:is|(?:would|must|should)\s+be)))\b[\s:,]*+
        (?={_GAP}{_FILLERS}{_MARKS}{_END}) )
    | (?=[最答正选選认觉判推所因故是정]) (?:
        (?:(?P<last>最终|最后)的?)?(?:答案|答え|正解|选项|选择|정답|答(?=:))["\s]*+(?:应该?|应当|就)?(?:是|为|為|は|은|:)++\s*+
      | (?<![不别没非勿未])[选選](?:择|擇)?(?={_GAP}{MARK})
      | (?:认为|觉得|判断|推断)(?:答案)?(?:应该)?(?:是|为|选)(?={_GAP}{_FILLERS}{MARK})
      | (?:所以|因此|故|是)[\s:,]*+(?={_GAP}{_FILLERS}{_MARKS}{_END}) )"""
)
"""What announces an answer, up to where it begins; "so" and the like only before the last words of a reply."""

ASKED = re.compile(r"""["')\s]*+\?""")
"""After marks: what was announced is a question."""

_MAYBE = r"(?:\b(?:maybe|perhaps|possibly|either)\b|可能|也许|要么)"
OR_BEFORE = re.compile(rf"(?ix)(?:\bor\b|或者?|要么|不是[^.!?;\n]{{1,40}}就)[\s,]*+(?:{_MAYBE}[\s,]*+)?\Z")
"""Before an anchor: what it announces is an alternative to what stands before."""
MAYBE_BEFORE = re.compile(rf"(?ix){_MAYBE}[\s,]*+\Z")
MAYBE = re.compile(rf"(?ix){_MAYBE}[^.!?;\n{MARK}{MORE}]{{0,12}}(?P<marks>{_MARKS})")
"""Marks that may be the answer. Before another that may be, they are alternatives."""

MORE_COUNTED = re.compile(
    rf"(?ix)[^{MARK}{DROPPED}\n.;:]{{0,40}}?(?:\b(?:and|plus|or)\b|&|[和或及]){_GAP}{_FILLERS}{_ONE}(?!\s*of\b)"
)
"""After a number: another thing is counted too, as in "7 cars and 2 trucks"."""

ANCHOR_AFTER = re.compile(
    rf"""(?ix) (?P<marks>{_MARKS}){_GAP}(?:which\s+|选?项)?
    (?: (?:is|was|must\s+be|would\s+be|seems|appears)\s+(?:(?:clearly|definitely|obviously|therefore|thus)\s+)?
        (?:correct\b|the\s+(?:(?:correct|right|best|only|final)\s+)?(?:answer|choice|option)\b|the\s+(?:correct|right)\s+one\b)
      | it\s+is(?={_GAP}(?:$|[.!,;]))
      | (?:才?是|为)?正确(?:的|答案|选项)?{_GAP}(?:$|[,.;]) )"""
)
"""An answer before its announcement: "B is correct"."""

NO_CONTENT = re.compile(
    r"(?i)\b(?:clear|obvious|simple|as|below|here|this|following|based|explained|let|i|we|to|first|looking?|in)\b|如下"
)
"""Words after an anchor that announce an answer further on."""

CONCLUSION = re.compile(
    rf"""(?ix) (?:
          (?:\A|(?<=[.!?;\n]))\ {{0,8}}+(?:so|therefore|thus|hence|consequently|in\s+conclusion|overall)\b,?\s*+
        | ,\ {{1,8}}+(?:and\s+)?(?:so|therefore|thus|hence)\s++
      ) (?=(?:it|it's|the|there|this|that|in|i|we|my)\b|{MARK})
    | (?:\A|(?<=[.!?;,\n]))\ {{0,8}}+(?:所以|因此|因而|故|综上所述|综上|总之),?"""
)
"""Where the sentence begins that draws the conclusion."""

TOTAL = re.compile(
    rf"""(?ix) (?:\A|(?<=[.!?;,\n]))\ {{0,8}}+(?:
          (?:(?:for|giving|making|which\s+(?:gives|makes))\s+(?:us\s+)?)?(?:(?:a|the)\s+)?(?:grand\s+)?total\b
        | (?:in\s+total|altogether)\b | (?:一共|总共|共计|合计|总计) ) (?=[^.!?;\n{MARK}]{{0,60}}{MARK})
    | =\ {{0,8}}+(?={MARK})"""
)
"""Where a sum begins that the reply has drawn itself."""

_BE = r"(?:is|are|was|were|can|could|do|does|did|would|seems?|appears?)"
_DENIAL = rf"""(?=[nreilc不并而排除]) (?: \b(?:can)?not\b(?!\s+only) | n't\b
        | \b(?:neither|nor|never|rather\s+than|instead\s+of|except|eliminat\w+|exclud(?:es?|ed|ing)
            |rul(?:es?|ed|ing)\s+out)\b
        | 不是(?![^.!?;\n]{{0,40}}就是)|并非|而非|不选|不应选|不能选|不该选|不可能是|不会是|排除了?|除了 )
    {_GAP}{_FILLERS}{_MARKS}(?:{_GAP}(?:\bbut\b|而是|而?应该?[选是]|是))?"""
_DENIED_AFTER = rf"""{_MARKS}{_GAP}(?:
        {_BE}\s+(?:(?:both|all|clearly|obviously|definitely|also|thus|therefore|be)\s+)*
            (?:not|wrong|incorrect|false|ruled\s+out|excluded|eliminated|impossible)\b(?!\s+be\s+{MARK})
      | (?:(?:is|are|was|were|ca|could|do|does|did|would)n't|cannot)\b(?!\s+be\s+{MARK})
      | (?:选?项)?[均都也]?(?:显然)?(?:不对|不正确|错误(?!的是)|错了?(?!误)|不符合?
            |(?:不选|不是|不可能|[被应可]?以?排除)(?!\s*是?\s*(?:选?项)?{MARK})) )"""
DENIED = {
    "choice": re.compile(f"(?ix){_DENIAL}|{_DENIED_AFTER}"),
    "integer": re.compile(f"(?ix){_DENIAL}"),
}
"""Marks of which the reply says that they are not the answer. "5 are not visible" denies no number."""

TAKEN_BACK = re.compile(
    r"(?i)(?:\b(?:(?:can)?not|never|nobody|whether|wrong|incorrect)\b|n't\b|\bif\b(?!\s+(?:(?:i|we)\s+(?:had|have|must)|forced))"
    r"|不(?!过|难|仅|同|管|论)|没|非(?!常)|如果|假如|是否)(?:(?!\bbut\b)[^.!?,;:\n])*\Z|(?:如果|假如|若)[选是答][^.!?;\n]*\Z|错误?的\s*\Z"
)
"""What before an anchor makes it none: "I don't think the answer is"."""

_REFUSAL = r"""\b(?:cannot|unable|unclear|unsure|unknown|impossible|(?:hard|difficult)\s+to|(?:can|could)\s+not
    |not\s+(?:sure|certain|clear|possible))\b|\b(?:ca|could|do|did)n't\b|无法|不能|不确定|不知道|看不清|难以|[?]"""
NO_MENTION = {
    "choice": re.compile(
        rf"(?ix){_REFUSAL}|\b(?:not?|never|neither|nor|without|wrong|incorrect|except|if|whether|than|less|unlike)\b|n't\b"
        "|不(?!过)|没|如果|是否|比"
    ),
    "integer": re.compile(
        rf"(?ix){_REFUSAL}|\b(?:if|unless|whether|could\s+be(?!\s+wrong))\b|如果|若(?!干)|\b(?:not?|never|without)\b[^.!?,;:\n{MARK}]{{0,80}}{MARK}|[不没][^.,;:\n{MARK}]{{0,40}}{MARK}"
    ),
}
"""What makes a mere mention no answer: a refusal, a denial, a question, a condition, a comparison."""

RETRACTION = re.compile(
    r"""(?ix) (?<=[.!?;,…—–\n-])[^\S\n]*+ (?:
        (?:(?<![,][\ ])(?<![,])(?:(?:oh|no|hmm|but)[,.\s]+){0,2}|(?:no[,.\s]+)) wait\b
            (?=\s*[,.:!;…—–-]|\s+(?:no|actually|that|i|let)\b) [\s,.:!…—–-]*+ (?:(?:no|actually|sorry)\b[\s,:]*+)?
      | (?:sorry,?\s+)?(?:correction\s*:|i\s+mean[t]?\b,?|i\s+misspoke\b|i\s+made\s+a\s+mistake\b)
      | (?:不对|错了|等等|等一下|更正|纠正)(?=[,.:!;…]) )
    | \b(?:(?:scratch|strike)\s+that|on\s+second\s+thoughts?|let\s+me\s+correct)\b"""
)
"""Where a reply takes back what it has said so far."""

REFUSED = re.compile(
    r"""(?ix)\A(?: (?:(?:i'm\s+)?(?:sorry|afraid|apologi[sz]e)[,.]?\s+(?:but\s+)?)?(?:
          i\s+(?:cannot|can't|can\s+not|couldn't|could\s+not|don't|do\s+not|am\s+(?:unable|not\s+(?:sure|able|certain)))
        | i'm\s+(?:unable|not\s+(?:sure|able|certain)) | unable\s+to | (?:im|not\s+)possible\s+to | no\s+idea
        | cannot\s+(?:be\s+)?(?:determined?|tell|told|see|seen|read|answer) | too\s+\w+\s+to\s
        | (?:not\s+(?:visible|sure|clear|legible|possible|readable)|unclear|unknown|unreadable|illegible|n/a)\Z )
    | 抱歉|对不起|我?(?:无法|不能|不知道|不确定|看不清|看不到) )"""
)
"""An open answer that is none."""

LEAD = re.compile(
    rf"""(?ix) (?: (?:so|well|{_HEDGE}|i\s+(?:think|believe|guess)|i'd\s+(?:say|guess)|made\s+(?:out\s+)?(?:of|from)
        |可能|应该|大概) [,:\s]+ )+"""
)
"""Words before an open answer that need be no part of it."""

DOUBTFUL = re.compile(
    r"""(?ix) ["(){}<>\[\]] | ,\s+(?:not|but|so)\b | \Anot\b | 或|还是|不是
    | \b(?:or|either|maybe|perhaps|possibly|probably|likely|might)\b
    | \A(?:let\s+me|let's|(?:sure|okay|ok|first|looking)\b
        |i(?:'ll|'m|\s+(?:will|need|want|see|am|can|think|have))\b)"""
)
"""An open answer that names two, or says more than the answer."""
