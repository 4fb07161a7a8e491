"""What must hold for every reply: one reading or none, never a guess, and in time that grows with its length."""

from __future__ import annotations

import json
import re
import string
import subprocess
import sys

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from zoomgap.errors import UsageError
from zoomgap.grading import GRADER, error_grade, extract, grade, normal, reward

COLORS = ("red", "blue", "dark red", "green")
KINDS = ("choice", "integer", "text")
GOLD = {"choice": "B", "integer": "5", "text": "dark red"}


def test_grades_carry_all_that_was_read():
    found = grade("The answer is B", answer="b", answer_kind="choice", choices=COLORS)
    assert (found.verdict, found.rule, found.answer, found.span) == ("correct", "anchored", "B", (14, 15))
    assert found.grader == GRADER
    wrong = grade("The answer is B", answer="(C)", answer_kind="choice", choices=COLORS)
    assert (wrong.verdict, wrong.answer) == ("incorrect", "B")
    unread = grade("No idea", answer="C", answer_kind="choice", choices=COLORS)
    assert (unread.verdict, unread.rule, unread.answer, unread.span) == ("unparsed", "none", None, None)


def test_an_error_is_no_answer():
    assert (error_grade().verdict, error_grade().answer) == ("error", None)


@pytest.mark.parametrize(
    ("gold", "kind"),
    [("E", "choice"), ("", "choice"), ("purple", "choice"), ("many", "integer"), ("3.5", "integer"), (" ", "text")],
)
def test_a_gold_that_nothing_can_match_is_refused(gold, kind):
    for judge in (grade, reward):
        with pytest.raises(UsageError, match=re.escape(repr(gold))):
            judge("B", answer=gold, answer_kind=kind, choices=COLORS)


# Words without a letter, an option or a number in them, and without a sentence that would be open text.
FILLER = (
    "looking", "at", "this", "photograph", "carefully", "there", "appear", "some", "people", "near", "their", "house",
    "behind", "trees", "under", "cloudy", "skies", "while", "others", "walk", "along", "narrow", "streets",
    "向前", "看", "图片", "里面", "房子", "树木", "天空", "however", "details", "remain", "small", "...", ",", ".",
    "\n",    "!", "**", "-", "🤔",
)  # fmt: skip


@given(st.lists(st.sampled_from(FILLER), max_size=60), st.sampled_from(KINDS))
def test_a_reply_without_an_answer_is_never_graded(parts, kind):
    reply = " ".join(parts)
    assume(kind != "text" or len(re.findall(r"[a-z]+", reply)) > 20)  # a short phrase is open text
    assert grade(reply, answer=GOLD[kind], answer_kind=kind, choices=COLORS).verdict == "unparsed"


ANSWERS = {
    "choice": ("A", "B", "C", "D", "(b)", "**C**", "red", "dark red", "A. red", "green", "E", "D. green"),
    "integer": ("5", "six", "**7**", "twenty-one", "-3", "1,000", "八", "9 dots"),
    "text": ("E", "dark red", "keep out", "禁止停车", "5", "glass"),
}
SAYING = ("The answer is {}.", "Answer: {}", "answer: {}\n", "The correct answer is {}.", "My answer would be {}.",
          "答案是{}。", "答案：{}。", "<answer>{}</answer>", "\\boxed{{{}}}")  # fmt: skip


@given(st.data(), st.sampled_from(KINDS), st.lists(st.sampled_from(FILLER[:20]), max_size=8))
def test_two_answers_that_differ_are_never_graded(data, kind, between):
    first, second = data.draw(st.lists(st.sampled_from(ANSWERS[kind]), min_size=2, max_size=2, unique=True))
    assume(same_reading(first, second, kind) is False)
    saying = data.draw(st.sampled_from(SAYING))
    reply = "\n".join((saying.format(first), " ".join(between), saying.format(second)))
    assert grade(reply, answer=GOLD[kind], answer_kind=kind, choices=COLORS).verdict == "unparsed"


def same_reading(first: str, second: str, kind: str) -> bool:
    found = [extract(text, kind, COLORS) for text in (first, second)]
    return len({each and normal(each.answer) for each in found}) == 1


@given(st.lists(st.sampled_from(ANSWERS["choice"][:4]), min_size=2, max_size=4, unique=True), st.sampled_from(
    (" or ", " and ", ", ", "/", " / ", "、", "和", "或", " or maybe ", " and/or ", "; ", " | ", " vs. ")))  # fmt: skip
def test_letters_in_a_row_are_never_graded(letters, link):
    for reply in (link.join(letters), f"The answer is {link.join(letters)}.", f"Either {link.join(letters)}"):
        assert grade(reply, answer="B", answer_kind="choice", choices=COLORS).verdict == "unparsed"


@given(
    st.integers(-99, 9999),
    st.integers(1, 99),
    st.sampled_from((" to ", "-", "–", " or ", " and ", "~", " + ", " x ", "到", "或")),
)
def test_ranges_and_sums_are_never_graded(low, more, link):
    reply = f"{low}{link}{low + more}"
    for said in (reply, f"There are {reply} dots.", f"The answer is {reply}"):
        assert grade(said, answer="5", answer_kind="integer").verdict == "unparsed"


@given(st.integers(0, 99_999))
def test_a_number_in_words_is_the_number(value):
    assert extract(in_english(value), "integer").answer == str(value)
    assert normal(in_english(value)) == (str(value),)
    assert extract(f"有{in_chinese(value)}个点", "integer").answer == str(value)


def in_english(value: int) -> str:
    """Written out anew, to be read back."""
    small = [
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
        "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
    ]  # fmt: skip
    tens = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
    if value < 20:
        return small[value]
    if value < 100:
        return tens[value // 10] + (f"-{small[value % 10]}" if value % 10 else "")
    scale, name = (100, "hundred") if value < 1000 else (1000, "thousand")
    rest = f" {in_english(value % scale)}" if value % scale else ""
    return f"{in_english(value // scale)} {name}{rest}"


def in_chinese(value: int) -> str:
    digits = "零一二三四五六七八九"
    if value < 10:
        return digits[value]
    for scale, name in ((10_000, "万"), (1000, "千"), (100, "百"), (10, "十")):
        if value >= scale:
            rest = value % scale
            zero = "零" if 0 < rest < scale // 10 else ""
            return in_chinese(value // scale) + name + zero + (in_chinese(rest) if rest else "")
    raise AssertionError


PIECES = (
    "A", "B", "C", "E", "b", "a", "I", "red", "dark red", "blue", "Green", "the answer is", "Answer:", "answer", "is",
    "not", "so", "or", "and", "it is", "because", "5", "-5", "10-12", "3.5", "five", "one", "the one", "twenty-one",
    "<answer>", "</answer>", "\\boxed{", "}", "<think>", "</think>", "<tool_call>", "**", "_", "#", "# ", "$",
    "\\text{", "{", "\\textcolor{", "</answ", ".", ",", ":", "?",
    "(", ")", "'", "'s", '"', "-", "%", "\n", " ", "St.", "star", "stars", "the", "。",
    "答案是", "选", "Ｂ", "é", "\ue000", "\ue001", "\ue002", "<|im_end|>", "<|begin_of_box|>", "<|end_of_box|>", "says",
    "letter", "wait,", "no", "is correct", "is wrong", "不是", "而是", "三", "个", "没有", "final", "hundred",
    "a dozen", "~~",
)  # fmt: skip
replies = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join),
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    st.text(max_size=60),
)


@given(replies, st.sampled_from(KINDS))
def test_reading_what_was_read_gives_the_same(reply, kind):
    found = extract(reply, kind, COLORS)
    again = extract(found.answer, kind, COLORS) if found else None
    assert (found and found.answer) == (again and again.answer)


@given(replies, st.sampled_from(KINDS))
def test_an_answer_is_valid_and_its_span_lies_in_the_reply(reply, kind):
    found = extract(reply, kind, COLORS)
    if found is not None:
        start, end = found.span
        assert 0 <= start < end <= len(reply)
        assert re.fullmatch({"choice": "[A-D]", "integer": r"-?\d+", "text": r"\S(?s:.*\S)?"}[kind], found.answer)


@given(replies, st.sampled_from("ABCD"))
def test_markup_and_thinking_change_nothing(reply, letter):
    plain = extract(f"The answer is {letter}", "choice", COLORS)
    for wrapped in (f"<think>{reply}</think>The answer is **{letter}**", f"The answer is `{letter}`<|im_end|>"):
        found = extract(wrapped, "choice", COLORS)
        assert "think" in reply or (found and found.answer) == (plain and plain.answer)


LATEX = ("{{{}}}", "\\text{{{}}}", "\\mathbf{{ {}}}", "({})", "\\textcolor{{red}}{{{}}}", "\\{{{}\\}}", "\\rm {}")


@given(st.lists(st.sampled_from(LATEX), max_size=3), st.sampled_from("ABCD"), st.integers(0, 4))
def test_a_box_is_read_however_its_letter_is_set_and_wherever_it_is_cut(wraps, letter, lost):
    inner = letter
    for wrap in wraps:
        inner = wrap.format(inner)
    whole = f"\\boxed{{{inner}}}"
    cut = whole[: max(len(whole) - lost, whole.rindex(letter) + 1)]
    for reply in (whole, cut, f"<answer>{whole}</answer>", f"I see {whole}. It is {whole}."):
        found = extract(reply, "choice", COLORS)
        assert found is not None
        assert found.answer == letter
        assert reply[slice(*found.span)] == letter


@given(replies, st.permutations(COLORS))
@example("A_", ["blue", "red", "dark red", "green"])
def test_the_order_of_the_options_changes_no_option_that_is_named(reply, order):
    """Without letters in the reply, the same text is read whatever letter it has."""
    reply = re.sub(r"(?<![A-Za-z0-9])[A-Za-z](?![A-Za-z0-9])|[Ａ-ｚ]", "", reply)
    found, moved = extract(reply, "choice", COLORS), extract(reply, "choice", order)
    assert (found and COLORS["ABCD".index(found.answer)]) == (moved and order["ABCD".index(moved.answer)])


@given(st.text(max_size=40) | st.lists(st.sampled_from(PIECES), max_size=8).map(" ".join))
@example("thes cats")
@example("x a, dozen twenty, one")
@example("一共 一百 一 二")
def test_the_normal_form_is_stable(text):
    once = normal(text)
    assert normal(" ".join(once)) == once


@given(replies, st.sampled_from(KINDS))
def test_grading_twice_gives_the_same(reply, kind):
    first = grade(reply, answer=GOLD[kind], answer_kind=kind, choices=COLORS)
    assert first == grade(reply, answer=GOLD[kind], answer_kind=kind, choices=COLORS)
    assert (first.verdict == "unparsed") == (first.answer is None)


ENDLESS = (
    *PIECES, "answer: ", "so ", "B ", "A\n", "the ", "1-", "_ ", "a<", "not B ", "B is ", "B, ", "one ", "twenty ",
    "不是B", "wait, ", "\\boxed{B", "$a ", "~~a", "选B", "if B ", "B. ", "i'd ", '"answer"', "the answer to a ",
    "5 or ", "because ", "B is correct ", "[THINK]", "\\text{", "a\n\n", ". B", "is the ", "<|", "<br>", "it is ",
    "not A but ",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_many_repeats_read_as_some_repeats_do(kind):
    for piece in ENDLESS:
        some, many = (extract(piece * times + "?" * times, kind, COLORS) for times in (50, 400))
        assert (some and some.rule) == (many and many.rule), piece


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_work_grows_with_the_length_only(kind):
    """100,000 characters of each repeat within 3 s of processor time on average: what backtracks takes minutes."""
    import resource

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (3 * len(ENDLESS), 3 * len(ENDLESS)))

    code = (
        "import sys, json; from zoomgap.grading import extract\n"
        "for piece in json.loads(sys.argv[2]):\n"
        "    many = piece * (80_000 // len(piece))\n"
        "    for tail in ('', '?' * 20_000): extract(many + tail, sys.argv[1], ('red', 'blue'))"
    )
    command = [sys.executable, "-c", code, kind, json.dumps(ENDLESS)]
    assert subprocess.run(command, preexec_fn=bounded, check=False).returncode == 0


def test_every_letter_up_to_the_last_choice_is_valid():
    choices = [f"shape {word}" for word in string.ascii_lowercase[::-1]]
    for letter in string.ascii_uppercase:
        assert extract(f"The answer is {letter}.", "choice", choices).answer == letter
