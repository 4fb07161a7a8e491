"""The rooms joined: what stands between them and belongs to none."""

from dataclasses import replace

import pytest

from zoomgap.benchmarks import micro
from zoomgap.errors import ModelError, UsageError
from zoomgap.pipeline import MAX_FAILED_VOTES, VoteKeeper, chance, make_micro
from zoomgap.records import Vote
from zoomgap.storage import Store


def test_a_build_ends_after_many_failed_votes_in_a_row_and_keeps_them(tmp_path, monkeypatch):
    stored = []
    with Store.open(tmp_path / "z.db") as store:
        monkeypatch.setattr(store, "put_votes", stored.extend)
        keep = VoteKeeper(store)
        good = Vote(question="q", labels="agent", voter="v", index=0, answer="red")
        bad = replace(good, answer=None, error="down")
        for vote in [*[bad] * (MAX_FAILED_VOTES - 1), good, *[bad] * (MAX_FAILED_VOTES - 1)]:
            keep(vote)
        with pytest.raises(ModelError, match=r"20 errors in a row.*down"):
            keep(bad)
    assert len(stored) == 2 * MAX_FAILED_VOTES


def test_several_questions_a_scene_share_its_image_and_are_for_training(tmp_path):
    counted = []
    with Store.open(tmp_path / "z.db") as store:
        info = make_micro(store, 2, 4_000_000, questions=3, count=lambda done, total: counted.append((done, total)))
        samples = store.samples(info.name)
        assert (info.name, info.source["questions"]) == ("micro-4000000-2x3", 3)
        assert len({s.image for s in samples}) == 2 < len(samples)
        assert counted[-1] == (2, 2)
        assert {chance(s) for s in samples if s.choices} == {0.25}
        assert all(chance(s) > 0 for s in samples)
        make_micro(store, 2, 4_000_000, name="called", questions=3)
        with pytest.raises(UsageError, match="made otherwise"):
            make_micro(store, 2, 4_000_000, name="called", questions=2)
        for seed in (8_000_000, 7_999_999, 9_000_000):
            with pytest.raises(UsageError, match="for training"):
                make_micro(store, 2, seed, questions=2)


def test_chance_is_exact_for_the_procedural_benchmark_alone():
    samples = [made.sample for made in micro.make(12, 8_000_000)]
    assert {chance(s) for s in samples if s.choices} == {0.25}
    assert {chance(s) for s in samples if s.dimension == "structure" and not s.choices} == {0.25}
    assert {chance(s) for s in samples if s.dimension == "material" and not s.choices} == {0.2}
    numbered = replace(next(s for s in samples if not s.choices), id="17")
    assert chance(numbered) == 0, "another set's ids may be bare numbers"
