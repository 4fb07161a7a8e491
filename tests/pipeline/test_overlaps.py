from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from zoomgap import imaging, pipeline
from zoomgap.benchmarks.overlap import LOOK, PIXELS
from zoomgap.errors import ImageError, StoreError, UsageError
from zoomgap.geometry import Size
from zoomgap.pipeline import overlaps
from zoomgap.records import Sample
from zoomgap.storage import Store


def picture(seed: int) -> Image.Image:
    """A blurred pattern of its own, 480 x 360."""
    cells = np.random.default_rng(seed).integers(0, 256, (18, 24, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((480, 360), Image.Resampling.BICUBIC)


def copied(image: Image.Image) -> bytes:
    """A darker copy without its edge."""
    return imaging.encode(ImageEnhance.Brightness(image.crop((6, 4, 474, 356))).enhance(0.85))


def add(store: Store, name: str, files: list[bytes], source: dict | None = None, each: int = 1) -> list[Sample]:
    """A benchmark of `each` samples about every file."""
    samples = []
    for k, data in enumerate(files):
        image = imaging.open_image(data)
        media_type = "image/png" if data[1:4] == b"PNG" else "image/jpeg"
        info = store.add_image(data, media_type, Size(*image.size))
        samples += [
            Sample(
                id=f"{name}-{k}.{j}", benchmark=name, image=info.sha256, width=image.width, height=image.height,
                question="What?", answer="red", answer_kind="text", dimension="color",
            )
            for j in range(each)
        ]  # fmt: skip
    store.add_benchmark(name, f"sha-{name}", source or {"kind": "import"}, samples)
    return samples


@pytest.fixture
def store(tmp_path):
    """a has pictures 0 to 4; b has 0 as it is, 1 lossless, 2 darker and cropped, and 10; c has 20."""
    with Store.open(tmp_path / "z.db") as found:
        add(found, "a", [imaging.encode(picture(k)) for k in range(5)], each=2)
        lossless = imaging.encode(imaging.open_image(imaging.encode(picture(1))), "image/png")
        add(found, "b", [imaging.encode(picture(0)), lossless, copied(picture(2)), imaging.encode(picture(10))])
        add(found, "c", [imaging.encode(picture(20))])
        yield found


def test_what_two_sets_share_is_named_with_its_samples(store):
    found = pipeline.overlap(store, "a", "b")
    assert [(pair.kind, pair.samples_a, pair.samples_b) for pair in found.pairs] == [
        ("file", ("a-0.0", "a-0.1"), ("b-0.0",)),
        ("pixels", ("a-1.0", "a-1.1"), ("b-1.0",)),
        ("look", ("a-2.0", "a-2.1"), ("b-2.0",)),
    ]
    assert found.pairs[0].distance == 0 < found.pairs[2].distance <= 48
    row = {"b": "b", "images": 4, "same_file": 1, "same_pixels": 1, "alike": 1, "samples_a": 6, "samples_b": 3}
    document = found.to_json()
    assert document["benchmarks"] == [row]
    assert (document["a"], document["images"], document["distance"], document["bits"]) == ("a", 5, 48, 256)
    assert document["pairs"][1].keys() == {
        "bench_b", "image_a", "image_b", "kind", "distance", "samples_a", "samples_b",
    }  # fmt: skip


def test_copies_count_at_any_distance(store):
    assert [pair.kind for pair in pipeline.overlap(store, "a", "b", distance=0).pairs] == ["file", "pixels"]


def test_plain_images_are_shared_only_where_their_pixels_are(store):
    plain = {color: Image.new("RGB", (480, 360), color) for color in ("white", "black", "grey")}
    add(store, "d", [imaging.encode(plain["white"]), imaging.encode(plain["black"], "image/png")])
    add(store, "e", [imaging.encode(plain["grey"]), imaging.encode(plain["white"], "image/png")])
    (pair,) = pipeline.overlap(store, "d", "e").pairs
    assert (pair.kind, pair.samples_a, pair.samples_b) == ("pixels", ("d-0.0",), ("e-1.0",))


def test_all_others_are_checked_at_once(store):
    add(store, "ask-1", [imaging.encode(picture(3))], {"kind": "ask"})
    store.add_benchmark("empty", "0", {"kind": "import"}, [])
    found = pipeline.overlap(store, "a", "all")
    assert found.others == ("b", "c")
    assert {row["b"]: row["same_file"] for row in found.to_json()["benchmarks"]} == {"b": 1, "c": 0}
    one = [pipeline.overlap(store, "a", name).pairs for name in ("b", "c")]
    assert found.pairs == (*one[0], *one[1])


def test_hashes_are_computed_once_and_an_interruption_loses_little(store, monkeypatch):
    computed = []
    monkeypatch.setattr(overlaps, "look", lambda path: computed.append(path) or "0" * 64)
    monkeypatch.setattr(overlaps, "BATCH", 2)

    def stop(done, total):
        assert total == 8
        if done == 4:
            raise KeyboardInterrupt

    images = [sample.image for name in ("a", "b") for sample in store.samples(name)]
    with pytest.raises(KeyboardInterrupt):
        overlaps.hashes(store, LOOK, images, stop)
    assert len(store.image_hashes(LOOK)) == len(computed) == 4
    overlaps.hashes(store, LOOK, images)
    overlaps.hashes(store, LOOK, images)
    assert len(computed) == len(set(images)) == 8


def test_few_images_are_decoded_in_full(store):
    pipeline.overlap(store, "a", "b")
    assert len(store.image_hashes(LOOK)) == 8
    assert len(store.image_hashes(PIXELS)) == 2, "those of the pairs that look alike and are as large"


def test_what_cannot_be_compared_is_refused(store, tmp_path):
    store.add_benchmark("empty", "0", {"kind": "import"}, [])
    for a, b, said in (
        ("a", "a", "twice"),
        ("nope", "a", "'nope'"),
        ("a", "nope", "'nope'"),
        ("a", "empty", "no samples"),
    ):
        with pytest.raises(UsageError, match=said):
            pipeline.overlap(store, a, b)
    with Store.open(tmp_path / "alone.db") as alone:
        add(alone, "a", [imaging.encode(picture(0))])
        with pytest.raises(UsageError, match="no benchmark beside 'a'"):
            pipeline.overlap(alone, "a", "all")


def test_a_missing_and_a_broken_file_are_named(store):
    image = store.samples("b")[3].image
    path = store.objects.path(image)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ImageError, match=image):
        pipeline.overlap(store, "a", "b")
    path.unlink()
    with pytest.raises(StoreError, match=image):
        pipeline.overlap(store, "a", "b")


def test_a_page_shows_pairs_side_by_side(store, tmp_path, monkeypatch):
    found = pipeline.overlap(store, "a", "b")
    page = tmp_path / "page.html"
    pipeline.write_overlap(store, found, page)
    text = page.read_text(encoding="utf-8")
    assert "3 pairs of images look the same" in text
    assert text.count('src="data:image/jpeg;base64,') == 6
    assert "http" not in text.replace("http-equiv", "")
    monkeypatch.setattr("zoomgap.pipeline.benches.MAX_PAIRS", 1)
    pipeline.write_overlap(store, found, page)
    assert "2 more pairs are left out" in page.read_text(encoding="utf-8")
    pipeline.write_overlap(store, pipeline.overlap(store, "a", "c"), page)
    assert "No image is shared" in page.read_text(encoding="utf-8")


def test_names_on_the_page_are_data(store, tmp_path):
    add(store, "<script>x</script>", [imaging.encode(picture(0))])
    page = tmp_path / "page.html"
    pipeline.write_overlap(store, pipeline.overlap(store, "<script>x</script>", "a"), page)
    assert "<script" not in page.read_text(encoding="utf-8")


def test_training_images_are_checked_against_what_measures(store):
    train = [copied(picture(20)), imaging.encode(picture(30)), imaging.encode(picture(31)), imaging.encode(picture(32))]
    images = [sample.image for sample in add(store, "train", train)]
    add(store, "micro-test", train[1:2], {"kind": "micro", "seed": 8_000_000, "n": 1})
    add(store, "micro-train", train[2:3], {"kind": "micro", "seed": 4_000_000, "n": 9})
    add(store, "micro-across", train[2:3], {"kind": "micro", "seed": 7_999_999, "n": 2})
    add(store, "ask-1", train[3:4], {"kind": "ask"})
    add(store, "more to train on", train, {"kind": "import", "split": "train"})
    add(store, "both", train[3:4], {"kind": "import", "split": "test, train"})
    found = pipeline.measured_on(store, "train", images)
    assert found == {images[0]: ["c"], images[1]: ["micro-test"], images[2]: ["micro-across"], images[3]: ["both"]}
    assert pipeline.measured_on(store, "more to train on", images[:1]) == {images[0]: ["c", "train"]}


def test_all_pictures_of_a_question_and_its_crop_are_checked(store):
    first, second, crop = [sample.image for name, k in (("x", 40), ("y", 41), ("z", 42))
                           for sample in add(store, name, [imaging.encode(picture(k))])]  # fmt: skip
    (sample,) = add(store, "several", [imaging.encode(picture(43))])
    several = replace(sample, benchmark="set", more_images=(first, second), crop=crop)
    store.add_benchmark("set", "sha-set", {"kind": "import"}, [several])
    pairs = pipeline.overlap(store, "set", "all").pairs
    assert {pair.bench_b: pair.image_a for pair in pairs} == {
        "several": sample.image, "x": first, "y": second, "z": crop,
    }  # fmt: skip
    assert all(pair.samples_a == (sample.id,) for pair in pairs)


def test_alone_there_is_nothing_to_hash(tmp_path):
    with Store.open(tmp_path / "z.db") as store:
        (sample,) = add(store, "train", [imaging.encode(picture(0))])
        assert pipeline.measured_on(store, "train", [sample.image]) == {}
        assert store.image_hashes(LOOK) == {}
