"""Samples to show are drawn at random from those they stand for."""

from __future__ import annotations

from zoomgap.compare.comparison import compare
from zoomgap.compare.contrasts import EACH, contrasts, headline_pair
from zoomgap.compare.rows import Settings

QUICK = Settings(draws=30, curve_draws=10)


def test_groups_hold_what_their_titles_say(world):
    w = world(300)
    a, b = w.run("a", 7, turns=3, errors=0.05), w.run("b", 22)
    groups = contrasts(a.results, b.results, ("a", "b"), seed=0)
    assert [group.title for group in groups] == ["Only a is right", "Only b is right", "Neither is right, with zooms"]
    wanted = [("correct", "incorrect"), ("incorrect", "correct"), ("incorrect", "incorrect")]
    for group, verdicts in zip(groups, wanted, strict=True):
        assert len(group.drawn) == EACH
        assert {(pair.a.verdict, pair.b.verdict) for pair in group.drawn} == {verdicts}
        assert all(pair.a.sample == pair.b.sample for pair in group.drawn)
    (pair,) = compare([a, b], settings=QUICK).pairs
    assert [group.total for group in groups] == [pair.only_a, pair.only_b, pair.neither]


def test_the_draw_is_seeded_and_blind_to_the_order_of_answers(world):
    w = world(300)
    a, b = w.run("a", 7), w.run("b", 22)
    first = contrasts(a.results, b.results, ("a", "b"), seed=0)
    assert first == contrasts(a.results[::-1], b.results[::-1], ("a", "b"), seed=0)
    assert first != contrasts(a.results, b.results, ("a", "b"), seed=1)


def test_every_member_is_drawn_about_as_often(world):
    w = world(40)
    run = w.run("a", 12)
    counts: dict[str, int] = {}
    for seed in range(400):
        for pair in contrasts(run.results, None, ("a", ""), seed)[0].drawn:
            counts[pair.a.sample.id] = counts.get(pair.a.sample.id, 0) + 1
    total = contrasts(run.results, None, ("a", ""), 0)[0].total
    assert len(counts) == total
    mean = 400 * EACH / total
    assert all(0.6 * mean < n < 1.4 * mean for n in counts.values()), "over 4 standard deviations apart"


def test_one_run_shows_its_right_and_wrong_answers(world):
    groups = contrasts(world(60).run("a", 12).results, None, ("a", ""), seed=0)
    assert [group.title for group in groups] == ["a is right", "a is wrong"]
    assert all(pair.b is None for group in groups for pair in group.drawn)


def test_the_pair_is_the_agent_and_the_glance_that_may_replace_it(world):
    w = world(60)
    base, agent = w.run("base", 20, model="m", weights="w"), w.run("a", 8, model="m", weights="w", arm="agent")
    student = w.run("student", 9)
    assert headline_pair(compare([base, student, agent], settings=QUICK)) == (agent.id, base.id)
    roles = {student.id: "student"}
    assert headline_pair(compare([base, student, agent], roles, settings=QUICK)) == (agent.id, student.id)
    assert headline_pair(compare([base, student], settings=QUICK)) == (base.id, student.id)
    assert headline_pair(compare([student], settings=QUICK)) == (student.id, None)
