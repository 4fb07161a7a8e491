"""Plans from the command line: the margin is fixed before the runs, and a comparison tells so."""

from __future__ import annotations

import json
import time

import pytest

from tests.test_cli import done, zoomgap

BENCH = "micro-8123000-6"


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    """A benchmark, a plan for it, and after that two runs of the embedded model that differ in the order of options."""
    path = tmp_path_factory.mktemp("plan") / "z.db"
    done("bench", "make", "micro", "--n", 6, "--seed", 8_123_000, db=path)
    saved = json.loads(done("plan", "--margin", 0.08, "--bench", BENCH, "--save", "--json", db=path))
    assert saved["saved"]
    assert saved["has"] == 6
    done("run", "--bench", BENCH, "--arm", "direct", db=path)
    done("run", "--bench", BENCH, "--arm", "direct", "--variant", 1, db=path)
    return path


def runs_of(db):
    rows = json.loads(done("traces", "list", "--json", db=db))
    return list(dict.fromkeys(row["run"] for row in reversed(rows)))


def test_a_plan_tells_samples_without_a_database():
    found = json.loads(done("plan", "--margin", 0.05, "--discordance", 0.2, "--json"))
    assert (found["difference"], found["equivalence"], found["cells"], found["bench"]) == (621, 841, 18, None)
    assert found["in_all"] == found["cells"] * found["cell"]
    clustered = json.loads(done("plan", "--cluster-size", 4, "--icc", 0.5, "--json"))
    assert clustered["difference"] == pytest.approx(2.5 * 621, abs=2)
    assert "621 samples to find a difference of 5 points" in done("plan")


def test_a_comparison_tells_the_plan_that_came_first(db):
    runs = runs_of(db)
    found = json.loads(done("compare", *runs, "--json", db=db))
    assert found["settings"]["margin"] == found["plan"]["margin"] == 0.08
    assert found["margin_note"].startswith("margin 0.08, fixed on ")
    time.sleep(1.1)  # plans and answers are told apart by the second
    done("plan", "--margin", 0.01, "--bench", BENCH, "--save", db=db)
    assert json.loads(done("compare", *runs, "--json", db=db))["settings"]["margin"] == 0.08
    assert "margin 0.08, fixed on" in done("compare", *runs, db=db)


def test_a_rerun_in_another_order_gives_a_noise_floor(db):
    runs = runs_of(db)
    assert len(runs) == 2
    found = json.loads(done("compare", *runs, "--json", db=db))
    (floor,) = found["noise"]
    assert floor["differ"] == ["option order and wording"]
    assert floor["n"] == 6
    assert found["pairs"][0]["noise_floor"] == floor["floor"]
    assert "note: noise floor of" in done("compare", *runs, db=db)
    assert {item["field"] for item in found["protocol_differences"]} >= {"variant"}


def test_a_pilot_tells_the_discordance(db):
    runs = runs_of(db)
    found = json.loads(done("plan", "--pilot", *runs, "--margin", 0.1, "--json", db=db))
    assert found["pilot_n"] == 6
    assert found["discordance"] >= 1 / 8


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--margin", 0.5), "cannot differ by 50.0%"),
        (("--save",), "name it with --bench"),
        (("--bench", "nope"), "benchmark 'nope' is not stored"),
        (("--pilot", "a", "b", "--icc", 0.5), "leave out --discordance"),
        (("--power", 1.2), "power 1.2 is no share"),
    ],
)
def test_what_a_plan_cannot_do_is_named(db, words, named):
    process = zoomgap("plan", *words, db=db)
    assert process.returncode == 2
    assert named in process.stderr
    assert process.stderr.count("\n") == 1
