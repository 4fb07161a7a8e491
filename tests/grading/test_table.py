"""Each reply of the table is read as a careful person reads it, or not at all, however it is dressed."""

from __future__ import annotations

import pytest

from zoomgap.grading import GRADER, extract, grade, reward

from .table import ROWS, asked

READ = [row for row in ROWS if row["read"] is not None]
EXACT = [row for row in READ if row["answer_kind"] != "text"]
HAS_THOUGHTS = ("think", "channel", "THINK")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_each_reply_is_graded_by_its_rule(row):
    found = grade(row["reply"], **asked(row))
    assert (found.verdict, found.rule, found.answer) == (row["verdict"], row["rule"], row["read"]), row["note"]
    assert found.grader == GRADER
    assert (found.span is None) == (row["read"] is None)


def test_the_span_shows_the_answer():
    """What stands there in the reply says the same by itself."""
    wrong = []
    for row in READ:
        start, end = grade(row["reply"], **asked(row)).span
        shown = row["reply"][start:end]
        if not shown or shown != shown.strip() or grade(shown, **asked(row)).answer not in (row["read"], shown):
            wrong.append((row["id"], shown))
    assert wrong == []


def test_grading_what_was_read_gives_the_same():
    again = [(row, grade(row["read"], **asked(row))) for row in READ]
    assert [row["id"] for row, found in again if (found.verdict, found.answer) != (row["verdict"], row["read"])] == []
    without_gold = [(row, extract(row["read"], row["answer_kind"], row["choices"])) for row in EXACT]
    assert [row["id"] for row, found in without_gold if found is None or found.answer != row["read"]] == []


@pytest.mark.parametrize(
    "dressed",
    ["\n {} \n", "<think>A, or 7, or red? The answer is C. 蓝色</think>\n\n{}", "{}<|im_end|>", "\u3000{}\r\n"],
)
def test_white_space_thoughts_and_tokens_change_nothing(dressed):
    rows = [row for row in ROWS if not any(mark in row["reply"] for mark in HAS_THOUGHTS)]
    found = [(row, grade(dressed.replace("{}", row["reply"]), **asked(row))) for row in rows]
    assert [r["id"] for r, other in found if (other.verdict, other.answer) != (r["verdict"], r["read"])] == []


@pytest.mark.parametrize(
    "dressed",
    ["**{}**", "<b>{}</b>", "<answer>{}</answer>", "\\boxed{{}}", "$\\boxed{\\text{{}}}$", "The answer is {}.",
     "答案是{}。", "Final answer: **{}**", '{"answer": "{}"}', "It is hard to say.\n\n{}"],
)  # fmt: skip
def test_an_answer_is_the_same_however_it_is_dressed(dressed):
    found = [(row, grade(dressed.replace("{}", row["read"]), **asked(row))) for row in EXACT]
    assert [r["id"] for r, other in found if (other.verdict, other.answer) != (r["verdict"], r["read"])] == []


def test_capitals_change_no_answer_to_another():
    """In capitals an article is a letter and tags are none: fewer replies can be read, none otherwise."""
    rows = [r for r in ROWS if r["language"] == "en" and r["answer_kind"] != "text" and not r["reply"].endswith(" a")]
    found = [(r, grade(r["reply"].upper(), **asked(r))) for r in rows if not set("<{") & set(r["reply"])]
    assert [row["id"] for row, other in found if other.answer not in (row["read"], None)] == []


def test_the_reward_is_the_verdict():
    assert [r["id"] for r in ROWS if reward(r["reply"], **asked(r)) != float(r["verdict"] == "correct")] == []


def test_the_table_is_large_and_has_all_kinds():
    assert len({row["id"] for row in ROWS}) == len(ROWS) >= 200
    for language in ("en", "zh"):
        kinds = {row["answer_kind"] for row in ROWS if row["language"] == language}
        assert kinds == {"choice", "integer", "text"}
