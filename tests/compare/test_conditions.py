"""Conditions are read as they are documented, and never say yes or no where they cannot know."""

from __future__ import annotations

import operator
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoomgap.compare.comparison import compare
from zoomgap.compare.conditions import METRICS, parse
from zoomgap.compare.rows import Settings
from zoomgap.errors import UsageError
from zoomgap.records import Sampling

SAME = {"model": "m", "weights": "w"}


@pytest.fixture(scope="module")
def found(world):
    w = world(900)
    runs = [
        w.run("base", 22, wall=50, shared=0.7, **SAME),
        w.run("agent", 7, wall=200, turns=3, shared=0.7, arm="agent", **SAME),
        w.run("the student", 8, wall=50, shared=0.7, model="s"),
        w.run("student region", 6, wall=50, shared=0.7, model="s", arm="region"),
        w.run("elsewhere", 9, circumstances={"concurrency": 9}, arm="tiles"),
    ]
    return compare(runs, {runs[2].id: "student"}, settings=Settings(draws=100, curve_draws=30))


def value(found, text):
    """What the language reads for a figure."""
    outcome = parse(f"{text} < 1e9").judge(found)
    return float(outcome.told.split(" < ")[0])


def test_names_are_roles_arms_labels_and_ids(found):
    base, agent, student, region, tiles = found.runs
    for text, row in {
        "base": base, "agent": agent, "student": student, "student.direct": student, "student.region": region,
        "base.agent": agent, "region": region, "tiles": tiles, "'the student'": student, "\"elsewhere\"": tiles,
        f"'{tiles.run[:6]}'": tiles, f"'{region.run}'.region": region,
    }.items():  # fmt: skip
        assert value(found, text) == pytest.approx(row.accuracy, abs=5e-4), text


def test_every_metric_that_is_listed_can_be_read_or_is_told_to_be_unknown(found):
    assert {"accuracy", "p50_ms", "acuity_px", "errors", "error_rate"} <= set(METRICS)
    for metric in METRICS:
        try:
            value(found, f"agent.{metric}")
        except UsageError as error:
            assert f"agent.{metric} is not known" in str(error)  # noqa: PT017
    assert value(found, "agent.acuity_px") == pytest.approx(found.runs[1].acuity_px, rel=1e-3)


def test_bounds_are_those_of_the_paired_difference(found):
    base, agent = found.runs[:2]
    pair = found.pair(base.run, agent.run)
    assert value(found, "low(base - agent)") == pytest.approx(pair.low, abs=5e-4)
    assert value(found, "high(base - agent)") == pytest.approx(pair.high, abs=5e-4)
    assert value(found, "low(agent - base)") == pytest.approx(-pair.high, abs=5e-4)
    assert value(found, "high(agent - base)") == pytest.approx(-pair.low, abs=5e-4)
    assert value(found, "low(base)") == pytest.approx(base.low, abs=5e-4)
    assert value(found, "high(base.acuity_px)") == pytest.approx(base.acuity_high, rel=1e-3)


def test_estimate_and_interval_answer_different_questions(found):
    """Student and agent are about level: the estimate may fall on either side, the interval proves neither."""
    assert parse("base < agent - 0.02").judge(found).holds
    assert parse("high(base - agent) < -2%").judge(found).holds
    assert not parse("high(student - agent) < -10%").judge(found).holds


numbers = st.integers(1, 9)


@given(numbers, numbers, numbers, st.sampled_from("+-*/"), st.sampled_from("+-*/"), st.booleans())
def test_arithmetic_is_that_of_python(found, a, b, c, first, second, grouped):
    text = f"({a} {first} {b}) {second} {c}" if grouped else f"{a} {first} {b} {second} {c}"
    counted = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
    if not grouped and first in "+-" and second in "*/":
        wanted = counted[first](a, counted[second](b, c))
    else:
        wanted = counted[second](counted[first](a, b), c)
    assert parse(f"{text} >= {wanted - 1e-9:.12f} and {text} <= {wanted + 1e-9:.12f}").judge(found).holds


@given(st.lists(st.booleans(), min_size=3, max_size=3), st.sampled_from(("and", "or")), st.sampled_from(("and", "or")))
def test_and_binds_closer_than_or(found, facts, first, second):
    one, two, three = ("1 < 2" if fact else "2 < 1" for fact in facts)
    a, b, c = facts
    if first == "or" and second == "and":
        wanted = a or (b and c)
    else:
        left = (a and b) if first == "and" else (a or b)
        wanted = (left and c) if second == "and" else (left or c)
    assert parse(f"{one} {first} {two} {second} {three}").judge(found).holds == wanted
    assert parse(f"not ({one} {first} {two} {second} {three})").judge(found).holds != wanted


def test_what_holds_is_told_with_its_figures(found):
    base, agent = found.runs[:2]
    told = parse("base < agent - 2% and not base.errors > 0").judge(found).told
    assert told == f"{base.accuracy:.4g} < {agent.accuracy:.4g} - 0.02 and not (0 > 0)"
    assert parse("1 - (2 - 3) == -(2 - 4)").judge(found) == (True, "1 - (2 - 3) == -(2 - 4)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "ends where a number or a run belongs"),
        ("agent <", "ends where a number or a run belongs"),
        ("agent", "compares nothing"),
        ("agent + 1", "compares nothing"),
        ("agent = 1", "cannot be read from '= 1'"),
        ("agent < 1 and", "ends where a number or a run belongs"),
        ("agent < 1 agent", "has 'agent' at character 11 where its end"),
        ("agent < and", "has 'and' at character 9"),
        ("(agent < 1", "ends where ')' belongs"),
        ("low(agent < 1", "has '<' at character 11 where ')' belongs"),
        ("agent < 1 < 2", "has '<' at character 11"),
        ("(agent < 1) + 1 < 2", "'+' is between figures"),
        ("agent and base < 1", "'and' joins comparisons"),
        ("__import__('os').system('x') < 1", "has '(' at character 11"),
        ("(" * 5000 + "agent < 1", "is too deep"),
    ],
)
def test_what_cannot_be_read_says_where(text, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nobody < 1", "'nobody' names no run: "),
        ("direct < 1", "'direct' names several runs: "),
        ("student.oracle < 1", "'student.oracle' names no run"),
        ("agent.speed < 1", "'speed' in 'agent.speed' is no arm and no metric: metrics are n, "),
        ("agent.cost < 1", "agent.cost is not known"),
        ("agent / 0 < 1", "divides by zero"),
        ("low(agent.turns) < 1", "turns has no interval"),
        ("low(agent.p50_ms - base.p50_ms) < 1", "differences with an interval are of accuracy alone"),
        ("low(agent - base.agent) < 1", "with itself"),
        ("agent.p50_ms > 2 * tiles.p50_ms", "times of agent.p50_ms and tiles.p50_ms cannot be compared: concurrency"),
        ("1 < 2 or nobody < 1", "'nobody' names no run"),
    ],
)
def test_what_is_not_known_is_an_error_and_never_an_answer(found, text, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        parse(text).judge(found)


def test_a_number_that_begins_a_run_is_asked_about(found):
    runs = tuple(replace(row, run="12345678") if row.role == "agent" else row for row in found.runs)
    clear = replace(found, runs=runs)
    assert parse("base < 1234567").judge(found).holds
    with pytest.raises(UsageError, match="1234 is a number, and a run's id begins so: write '1234'"):
        parse("1234 < 0.5").judge(clear)
    assert not parse("'1234' < 0.5").judge(clear).holds


def test_runs_that_cannot_be_compared_are_not(world):
    w = world(200)
    base = w.run("base", 22, **SAME)
    hot = w.run("agent", 7, arm="agent", sampling=Sampling(temperature=1), **SAME)
    doubtful = compare([base, hot], settings=Settings(draws=30, curve_draws=10))
    for text in ("base < agent", "low(base - agent) < 0"):
        with pytest.raises(
            UsageError, match=r"cannot be (compared|judged): these runs differ in sampling\.temperature"
        ):
            parse(text).judge(doubtful)
    assert parse("agent > 0.2").judge(doubtful).holds, "a run by itself can be judged"
    agent = w.run("agent", 7, arm="agent", **SAME)
    half = replace(agent, results=agent.results[:100], samples=200)
    partial = compare([base, half], settings=Settings(draws=30, curve_draws=10))
    with pytest.raises(
        UsageError, match="over 200 and 100 answers of which they share 100: finish the runs, or compare"
    ):
        parse("base < agent").judge(partial)
    assert parse("high(base - agent) < 0").judge(partial).holds
    other = replace(agent, results=agent.results[100:])
    apart = compare([replace(base, results=base.results[:100]), other], settings=Settings(draws=30, curve_draws=10))
    with pytest.raises(UsageError, match="cannot be compared: the runs share no answer"):
        parse("base < agent").judge(apart)
    half = replace(agent, results=agent.results[50:150])
    shifted = compare([replace(base, results=base.results[:100]), half], settings=Settings(draws=30, curve_draws=10))
    with pytest.raises(UsageError, match="over 100 and 100 answers of which they share 50"):
        parse("base < agent").judge(shifted)
