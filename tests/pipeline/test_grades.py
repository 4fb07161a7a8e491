"""Replies made elsewhere are graded line by line; stored runs are graded anew, and earlier verdicts stay."""

import json

import pytest

from zoomgap.agents import regrade
from zoomgap.errors import UsageError
from zoomgap.grading import GRADER
from zoomgap.pipeline import compare_runs, grades
from zoomgap.pipeline.grades import BadLine, Scored, Tally, score
from zoomgap.storage import Store

from .answers import COLORS, Answer, stored

LINE = {"id": 1, "question": "?", "choices": list(COLORS), "answer": "B", "answer_kind": "choice", "reply": "so B"}


def lines(*rows):
    return [(row if isinstance(row, str) else json.dumps(row)).encode() for row in rows]


def test_a_line_in_is_a_verdict_out():
    (found,) = score(lines(LINE))
    assert found.to_json() == {"id": 1, "verdict": "correct", "rule": "anchored", "span": [3, 4]}
    (missing,) = score(lines({**LINE, "reply": None}))
    assert missing.to_json() == {"id": 1, "verdict": "error", "rule": "error", "span": None}
    (number,) = score(lines({"id": "n", "answer": 5, "answer_kind": "integer", "reply": "five"}))
    assert number.to_json()["verdict"] == "correct"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("nope", "no JSON in UTF-8"), ("[1]", "no JSON object"), ("[" * 100_000, "no JSON"),
        ({k: v for k, v in LINE.items() if k != "reply"}, "'reply' is missing"),
        ({**LINE, "answer_kind": "number"}, "answer_kind 'number' is not known: use choice, integer, text"),
        ({**LINE, "answer_kind": []}, "is not known"), ({**LINE, "reply": 5}, "reply 5 is no text"),
        ({**LINE, "choices": "red"}, "are no list of texts"), ({**LINE, "choices": [{}]}, "are no list of texts"),
        ({**LINE, "choices": ["x"] * 27}, "27 choices"), ({**LINE, "answer": None}, "answer None is no text"),
        ({**LINE, "answer": "Z"}, "no reply can match the gold 'Z'"),
        ({**LINE, "answer": "Z", "reply": None}, "no reply can match the gold 'Z'"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named_and_the_others_are_graded(line, why):
    first, bad, last = score(lines(LINE, "", line, LINE))
    assert isinstance(bad, BadLine)
    assert bad.number == 3
    assert why in bad.why
    assert first == last
    assert isinstance(first, Scored)


def test_bytes_that_are_no_text_are_a_bad_line():
    (bad,) = score([b'{"id": "\xff"}'])
    assert "UTF-8" in bad.why


def test_lines_are_graded_as_they_come():
    def endless():
        while True:
            yield json.dumps(LINE).encode()

    found = score(endless())
    assert next(found) == next(found)


def test_counts_have_intervals():
    tally = Tally.new()
    for found in score(lines(LINE, {**LINE, "reply": None}, {**LINE, "reply": "C"}, {**LINE, "reply": "?"})):
        tally.add(found)
    choice, together = tally.rows()
    assert (choice["answer_kind"], together["answer_kind"]) == ("choice", "all")
    assert [together[key] for key in ("n", "correct", "incorrect", "unparsed", "errors")] == [4, 1, 1, 1, 1]
    assert together["low"] < together["accuracy"] == 0.25 < together["high"]


ANSWERS = [
    Answer("so B", "B", "choice", COLORS, earlier="incorrect"),
    Answer("five", "5", "integer", earlier="correct"),
    Answer("no idea", "5", "integer", earlier="unparsed"),
    Answer("", "B", "choice", COLORS, stop="endpoint_error", earlier="error"),
]


def test_a_run_is_graded_anew_once(tmp_path):
    store, run = stored(tmp_path / "z.db", ANSWERS)
    with store:
        with pytest.raises(UsageError, match=f"did not grade: zoomgap regrade {run}"):
            compare_runs(store, [run], {})
        counted = []
        found = regrade(store, run[:6], counted.append)
        assert (found.run, found.grader, found.n, found.new, counted) == (run, GRADER, 4, 4, [4])
        (change,) = found.changes
        assert (change.sample, change.before.verdict, change.after.verdict) == ("s0", "incorrect", "correct")
        again = regrade(store, run)
        assert (again.new, again.changes) == (0, found.changes)
        assert [grade.grader for grade in store.grades(1)] == ["rules-0", GRADER]
        assert compare_runs(store, [run], {}).grader == GRADER
        assert grades.regraded_json(found)["changes"] == [
            {"trace": 1, "sample": "s0", "attempt": 0, "grader_before": "rules-0", "before": "incorrect",
             "after": "correct", "read_before": "x", "read": "B", "rule": "anchored"}
        ]  # fmt: skip


def test_regrading_goes_on_where_it_stopped(tmp_path, monkeypatch):
    store, run = stored(tmp_path / "z.db", [Answer("E", "E", earlier="incorrect")] * 5)
    whole = store.graded
    monkeypatch.setattr(Store, "graded", lambda self, run, grader=GRADER: whole(run, grader, chunk=2))

    def stop(done):
        if done == 4:
            raise KeyboardInterrupt

    with store:
        with pytest.raises(KeyboardInterrupt):
            regrade(store, run, stop)
        assert sum(len(store.grades(id)) for id in store.trajectory_ids(run)) == 5 + 4
        assert regrade(store, run).new == 1


def test_all_runs_but_those_without_a_gold(tmp_path):
    path = tmp_path / "z.db"
    stored(path, ANSWERS)[0].close()
    store, oracle = stored(path, ANSWERS, arm="oracle")
    with store:
        runs = grades.runs_to_regrade(store, None)
        assert len(runs) == 2
        assert grades.runs_to_regrade(store, oracle[:5]) == [oracle]
        counted = []
        found = grades.regrade_runs(store, runs, lambda done, total: counted.append((done, total)))
        assert [(one.n, one.new) for one in found] == [(4, 4), (4, 4)]
        assert counted == [(4, 8), (8, 8)]


def test_a_run_without_a_gold_is_refused(tmp_path):
    store, run = stored(tmp_path / "z.db", [Answer("E", "")], graded=False)
    with store, pytest.raises(UsageError, match="which has no gold"):
        regrade(store, run)
