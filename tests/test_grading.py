"""The table of awkward replies, and what must hold for every reply: one reading or none, never a guess."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zoomgap.errors import UsageError
from zoomgap.grading import GRADER, error_grade, extract, grade, normal

COLORS = ("red", "blue", "dark red", "green")
KINDS = ("choice", "integer", "text")

CHOICES = [
    # replies that public graders are known to break on
    ("<answer>B</answer>", "B"),
    ("The answer is B.", "B"),
    ("Based on the image, the answer is C.", "C"),
    ("A red car is visible, so B", "B"),
    ("The answer is B. Note that A is wrong.", "B"),
    ("The answer is B. Dark red would be wrong.", "B"),
    ("Answer: **B**", "B"),
    ("B\nD. green is not it", "B"),
    ("The color is dark red", "C"),
    ("b", "B"),
    # just a letter
    ("B", "B"),
    ("a", "A"),
    ("(b)", "B"),
    ("B.", "B"),
    (" *B* \n", "B"),
    ("`B`", "B"),
    ("$B$", "B"),
    ("Option B", "B"),
    ("Ｂ", "B"),
    ("E", None),
    ("T", None),
    # a letter with its text, or with another's
    ("B. blue", "B"),
    ("**B) blue**", "B"),
    ("(B) Blue.", "B"),
    ("B. red", None),
    ("B. Because the car is blue", "B"),
    ("B because the car is blue", "B"),
    # tags and boxes
    ("red or blue, hm\n<answer>(b) Blue</answer>", "B"),
    ("<answer>blue</answer>", "B"),
    ("<answer>B", "B"),
    ("<answer></answer><answer>B</answer>", "B"),
    ("<answer>B</answer> <answer>b. blue</answer>", "B"),
    ("<answer>B</answer> <answer>C</answer>", None),
    ("<answer>E</answer> A", None),
    ("<answer>B or C</answer>", None),
    ("B <answer></answer>", None),
    ("\\boxed{B}", "B"),
    ("$\\boxed{\\text{C}}$", "C"),
    ("<answer>\\boxed{C}</answer>", "C"),
    ("<|begin_of_box|>B<|end_of_box|>", "B"),
    ("\\boxed{B} and \\boxed{C}", None),
    ("\\boxed{{B}}", "B"),
    ("\\boxed{\\textbf{(B)} \\text{blue}}", "B"),
    ("\\boxed{\\mathbf{\\text{B}}}", "B"),
    ("$$\\boxed{\\rm B}$$", "B"),
    ("\\boxed{\\color{red}{B}}", "B"),
    ("\\boxed{\\textcolor{red}{B}}", "B"),
    ("\\boxed{\\text{dark} \\textit{red}}", "C"),
    ("\\fbox{B}", "B"),
    ("\\boxed{B", "B"),
    ("\\boxed{\\text{B", "B"),
    ("\\boxed{}", None),
    ("It is \\boxed{B}. So, once more: \\boxed{\\text{B}}", "B"),
    ("<think>\\boxed{A} or <answer>A</answer></think>\\boxed{B}", "B"),
    ("<think>hm</think>\n<answer>\\boxed{\\text{B}}</answer>", "B"),
    ("a thought</think><answer>B</answ", "B"),
    ("<answer>\n(B", "B"),
    # anchors
    ("the answer is b", "B"),
    ("The answer is: (B) blue", "B"),
    ("The correct option is **C**.", "C"),
    ("**Final Answer:** B", "B"),
    ("## Final answer\n\nB", "B"),
    ("The answer to the question is B.", "B"),
    ("The answer is dark red, as red is lighter", "C"),
    ("The answer is a blue car", "B"),
    ("The answer is A because it is red", "A"),
    ("The right answer is most likely D", "D"),
    ("I think it's B", "B"),
    ("It is B.", "B"),
    ("答案是B。", "B"),
    ("答案：Ｂ", "B"),
    ("选B", "B"),
    ("정답은 B", "B"),
    ("不选B", None),
    ("The answer is E.", None),
    ("The answer is B or C.", None),
    ("The answer is either B or C.", None),
    ("The answer is B, C and D are wrong", None),
    ("I'd say (C)", "C"),
    ("The car is blue, which is option B.", "B"),
    ("The answer is B. No, the answer is C.", None),
    ("I don't think the answer is B", None),
    ("The wrong answer is B", None),
    # option texts
    ("red", "A"),
    ("dark red", "C"),
    ("Dark-red.", "C"),
    ("A red car", "A"),
    ("a blue car", "B"),
    ("It has the colour BLUE", "B"),
    ("red and blue", None),
    ("dark red and red", None),
    ("It is not red", None),
    ("D. green is not it", None),
    ("the infrared one", None),
    ("the infra-red one", None),
    ("Red, but I say B", "B"),
    ("Red, but also B", None),
    # no answer
    ("", None),
    (" \n ", None),
    ("A\nB", None),
    ("The star stands near point B.", None),
    ("I cannot tell.", None),
    ("A car is visible", None),
    # thinking and tool markup
    ("<think>The answer is A</think>B", "B"),
    ("The answer is A</think>\n\nC", "C"),
    ("<think>The answer is A", None),
    ('<tool_call>{"name": "zoom_in", "arguments": {"label": "red star"}}</tool_call>', None),
    ("<tool_response>red</tool_response>The answer is B<|im_end|>", "B"),
]


@pytest.mark.parametrize(("reply", "letter"), CHOICES)
def test_choices(reply, letter):
    found = extract(reply, "choice", COLORS)
    assert (found and found.answer) == letter


@pytest.mark.parametrize(
    ("reply", "choices", "letter"),
    [
        ("3", ("4", "2", "3", "1"), "C"),
        ("two", ("4", "2", "3", "1"), "B"),
        ("There are 2 dots.", ("4", "2", "3", "1"), "B"),
        ("Star 1 has 5 dots", ("4", "2", "3", "1"), None),
        ("10", ("1", "10", "100", "0"), "B"),
        ("1.5", ("1", "5", "15", "2"), None),
        ("E", ("F", "E", "H", "K"), "B"),
        ("e", ("F", "E", "H", "K"), "B"),
        ("The letter is E.", ("F", "E", "H", "K"), "B"),
        ("An I is easy to see", ("F", "H", "I", "K"), None),
        ("I see it", ("F", "H", "I", "K"), None),
        ("A", ("B", "A", "C", "D"), "A"),
        ("Yes, there is.", ("Yes", "No"), "A"),
        ("No, there is not.", ("Yes", "No"), "B"),
        ("top", ("top left", "top", "left", "right"), "B"),
        ("It is at the top left.", ("top left", "top", "left", "right"), "A"),
        ("At the top, on the left.", ("top left", "top", "left", "right"), None),
        ("Point B", ("Point B", "Point A"), "A"),
        ("the dogs", ("a cat", "a dog"), "B"),
        ("cat", ("cat", "Cat", "dog"), None),
        ("颜色是红色", ("红色", "蓝色"), "A"),
        ("50%", ("50", "50%"), "B"),
        ("C++", ("Java", "C++", "Rust"), "B"),
        ("H", (), "H"),
        ("J", (), None),
    ],
)
def test_choices_of_other_kinds(reply, choices, letter):
    found = extract(reply, "choice", choices)
    assert (found and found.answer) == letter


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("5", "5"), ("five", "5"), ("Twenty", "20"), ("**4**", "4"), ("007", "7"), ("-3", "-3"), ("1,000", "1000"),
        ("3.0", "3"), ("There are 5 dots.", "5"), ("five (5)", "5"), ("有5个", "5"), ("５", "5"), ("answer: five", "5"),
        ("\\boxed{7}", "7"), ("\\boxed{{7}}", "7"), ("\\boxed{7\\text{ dots}}", "7"), ("\\boxed{\\frac{14}{2}}", None),
        ("<answer>7</answer> of 9", "7"), ("The answer is 5 because 3 and 2 make it", "5"),
        ("I see 3 above and 2 below.\n\n5", "5"), ("The one on the left has 3", "3"), ("T5 shows 3", "3"),
        ("so 4", "4"), ("zero", "0"),
        ("", None), ("none", None), ("10-12", None), ("about 10-12", None), ("answer: 10-12", None), ("3.5", None),
        ("5 or 6", None), ("The answer is 5 or 6", None), ("The answer is 5 to 6", None), ("3 and 4", None),
        ("T5", None), ("1st", None), ("5cm", None), ("twenty-one", None), ("one hundred", None), ("1/2", None),
        ("10:30", None), ("9" * 5000, None), ("1. a star\n2. a dot", None), ("<think>5</think>", None),
    ],
)  # fmt: skip
def test_integers(reply, value):
    found = extract(reply, "integer")
    assert (found and found.answer) == value


@pytest.mark.parametrize(
    ("reply", "gold", "verdict"),
    [
        ("E", "E", "correct"), ("e.", "E", "correct"), ("**E**", "E", "correct"), ('"E"', "e", "correct"),
        ("The letter is E.", "E", "correct"), ("It's E", "E", "correct"), ("Answer: E. The ring opens", "E", "correct"),
        ("The answer is E because of its bars", "E", "correct"), ("<answer>E</answer>", "E", "correct"),
        ("\\boxed{\\text{dark} \\text{red}}", "dark red", "correct"), ("\\boxed{{dark red", "dark red", "correct"),
        ("<answer>dark red</ans", "dark red", "correct"), ("\\text{dark red}", "dark red", "correct"),
        ("the dark red stars", "Dark red star", "correct"), ("Dark-red", "dark red", "correct"),
        ("A heart", "heart", "correct"), ("glass", "glass", "correct"), ("St. Mary's", "St Mary's", "correct"),
        ("keep out of the old mill at night please", "Keep out of the old mill at night, please!", "correct"),
        ("$5", "$5", "correct"), ("3.5", "3.5", "correct"), ("C.", "C", "correct"), ("？", "?", "correct"),
        ("F", "E", "incorrect"), ("Top left", "top", "incorrect"), ("I cannot tell", "E", "incorrect"),
        ("C++", "C", "incorrect"), ("-5", "5", "incorrect"), ("35", "3.5", "incorrect"), ("5", "$5", "incorrect"),
        ("foot", "yard", "incorrect"), ("week", "day", "incorrect"), ("not E", "E", "incorrect"),
        ("", "E", "unparsed"), (" \n", "E", "unparsed"), ("", "day", "unparsed"), ("<think>E</think>", "E", "unparsed"),
        ("Answer: E. Answer: F", "E", "unparsed"), ("<answer>E</answer><answer>F</answer>", "E", "unparsed"),
        ("I looked at the star for a while but its mark is hard to make out", "E", "unparsed"),
        ("The letter that is on the star is an E and that it is plain", "E", "unparsed"),
    ],
)  # fmt: skip
def test_texts(reply, gold, verdict):
    assert grade(reply, answer=gold, answer_kind="text").verdict == verdict


@pytest.mark.parametrize(
    ("reply", "kind", "rule", "marked"),
    [
        ("So: <answer>blue</answer>", "choice", "answer_tag", "blue"),
        ("It is \\boxed{ B }.", "choice", "boxed", "B"),
        ("<think>A or C</think> The answer is **B**", "choice", "anchored", "B"),
        ("Reasons.\n(B) blue", "choice", "alone", "B"),
        ("What I see is a dark red car", "choice", "only", "dark red"),
        ("There are five dots", "integer", "only", "five"),
        ("The answer is top left.", "text", "anchored", "top left"),
        ("  top left.", "text", "only", "top left"),
    ],
)
def test_rule_and_span_name_the_place_in_the_reply(reply, kind, rule, marked):
    found = extract(reply, kind, COLORS)
    assert found is not None
    # the letter and its text both stand there: either place is right
    assert reply[slice(*found.span)] in (marked, "blue")
    assert found.rule == rule


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
    with pytest.raises(UsageError, match=re.escape(repr(gold))):
        grade("B", answer=gold, answer_kind=kind, choices=COLORS)


PIECES = (
    "A", "B", "C", "E", "b", "a", "I", "red", "dark red", "blue", "Green", "the answer is", "Answer:", "answer", "is",
    "not", "so", "or", "and", "it is", "because", "5", "-5", "10-12", "3.5", "five", "one", "the one", "twenty-one",
    "<answer>", "</answer>", "\\boxed{", "}", "<think>", "</think>", "<tool_call>", "**", "_", "#", "# ", "$",
    "\\text{", "{", "\\textcolor{", "</answ", ".", ",", ":",
    "?", "(", ")", "'", "'s", '"', "-", "%", "\n", " ", "St.", "star", "stars", "the", "。", "答案是", "选", "Ｂ", "é",
    "\ue000", "\ue001", "<|im_end|>", "<|begin_of_box|>", "<|end_of_box|>", "says", "letter",
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
def test_the_order_of_the_options_changes_no_option_that_is_named(reply, order):
    """Without letters in the reply, the same text is read whatever letter it has."""
    reply = re.sub(r"(?a)\b[A-Za-z]\b|[Ａ-ｚ]", "", reply)
    found, moved = extract(reply, "choice", COLORS), extract(reply, "choice", order)
    assert (found and COLORS["ABCD".index(found.answer)]) == (moved and order["ABCD".index(moved.answer)])


@given(st.text(max_size=40))
@example("thes cats")
def test_the_normal_form_is_stable(text):
    once = normal(text)
    assert normal(" ".join(once)) == once


@given(replies, st.sampled_from(KINDS))
def test_grading_twice_gives_the_same(reply, kind):
    gold = {"choice": "B", "integer": "5", "text": "dark red"}[kind]
    first = grade(reply, answer=gold, answer_kind=kind, choices=COLORS)
    assert first == grade(reply, answer=gold, answer_kind=kind, choices=COLORS)
    assert (first.verdict == "unparsed") == (first.answer is None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("piece", [*PIECES, "answer: ", "so ", "B ", "A\n", "the ", "1-", "_ ", "a<"])
def test_endless_repeats_read_as_some_repeats_do(piece, kind):
    """A rule that backtracks would not come back from the long one."""
    some, many = (extract(piece * times + "?" * times, kind, COLORS) for times in (50, 10_000))
    assert (some and some.rule) == (many and many.rule)
