from __future__ import annotations

from dataclasses import replace

import pytest

from zoomgap import imaging, pipeline
from zoomgap.geometry import Box, Size
from zoomgap.models.prices import Price
from zoomgap.pipeline.estimate import estimate, first_prompt
from zoomgap.records import ARMS, RunSpec, Sample, Sampling
from zoomgap.storage import Store

SAMPLE = Sample(
    id="s", benchmark="b", image="0", width=2000, height=1500, question="What letter is on the red star?", answer="B",
    answer_kind="text", dimension="ocr", cluster="s", evidence=(Box(900, 600, 1300, 900),),
)  # fmt: skip


def spec(arm: str, **change) -> RunSpec:
    return RunSpec(benchmark="b", benchmark_sha256="0", arm=arm, model="m", sampling=Sampling(max_tokens=50), **change)


def test_one_request_has_one_call_and_an_agent_a_range():
    direct = estimate(spec("direct", max_zooms=0), [SAMPLE] * 3, Price(1, 2), {})
    assert (direct.samples, direct.calls, direct.completion_tokens) == (3, (3, 3), (3, 150))
    assert direct.prompt_tokens.low == direct.prompt_tokens.high
    agent = estimate(spec("agent", max_zooms=2), [SAMPLE], None, {})
    assert agent.calls == (1, 7)  # two zooms, two bad calls, one again, one too many, the answer
    assert agent.prompt_tokens.high > 5 * agent.prompt_tokens.low
    assert agent.cost is None
    assert direct.cost is not None
    assert direct.cost.high == pytest.approx((direct.prompt_tokens.high + 2 * 150) / 1e6)


def test_each_picture_of_a_question_is_counted():
    one, three = (
        estimate(spec("direct"), [replace(SAMPLE, more_images=more)], None, {}).prompt_tokens.low
        for more in ((), ("a" * 64, "b" * 64))
    )
    assert three - one == 2 * imaging.view_size(SAMPLE.size, 65_536, 32).pixels // 32**2


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_can_be_estimated(arm):
    found = estimate(spec(arm), [SAMPLE], Price(1, 1), {"s": 4 * 65_536})
    assert 0 < found.prompt_tokens.low <= found.prompt_tokens.high
    assert found.to_json()["calls"] == list(found.calls)


def test_more_pixels_are_more_tokens():
    one, matched = (first_prompt(spec("direct-matched"), SAMPLE, budgets) for budgets in ({}, {"s": 4 * 65_536}))
    assert matched > 2 * one


def test_crops_count_as_large_as_they_are_shown():
    bounds = {"min_crop_pixels": 128 * 128, "crop_pixels": 1024 * 1024, "factor": 32}
    text = first_prompt(spec("region", **bounds), SAMPLE, {}) - 608 * 448 // 1024  # 600 x 450 px: grown by half
    assert 0 < text < 60
    assert first_prompt(spec("region-lowres", **bounds), SAMPLE, {}) == text + 608 * 448 // 1024
    view = imaging.view_size(Size(2000, 1500), 65_536).pixels // 1024
    assert first_prompt(spec("oracle", **bounds), SAMPLE, {}) == text + view + 608 * 448 // 1024
    assert first_prompt(spec("tiles", **bounds), SAMPLE, {}) == text + view + 4 * (992 * 736 // 1024)
    small = {**bounds, "crop_pixels": 128 * 128}
    assert first_prompt(spec("region", **small), SAMPLE, {}) == text + 160 * 96 // 1024


def test_a_crop_of_the_sets_own_counts_as_its_part_or_as_the_whole_budget():
    bounds = {"min_crop_pixels": 128 * 128, "crop_pixels": 1024 * 1024, "factor": 32}
    placed = replace(SAMPLE, crop="a" * 64, evidence_kind="region")
    part, lowres, whole = (
        first_prompt(spec(arm, **bounds), sample, {})
        for arm, sample in (("region", placed), ("region-lowres", placed), ("region", replace(placed, evidence=())))
    )
    assert part == lowres
    assert whole - part == 1024 - 384 * 288 // 1024  # its 400 x 300 px, without room around them


def test_what_is_stored_need_not_be_paid_again(tmp_path):
    with Store.open(tmp_path / "z.db") as store:
        bench = pipeline.make_micro(store, 3, 8_000_000).name
        choice, options = pipeline.ModelChoice(), pipeline.RunOptions(price=Price(1, 1))
        before = pipeline.dry_run(store, bench, "direct", choice, options)
        summary = pipeline.run(store, bench, "direct", choice, pipeline.RunOptions(limits=pipeline.Limits(samples=2)))
        assert (before.samples, summary.attempted) == (3, 2)
        assert pipeline.dry_run(store, bench, "direct", choice, options).samples == 1
        real = [store.trajectory(id) for id in store.trajectory_ids(summary.run)]
        assert before.prompt_tokens.low == pytest.approx(1.5 * sum(t.prompt_tokens for t in real), rel=0.15)
