"""Attention of real checkpoints over stored samples."""

from __future__ import annotations

import asyncio
import io
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.models import tiny
from zoomgap import imaging, pipeline
from zoomgap.agents import Context, Settings, answer
from zoomgap.compare.attention import coverage, log_enrichment
from zoomgap.errors import UsageError
from zoomgap.geometry import Box
from zoomgap.models.attention import reply_attention
from zoomgap.models.catalog import MICRO_PATH, open_model
from zoomgap.pipeline import AttentionOptions, ModelChoice, RunOptions
from zoomgap.pipeline.arms import spec_of
from zoomgap.records import Sample
from zoomgap.renditions import Renditions
from zoomgap.storage import Store


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "z.db") as store:
        yield store


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Micro scenes, and what micro attends to in them."""
    with Store.open(tmp_path_factory.mktemp("made") / "z.db") as store:
        bench = pipeline.make_micro(store, 16, 8_300_000).name
        told: list[tuple[int, int, str]] = []
        rows: list = []
        result = pipeline.measure_attention(
            store, bench, ["micro"], AttentionOptions(), lambda *count: told.append(count), rows.append
        )
        yield store, bench, result, told, rows


def pictures(store: Store, n: int, **fields) -> str:
    """Samples about noise of odd sizes, one question each, evidence in the middle."""
    samples = []
    for k in range(n):
        width, height = 331 + 40 * k, 197
        noise = np.random.default_rng(k).integers(0, 256, (height, width, 3), dtype=np.uint8)
        stream = io.BytesIO()
        # Stored upright: what the file says of its orientation is settled before boxes are read.
        picture = Image.fromarray(noise)
        exif = picture.getexif()
        exif[0x0112] = 6 if k % 2 else 1
        picture.save(stream, "JPEG", exif=exif)
        clean = imaging.clean_bytes(stream.getvalue())
        info = store.add_image(*clean)
        box = Box(info.width / 2, info.height / 2, info.width / 2 + 30, info.height / 2 + 20)
        base = {
            "id": f"s{k}", "benchmark": "b", "image": info.sha256, "width": info.width, "height": info.height,
            "question": "What is it?", "answer": "red", "answer_kind": "text", "dimension": "color",
            "evidence": (box, box.shifted(5, 5)), "evidence_kind": "tight", "cluster": f"s{k}",
        }  # fmt: skip
        samples.append(Sample(**{**base, **fields}))
    store.add_benchmark("b", "0" * 64, {}, samples)
    return "b"


def test_micro_looks_at_the_evidence(made):
    _, bench, result, told, rows = made
    (model,) = result.figures.models
    assert (result.figures.bench, result.figures.n, model.model, model.n) == (bench, 16, "micro", 16)
    assert [row.layer for row in model.layers] == [0, 1, 2, 3]
    assert model.best.enrichment.low > 3
    assert model.best.over_control.low > 3
    assert all(0 < row.image_share.value < 1 for row in model.layers)
    assert told[-1] == (16, 16, "micro")
    assert [row.model for row in rows] == ["micro"]
    assert rows[0].layers == model.layers, "what is told at once is what is told at last"
    again = pipeline.measure_attention(made[0], bench, ["micro"], AttentionOptions())
    assert again.figures == result.figures


def test_the_figures_are_those_of_the_direct_arm(made):
    """One sample by hand: the arm's own request and reply, the boxes on the grid of its tokens."""
    store, bench, result, *_ = made
    sample = store.samples(bench)[3]
    model = open_model("micro", None, store.objects.read)
    spec = spec_of(store.benchmark(bench), "direct", ModelChoice(), model, RunOptions())
    context = Context(model, Renditions(store), Settings.of(spec))
    trajectory = asyncio.run(answer("direct", sample, context, run="", attempt=0, invocation=""))
    request = trajectory.steps[0].request
    (reply,) = model.answer([request])
    found = reply_attention(model, request, reply)
    expected = log_enrichment(found.heads.mean(1), coverage(sample.evidence, sample.size, *found.grid))
    alone = pipeline.measure_attention(store, bench, ["micro"], AttentionOptions(limit=4))
    drawn = alone.drawn["micro"][sample.id]
    assert drawn.reply == trajectory.text
    assert drawn.grid == found.grid
    assert log_enrichment(drawn.maps, coverage(sample.evidence, sample.size, *drawn.grid)) == pytest.approx(
        expected, abs=1e-4
    )
    assert result.drawn["micro"][sample.id].maps == pytest.approx(drawn.maps, abs=1e-4)


def test_a_student_against_its_base(made, tmp_path):
    store, bench, *_ = made
    folder = tmp_path / "student"
    shutil.copytree(MICRO_PATH, folder)
    both = pipeline.measure_attention(store, bench, ["micro", f"hf:{folder}"], AttentionOptions(limit=12))
    assert [pair.ratio.value for pair in both.figures.pairs] == pytest.approx([1] * 4), "a copy looks where it did"
    assert [pair.ratio.n for pair in both.figures.pairs] == [12] * 4
    page = tmp_path / "page.html"
    pipeline.write_attention(store, both, page)
    text = page.read_text()
    assert text.count('class="trace"') == 12
    assert text.count('<img class="map"') == 24


def test_gold_answers_are_read_in_place_of_its_own(store, tmp_path):
    folder = tiny.FAMILIES["qwen3_vl"](tmp_path / "tiny")
    bench = pictures(store, 2, answer="red")
    name = f"hf:{folder}"
    found = {
        answers: pipeline.measure_attention(
            store, bench, [name], AttentionOptions(answers=answers, pixels="40000", max_tokens=4)
        )
        for answers in ("own", "gold")
    }
    assert found["gold"].figures.answers == "gold"
    sample = found["own"].samples[0].id
    own, gold = (found[answers].drawn[name][sample] for answers in ("own", "gold"))
    assert own.reply == gold.reply != "red", "what is told of an answer is told of the model's own"
    assert not np.allclose(own.maps, gold.maps, atol=1e-4)


@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_5", "gemma3"])
def test_families_with_odd_and_turned_pictures(store, tmp_path, name):
    folder = tiny.FAMILIES[name](tmp_path / name)
    bench = pictures(store, 4)
    options = AttentionOptions(pixels="40000", max_tokens=3)
    result = pipeline.measure_attention(store, bench, [f"hf:{folder}"], options)
    (model,) = result.figures.models
    assert model.n == 4
    assert all(np.isfinite(row.image_share.value) for row in model.layers)
    for sample in result.samples:
        grid = result.drawn[f"hf:{folder}"][sample.id].grid
        if name == "gemma3":
            assert grid == (2, 2)
        else:
            assert (grid.columns > grid.rows) == (sample.width > sample.height)
    pipeline.write_attention(store, result, tmp_path / "page.html")


def test_families_whose_tokens_make_no_grid_say_so(store, tmp_path):
    folder = tiny.FAMILIES["idefics3"](tmp_path / "idefics3")
    bench = pictures(store, 2)
    with pytest.raises(
        UsageError, match=r"no attention .*\(where in the image the tokens of model type idefics3 lie .*: 2\)"
    ):
        pipeline.measure_attention(store, bench, [f"hf:{folder}"], AttentionOptions(pixels="40000", max_tokens=3))


def test_samples_without_usable_evidence_are_left_out_and_told(store):
    whole = Box(0, 0, 3000, 3000)
    bench = pictures(store, 3)
    first, second, third = store.samples(bench)
    odd = [
        replace(first, id="bare", evidence=(), evidence_kind=None),
        replace(second, id="huge", evidence=(whole,)),
        replace(third, id="outside", evidence=(Box(5000, 0, 5001, 9),)),
        replace(first, id="several", more_images=(second.image,)),
    ]
    store.add_benchmark("odd", "1" * 64, {}, [replace(s, benchmark="odd") for s in [first, second, third, *odd]])
    gold = AttentionOptions(answers="gold")
    (model,) = pipeline.measure_attention(store, "odd", ["micro"], gold).figures.models
    assert model.n == 3
    left_out = {"no evidence box": 2, "evidence over half of the image": 1, "several pictures": 1}
    assert model.skipped == left_out
    # Shown noise, micro often ends its turn at once.
    (own,) = pipeline.measure_attention(store, "odd", ["micro"], AttentionOptions()).figures.models
    assert own.skipped == {**left_out, "the answer is empty": 3 - own.n}
    store.add_benchmark("none", "2" * 64, {}, [replace(s, benchmark="none") for s in odd])
    with pytest.raises(UsageError, match="'none' has no sample whose evidence attention could be held to"):
        pipeline.measure_attention(store, "none", ["micro"], AttentionOptions())
    store.add_benchmark("one", "3" * 64, {}, [replace(first, benchmark="one")])
    (one,) = pipeline.measure_attention(store, "one", ["micro"], gold).figures.models
    assert one.best.over_control.value is None
    assert one.best.enrichment.low is None


@pytest.mark.parametrize(
    ("models", "options", "said"),
    [
        (["gpt-5"], {}, "attention of 'gpt-5' cannot be read: use micro or hf:PATH"),
        (["micro", "micro"], {}, "'micro' is named twice"),
        (["micro", "hf:/nowhere"], {}, "no checkpoint at '/nowhere'"),
        (["micro"], {"answers": "mine"}, "'mine' are not known: use own or gold"),
        (["micro"], {"pixels": "many"}, "'many' is no pixel budget"),
    ],
)
def test_bad_usage_is_one_clear_line(store, models, options, said):
    pictures(store, 1)
    with pytest.raises(UsageError, match=said) as caught:
        pipeline.measure_attention(store, "b", models, AttentionOptions(**options))
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="nothing"):
        pipeline.measure_attention(store, "nothing", ["micro"], AttentionOptions())
