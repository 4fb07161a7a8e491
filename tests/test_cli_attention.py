"""`zoomgap attention` as a user types it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from tests.processes import heed_ctrl_c
from tests.samples import make_samples
from tests.test_cli import done, zoomgap
from zoomgap.models.catalog import MICRO_PATH
from zoomgap.storage import Store


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    db = tmp_path_factory.mktemp("attention") / "z.db"
    done("bench", "make", "micro", "--n", 12, "--seed", 8_300_000, db=db)
    return db


def test_figures_are_printed_and_drawn(db, tmp_path):
    student = tmp_path / "student"
    shutil.copytree(MICRO_PATH, student)
    page = tmp_path / "pages" / "attention.html"
    models = ("--model", "micro", "--model", f"hf:{student}")
    printed = done("attention", "--bench", "micro-8300000-12", *models, "--out", page, db=db)
    assert re.search(r"micro: 12 answers measured, \d+ of the model's own right", printed)
    assert re.search(r"\n +0 +12 +\d+(\.\d+)?x +\d", printed)
    assert f"hf:{student} against micro" in printed
    assert f"page: {page}" in printed
    assert page.read_text().startswith("<!doctype html>")


def test_json_has_stable_keys(db):
    found = json.loads(done("attention", "--bench", "micro-8300000-12", "--limit", 11, "--json", db=db))
    assert (found["bench"], found["n"], found["answers"], found["seed"]) == ("micro-8300000-12", 11, "own", 0)
    (model,) = found["models"]
    assert model.keys() == {"model", "weights", "dtype", "n", "correct", "area", "skipped", "layers"}
    assert [layer["layer"] for layer in model["layers"]] == [0, 1, 2, 3]
    assert model["layers"][0].keys() == {
        "layer", "enrichment", "control", "over_control", "evidence_share", "image_share", "best_head", "floored",
        "groups",
    }  # fmt: skip
    assert model["layers"][0]["enrichment"].keys() == {"n", "value", "low", "high"}
    assert found["pairs"] == []


def test_bad_usage_is_one_line(db, tmp_path):
    with Store.open(db) as store:
        if not any(info.name == "bare" for info in store.benchmarks()):
            samples = make_samples(store, 2, "boxed")
            bare = [replace(s, benchmark="bare", evidence=(), evidence_kind=None) for s in samples]
            store.add_benchmark("bare", "1" * 64, {}, bare)
    for arguments, said in (
        (("--bench", "bare"), "benchmark 'bare' has no sample whose evidence attention could be held to"),
        (("--bench", "nope"), "nope"),
        (("--bench", "bare", "--model", "gpt-5"), "the attention of 'gpt-5' cannot be read"),
        (("--bench", "bare", "--answer", "mine"), "answers 'mine' are not known: use own or gold"),
        (("--bench", "bare", "--out", tmp_path), "is a folder"),
    ):
        finished = zoomgap("attention", *arguments, db=db)
        assert (finished.returncode, finished.stdout) == (2, "")
        assert said in finished.stderr
        assert "\n" not in finished.stderr.strip()


def test_an_interruption_loses_nothing_that_was_printed(db, tmp_path):
    """A process of its own, interrupted when the first of two models is told of."""
    student = tmp_path / "student"
    shutil.copytree(MICRO_PATH, student)
    command = [sys.executable, "-m", "zoomgap", "attention", "--bench", "micro-8300000-12", "--db", str(db)]
    models = ["--model", "micro", "--model", f"hf:{student}"]
    process = subprocess.Popen(
        [*command, *models], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"}, preexec_fn=heed_ctrl_c,
    )  # fmt: skip
    first = process.stdout.readline()
    assert first.startswith("micro: 12 answers measured")
    deadline = time.monotonic() + 60
    lines = []
    while len(lines) < 5 and time.monotonic() < deadline:
        lines.append(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert [line.split()[0] for line in lines] == ["layer", "0", "1", "2", "3"]
    if process.returncode == 0:
        assert "against micro" in rest, "it was done before the signal came"
    else:
        assert process.returncode == 130
        assert "interrupted: models told of are done" in errors
