from __future__ import annotations

from dataclasses import replace

import pytest

from zoomgap.distill.build import BuildConfig, build
from zoomgap.distill.consensus import ConsensusConfig, VoteConfig
from zoomgap.distill.questions import QuestionConfig
from zoomgap.errors import ModelError, UsageError
from zoomgap.models.scripted import ScriptedModel
from zoomgap.renditions import Renditions

CONFIG = BuildConfig(
    name="d", labels=("agent", "self", "random-crop", "gold"), use_gold=True,
    votes=VoteConfig(votes=4), consensus=ConsensusConfig(min_votes=4),
)  # fmt: skip
NAMED = replace(CONFIG, questions=QuestionConfig(local=False))


def run(world, config=CONFIG, **named):
    named.setdefault("teacher", ScriptedModel(lambda r: guess(world, r), name="teacher"))
    named.setdefault("base", ScriptedModel(lambda r: "green", name="base"))
    return build(world.traced, config, renditions=Renditions(world.pictures), **named)


def guess(world, request) -> str:
    """A teacher that always says something."""
    answer = world.answer(request)
    return "blue" if answer.startswith("I") else answer


async def test_students_share_everything_but_the_answers(world):
    built = await run(world)
    assert list(built.datasets) == ["agent", "self", "random-crop", "gold"]
    shared = [[replace(i, id="", dataset="", labels="agent", answer="", agreement=0, gold=False) for i in items]
              for items in built.datasets.values()]  # fmt: skip
    assert len(shared[0]) == 12, "each region is asked about by name and by its box"
    assert shared[0] == shared[1] == shared[2] == shared[3]
    answers = {labels: [item.answer for item in items] for labels, items in built.datasets.items()}
    assert (
        answers["agent"]
        == answers["gold"]
        == [color for color in ("red", "green", "blue", "yellow", "purple", "orange") for _ in range(2)]
    )
    assert answers["self"] == ["green"] * 12
    assert answers["random-crop"] == ["blue"] * 12
    assert [items[0].dataset for items in built.datasets.values()] == ["d-agent", "d-self", "d-random-crop", "d-gold"]
    assert {labels: {i.gold for i in items} for labels, items in built.datasets.items()} == {
        "agent": {False}, "self": {False}, "random-crop": {False}, "gold": {True},
    }  # fmt: skip
    ids = [item.id for items in built.datasets.values() for item in items]
    assert len(set(ids)) == len(ids)


async def test_an_item_that_a_control_cannot_label_leaves_every_dataset(world):
    def base(request):
        if "block 1?" in str(request):
            raise ModelError("down")
        return "" if "block 2?" in str(request) else "green"

    built = await run(world, NAMED, base=ScriptedModel(base, name="base"))
    assert built.fell["consensus self"] == {"too few votes": 1, "no vote readable": 1}
    names = [[item.sample for item in items] for items in built.datasets.values()]
    assert names == [[f"micro-{4_000_000 + k}" for k in (0, 3, 4, 5)]] * 4


async def test_controls_are_asked_only_about_what_the_agent_kept(world):
    teacher = ScriptedModel(lambda r: str(len(teacher.history)) if "block 1?" in str(r) else "red", name="teacher")
    base = ScriptedModel(lambda r: "green", name="base")
    built = await run(world, NAMED, teacher=teacher, base=base)
    assert built.fell["consensus agent"] == {"tie": 1}
    assert len(base.history) == 5 * 4
    assert len(built.datasets["agent"]) == 5


async def test_an_interrupted_build_goes_on(world):
    kept = []
    whole = await run(world, keep=kept.append)
    assert len(kept) == 3 * 12 * 4
    teacher, base = ScriptedModel([], name="teacher"), ScriptedModel([], name="base")
    again = await run(world, teacher=teacher, base=base, known=kept)
    assert teacher.history == base.history == []
    assert again.datasets == whole.datasets


async def test_votes_of_other_models_and_settings_change_nothing(world):
    whole = await run(world)
    other = ScriptedModel(lambda r: "orange", name="other")
    strange = (await run(world, teacher=other, base=other)).votes
    more = (await run(world, replace(CONFIG, votes=replace(CONFIG.votes, votes=6)))).votes
    again = await run(world, known=[*strange, *more])
    assert again.datasets == whole.datasets
    assert {(v.labels, v.voter, v.question, v.index) for v in again.votes} == {
        (v.labels, v.voter, v.question, v.index) for v in whole.votes
    }


async def test_progress_counts_known_votes_and_errors(world):
    seen = []
    down = ScriptedModel(lambda r: (_ for _ in ()).throw(ModelError("down")), name="teacher")
    built = await run(world, teacher=down, progress=seen.append)
    assert (seen[-1].labels, seen[-1].done, seen[-1].errors, seen[-1].total) == ("agent", 48, 48, 48)
    assert built.datasets["agent"] == []
    assert built.fell["consensus agent"] == {"too few votes": 12}


async def test_headline_datasets_read_no_gold(world):
    config = replace(CONFIG, labels=("agent", "self", "random-crop"), use_gold=False)
    built = await run(world, config)
    world.traced = [t._replace(sample=replace(t.sample, answer="?", evidence=(), detail_px=None)) for t in world.traced]
    assert (await run(world, config)).datasets == built.datasets


async def test_gold_has_to_be_asked_for(world):
    with pytest.raises(UsageError, match="use-gold"):
        await run(world, replace(CONFIG, use_gold=False))
    with pytest.raises(UsageError, match="known"):
        await run(world, replace(CONFIG, labels=("agent", "teacher")))


async def test_test_seeds_are_refused(world):
    world.traced = [t._replace(sample=replace(t.sample, id="micro-9000000")) for t in world.traced[:1]]
    with pytest.raises(UsageError, match="training"):
        await run(world)
