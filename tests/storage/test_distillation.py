from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from zoomgap.errors import StoreError, UsageError
from zoomgap.geometry import Box
from zoomgap.records import Item, Question, Region, Vote


@pytest.fixture
def regions(shelf) -> list[Region]:
    made = []
    for number in range(3):
        id = shelf.store.add_trajectory(shelf.trajectory(f"s{number}"), shelf.grade())
        image = shelf.store.sample("tiny", f"s{number}").image
        made.append(
            Region(
                id=f"r{number}", sample=f"s{number}", benchmark="tiny", image=image, box=Box(3, 5, 10, 11),
                label="block", trajectory=id, step=0,
            )
        )  # fmt: skip
    return made


@pytest.fixture
def questions(regions: list[Region]) -> list[Question]:
    return [
        Question(
            id=f"q{number}", region=region.id, text="What color?", choices=("red", "blue"), answer_kind="choice",
            dimension="color", local=number % 2 == 0,
        )
        for number, region in enumerate(regions)
    ]  # fmt: skip


@pytest.fixture
def items(regions: list[Region], questions: list[Question]) -> list[Item]:
    return [
        Item(
            id=f"i{number}", dataset="d-agent", question=question.id, sample=region.sample, image=region.image,
            text=question.text, choices=question.choices, answer="A", answer_kind="choice", dimension="color",
            overlay=region.box if question.local else None, labels="agent", agreement=0.75, gold=number == 1,
        )
        for number, (region, question) in enumerate(zip(regions, questions, strict=True))
    ]  # fmt: skip


def vote(question: str, index: int = 0, answer: str | None = "A", error: str | None = None) -> Vote:
    return Vote(question=question, labels="agent", voter="micro", index=index, answer=answer, error=error)


def test_stages_come_back(shelf, regions: list[Region], questions: list[Question], items: list[Item]) -> None:
    store = shelf.store
    votes = [vote(question.id, index) for question in questions for index in range(2)]
    for _ in range(2):
        store.put_regions(iter(regions))
        store.put_questions(questions)
        store.put_votes(votes)
        store.put_dataset("d-agent", {"votes": 2, "path": Path("a/b")})
        store.put_items("d-agent", items[:2][::-1])
    assert (store.regions(), store.questions(), store.votes()) == (regions, questions, votes)
    assert store.items("d-agent") == items[:2][::-1]
    assert store.regions("d-agent") == regions[:2]
    assert store.questions("d-agent") == questions[:2]
    assert store.votes("d-agent") == votes[:4]
    (info,) = store.datasets()
    assert (info.name, info.config, info.items) == ("d-agent", {"votes": 2, "path": "a/b"}, 2)


def test_nothing_to_put(shelf) -> None:
    shelf.store.put_regions([])
    shelf.store.put_votes(iter(()))
    assert shelf.store.regions() == []


def test_failed_votes_are_replaced_and_answers_stay(shelf, regions: list[Region], questions: list[Question]) -> None:
    store = shelf.store
    store.put_regions(regions)
    store.put_questions(questions)
    store.put_votes([vote("q0", answer=None, error="timeout"), vote("q1", answer="B")])
    store.put_votes([vote("q0", answer="A"), vote("q1", answer=None, error="timeout")])
    assert store.votes() == [vote("q0", answer="A"), vote("q1", answer="B")]


def test_a_stage_needs_the_one_before(shelf, regions: list[Region], questions: list[Question]) -> None:
    store = shelf.store
    with pytest.raises(StoreError, match="store first what the record points to"):
        store.put_questions(questions)
    with pytest.raises(StoreError):
        store.put_regions([*regions, replace(regions[0], id="new", step=9)])
    assert store.regions() == []


def test_items_of_a_dataset_are_replaced(shelf, regions, questions, items: list[Item]) -> None:
    store = shelf.store
    store.put_regions(regions)
    store.put_questions(questions)
    store.put_dataset("d-agent", {})
    store.put_items("d-agent", items)
    store.put_items("d-agent", items[1:])
    assert store.items("d-agent") == items[1:]
    broken = replace(items[0], question="unknown")
    with pytest.raises(StoreError):
        store.put_items("d-agent", [items[1], broken])
    assert store.items("d-agent") == items[1:]
    store.put_items("d-agent", [])
    assert store.items("d-agent") == []


def test_items_of_another_dataset(shelf, items: list[Item]) -> None:
    with pytest.raises(UsageError, match="dataset 'd-agent' is not stored"):
        shelf.store.put_items("d-agent", items)
    shelf.store.put_dataset("d-self", {})
    with pytest.raises(UsageError, match="item i0 is of dataset 'd-agent', not 'd-self'"):
        shelf.store.put_items("d-self", items)


def test_dataset_of_another_config(shelf) -> None:
    shelf.store.put_dataset("d", {"votes": 2})
    with pytest.raises(UsageError, match="dataset 'd' exists and was built otherwise"):
        shelf.store.put_dataset("d", {"votes": 3})


def test_every_item_is_traced_to_its_step(shelf, regions, questions, items: list[Item]) -> None:
    store = shelf.store
    store.put_regions(regions)
    store.put_questions(questions)
    store.put_dataset("d-agent", {})
    store.put_items("d-agent", items)
    traced = store.database.conn.execute("SELECT * FROM v_items ORDER BY position").fetchall()
    assert [row["id"] for row in traced] == ["i0", "i1", "i2"]
    for row, region in zip(traced, regions, strict=True):
        assert (row["trajectory"], row["step"], row["run"]) == (region.trajectory, 0, shelf.spec.id)
        assert (row["crop"], row["image"], row["teacher"]) == (shelf.crop.sha256, region.image, "micro")


def test_training(shelf, tmp_path: Path) -> None:
    store = shelf.store
    store.put_training("t1", {"lr": 1e-3, "items": ("a",)}, {"loss": [1.0, math.nan]}, tmp_path)
    store.put_training("t1", {"lr": 1e-3, "items": ("a",)}, {"loss": [1.0, 0.5]}, tmp_path)
    (info,) = store.trainings()
    assert (info.id, info.config, info.out) == ("t1", {"lr": 1e-3, "items": ["a"]}, str(tmp_path))
    assert info.metrics == {"loss": [1.0, 0.5]}
    store.put_training("t2", {}, {"loss": math.inf}, tmp_path)
    assert store.trainings()[1].metrics == {"loss": None}
