from __future__ import annotations

from dataclasses import replace

from zoomgap.benchmarks.micro import LOCAL, is_micro
from zoomgap.distill.questions import QuestionConfig, ask, overlay_of
from zoomgap.distill.regions import propose


def many(world, n: int):
    """Regions that differ only by id."""
    region = propose(world.traced).kept[1]
    return [replace(region, id=f"region{k}") for k in range(n)]


def test_half_of_the_questions_are_local(world):
    questions = ask(many(world, 200), world.samples)
    assert [q.local for q in questions] == [False, True] * 200
    own = world.samples[propose(world.traced).kept[1].sample].question
    assert {q.text for q in questions if not q.local} == {own}
    assert {q.text for q in questions if q.local} == set(LOCAL["color"])
    assert len({q.id for q in questions}) == 400


def test_the_same_question_every_time_whatever_stands_beside_it(world):
    regions = propose(world.traced).kept
    assert ask(regions[2:], world.samples) == ask(regions, world.samples)[4:]


def test_choices_and_form_come_from_the_sample(world):
    questions = ask(propose(world.traced).kept, world.samples, QuestionConfig(local=False))
    for question, sample in zip(questions, world.samples.values(), strict=True):
        assert (question.choices, question.answer_kind) == (sample.choices, sample.answer_kind)
        assert question.dimension == sample.dimension


def test_asking_reads_no_gold(world):
    blind = {k: replace(s, answer="?", evidence=(), detail_px=None) for k, s in world.samples.items()}
    regions = propose(world.traced).kept
    assert ask(regions, blind) == ask(regions, world.samples)


def test_other_benchmarks_keep_their_own_question(world):
    regions = [replace(region, sample="zoombench-3") for region in many(world, 50)]
    samples = {"zoombench-3": replace(world.samples["micro-4000001"], id="zoombench-3")}
    assert not any(q.local for q in ask(regions, samples))
    assert is_micro("micro-12")
    assert is_micro("micro-12.3")
    assert not any(map(is_micro, ("micro-", "micro-x", "micro", "micro-1-2", "micro-1.", "micro-٣", "zoom-1")))


def test_local_questions_always_show_the_box_and_others_by_share(world):
    regions = {region.id: region for region in many(world, 200)}
    questions = ask(regions.values(), world.samples)
    shown = [overlay_of(q, regions[q.region]) for q in questions]
    assert [box is not None for box in shown] == [q.local for q in questions]
    half = QuestionConfig(named_overlay_share=0.5)
    named = [q for q in questions if not q.local]
    with_box = sum(overlay_of(q, regions[q.region], half) == regions[q.region].box for q in named)
    assert 0.3 * len(named) < with_box < 0.7 * len(named)
