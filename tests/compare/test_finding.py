from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from zoomgap.compare.comparison import compare
from zoomgap.compare.finding import finding, part_of
from zoomgap.compare.rows import Comparison, Settings
from zoomgap.compare.table import RunData

QUICK = Settings(draws=100, curve_draws=20)
MODEL = {"model": "m", "weights": "w"}


def compared(
    w,
    base: float | Mapping[str, float],
    agent: float,
    student: float | None = None,
    floor: float | None = None,
    glance_ms: float = 60,
    **options: object,
) -> Comparison:
    """Runs that read half at these sizes, px; a glance takes glance_ms, the agent 200 ms."""
    runs = [
        w.run("the base", base, wall=glance_ms, shared=0.8, **MODEL, **options),
        w.run("the agent", agent, wall=200, turns=3, shared=0.8, arm="agent", **MODEL),
    ]
    roles = {}
    for role, px in (("student", student), ("floor", floor)):
        if px is not None:
            runs.append(w.run(f"the {role}", px, wall=glance_ms, shared=0.8, model=role, **options))
            roles[runs[-1].id] = role
    return compare(runs, roles, settings=QUICK)


def only_sentence(comparison: Comparison) -> str:
    sentence = finding(comparison)
    assert sentence.endswith(".")
    assert ". " not in sentence
    return sentence


def test_small_things_need_zooming_and_large_ones_a_student(world):
    sentence = only_sentence(compared(world(4800), 20, 7, 12, 20, glance_ms=66))
    assert re.match(
        r"Zooming is still needed for details under 2\d px; one glance of the distilled student answers as well as "
        r"zooming for details from 2\d px up, in a third of the time ",
        sentence,
    )
    assert re.search(r"half is read at [\d.]+ px by zooming, 1\d px by the student, \d\d px by the base\)", sentence)


def test_a_glance_of_the_base_suffices(world):
    sentence = only_sentence(compared(world(4800), 6, 6, glance_ms=100))
    assert sentence.startswith(
        "One glance of the base model answers as well as zooming at all sizes shown (5 to 56 px), in half of the time"
    )


def test_zooming_is_needed_everywhere_and_costs(world):
    sentence = only_sentence(compared(world(4800), 70, 6, glance_ms=50))
    assert sentence.startswith("Zooming is still needed at all sizes shown (5 to 56 px), at 4.0 times the time of a")


def test_nobody_reads_it(world):
    assert only_sentence(compared(world(3000), 900, 900)).startswith("Neither zooming nor one glance reads enough at")


def test_a_kind_of_question_that_goes_the_other_way_is_named(world):
    sentence = only_sentence(compared(world(4800), {"ocr": 6, "color": 60}, 6))
    assert sentence.startswith("Zooming is still needed at all sizes")
    assert "; not so for ocr (one glance suffices)" in sentence


def test_some_sizes_stay_open(world):
    sentence = only_sentence(compared(world(1500), 22, 7, 12))
    assert re.search(r"; these answers do not decide for details from \d\d px up", sentence)


def test_what_is_decided_comes_before_what_is_not(world):
    w = world(4000, ("a", "b", "c", "d", "e", "f"))
    sentence = only_sentence(compared(w, 60, 6, 6.3, 60))
    assert re.match(r"One glance of the distilled .*; these answers do not decide for details under 11 px", sentence)


def test_few_answers_decide_over_all_sizes(world):
    w = world(600, ("a", "b", "c", "d", "e", "f"))
    assert only_sentence(compared(w, 20, 7)).startswith("Zooming is still needed over all sizes together, at 3.")


def test_too_few_answers_decide_nothing(world):
    sentence = only_sentence(compared(world(300), 20, 7))
    assert sentence.startswith("Whether zooming is still needed stays undecided: the agent is ")
    assert "points ahead of the base over 300 shared answers (95% interval of the difference +" in sentence
    assert "but a verdict rests on at least 350 answers" in sentence


def test_a_difference_near_the_margin_decides_nothing(world):
    w = world(500)
    sentence = only_sentence(compared(w, 12.5, 10))
    assert "stays undecided" in sentence
    assert "margin of 5 points decides nothing" in sentence


def test_a_set_without_boxes_is_judged_as_a_whole(world):
    w = world(2000)
    runs = [
        RunData(run.spec, run.label, [replace(r, sample=replace(r.sample, evidence=())) for r in run.results], [])
        for run in (w.run("b", 40, **MODEL), w.run("a", 5, arm="agent", **MODEL))
    ]
    sentence = only_sentence(compare(runs, settings=QUICK))
    assert sentence.startswith("Zooming is still needed for these questions, whose evidence has no known size")


def test_errors_refuse_the_verdict(world):
    sentence = only_sentence(compared(world(600), 20, 7, errors=0.2))
    assert sentence == "No verdict on the agent and the base: over 2% endpoint errors in the base."


def test_unlike_circumstances_leave_the_time_out(world):
    sentence = only_sentence(compared(world(4800), 6, 6, circumstances={"concurrency": 64}))
    assert "time" not in sentence


def test_one_run_and_two_that_are_no_agent_and_glance(world):
    w = world(300)
    one = w.run("mine", 9)
    assert re.match(r"mine answers [\d.]+% of 300 questions", finding(compare([one], settings=QUICK)))
    two = compare([one, w.run("other", 40)], settings=QUICK)
    assert "points ahead of other over 300 shared answers" in finding(two)
    faulty = compare([one, w.run("flaky", 9, errors=0.5)], settings=QUICK)
    assert finding(faulty).startswith("No verdict on mine and flaky: over 2% endpoint errors in flaky")


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (0.33, "a third of the time"),
        (0.5, "half of the time"),
        (0.29, "29% of the time"),
        (1.02, "about the same time"),
        (1.8, "1.8 times the time"),
        (0.01, "1% of the time"),
    ],
)
def test_parts_of_a_time_in_words(ratio, words):
    assert part_of(ratio) == words


def test_it_tells_the_confidence_and_why_nothing_is_decided(world):
    w = world(1200)
    runs = [w.run("b", 20, **MODEL), w.run("a", 7, arm="agent", **MODEL), w.run("s", 12, model="s")]
    runs.append(w.run("f", 20, errors=0.2, model="f"))
    roles = {runs[2].id: "student", runs[3].id: "floor"}
    sentence = finding(compare(runs, roles, settings=replace(QUICK, confidence=0.9)))
    assert "(90% interval of the difference" in sentence
    assert "but there is no verdict: over 2% endpoint errors in f" in sentence
