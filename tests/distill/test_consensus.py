from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoomgap.distill.consensus import (
    ConsensusConfig,
    Label,
    Material,
    VoteConfig,
    agree,
    gold_votes,
    plurality,
    tally,
    vote,
    voter_of,
)
from zoomgap.distill.questions import QuestionConfig, ask
from zoomgap.distill.regions import box_elsewhere, propose
from zoomgap.errors import ModelError, UsageError
from zoomgap.geometry import Box
from zoomgap.models.scripted import ScriptedModel
from zoomgap.records import Question, Text, Vote
from zoomgap.renditions import Renditions

CONFIG = VoteConfig(votes=3)


@pytest.fixture
def asked(world):
    """Questions, half of them local, and what voters are shown."""
    regions = propose(world.traced).kept
    material = Material({r.id: r for r in regions}, world.samples, Renditions(world.pictures))
    questions = ask(regions, world.samples, QuestionConfig(local=False))
    return [replace(q, local=k % 2 == 1) for k, q in enumerate(questions)], material


async def collect(*arguments, **named) -> list[Vote]:
    return [cast async for cast in vote(*arguments, **named)]


def question(kind: str = "text", choices: tuple[str, ...] = ()) -> Question:
    return Question(
        id="q", region="r", text="What?", choices=choices, answer_kind=kind, dimension="color", local=False
    )  # fmt: skip


def ballot(*answers: str | None, labels: str = "agent") -> list[Vote]:
    """A vote for each answer; None is one that failed."""
    return [
        Vote(question="q", labels=labels, voter="v", index=i, answer=a, error=None if a is not None else "timeout")
        for i, a in enumerate(answers)
    ]


async def test_teacher_votes_on_the_agents_crop(world, asked):
    questions, material = asked
    teacher = ScriptedModel(world.answer, name="teacher")
    votes = await collect(questions, "agent", teacher, material, CONFIG)
    assert len(votes) == 18
    assert {(v.question, v.index) for v in votes} == {(q.id, i) for q in questions for i in range(3)}
    labels = agree(questions, votes, "agent", ConsensusConfig(min_votes=3)).kept
    truth = {v.question: v.answer for v in gold_votes(questions, material.regions, world.samples)}
    assert {q: label.answer for q, label in labels.items()} == truth
    assert {v.voter for v in votes} == {voter_of(teacher, CONFIG)}


def test_a_voter_is_its_weights_and_settings():
    model = ScriptedModel([], name="micro")
    name = voter_of(model, CONFIG)
    assert name.startswith("micro#")
    assert voter_of(model, replace(CONFIG, votes=9, concurrency=1)) == name
    others = [
        voter_of(model, replace(CONFIG, crop_pixels=4096)),
        voter_of(model, replace(CONFIG, sampling=replace(CONFIG.sampling, seed=7))),
        voter_of(model, CONFIG, QuestionConfig(named_overlay_share=0.5)),
    ]
    model.weights = "3f2a"
    assert len({name, *others, voter_of(model, CONFIG)}) == 5


async def test_first_vote_is_greedy_and_the_others_have_seeds_of_their_own(world, asked):
    questions, material = asked
    teacher = ScriptedModel(world.answer)
    await collect(questions[:1], "agent", teacher, material, CONFIG)
    sampling = [request.sampling for request in teacher.history]
    assert [s.temperature for s in sampling] == [0.0, 0.7, 0.7]
    assert len({s.seed for s in sampling}) == 3
    assert len({request.messages for request in teacher.history}) == 1


async def test_every_voter_gets_the_same_text_and_its_own_image(world, asked):
    questions, material = asked
    seen = {}
    for labels in ("agent", "self", "random-crop"):
        model = ScriptedModel(lambda request: "red")
        await collect(questions, labels, model, material, replace(CONFIG, votes=1))
        seen[labels] = {_text(r): world.shown(r) for r in model.history}
    assert seen["agent"].keys() == seen["self"].keys() == seen["random-crop"].keys()
    for q in questions:
        text = next(t for t in seen["agent"] if t.startswith(q.text))
        agent, whole, other = (seen[labels][text] for labels in ("agent", "self", "random-crop"))
        assert agent.size == other.size == (128, 128)
        assert whole.size == (256, 224)
        assert agent.tobytes() != other.tobytes()
        # A local question on the full image names nothing, so the region has to be drawn in.
        plain = [p for p in whole.get_flattened_data() if p[0] > 220 and max(p[1:]) < 60]
        assert (len(plain) > 100) or not q.local or material.regions[q.region].sample == "micro-4000000"


async def test_placebo_is_cut_elsewhere_seeded_by_the_sample(world, asked):
    questions, material = asked
    model = ScriptedModel(world.answer)
    await collect(questions, "random-crop", model, material, replace(CONFIG, votes=1))
    for request, q in zip(model.history, questions, strict=True):
        region = material.regions[q.region]
        box = box_elsewhere(region.box, world.samples[region.sample].size, region.sample)
        assert box.intersection(region.box) == 0
        assert (box.width, box.height) == (region.box.width, region.box.height)
        assert world.answer(request) == "I cannot tell."


async def test_an_error_is_stored_and_is_no_answer(world, asked):
    questions, material = asked
    model = ScriptedModel(["red", ModelError("503 from the endpoint"), "red"])
    votes = await collect(questions[:1], "agent", model, material, CONFIG)
    assert [(v.answer, v.error) for v in votes] == [("red", None), (None, "503 from the endpoint"), ("red", None)]
    assert agree(questions[:1], votes, "agent", ConsensusConfig(min_votes=3)).fell == {"too few votes": 1}
    assert agree(questions[:1], votes, "agent", ConsensusConfig(min_votes=2)).kept[questions[0].id] == ("red", 1.0)


async def test_known_votes_are_not_asked_again_but_failed_ones_are(world, asked):
    questions, material = asked
    first = await collect(questions, "agent", ScriptedModel(world.answer, name="t"), material, CONFIG)
    known = [replace(first[0], answer=None, error="timeout"), *first[1:-1]]
    again = ScriptedModel(world.answer, name="t")
    votes = await collect(questions, "agent", again, material, CONFIG, known=known)
    missing = {(v.question, v.index) for v in (first[0], first[-1])}
    assert {(v.question, v.index) for v in votes} == missing
    assert len(await collect(questions, "self", again, material, CONFIG, known=first)) == 18


async def test_requests_in_flight_stay_within_the_limit(world, asked):
    questions, material = asked
    flying, most = 0, 0

    class Slow(ScriptedModel):
        async def reply(self, request):
            import asyncio

            nonlocal flying, most
            flying, most = flying + 1, max(most, flying + 1)
            await asyncio.sleep(0.05)
            flying -= 1
            return await super().reply(request)

    await collect(questions, "agent", Slow(world.answer), material, replace(CONFIG, concurrency=6))
    assert 3 < most <= 6


async def test_a_wrong_request_ends_the_stage(world, asked):
    questions, material = asked
    model = ScriptedModel(["red", UsageError("no such model"), *["red"] * 30])
    with pytest.raises(UsageError, match="no such model"):
        await collect(questions, "agent", model, material, CONFIG)
    with pytest.raises(UsageError, match="gold"):
        await collect(questions, "gold", model, material, CONFIG)


@pytest.mark.parametrize(
    ("answers", "kept", "fell"),
    [
        (("red", "Red.", "red", "blue"), Label("red", 0.75), {}),
        (("red", "red", "blue", "green"), None, {"no agreement": 1}),
        (("red", "red", "blue", "blue"), None, {"tie": 1}),
        (("red", "red", "red", ""), Label("red", 0.75), {}),
        (("", "", "", ""), None, {"no vote readable": 1}),
        (("red", "red", "red"), None, {"too few votes": 1}),
        (("red", "red", "red", None), None, {"too few votes": 1}),
        (("red", "red", "red", "red", None, None), Label("red", 1.0), {}),
        ((), None, {"too few votes": 1}),
    ],
)
def test_agreement(answers, kept, fell):
    found = agree([question()], ballot(*answers), "agent")
    assert found.kept.get("q") == kept
    assert found.fell == fell


def test_votes_for_an_option_agree_however_they_are_written():
    choices = ("red", "dark red", "blue")
    found = agree([question("choice", choices)], ballot("dark red", "B", "The answer is B.", "(b)"), "agent")
    assert found.kept == {"q": Label("dark red", 1.0)}
    without = agree([question("choice")], ballot("B", "b", "B.", "A"), "agent")
    assert without.kept == {"q": Label("B", 0.75)}


def test_numbers_agree_as_numbers():
    assert agree([question("integer")], ballot("3", "three", "3", "It is 3."), "agent").kept == {"q": Label("3", 1.0)}


def test_plurality_takes_the_earliest_among_equals_and_only_its_own_labels():
    votes = ballot("blue", "red", "red", "blue", labels="self") + ballot("green", "green", "green")
    assert plurality([question()], votes, "self").kept == {"q": Label("blue", 0.5)}
    assert plurality([question()], ballot(None, None), "agent").fell == {"too few votes": 1}
    assert plurality([question()], ballot(""), "agent").fell == {"no vote readable": 1}


@settings(deadline=None)
@given(st.lists(st.sampled_from(["red", "blue", "green", ""]), max_size=9), st.randoms())
def test_tally_counts_every_readable_vote_once_in_any_order(answers, random):
    votes = ballot(*answers)
    groups = tally(question(), votes)
    assert sum(g.votes for g in groups) == sum(a != "" for a in answers)
    assert [g.votes for g in groups] == sorted((g.votes for g in groups), reverse=True)
    random.shuffle(votes)
    assert tally(question(), votes) == groups


def test_gold_is_the_options_text(world, asked):
    questions, material = asked
    votes = gold_votes(questions, material.regions, world.samples)
    assert [v.answer for v in votes] == ["red", "green", "blue", "yellow", "purple", "orange"]
    assert {v.labels for v in votes} == {"gold"}


def test_gold_of_a_local_question_is_what_its_region_shows(world, asked):
    questions, material = asked
    other = {"name": "other", "detail_box": [200, 10, 220, 30], "value": "grey"}
    samples = {
        id: replace(sample, meta={**sample.meta, "carriers": [*sample.meta["carriers"], other]})
        for id, sample in world.samples.items()
    }
    regions = {id: replace(region, box=Box(190, 0, 230, 40)) for id, region in material.regions.items()}
    for local in (False, True):
        for question in (replace(question, local=local) for question in questions):
            (vote,) = gold_votes([question], regions, samples)
            (before,) = gold_votes([question], material.regions, samples)
            assert vote.answer == ("grey" if local and not question.choices else before.answer)


def _text(request) -> str:
    return next(part.text for message in request.messages for part in message.content if isinstance(part, Text))
