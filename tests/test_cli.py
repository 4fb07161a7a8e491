"""The commands as a user types them: real database, real embedded model, and processes where one matters."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import matplotlib
import pytest

from zoomgap import cli
from zoomgap.agents import NEED_EVIDENCE
from zoomgap.grading import GRADER
from zoomgap.models import openai_api
from zoomgap.models.catalog import MICRO_PATH
from zoomgap.records import ARMS
from zoomgap.storage import Store

PHOTO = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
"""A photograph in the public domain that comes with matplotlib."""


class Finished(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def zoomgap(*words, db=None, env=None):
    """Run a command through its entry point; a process of its own would import everything anew each time."""
    words = ["zoomgap", *map(str, words), *(() if db is None else ("--db", str(db)))]
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", words),
        mock.patch.dict(os.environ, env or {}),
        pytest.raises(SystemExit) as ended,
    ):
        cli.main()
    return Finished(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def in_process_of_its_own(*words, db):
    command = [sys.executable, "-m", "zoomgap", *map(str, words), "--db", str(db)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    return Finished(process.returncode, process.stdout, process.stderr)


def done(*words, **kwargs):
    process = zoomgap(*words, **kwargs)
    assert process.returncode == 0, process.stderr
    return process.stdout


def asked(*words, **kwargs):
    """What `ask --json` printed. On a photograph the embedded model may find no answer, which is exit code 1."""
    process = zoomgap("ask", *words, **kwargs)
    found = json.loads(process.stdout)
    assert process.returncode == (0 if found["text"].strip() else 1), process.stderr
    assert found["text"].strip() or "no answer" in process.stderr
    return found


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    """A database with a benchmark of 12 samples and two runs on it."""
    path = tmp_path_factory.mktemp("cli") / "z.db"
    made = json.loads(done("bench", "make", "micro", "--n", 12, "--seed", 8_000_000, "--json", db=path))
    assert made["bench"] == "micro-8000000-12"
    assert made.keys() == {"bench", "n", "seed", "sha256"}
    done("run", "--bench", "micro-8000000-12", "--arm", "direct", "--json", db=path)
    ended = in_process_of_its_own("run", "--bench", "micro-8000000-12", "--arm", "agent", "--json", db=path)
    assert json.loads(ended.stdout)["n"] == 12, ended.stderr
    return path


def test_run_prints_stable_keys_and_resumes(db):
    row = json.loads(done("run", "--bench", "micro-8000000-12", "--arm", "direct", "--json", db=db))
    assert list(row) == [
        "run", "bench", "arm", "model", "n", "attempted", "answered", "unparsed", "errors", "correct", "accuracy",
        "low", "high", "p50_ms", "p95_ms", "prompt_tokens", "completion_tokens", "image_tokens", "turns", "cost",
        "seconds", "resumed", "grader",
    ]  # fmt: skip
    assert row["attempted"] == row["resumed"] == 12
    assert row["attempted"] == row["answered"] + row["unparsed"] + row["errors"]
    assert row["low"] <= row["accuracy"] <= row["high"]


def test_the_same_benchmark_is_made_once(db):
    first, again = (done("bench", "make", "micro", "--n", 12, "--seed", 8_000_000, "--json", db=db) for _ in range(2))
    assert json.loads(first) == json.loads(again)


def test_traces_are_records(db):
    rows = json.loads(done("traces", "list", "--json", db=db))
    assert {row["arm"] for row in rows} == {"direct", "agent"}
    agent = next(row for row in rows if row["arm"] == "agent")
    shown = json.loads(done("traces", "show", agent["id"], "--json", db=db))
    assert shown["sample"] == agent["sample"]
    assert len(shown["steps"]) == agent["turns"]
    text = done("traces", "show", agent["id"], db=db)
    assert "answer:" in text
    assert f"{GRADER}: " in text


def test_compare_writes_a_report_of_one_file(db, tmp_path, dom_of):
    with Store.open(db) as store:
        runs = {info.spec.arm: info.id for info in store.runs()}
    report = tmp_path / "report.html"
    out = json.loads(done("compare", runs["direct"], runs["agent"], "--report", report, "--json", db=db))
    assert {"runs", "pairs", "verdicts", "protocol_differences"} <= out.keys()
    (pair,) = out["pairs"]
    assert pair["n"] == pair["both"] + pair["only_a"] + pair["only_b"] + pair["neither"] == 12
    html = report.read_text()
    assert "<svg" in html
    assert html.count("<article") >= min(4, pair["only_a"]) + min(4, pair["only_b"]) > 0
    with Store.open(db) as store:
        zooms = {row.sample: row.zooms for row in store.trajectories(runs["agent"])}
    samples = re.findall(r'<article class="trace" aria-label="([^"]+)"', html)
    assert html.count('<rect class="zoom"') == sum(zooms[sample] for sample in samples) > 0
    assert html.count('alt="crop ') == html.count('<rect class="zoom"')
    assert html.count('<rect class="evidence"') >= len(samples)
    assert 'src="http' not in html
    assert 'href="http' not in html
    shown = dom_of(report)
    assert "<h1" in shown
    assert shown.count("<svg") >= 2


def test_distil_and_train_make_a_student_that_answers(db, tmp_path):
    path = tmp_path / "z.db"
    done("bench", "make", "micro", "--n", 24, "--seed", 4_000_000, db=path)
    run = json.loads(done("run", "--bench", "micro-4000000-24", "--arm", "agent", "--json", db=path))["run"]
    build = ("distill", "build", "--from", run, "--name", "t", "--votes", 2, "--agreement", 0.5)
    built = json.loads(done(*build, "--json", db=path))
    assert built["datasets"].keys() == {"t-agent", "t-self"}
    assert built["datasets"]["t-agent"] == built["datasets"]["t-self"] > 0
    assert built["errors"] == 0
    out = tmp_path / "student"
    done("distill", "train", "--items", "t-agent", "--out", out, "--max-minutes", 0.05, "--epochs", 1, db=path)
    done("bench", "make", "micro", "--n", 2, "--seed", 8_000_000, db=path)
    row = json.loads(
        done("run", "--bench", "micro-8000000-2", "--arm", "direct", "--model", f"hf:{out}", "--json", db=path)
    )
    assert row["attempted"] == 2


def test_ask_prints_each_step_and_stores_it(tmp_path):
    path = tmp_path / "z.db"
    text = done("ask", PHOTO, "What color is the mark on it?", "--arm", "direct", db=path)
    assert "answer:" in text
    again = asked(PHOTO, "What color is the mark on it?", "--json", db=path)
    assert again["steps"]
    with Store.open(path) as store:
        assert [row.verdict for row in store.trajectories()] == [None, None]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("run", "--bench", "nope", "--arm", "direct"), 2, "'nope'"),
        (("run", "--bench", "micro-8000000-12", "--arm", "glance"), 2, "arm 'glance'"),
        (("run", "--bench", "micro-8000000-12", "--arm", "direct", "--model", "gpt"), 2, "model 'gpt'"),
        (("run", "--bench", "micro-8000000-12", "--arm", "direct", "--model", "hf:/nowhere"), 2, "/nowhere"),
        (("run", "--bench", "micro-8000000-12", "--arm", "direct", "--concurrency", "0"), 2, "--concurrency"),
        (("run", "--bench", "micro-8000000-12", "--arm", "direct", "--limit", "-5"), 2, "--limit"),
        (("run", "--bench", "micro-8000000-12", "--arm", "tiles", "--max-images", "4", "--dry-run"), 2, "5 images"),
        (("ask", PHOTO, "what?", "--max-images", "1"), 2, "--max-images"),
        (("run", "--bench", "micro-8000000-12", "--arm", "direct", "--temperature", "nan"), 2, "--temperature"),
        (("run", "--bench", "micro-8000000-12"), 2, "--arm"),
        (("compare", "zzzz", "yyyy"), 2, "zzzz"),
        (("traces", "show", "999"), 2, "999"),
        (("traces", "list", "--verdict", "good"), 2, "'good'"),
        (("bench", "make", "vstar"), 2, "'vstar'"),
        (("bench", "make", "micro", "--n", "0"), 2, "--n"),
        (("bench", "make", "micro", "--n", "12", "--seed", "8000000", "--backgrounds", "."), 2, "--name"),
        (("distill", "build", "--from", "zzzz"), 2, "zzzz"),
        (("distill", "train", "--items", "nope", "--out", "x"), 2, "'nope'"),
        (("distill", "train", "--items", "nope", "--out", "x", "--method", "magic"), 2, "'magic'"),
        (("distill", "train", "--items", "nope", "--out", "x", "--max-minutes", "0"), 2, "--max-minutes"),
        (("ask", "missing.png", "What?"), 2, "missing.png"),
    ],
)
def test_bad_usage_is_one_line_and_code_2(db, words, code, said):
    process = zoomgap(*words, db=db)
    assert process.returncode == code, process.stderr
    assert said in process.stderr
    assert "Traceback" not in process.stderr
    errors = [line for line in process.stderr.splitlines() if line.startswith("zoomgap: ")]
    assert len(errors) == 1 or "Usage:" in process.stderr


def test_broken_and_empty_images_are_refused(tmp_path):
    for name, data in {"broken.png": b"\x89PNG\r\n\x1a\nxx", "empty.jpg": b"", "text.png": b"hello"}.items():
        (tmp_path / name).write_bytes(data)
        process = zoomgap("ask", tmp_path / name, "What?", db=tmp_path / "z.db")
        assert process.returncode == 2
        assert name in process.stderr


def test_a_dead_endpoint_fails_and_is_no_answer(db):
    words = ("run", "--bench", "micro-8000000-12", "--arm", "direct", "--model", "m", "--limit", 1)
    process = zoomgap(*words, "--endpoint", "http://127.0.0.1:9/v1", "--json", db=db, env={"OPENAI_API_KEY": "sk-test"})
    assert process.returncode == 1
    row = json.loads(process.stdout)
    assert (row["errors"], row["answered"], row["correct"]) == (1, 0, 0)
    assert "127.0.0.1:9" in process.stderr
    assert "cannot be reached" in process.stderr
    assert "sk-test" not in process.stderr + process.stdout
    with Store.open(db) as store:
        assert {row.verdict for row in store.trajectories(stop_reason="endpoint_error")} == {"error"}


@pytest.fixture(scope="module")
def endpoint(serve):
    return serve(MICRO_PATH)


def test_ask_on_a_photograph_over_http_is_as_in_process(endpoint, tmp_path):
    """The agent over a real server: the same requests, and in fp32 the same replies, as in process."""
    path = tmp_path / "z.db"
    words = ("ask", PHOTO, "What color is the mark on the blue circle?", "--json")
    there = asked(*words[1:], "--model", MICRO_PATH, "--endpoint", endpoint, db=path)
    here = asked(*words[1:], db=path)
    assert there["steps"]
    assert there["stop_reason"] != "endpoint_error"
    for part in ("messages", "tools", "sampling"):
        assert there["steps"][0]["request"][part] == here["steps"][0]["request"][part]
    assert there["steps"][0]["usage"]["prompt_tokens"] == here["steps"][0]["usage"]["prompt_tokens"]
    with Store.open(path) as store:
        specs = [store.run(row.run) for row in store.trajectories()]
    if specs[1].dtype == "float32":
        # A server hands a call over apart from the text; in process it is read from the text.
        assert [step["box"] for step in there["steps"]] == [step["box"] for step in here["steps"]]
        assert (there["stop_reason"], there["text"]) == (here["stop_reason"], here["text"])


@pytest.mark.parametrize("arm", [arm for arm in ARMS if arm not in (*NEED_EVIDENCE, "direct-matched", "router")])
def test_ask_with_each_arm_over_http(endpoint, tmp_path, arm):
    words = (PHOTO, "What color is the mark on the blue circle?", "--json", "--arm", arm)
    found = asked(*words, "--model", MICRO_PATH, "--endpoint", endpoint, db=tmp_path / "z.db")
    assert found["stop_reason"] != "endpoint_error", found["error"]
    assert found["steps"][0]["usage"]["prompt_tokens"] > 10


def test_ask_over_the_responses_wire(endpoint, tmp_path):
    words = (PHOTO, "What color is the mark on the blue circle?", "--json", "--model", MICRO_PATH)
    found = {
        wire: asked(*words, "--endpoint", endpoint, "--wire", wire, "--arm", "direct", db=tmp_path / "z.db")
        for wire in ("chat", "responses")
    }
    assert found["chat"]["text"] == found["responses"]["text"]
    assert found["chat"]["run"] != found["responses"]["run"]


def test_a_model_of_no_known_family_is_told_so(db):
    words = ("run", "--bench", "micro-8000000-12", "--arm", "direct", "--model", "m", "--limit", 1, "--dry-run")
    process = zoomgap(*words, "--endpoint", "http://127.0.0.1:9/v1", "--json", "--price", "1/2", db=db)
    assert process.returncode == 0, process.stderr
    assert "zoomgap models probe" in process.stderr
    found = json.loads(process.stdout)
    assert (found["samples"], found["calls"]) == (1, [1, 1])
    assert found["cost"][0] < found["cost"][1]
    known = zoomgap(*words, "--endpoint", "http://127.0.0.1:9/v1", "--family", "qwen3-vl", db=db)
    assert "warning" not in known.stderr
    assert "cost: not known" in known.stdout


def test_a_dead_endpoint_is_said_in_words_too(db, monkeypatch):
    monkeypatch.setattr(openai_api, "FIRST_CONTACT_S", 0.5)
    words = ("run", "--bench", "micro-8000000-12", "--arm", "direct", "--model", "m", "--limit", 2)
    process = zoomgap(*words, "--endpoint", "http://127.0.0.1:9/v1", db=db)
    assert process.returncode == 1
    assert "2 errors" in process.stdout
    assert "Traceback" not in process.stderr


def test_reading_makes_no_database(tmp_path):
    process = zoomgap("traces", "list", db=tmp_path / "typo.db")
    assert process.returncode != 0
    assert "typo.db" in process.stderr
    assert not (tmp_path / "typo.db").exists()


def test_a_file_that_is_no_database_is_left_alone(tmp_path):
    path = tmp_path / "notes.db"
    path.write_text("my notes, not a database, long enough to be looked at" * 20)
    before = path.read_bytes()
    process = in_process_of_its_own("bench", "list", db=path)
    assert process.returncode == 1
    assert "notes.db" in process.stderr
    assert path.read_bytes() == before


def test_killed_in_the_middle_a_run_goes_on_without_loss_or_duplicates(db, tmp_path):
    path = tmp_path / "z.db"
    done("bench", "make", "micro", "--n", 12, "--seed", 8_000_000, db=path)
    command = ["run", "--bench", "micro-8000000-12", "--arm", "agent", "--concurrency", "1", "--db", str(path)]
    process = subprocess.Popen([sys.executable, "-m", "zoomgap", *command], stderr=subprocess.DEVNULL)
    with Store.open(path) as store:
        deadline = time.monotonic() + 240
        while len(store.trajectories()) < 3 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = {row.id: row.text for row in store.trajectories()}
    assert 0 < len(kept) < 12, "the run was to be killed in the middle"
    done(*command[:-2], db=path)
    with Store.open(path) as store, Store.open(db) as other:
        rows = store.trajectories()
        whole = other.trajectories(arm="agent")
        assert sorted((row.sample, row.attempt) for row in rows) == sorted((row.sample, row.attempt) for row in whole)
        assert {row.id: row.text for row in rows if row.id in kept} == kept
        assert store.verify() == []
