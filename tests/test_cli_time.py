"""`zoomgap compare --time` and `--throughput` as a user types them, in process and over HTTP."""

import json
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.processes import heed_ctrl_c
from tests.test_cli import done, zoomgap
from zoomgap.models.catalog import MICRO_PATH
from zoomgap.storage import Store

BENCH = "micro-8530000-12"


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    path = tmp_path_factory.mktemp("time") / "z.db"
    done("bench", "make", "micro", "--n", 12, "--seed", 8_530_000, db=path)
    for arm in ("direct", "agent"):
        done("run", "--bench", BENCH, "--arm", arm, db=path)
    return path


def runs_of(db, endpoint=False):
    with Store.open(db) as store:
        return [info.id for info in store.runs() if (info.spec.endpoint is not None) == endpoint]


def test_time_then_compare_by_it(db, tmp_path, dom_of):
    runs = runs_of(db)
    assert json.loads(done("compare", *runs, "--json", db=db))["timing_session"] is None
    text = done("compare", *runs, "--time", "--time-samples", 12, "--report", tmp_path / "r.html", db=db)
    assert "one answer at a time, 12 samples x 1, in turn" in text
    assert re.search(r"time micro direct / micro agent: 0\.\d+ \(0\.\d+ to \d\.\d+\), difference -\d+", text)
    found = json.loads(done("compare", *runs, "--json", db=db))
    session = found["timing_session"]
    assert session.keys() == {
        "id", "started", "ended", "seed", "samples", "rounds", "warm_up", "circumstances", "unit", "how", "runs",
        "pairs",
    }  # fmt: skip
    assert session["id"] in text
    assert [row["n"] for row in session["runs"]] == [12, 12]
    assert found["pairs"][0]["latency_ratio"] == session["pairs"][0]["ratio"]
    assert found["runs"][0]["timing"]["session"] == session["id"]
    shown = dom_of(tmp_path / "r.html")
    assert "Mean time to an answer by cause" in shown
    assert "time-parts" in shown


def test_throughput_is_printed_apart(db):
    text = done("compare", *runs_of(db), "--throughput", "--in-flight", 2, "--time-samples", 12, db=db)
    assert "throughput, 2 answers in flight" in text
    assert "answers a second" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--in-flight", "4"), "--throughput"),
        (("--throughput", "--in-flight", "9"), "--time-samples 54"),
        (("--time", "--time-samples", "0"), "--time-samples"),
    ],
)
def test_bad_options_are_one_line(db, words, said):
    process = zoomgap("compare", *runs_of(db), *words, db=db)
    assert process.returncode == 2
    assert said in process.stderr
    assert "Traceback" not in process.stderr


def test_ctrl_c_keeps_what_was_timed(db):
    with Store.open(db) as store:
        before = len(store.timing_sessions("latency"))
    command = [sys.executable, "-m", "zoomgap", "compare", *runs_of(db), "--time", "--rounds", "500", "--db", str(db)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, preexec_fn=heed_ctrl_c)
    try:
        with Store.open(db) as store:
            deadline = time.monotonic() + 240
            while time.monotonic() < deadline and process.poll() is None:
                sessions = store.timing_sessions("latency")[before:]
                if sessions and len(store.timings(sessions[0].id)) >= 3:
                    break
                time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, errors.decode()
    assert "answers timed so far are kept" in errors.decode()
    with Store.open(db) as store:
        session = store.timing_sessions("latency")[-1]
        assert (session.ended, session.rounds) == (None, 500)
        assert 3 <= len(store.timings(session.id)) < 12_000
    assert "it was cut short" in done("compare", *runs_of(db), db=db)


@pytest.mark.slow
def test_over_http_the_first_byte_is_timed_and_nothing_is_compared_with_in_process(db, serve):
    words = ("--model", MICRO_PATH, "--endpoint", serve(MICRO_PATH), "--bench", BENCH)
    for arm in ("direct", "agent"):
        done("run", *words, "--arm", arm, db=db)
    here, there = runs_of(db), runs_of(db, endpoint=True)
    refused = zoomgap("compare", here[0], *there, "--time", db=db)
    assert refused.returncode == 2
    assert "transport (in process, HTTP)" in refused.stderr
    found = json.loads(done("compare", *there, "--time", "--time-samples", 12, "--json", db=db))
    session = found["timing_session"]
    (pair,) = session["pairs"]
    assert pair["refused"] == []
    parts = {part["cause"]: part["ms"] for part in pair["parts"]}
    assert parts["preprocess"] is None
    assert parts["generated_tokens"] < 0
    assert sum(ms for ms in parts.values() if ms is not None) == pytest.approx(pair["difference_ms"])
    with Store.open(db) as store:
        (timed,) = [s for s in store.timing_sessions("latency") if s.id == session["id"]]
        assert {own["stream"] for own in timed.runs.values()} == {True}
        assert all(answer.first_byte_ms > 0 for answer in store.timings(timed.id))
    mixed = json.loads(done("compare", here[0], there[0], "--json", db=db))["pairs"][0]
    assert mixed["latency_ratio"] is None
    assert mixed["latency_refused"][0] == "transport (in process, HTTP)"
