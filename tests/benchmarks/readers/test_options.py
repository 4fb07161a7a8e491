"""Choices inside a question: every spelling there and back, and text that only looks like choices."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoomgap.benchmarks.readers.options import split_options, without_labels

words = st.text("abcdefghij éß,-'%$0123456789", min_size=1, max_size=24).map(lambda text: " ".join(text.split()))
option = words.filter(lambda text: text.strip(",") == text != "")
stems = st.lists(words.filter(bool), min_size=1, max_size=3).map(lambda lines: "\n".join(lines) + "?")
LABELS = ("({})", "[{}]", "{}.", "{})", "{}:")
LAYOUTS = {
    "lines": lambda parts: "\n" + "\n".join(parts),
    "indented lines": lambda parts: "\n  " + "\n  ".join(parts),
    "heading": lambda parts: "\nOptions: " + ", ".join(parts),
    "semicolons": lambda parts: "\nChoices: " + "; ".join(parts),
    "inline": lambda parts: " " + " ".join(parts),
    "heading and lines": lambda parts: "\nOptions:\n" + "\n".join(parts),
}
INSTRUCTIONS = (
    "",
    "\nAnswer with the option's letter from the given choices directly.",
    "\nPlease select the correct answer from the options above.",
    "\nThe best answer is: ",
)


@settings(deadline=None)
@given(
    stems,
    st.lists(option, min_size=2, max_size=8),
    st.sampled_from(LABELS),
    st.sampled_from(list(LAYOUTS)),
    st.sampled_from(INSTRUCTIONS),
)
def test_options_come_back_from_every_spelling(stem, choices, label, layout, instruction):
    letters = string.ascii_uppercase[: len(choices)]
    parts = [f"{label.format(letter)} {choice}" for letter, choice in zip(letters, choices, strict=True)]
    asked = split_options(f"<image>\n{stem}{LAYOUTS[layout](parts)}{instruction}")
    assert asked.choices == tuple(choices)
    assert asked.question == stem


@given(stems)
def test_an_open_question_stays_as_it_is(stem):
    assert split_options(stem) == (stem, ())


@pytest.mark.parametrize(
    ("text", "question", "choices"),
    [
        # as published: V*, MMStar, ZoomBench, MME-RealWorld's json
        (
            "What is the material of the glove?\n(A) rubber\n(B) cotton\n(C) kevlar\n(D) leather\n"
            "Answer with the option's letter from the given choices directly.",
            "What is the material of the glove?",
            ("rubber", "cotton", "kevlar", "leather"),
        ),
        (
            "Which option describe the object relationship in the image correctly?\nOptions: A: The suitcase is on the "
            "book., B: The suitcase is beneath the cat., C: The suitcase is beneath the bed., D: It is, maybe, a book.",
            "Which option describe the object relationship in the image correctly?",
            (
                "The suitcase is on the book.", "The suitcase is beneath the cat.", "The suitcase is beneath the bed.",
                "It is, maybe, a book.",
            ),
        ),
        ("<image>\nWhat is on the luggage? \nA. apple \nB. hat \nC. cat", "What is on the luggage?",
         ("apple", "hat", "cat")),
        ("How many? The choices are listed below:\n(A) 3\n(B) 4\n", "How many?", ("3", "4")),
        # what only looks like options
        ("Is vitamin B. 12 in plan A. or not?", "Is vitamin B. 12 in plan A. or not?", ()),
        ("Which of (A) and (B) is larger?\n(A) the left one\n(B) the right one", "Which of (A) and (B) is larger?",
         ("the left one", "the right one")),
        ("Which? (A) red (B) blue (C) both (A) and (B)", "Which?", ("red", "blue", "both (A) and (B)")),
        ("Is (A) or (B) larger? A. the left B. the right C. neither", "Is (A) or (B) larger?",
         ("the left", "the right", "neither")),
        ("Pick the letter: A", "Pick the letter: A", ()),
        ("What is seen?\nA. one\nB. two\nLook at the left half only.", "What is seen?\nLook at the left half only.",
         ("one", "two")),
        ("Question: What is it?", "What is it?", ()),
    ],
)  # fmt: skip
def test_options_as_sets_write_them(text, question, choices):
    assert split_options(text) == (question, choices)


def test_labels_go_where_all_options_have_them():
    assert without_labels(["(A) red", "(B) dark blue"]) == ("red", "dark blue")
    assert without_labels(["A. red", "B. blue", "C. E. coli"]) == ("red", "blue", "E. coli")
    assert without_labels([" red ", "A. blue"]) == ("red", "A. blue")
    assert without_labels(["B", "A"]) == ("B", "A")
    assert without_labels([]) == ()
