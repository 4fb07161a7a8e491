import pytest

from zoomgap.errors import UsageError
from zoomgap.pipeline import chance, make_micro
from zoomgap.storage import Store


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


def test_training_scenes_can_have_evidence_of_chosen_sizes(tmp_path):
    with Store.open(tmp_path / "z.db") as store:
        info = make_micro(store, 6, 4_000_000, evidence=(20, 24))
        assert (info.name, info.source["evidence"]) == ("micro-4000000-6-20to24px", [20, 24])
        for sample in store.samples(info.name):
            assert 18 < sample.evidence[0].side * sample.meta["scale"] < 26
        assert make_micro(store, 6, 4_000_000).sha256 != info.sha256
        for seed, evidence, rule in ((8_000_000, (20, 24), "for training"), (4_000_000, (24, 20), "smaller first")):
            with pytest.raises(UsageError, match=rule):
                make_micro(store, 2, seed, evidence=evidence)
