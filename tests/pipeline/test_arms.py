from dataclasses import replace

import pytest

from zoomgap import imaging
from zoomgap.agents import Settings, tools
from zoomgap.errors import UsageError
from zoomgap.pipeline import ModelChoice, RunOptions, chance, dry_run, make_micro, run
from zoomgap.pipeline.arms import NATIVE_PIXELS, pixels_of, spec_of
from zoomgap.records import Image
from zoomgap.storage import BenchmarkInfo, Store


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


@pytest.mark.parametrize(
    ("given", "pixels"),
    [(None, 1000), (4096, 4096), ("4096", 4096), ("2x", 2000), ("1.5x", 1500), ("native", NATIVE_PIXELS)],
)
def test_pixel_budgets(given, pixels):
    assert pixels_of(given, 1000) == pixels


@pytest.mark.parametrize("given", ["", "0", "-3", "x", "0x", "many", "9999999999", "1e4"])
def test_what_is_no_pixel_budget(given):
    with pytest.raises(UsageError, match="4x or native"):
        pixels_of(given, 1000)


def test_direct_matched_spends_what_the_other_run_spent(tmp_path):
    with Store.open(tmp_path / "z.db") as store:
        bench = make_micro(store, 3, 8_000_000).name
        oracle = run(store, bench, "oracle", ModelChoice(), RunOptions())
        with pytest.raises(UsageError, match="--match RUN"):
            run(store, bench, "direct-matched", ModelChoice(), RunOptions())
        with pytest.raises(UsageError, match="--match RUN"):
            run(store, bench, "direct", ModelChoice(), RunOptions(match=oracle.run))
        matched = run(store, bench, "direct-matched", ModelChoice(), RunOptions(match=oracle.run[:6]))
        assert store.run(matched.run).match == oracle.run
        # Trajectories are stored as they end: those that belong together have the sample in common, not the place.
        spent_by_sample = {spent.sample: spent for spent in map(store.trajectory, store.trajectory_ids(oracle.run))}
        for got in map(store.trajectory, store.trajectory_ids(matched.run)):
            spent, sample = spent_by_sample.pop(got.sample), store.sample(bench, got.sample)
            budget = spent.image_tokens * 32 * 32
            (shown,) = (part for part in got.steps[0].request.messages[0].content if isinstance(part, Image))
            assert imaging.fit_size(sample.size, budget) == imaging.Size(shown.width, shown.height)
        assert not spent_by_sample
        fewer = run(store, bench, "oracle", ModelChoice(), RunOptions(pixels="2x", limit=1))
        with pytest.raises(UsageError, match="2 in all"):
            run(store, bench, "direct-matched", ModelChoice(), RunOptions(match=fewer.run))


def test_an_agent_has_known_tools_and_a_sane_padding(tmp_path):
    with Store.open(tmp_path / "z.db") as store:
        bench = make_micro(store, 1, 8_000_000).name
        for options, rule in (
            (RunOptions(tools=("zoom_in", "fly")), "'fly' is not known"),
            (RunOptions(tools=("rotate",)), "without zoom_in"),
            (RunOptions(padding=1.5), "from 0 to 1"),
        ):
            with pytest.raises(UsageError, match=rule):
                run(store, bench, "agent", ModelChoice(), options)


TAKES = {"direct": 1, "region": 1, "agent-blind": 1, "agent": 2, "agent-lowres": 2, "agent-random": 2, "oracle": 2,
         "tiles": 5}  # fmt: skip


@pytest.mark.parametrize(("arm", "least"), TAKES.items())
def test_an_arm_that_shows_more_images_than_the_model_takes_never_starts(tmp_path, arm, least):
    with Store.open(tmp_path / "z.db") as store:
        bench = make_micro(store, 1, 8_000_000).name
        enough = ModelChoice(model="m", endpoint="http://localhost:1/v1", overrides={"max_images": least})
        dry_run(store, bench, arm, enough, RunOptions())
        if least > 1:
            few = replace(enough, overrides={"max_images": least - 1})
            rule = f"'{arm}' shows {least} images at once and model 'm' takes {least - 1} a request.*--max-images"
            for start in (dry_run, run):
                with pytest.raises(UsageError, match=rule):
                    start(store, bench, arm, few, RunOptions())
            assert store.runs() == []


def identity(arm="agent", **overrides):
    choice = ModelChoice(model="m", endpoint="http://localhost:1/v1", overrides=overrides)
    info = BenchmarkInfo(name="b", sha256="0" * 64, n=1, source={}, created="")
    return spec_of(info, arm, choice, None, RunOptions())  # type: ignore[arg-type]


def test_what_can_change_no_answer_is_no_part_of_a_runs_identity():
    assert identity(max_images=4).id == identity().id == identity(max_images=99).id
    assert identity(max_images=3).max_images == 3
    assert identity("direct", max_images=1).id == identity("direct").id
    relative = {"family": "qwen3-vl"}
    assert identity(**relative, max_pixels=10**6).id == identity(**relative).id
    absolute = {"family": "qwen2.5-vl"}
    own, smaller = identity(**absolute), identity(**absolute, max_pixels=10**6)
    assert own.id != smaller.id
    assert (own.resize, own.factor, own.min_pixels, own.max_pixels) == ("smart_resize", 28, 3136, 12_845_056)
    assert smaller.max_pixels == 10**6


def test_crops_of_one_wire_do_not_go_over_the_other():
    choice = ModelChoice(model="m", endpoint="http://localhost:1/v1", overrides={"image_return": "responses"})
    assert choice.way() == replace(choice, wire="responses").way() == "responses"
    assert replace(choice, wire="responses", overrides={}).way() == "responses"
    with pytest.raises(UsageError, match="drop --wire"):
        replace(choice, wire="chat").way()


def test_the_schema_arm_is_told_what_the_agent_is_told(tmp_path):
    with Store.open(tmp_path / "z.db") as store:
        info = make_micro(store, 1, 8_000_000)
        choice = ModelChoice(model="Qwen3-VL-8B", endpoint="http://127.0.0.1:9/v1/")
        options = RunOptions(max_zooms=5, tools=("zoom_in", "rotate"), padding=0.1)
        specs = {arm: spec_of(info, arm, choice, object(), options) for arm in ("agent", "direct-schema", "direct")}
        told = {arm: tools.system_text(Settings.of(spec)) for arm, spec in specs.items()}
        assert "5" in told["agent"]
        assert told["direct-schema"] == told["agent"]
        plain = spec_of(info, "direct", replace(choice, endpoint="http://127.0.0.1:9/v1"), object(), RunOptions())
        assert specs["direct"].id == plain.id


def test_the_length_of_a_reply_is_the_familys_unless_it_is_given(tmp_path):
    with Store.open(tmp_path / "z.db") as store:
        info = make_micro(store, 1, 8_000_000)

        def length(model: str, **options) -> int:
            choice = ModelChoice(model=model, endpoint="http://127.0.0.1:9/v1")
            return spec_of(info, "direct", choice, object(), RunOptions(**options)).sampling.max_tokens

        assert (length("gpt-5"), length("pixtral"), length("gpt-5", max_tokens=9)) == (8192, 1024, 9)
        assert spec_of(info, "direct", ModelChoice(), object(), RunOptions()).sampling.max_tokens == 256
