from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from zoomgap import imaging, pipeline
from zoomgap.errors import StoreError, UsageError
from zoomgap.geometry import Box, Size
from zoomgap.pipeline.benches import INSET_BYTES, PICTURE_BYTES
from zoomgap.records import Sample
from zoomgap.storage import Store


def stored(store: Store, name: str, image: Image.Image, count: int = 3, **changes) -> list[Sample]:
    """A benchmark of samples about one image."""
    info = store.add_image(imaging.encode(image), "image/jpeg", Size(*image.size))
    fields = {
        "image": info.sha256, "width": image.width, "height": image.height, "question": "What is it?",
        "answer": "red", "answer_kind": "text", "dimension": "color", "evidence": (Box(10, 10, 30, 40),),
        "evidence_kind": "tight",
    }  # fmt: skip
    samples = [Sample(**{"id": f"s{k}", "benchmark": name, **fields, **changes}) for k in range(count)]
    store.add_benchmark(name, f"sha-{name}", {"kind": "test"}, samples)
    return samples


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "z.db") as found:
        yield found


@pytest.fixture
def noise() -> Image.Image:
    """What compresses worst."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (1400, 1600, 3), dtype=np.uint8))


def test_a_sample_is_found_or_its_neighbours_are_named(store):
    samples = stored(store, "b", Image.new("RGB", (64, 64), "red"))
    assert pipeline.find_sample(store, "b", "s1") == samples[1]
    with pytest.raises(UsageError, match=r"'s9' is not in benchmark 'b': near it are s0|s1|s2"):
        pipeline.find_sample(store, "b", "s9")
    with pytest.raises(UsageError, match="near it are s0, s1, s2"):
        pipeline.find_sample(store, "b", "something else")


def test_a_page_stays_small_whatever_the_images(store, tmp_path, noise):
    boxes = tuple(Box(200 * k, 300, 200 * k + 150, 450) for k in range(6))
    stored(store, "b", noise, evidence=boxes)
    page = tmp_path / "new folder" / "page.html"
    assert pipeline.write_view(store, "b", page) == (3, 3)
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/jpeg") == 3 * 5, "an image and four insets each"
    assert text.count("2 more boxes are outlined") == 3
    assert len(text) < 3 * ((PICTURE_BYTES + INSET_BYTES) * 4 / 3 + 8000) + 30_000
    assert 200 * (PICTURE_BYTES + INSET_BYTES) * 4 / 3 < 30e6


def test_limit_and_dimension_choose_the_samples(store, tmp_path):
    image = Image.new("RGB", (64, 64), "red")
    samples = stored(store, "b", image)
    other = [replace(s, id=f"t{k}", benchmark="c", dimension="ocr") for k, s in enumerate(samples)]
    store.add_benchmark("c", "sha", {"kind": "test"}, [*[replace(s, benchmark="c") for s in samples], *other])
    seen = []
    page = tmp_path / "page.html"
    chosen = pipeline.write_view(
        store, "c", page, limit=2, dimension="ocr", count=lambda done, total: seen.append((done, total))
    )
    assert chosen == (2, 3)
    assert seen == [(1, 2), (2, 2)]
    assert ">t1 ·" in page.read_text()
    assert ">s0 ·" not in page.read_text()
    with pytest.raises(UsageError, match="choose from color, ocr"):
        pipeline.write_view(store, "c", page, dimension="shape")


def test_what_cannot_be_shown_is_refused_before_the_work(store, tmp_path):
    (sample,) = stored(store, "b", Image.new("RGB", (64, 64), "red"), count=1)
    store.add_benchmark("empty", "0", {"kind": "test"}, [])
    with pytest.raises(UsageError, match="'empty' has no samples"):
        pipeline.write_view(store, "empty", tmp_path / "page.html")
    with pytest.raises(UsageError, match="'empty' has no samples"):
        pipeline.bench_stats(store, "empty")
    with pytest.raises(UsageError, match="is a folder"):
        pipeline.write_view(store, "b", tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="file"):
        pipeline.write_view(store, "b", tmp_path / "file" / "page.html")
    store.objects.path(sample.image).unlink()
    with pytest.raises(StoreError, match="restore that folder"):
        pipeline.write_view(store, "b", tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
