"""`zoomgap compare` as a user types it: its reports, its exit codes, and what it refuses."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.pipeline.answers import Answer, stored
from tests.test_cli import done, zoomgap
from zoomgap.compare.document import document
from zoomgap.pipeline import compare_runs
from zoomgap.records import RunSpec
from zoomgap.storage import Store

N = 40


def answers(right: int, n: int = N) -> list[Answer]:
    """Of n, the first so many are right."""
    return [Answer("red" if k < right else "blue", "red") for k in range(n)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A database of two runs, an agent that is right on 36 of 40 and a glance on 20, and their ids."""
    path = tmp_path_factory.mktemp("compare") / "z.db"
    found = {}
    for arm, right in (("direct", 20), ("agent", 36)):
        store, found[arm] = stored(path, answers(right), arm)
        store.finish_invocation(f"i-{arm}", 1.0)
        store.close()
    return path, found


def compared(runs, *words):
    path, found = runs
    return zoomgap("compare", found["direct"], found["agent"], *words, db=path)


def test_one_command_writes_every_form(runs, tmp_path):
    paths = [tmp_path / f"report.{suffix}" for suffix in ("html", "md", "json")]
    out = done("compare", *runs[1].values(), *(word for path in paths for word in ("--report", path)), db=runs[0])
    assert [line.removeprefix("report: ") for line in out.splitlines()[-3:]] == list(map(str, paths))
    html, markdown, plain = (path.read_text(encoding="utf-8") for path in paths)
    found = json.loads(plain)
    assert html.startswith("<!doctype html>")
    assert "**" + found["finding"] + "**" in markdown.replace("<!-- -->", "")
    assert found["pairs"][0]["only_b"] == 16
    assert sorted(tmp_path.iterdir()) == sorted(paths), "no draft is left"


def test_json_on_stdout_is_the_file_and_the_command_in_it_makes_it_again(runs, tmp_path):
    path = tmp_path / "report.json"
    printed = json.loads(compared(runs, "--json", "--report", path).stdout)
    assert printed == json.loads(path.read_text(encoding="utf-8"))
    with Store.open(runs[0], readonly=True) as store:
        assert printed == json.loads(json.dumps(document(compare_runs(store, list(runs[1].values()), {}))))
    words = printed["command"].split()[1:-2]
    assert json.loads(done(*words, "--json", db=runs[0])) == printed


def test_the_page_shows_wins_losses_and_how_they_were_chosen(runs, tmp_path):
    path = tmp_path / "report.html"
    compared(runs, "--report", path)
    page = path.read_text(encoding="utf-8")
    assert 'Only m agent is right <span class="muted">4 of 16</span>' in page
    assert 'Neither is right <span class="muted">4 of 4</span>' in page
    assert "Only m direct is right" not in page
    assert "drawn at random (seed 0) from all its members" in page
    assert page.count("<article") == 8


@pytest.mark.parametrize(
    ("condition", "code", "said"),
    [
        ("direct < agent - 0.02", 1, "--fail-if direct < agent - 0.02 holds: 0.5 < 0.9 - 0.02"),
        ("high(direct - agent) < -2%", 1, "holds: -"),
        ("agent < direct", 0, ""),
        ("agent.acuity_px > 10", 2, "agent.acuity_px is not known"),
        ("student < 0.5", 2, "'student' names no run"),
        ("agent <", 2, "ends where a number or a run belongs"),
    ],
)
def test_conditions_set_the_exit_code(runs, condition, code, said):
    process = compared(runs, "--fail-if", condition)
    assert process.returncode == code
    assert said in process.stderr
    assert len(process.stderr.splitlines()) == (0 if code == 0 else 1)


def test_the_report_is_there_although_a_condition_holds(runs, tmp_path):
    words = ("--report", tmp_path / "r.md", "--fail-if", "agent < 0.1", "--fail-if", "agent > 0.1", "--json")
    process = compared(runs, *words, "--fail-if", "direct > 0.1")
    assert process.returncode == 1
    assert process.stderr.strip() == "zoomgap: --fail-if agent > 0.1 holds: 0.9 > 0.1; direct > 0.1 holds: 0.5 > 0.1"
    assert json.loads(process.stdout)["pairs"]
    assert (tmp_path / "r.md").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--report", "report.pdf"), "'report.pdf' has no form that is known: name it *.html, *.md, *.json"),
        (("--report", "report"), "'report' has no form"),
        (("--report", "nowhere/report.html"), "there is no folder nowhere; make it first"),
        (("--report", "folder.html"), "'folder.html' is a folder"),
        (("--allow", "heat"), "setting 'heat' is not known: allow one of agent, "),
        (("--fail-if", "direct = 1", "--report", "x.html"), "cannot be read from '= 1'"),
    ],
)
def test_bad_usage_is_one_line_and_nothing_is_written(runs, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.html").mkdir()
    process = compared(runs, *words)
    assert process.returncode == 2
    assert said in process.stderr
    assert len(process.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["folder.html"]


def test_a_full_disk_is_one_line_and_the_old_report_stays(runs, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("the old one")
    command = [sys.executable, "-m", "zoomgap", "compare", *runs[1].values(), "--report", path, "--db", runs[0]]

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    process = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=little_room)
    assert process.returncode == 1
    assert process.stderr == f"zoomgap: {path} cannot be written: File too large\n"
    assert path.read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_that_is_still_going_is_said_so(tmp_path):
    path = tmp_path / "z.db"
    store, whole = stored(path, answers(20), "direct")
    store.finish_invocation("i-direct", 1.0)
    store.close()
    store, _ = stored(path, answers(30), "agent")
    part = store.start_run(RunSpec(benchmark="made", benchmark_sha256="0" * 64, arm="tiles", model="m"))
    with store:
        for row in store.trajectories(whole)[:25]:
            trajectory = store.trajectory(row.id)
            store.add_trajectory(replace(trajectory, run=part), store.grades(row.id)[0])
    report = tmp_path / "report.html"
    process = zoomgap("compare", whole, part, "--report", report, "--json", db=path)
    found = json.loads(process.stdout)
    assert [row["incomplete"] for row in found["runs"]] == ["", "25 of 40 answers"]
    assert found["pairs"][0]["n"] == 25
    assert "m tiles is not all there: 25 of 40 answers" in " ".join(found["warnings"])
    page = report.read_text(encoding="utf-8")
    assert page.index("is not all there: 25 of 40 answers") < page.index('<section id="runs"')
    assert zoomgap("compare", whole, part, "--fail-if", "direct < tiles", db=path).returncode == 2


def test_another_version_of_a_benchmark_is_not_compared(runs, tmp_path):
    path = tmp_path / "z.db"
    store, first = stored(path, answers(9, 10))
    samples = [replace(sample, benchmark="made-again") for sample in store.samples("made")]
    with store:
        store.add_benchmark("made-again", "1" * 64, {"kind": "made"}, samples)
        second = store.start_run(RunSpec(benchmark="made-again", benchmark_sha256="1" * 64, arm="direct", model="m"))
        for row in store.trajectories(first):
            store.add_trajectory(replace(store.trajectory(row.id), run=second), store.grades(row.id)[0])
    process = zoomgap("compare", first, second, db=path)
    assert process.returncode == 2
    assert "answered unlike benchmarks (made 000000000000 and made-again 111111111111)" in process.stderr


@pytest.mark.parametrize("right", [0, 1, N])
def test_all_right_all_wrong_and_one_answer_are_said_so(tmp_path, right):
    n = 1 if right == 1 else N
    store, run = stored(tmp_path / "z.db", answers(right, n))
    store.close()
    report = tmp_path / "report.html"
    found = json.loads(done("compare", run, "--report", report, "--json", db=tmp_path / "z.db"))
    wanted = {0: "all 40 answers are wrong", 1: "one answer, from which nothing follows", N: "all 40 answers are right"}
    assert wanted[right] in found["warnings"][-1]
    assert wanted[right] in report.read_text(encoding="utf-8")
    row = found["runs"][0]
    assert 0 <= row["low"] < row["high"] <= 1
    assert row["acuity_px"] is None
    assert "no sample of made has an evidence box" in report.read_text(encoding="utf-8")
