"""`zoomgap score` and `zoomgap regrade` as a user types them."""

import io
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.models.fault_server import says, serving
from tests.pipeline.answers import Answer, stored
from tests.test_cli import done, zoomgap
from zoomgap.grading import GRADER

TABLE = Path(__file__).parent / "grading" / "table.jsonl"


def test_score_grades_a_file_without_a_database(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [json.loads(line) for line in TABLE.read_text(encoding="utf-8").splitlines()]
    out = tmp_path / "verdicts.jsonl"
    printed = [json.loads(line) for line in done("score", TABLE, "--json", "--out", out).splitlines()]
    assert [(row["id"], row["verdict"], row["rule"]) for row in printed] == [
        (row["id"], row["verdict"], row["rule"]) for row in rows
    ]
    assert printed[0].keys() == {"id", "verdict", "rule", "span"}
    assert [json.loads(line) for line in out.read_text().splitlines()] == printed
    assert list(tmp_path.iterdir()) == [out]
    counts = done("score", TABLE)
    right = sum(row["verdict"] == "correct" for row in rows)
    assert re.search(rf"all +{len(rows)} +{right} ", counts)


def test_score_reads_stdin_and_names_bad_lines(monkeypatch):
    data = b'{"id": 1, "answer": "5", "answer_kind": "integer", "reply": "five"}\nnope\n'
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    finished = zoomgap("score", "-", "--json")
    assert finished.returncode == 2
    assert json.loads(finished.stdout) == {"id": 1, "verdict": "correct", "rule": "alone", "span": [0, 4]}
    assert "stdin line 2: it is no JSON" in finished.stderr
    assert "1 lines of stdin were not graded" in finished.stderr
    missing = zoomgap("score", "nowhere.jsonl")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "'nowhere.jsonl' cannot be read" in missing.stderr


def test_regrade_and_a_judge(tmp_path):
    db = tmp_path / "z.db"
    store, run = stored(db, [Answer("STOP", "stop", earlier="incorrect"), Answer("a stop sign", "stop")])
    store.close()
    (found,) = json.loads(done("regrade", run[:5], "--json", db=db))["runs"]
    assert (found["run"], found["grader"], found["n"], found["new"], found["changed"]) == (run, GRADER, 2, 1, 1)
    assert found["changes"][0]["after"] == "correct"
    printed = done("regrade", "--all", db=db)
    assert re.search(rf"{run} +{GRADER} +2 +0 +1", printed)
    with serving(says("A")) as server:
        options = ("--judge", "m", "--endpoint", server.url)
        (judged,) = json.loads(done("regrade", run, *options, "--json", db=db))["judged"]
        assert (judged["asked"], judged["correct"]) == (1, 1)
        assert "asked judge:m@" in done("regrade", run, *options, db=db)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "name one run, or give --all"), (("x", "--all"), "name one run, or give --all"),
        (("--all", "--endpoint", "http://x/v1"), "give --judge MODEL"),
        (("--all", "--judge", "m"), "give --endpoint URL"), (("nowhere",), "names no run"),
        (("--all", "--judge", "m", "--endpoint", "http://x/v1", "--wire", "post"), "wire 'post' is not known"),
    ],
)  # fmt: skip
def test_bad_usage_is_one_line(tmp_path, words, why):
    stored(tmp_path / "z.db", [Answer("STOP", "stop")])[0].close()
    finished = zoomgap("regrade", *words, db=tmp_path / "z.db")
    assert finished.returncode == 2
    assert why in finished.stderr
    assert len(finished.stderr.strip().splitlines()) == 1
