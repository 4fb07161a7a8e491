import dataclasses
import io
import itertools

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from zoomgap.benchmarks.micro import (
    LOCAL,
    QUESTIONS,
    SPLITS,
    VALUES,
    SceneConfig,
    benchmark_sha256,
    check_training_range,
    choices_for,
    guess_rate,
    make,
    split_of,
    value_shown,
)
from zoomgap.benchmarks.micro.samples import MAX_BYTES, MicroSample
from zoomgap.errors import UsageError
from zoomgap.geometry import Box
from zoomgap.imaging import open_image, sha256
from zoomgap.records import DIMENSIONS, canonical_json

SMALL = SceneConfig(sides=(256, 320), min_side=192)
FIRST = SPLITS["tune"].start


@pytest.fixture(scope="module")
def many():
    return list(make(480, FIRST, SMALL))


def test_same_arguments_give_the_same_bytes():
    assert list(make(3, FIRST)) == list(make(3, FIRST))


def test_a_sample_depends_on_its_own_seed_alone():
    long = list(make(8, FIRST, SMALL))
    renamed = [MicroSample(dataclasses.replace(s, benchmark=f"micro-{FIRST}-5"), jpeg) for s, jpeg in long[:5]]
    assert list(make(5, FIRST, SMALL)) == renamed
    (alone,) = make(1, FIRST + 6, SMALL)
    assert alone.jpeg == long[6].jpeg
    assert alone.sample.question == long[6].sample.question


def test_more_questions_ask_about_other_carriers_of_the_same_image():
    several = list(make(6, FIRST, SMALL, questions=3))
    single = [dataclasses.replace(s, benchmark=f"micro-{FIRST}-6x3") for s, _ in make(6, FIRST, SMALL)]
    assert [s for s, _ in several if "." not in s.id] == single
    for cluster, group in itertools.groupby((s for s, _ in several), key=lambda s: s.cluster):
        samples = list(group)
        carriers = samples[0].meta["carriers"]
        assert len(samples) == min(3, len(carriers))
        assert [s.id for s in samples] == [cluster + suffix for suffix in ("", ".1", ".2")][: len(samples)]
        assert len({s.image for s in samples}) == 1
        assert len({s.meta["name"] for s in samples}) == len(samples)
        for sample in samples:
            (told,) = [c for c in carriers if c["name"] == sample.meta["name"]]
            assert sample.meta["name"] in sample.question
            assert (told["value"], told["detail_box"]) == (sample.meta["value"], sample.evidence[0].as_list())
    assert {s.answer_kind == "choice" for s, _ in several} == {True, False}
    with pytest.raises(UsageError, match="at least 1"):
        make(6, FIRST, SMALL, questions=0)


def test_what_a_box_shows_is_the_asked_carriers_value_or_that_of_the_one_in_its_middle():
    sample, _ = next(iter(make(1, FIRST, SMALL)))

    def told(name, x, value):
        return {"name": name, "detail_box": [x, 0, x + 10, 10], "value": value}

    carriers = [told("asked", 0, "one"), told("near", 40, "two"), told("far", 60, "three")]
    sample = dataclasses.replace(sample, meta={"name": "asked", "carriers": carriers})
    shown = {
        (0, 100): "one",  # all three whole: the one asked about
        (2, 100): "two",  # the asked one is cut: nearest to 51
        (30, 100): "three",  # nearest to 65
        (42, 58): None,
    }
    assert {box: value_shown(sample, Box(box[0], 0, box[1], 20)) for box in shown} == shown


def test_record_describes_its_image(many):
    for sample, jpeg in many[:24]:
        seed = sample.meta["seed"]
        assert sample.id == sample.cluster == f"micro-{seed}"
        assert sample.benchmark == f"micro-{FIRST}-480"
        assert sample.image == sha256(jpeg)
        assert open_image(jpeg).size == (sample.width, sample.height)
        assert sample.evidence_kind == "tight"
        assert 0 < sample.detail_px <= sample.evidence[0].side
        named = [c for c in sample.meta["carriers"] if c["name"] == sample.meta["name"]]
        assert [c["detail_box"] for c in named] == [sample.evidence[0].as_list()]
        assert sample.meta["name"] in sample.question
        canonical_json(sample.meta)


def test_answers_have_the_form_they_claim(many):
    for sample, _ in many:
        value = sample.meta["value"]
        if sample.answer_kind == "choice":
            assert sample.choices["ABCD".index(sample.answer)] == value
            assert len(set(sample.choices)) == 4
        else:
            assert sample.choices == ()
            assert sample.answer == value
            assert sample.answer_kind == ("integer" if sample.dimension == "counting" else "text")


def test_each_dimension_has_choices_in_half_and_balanced_letters(many):
    for dimension in DIMENSIONS:
        kinds = [s.answer_kind == "choice" for s, _ in many if s.dimension == dimension]
        assert sum(kinds) * 2 == len(kinds)
    letters = [s.answer for s, _ in many if s.answer_kind == "choice"]
    assert stats.chisquare([letters.count(letter) for letter in "ABCD"]).pvalue > 0.001


def test_the_carriers_color_is_no_choice(many):
    asked = [s for s, _ in many if s.dimension == "color" and s.choices]
    assert asked
    assert all(s.meta["name"].split()[0] not in s.choices for s in asked)


def test_every_phrasing_occurs(many):
    for dimension in DIMENSIONS:
        seen = {s.question.replace(s.meta["name"], "{name}") for s, _ in many if s.dimension == dimension}
        assert seen == set(QUESTIONS[dimension])


def test_jpeg_is_small_and_keeps_full_chroma():
    for _, jpeg in make(6, FIRST):
        assert len(jpeg) <= MAX_BYTES
        with Image.open(io.BytesIO(jpeg)) as image:
            assert [component[1:3] for component in image.layer] == [(1, 1)] * 3


def test_jpeg_of_a_noisy_photograph_stays_within_the_limit(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (1400, 1400, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    ((_, jpeg),) = make(1, FIRST, SceneConfig(sides=(1400, 1400), aspects=(1.0,)), backgrounds=tmp_path)
    assert len(jpeg) <= MAX_BYTES
    assert open_image(jpeg).size == (1400, 1400)


def test_photographs_are_used_and_bad_folders_refused(tmp_path):
    with pytest.raises(UsageError, match="holds no photographs"):
        make(1, FIRST, SMALL, backgrounds=tmp_path)
    with pytest.raises(UsageError, match="not a folder"):
        make(1, FIRST, SMALL, backgrounds=tmp_path / "absent")
    photo = tmp_path / "a.png"
    Image.new("RGB", (64, 64), (0, 90, 0)).save(photo)
    ((_, jpeg),) = make(1, FIRST, SMALL, backgrounds=tmp_path)
    pixels = np.asarray(open_image(jpeg), int)
    assert (np.abs(pixels - (0, 90, 0)).max(axis=2) < 8).mean() > 0.2
    photo.write_bytes(b"no image")
    with pytest.raises(UsageError, match=r"a\.png"):
        next(make(1, FIRST, SMALL, backgrounds=tmp_path))


@pytest.mark.parametrize(("n", "seed"), [(0, FIRST), (-3, FIRST), (1, -1), (5, -2), (2, 2**31 - 1)])
def test_bad_counts_and_seeds_are_refused_at_once(n, seed):
    with pytest.raises(UsageError):
        make(n, seed)


def test_hash_knows_records_pixels_and_order_but_not_the_encoder(many):
    some = many[:3]
    reference = benchmark_sha256(iter(some))
    assert reference == benchmark_sha256(some)
    assert reference != benchmark_sha256(some[::-1])
    other_answer = MicroSample(dataclasses.replace(some[0].sample, answer="?"), some[0].jpeg)
    assert reference != benchmark_sha256([other_answer, *some[1:]])
    assert reference != benchmark_sha256([MicroSample(some[0].sample, some[1].jpeg), *some[1:]])
    buffer = io.BytesIO()
    open_image(some[0].jpeg).save(buffer, "PNG")
    same_pixels = MicroSample(dataclasses.replace(some[0].sample, image=sha256(buffer.getvalue())), buffer.getvalue())
    assert reference == benchmark_sha256([same_pixels, *some[1:]])


def test_phrasings_are_many_and_name_the_carrier_only_in_full_questions():
    assert set(QUESTIONS) == set(LOCAL) == set(VALUES) == set(DIMENSIONS)
    for dimension in DIMENSIONS:
        assert len(set(QUESTIONS[dimension])) >= 5
        assert len(set(LOCAL[dimension])) >= 3
        assert all(text.count("{name}") == 1 for text in QUESTIONS[dimension])
        assert all("{" not in text for text in LOCAL[dimension])


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_choices_hold_the_value_once_in_any_place(dimension):
    rng = np.random.default_rng(0)
    value, banned = VALUES[dimension][0], VALUES[dimension][-1:] if len(VALUES[dimension]) > 4 else ()
    drawn = [choices_for(dimension, value, rng, exclude=banned) for _ in range(60)]
    assert all(len(set(c)) == 4 and value in c and not set(c) & set(banned) for c in drawn)
    assert {c.index(value) for c in drawn} == {0, 1, 2, 3}


def test_guess_rates():
    assert guess_rate("ocr", "choice") == guess_rate("structure", "text") == 0.25
    assert guess_rate("ocr", "text") == 1 / 20
    assert guess_rate("counting", "integer") == 1 / 6
    assert guess_rate("color", "text") == 1 / 7


def test_splits_are_contiguous_and_found_by_seed():
    for (_, one), (_, two) in itertools.pairwise(SPLITS.items()):
        assert one.stop == two.start
    assert [split_of(s) for s in (0, 3_999_999, 4_000_000, 8_000_000, 9_000_000, 9_099_999, 9_100_000)] == [
        "pretrain", "pretrain", "distill", "tune", "test", "test", "judge",
    ]  # fmt: skip
    with pytest.raises(UsageError):
        split_of(-1)


@pytest.mark.parametrize(
    ("first", "count", "split"),
    [
        (3_999_999, 2, "pretrain"),
        (0, 1, "distill"),
        (7_999_999, 2, "distill"),
        (0, 0, "pretrain"),
        (-1, 2, "pretrain"),
        (8_000_000, 1, "tune"),
        (9_000_000, 1, "test"),
        (5, 1, "elsewhere"),
    ],
)
def test_training_ranges_that_leave_their_split_are_refused(first, count, split):
    with pytest.raises(UsageError):
        check_training_range(first, count, split)


def test_training_ranges_inside_their_split_are_taken():
    check_training_range(0, 4_000_000, "pretrain")
    check_training_range(7_999_990, 10, "distill")
