"""Routers as a user types them: the embedded model, a real database, and a server on the loopback."""

import json
import math
from dataclasses import replace

import pytest

from tests.models.fault_server import Answer, completion, serving
from tests.test_cli import PHOTO, done, zoomgap
from zoomgap.models.prices import Price
from zoomgap.pipeline.routes import spent_once
from zoomgap.routers import read_router
from zoomgap.storage import Store

BENCH = "micro-8430000-24"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A database with two runs over 24 samples, and a router fitted on them; what `route fit --json` printed."""
    folder = tmp_path_factory.mktemp("route")
    db, file = folder / "z.db", folder / "router.json"
    done("bench", "make", "micro", "--n", 24, "--seed", 8_430_000, db=db)
    runs = {
        arm: json.loads(done("run", "--bench", BENCH, "--arm", arm, "--concurrency", 8, "--json", db=db))["run"]
        for arm in ("direct", "agent")
    }
    between = ("--glance", runs["direct"], "--agent", runs["agent"])
    fitted = json.loads(done("route", "fit", *between, "--accuracy-loss", 0.1, "-o", file, "--json", db=db))
    return db, file, runs, between, fitted


def test_fit_prints_stable_keys_and_writes_a_small_file(made):
    _, file, runs, _, fitted = made
    assert set(fitted) == {
        "glance", "agent", "method", "features", "target", "left_out", "unread", "folds", "axis_reason", "axis_name",
        "finding",
        "measured", "out", "sha256",
    }  # fmt: skip
    assert (fitted["glance"], fitted["agent"]) == (runs["direct"], runs["agent"])
    measured = fitted["measured"]
    assert [policy["name"] for policy in measured["policies"]] == ["never zoom", "router", "always zoom", "oracle"]
    assert measured["n"] == 24
    router = read_router(file)
    assert router.sha256 == fitted["sha256"]
    assert len(router.fitted_on["images"]) == 24
    assert file.stat().st_size < 4_000


def test_fit_in_words_and_by_a_threshold(made, tmp_path):
    db, _, _, between, _ = made
    out = tmp_path / "t.json"
    text = done(
        "route", "fit", *between, "--method", "threshold", "--features", "margin", "--budget", 0.6, "-o", out, db=db
    )
    for words in ("never zoom", "router - always zoom:", "held-out folds (5); n = 24", "target: share 0.6"):
        assert words in text
    assert read_router(out).features == ("margin",)


def test_the_arm_decides_as_apply_says_it_would(made):
    """The same answers as the direct run where it kept them, the agent's where it zoomed, and the same share zoomed."""
    db, file, runs, between, _ = made
    refused = zoomgap("route", "apply", file, *between, db=db)
    assert refused.returncode == 2
    assert "fitted on 24 of the 24 images" in refused.stderr
    applied = json.loads(done("route", "apply", file, *between, "--same-samples", "--json", db=db))
    row = json.loads(
        done("run", "--bench", BENCH, "--arm", "router", "--router", file, "--concurrency", 8, "--json", db=db)
    )
    with Store.open(db, readonly=True) as store:
        spec = store.run(row["run"])
        glance, agent = ({r.sample.id: r.text for r in store.results(runs[arm])} for arm in ("direct", "agent"))
        routed = store.results(row["run"])
        assert json.loads(store.prompt(spec.router)) == read_router(file).to_json()
        assert json.loads(store.prompt(spec.agent))["arm"] == "agent"
        assert spec.agent_model == "micro"
    zoomed = [result for result in routed if result.turns > 1]
    policy = applied["measured"]["policies"][1]
    assert len(zoomed) / 24 == policy["zoomed"]
    assert 0 < len(zoomed) < 24
    assert row["accuracy"] == policy["accuracy"]
    assert all(r.text == (agent if r.turns > 1 else glance)[r.sample.id] for r in routed)
    again = json.loads(done("run", "--bench", BENCH, "--arm", "router", "--router", file, "--json", db=db))
    assert (again["run"], again["resumed"]) == (row["run"], 24)


def test_another_router_is_another_run_and_other_runs_keep_their_ids(made, tmp_path):
    db, file, runs, *_ = made
    always = tmp_path / "always.json"
    always.write_text(json.dumps(json.loads(file.read_text()) | {"threshold": "always"}))
    words = ("run", "--bench", BENCH, "--arm", "router", "--limit", 2, "--json")
    found = [json.loads(done(*words, "--router", one, db=db)) for one in (file, always)]
    assert found[0]["run"] != found[1]["run"]
    assert found[1]["turns"] > 1
    estimate = json.loads(done(*words, "--router", always, "--dry-run", db=db))
    assert estimate["samples"] == 0
    assert json.loads(done("run", "--bench", BENCH, "--arm", "direct", "--json", db=db))["run"] == runs["direct"]


def test_ask_takes_a_router(made):
    db, file, *_ = made
    finished = zoomgap("ask", PHOTO, "What is it?", "--arm", "router", "--router", file, "--json", db=db)
    assert json.loads(finished.stdout)["steps"][0]["confidence"] is not None


def test_what_a_router_lacks_is_said_in_one_line(made, tmp_path):
    db, file, _, between, _ = made
    run = ("run", "--bench", BENCH)
    routed = (*run, "--arm", "router", "--router")
    for message, words in (
        ("needs what it decides by", (*run, "--arm", "router")),
        ("decides nothing", (*run, "--arm", "direct", "--router", file)),
        ("has one model", (*run, "--arm", "direct", "--agent-model", "micro")),
        ("names no model: add --agent-model", (*routed, file, "--agent-endpoint", "http://x/v1")),
        ("cannot be read", (*routed, tmp_path / "none.json")),
        ("with view_pixels 65536, and these have 131072", (*routed, file, "--pixels", "2x")),
        ("give --accuracy-loss or --budget", ("route", "fit", *between, "--accuracy-loss", 0.1, "--budget", 0.5)),
        ("axis 'luck' is not known", ("route", "fit", *between, "--axis", "luck")),
        ("dollars need the agent's price", ("route", "break-even", "--student", "a", "--agent", "b", "--per-hour", 1)),
    ):  # fmt: skip
        finished = zoomgap(*words, db=db)
        assert finished.returncode == 2, words
        assert message in finished.stderr
        assert "\n" not in finished.stderr.strip()


def test_break_even_counts_what_the_router_was_fitted_on(made):
    db, file, runs, *_ = made
    row = json.loads(
        done("run", "--bench", BENCH, "--arm", "router", "--router", file, "--concurrency", 8, "--json", db=db)
    )
    words = ("route", "break-even", "--student", row["run"], "--agent", runs["agent"])
    found = json.loads(done(*words, "--price", "1/10", "--json", db=db))
    assert (found["unit"], found["n"]) == ("dollars", 24)
    assert [item["what"].partition(":")[0] for item in found["spent"]] == ["fitting the router"] * 2
    with Store.open(db, readonly=True) as store:
        tokens = [(r.prompt_tokens, r.completion_tokens) for run in runs.values() for r in store.results(run)]
    assert found["total"] == pytest.approx(sum((p + 10 * c) / 1e6 for p, c in tokens))
    assert "fitting the router: agent" in done(*words, db=db)
    assert "spent once" in done(*words, db=db)


def test_break_even_of_a_student_counts_teacher_votes_failures_and_training(made, tmp_path):
    """A training is written down by hand: what it took is known, and so is what comes of it."""
    db, _, runs, *_ = made
    with Store.open(db) as store:
        store.put_dataset("d-agent", {"run": runs["agent"], "labels": "agent"})
        store.put_training("t", {"dataset": "d-agent"}, {"seconds": 7200.0, "steps": 5}, "micro-student")
        spec = store.run(runs["direct"])

    student = replace(spec, model="hf:micro-student")
    with Store.open(db, readonly=True) as store:
        seconds = {item.what: item for item in spent_once(store, student, None, None)}
        dollars = {item.what: item for item in spent_once(store, student, Price(1, 10), 3.0)}
        assert not list(spent_once(store, spec, None, None))
        took = sum(invocation.seconds for invocation in store.invocations(runs["agent"]))
    assert seconds["training"].amount == 7200
    assert dollars["training"].amount == 6.0
    assert seconds["teacher"].amount == pytest.approx(took)
    assert "24 answers, 0 failed" in seconds["teacher"].note
    assert seconds["votes"].amount == 0


def token(text, *likeliest):
    top = [{"token": other, "logprob": math.log(p)} for other, p in likeliest]
    return {"token": text, "logprob": top[0]["logprob"], "top_logprobs": top}


def test_probabilities_over_a_wire_are_asked_for_where_they_are_wanted(made):
    db, *_ = made
    sent = {"content": [token("A", ("A", 0.6), ("B", 0.3))]}
    answer = Answer(body=completion({"content": "A"}, {"logprobs": sent}))
    words = ("run", "--bench", BENCH, "--arm", "direct", "--limit", 2, "--model", "m", "--json")
    with serving(answer) as server:
        row = json.loads(done(*words, "--endpoint", server.url, "--logprobs", db=db))
        assert all(body["logprobs"] and body["top_logprobs"] == 5 for body in server.bodies)
        with Store.open(db, readonly=True) as store:
            results = store.results(row["run"])
            # The same run without: whether they are asked for changes no answer.
            done(*words, "--endpoint", server.url, db=db)
            assert len(store.invocations(row["run"])) == 1
    assert {round(result.confidence, 6) for result in results} == {0.6}
    assert {round(math.exp(result.margin), 6) for result in results} == {2.0}
    with serving(answer) as server:
        done(*words, "--endpoint", server.url, db=db)
        assert not any("logprobs" in body for body in server.bodies)


def test_a_server_without_probabilities_is_told_in_one_line(made):
    db, *_ = made
    words = ("run", "--bench", BENCH, "--arm", "direct", "--limit", 1, "--model", "m", "--logprobs")
    refusal = Answer(400, '{"error": {"message": "logprobs are not supported"}}')
    for answer, message in ((refusal, "gives no log-probabilities"), (Answer(body=completion()), "without log-probab")):
        with serving(answer) as server:
            finished = zoomgap(*words, "--endpoint", server.url, db=db)
        assert finished.returncode == 1
        assert message in finished.stderr
        assert "--no-logprobs" in finished.stderr
