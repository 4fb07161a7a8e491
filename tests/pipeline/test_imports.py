"""An import as a whole: once or twice, cut off, of other content, and what is kept of where it came from."""

from __future__ import annotations

import io
import json

import pytest
from PIL import Image

from tests.benchmarks.readers.shapes import base64_of, image, write_jsonl, write_parquet, write_tsv
from zoomgap.benchmarks.readers import Source
from zoomgap.errors import UsageError
from zoomgap.imaging import open_image, sha256
from zoomgap.pipeline import ModelChoice, RunOptions, dry_run, import_set
from zoomgap.pipeline.imports import WAITING, licence
from zoomgap.storage import Store


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "z.db") as opened:
        yield opened


def rows(count: int = 6, **change) -> list[dict]:
    return [
        {"index": k, "image": base64_of(image(k)), "question": "q", "A": "x", "B": "y", "answer": "A"} | change
        for k in range(count)
    ]


def test_a_second_import_changes_nothing(store, tmp_path):
    source = Source(path=write_tsv(tmp_path / "a.tsv", [*rows(), *rows(1, answer="Q", index=99)]))
    first = import_set(store, "a", source, format="vlmevalkit")
    before, counts = store.samples("a"), store.counts()
    again = import_set(store, "a", source, format="vlmevalkit")
    assert (first.new, again.new) == (True, False)
    assert again._replace(new=True) == first
    assert (store.samples("a"), store.counts(), store.verify()) == (before, counts, [])


def test_the_checksum_is_of_the_samples_and_not_of_the_name_or_the_file(store, tmp_path):
    tsv = Source(path=write_tsv(tmp_path / "a.tsv", rows()))
    table = Source(path=write_parquet(tmp_path / "a.parquet", rows()))
    one, other = (import_set(store, name, s, format="vlmevalkit") for name, s in (("one", tsv), ("other", table)))
    assert one.info.sha256 == other.info.sha256
    for k, changed in enumerate(
        [rows(5), rows(6, question="r"), rows()[::-1], [*rows(5), *rows(6, image=base64_of(image(50)))[5:]]]
    ):
        found = import_set(store, f"v{k}", Source(path=write_tsv(tmp_path / "b.tsv", changed)), format="vlmevalkit")
        assert found.info.sha256 != one.info.sha256


def test_the_checksum_is_of_the_bytes_in_the_set(store, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    turned = rows(1, image=base64_of(image(1, exif=exif)))
    first = import_set(store, "turned", Source(path=write_tsv(tmp_path / "a.tsv", turned)), format="vlmevalkit")
    kept = store.objects.read(store.samples("turned")[0].image)
    upright = Source(path=write_tsv(tmp_path / "b.tsv", rows(1, image=base64_of(kept))))
    second = import_set(store, "upright", upright, format="vlmevalkit")
    assert store.samples("upright")[0].image == store.samples("turned")[0].image
    assert first.info.sha256 != second.info.sha256


def test_a_name_keeps_its_content(store, tmp_path):
    source = Source(path=write_tsv(tmp_path / "a.tsv", rows()))
    import_set(store, "a", source, format="vlmevalkit")
    before = store.samples("a")
    for limit, path in ((2, source.path), (None, write_tsv(tmp_path / "b.tsv", rows(3)))):
        with pytest.raises(UsageError, match="'a' exists with other content: give it another name"):
            import_set(store, "a", Source(path=path), format="vlmevalkit", limit=limit)
    assert store.samples("a") == before
    assert import_set(store, "two", source, format="vlmevalkit", limit=2).info.n == 2
    assert [s.id for s in store.samples("two")] == ["0", "1"]


def test_an_import_that_is_cut_off_leaves_images_and_no_benchmark(store, tmp_path):
    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise Stop

    source = Source(path=write_tsv(tmp_path / "a.tsv", rows(40)))
    with pytest.raises(Stop):
        import_set(store, "a", source, format="vlmevalkit", count=stop)
    assert store.benchmarks() == []
    assert 3 <= store.counts()["images"] <= 3 + WAITING + 1
    assert import_set(store, "a", source, format="vlmevalkit").info.n == 40
    assert store.verify() == []


def test_strict_takes_all_rows_or_nothing(store, tmp_path):
    path = write_tsv(tmp_path / "a.tsv", [*rows(2), *rows(1, answer="Q", index=9)])
    with pytest.raises(UsageError, match=r"1 of 3 rows are refused, a\.tsv row 3: the answer is not among the choices"):
        import_set(store, "a", Source(path=path), format="vlmevalkit", strict=True)
    assert store.benchmarks() == []
    assert import_set(store, "b", Source(path=write_tsv(path, rows(2))), format="vlmevalkit", strict=True).info.n == 2


def test_progress_ends_at_the_number_of_rows(store, tmp_path):
    seen = []
    for name, path in (
        ("t", write_tsv(tmp_path / "a.tsv", rows())),
        ("p", write_parquet(tmp_path / "a.parquet", rows())),
    ):
        import_set(
            store, name, Source(path=path), format="vlmevalkit", count=lambda done, total: seen.append((done, total))
        )
        assert [done for done, _ in seen] == [1, 2, 3, 4, 5, 6]
        assert seen[-1] == (6, 6)
        assert all(done <= total for done, total in seen)
        seen.clear()


def test_images_stay_as_they_are_or_become_upright(store, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = image(1, exif=exif)
    clear = io.BytesIO()
    Image.new("RGBA", (40, 30), (9, 9, 9, 0)).save(clear, "PNG")
    data = {"a": image(0), "b": turned, "c": clear.getvalue(), "d": image(2, kind="WEBP", lossless=True)}
    (tmp_path / "set").mkdir()
    for name, one in data.items():
        (tmp_path / "set" / f"{name}.jpg").write_bytes(one)
    mine = [
        {"id": name, "image": f"{name}.jpg", "question": "q", "answer": "x", "evidence": [0, 0, 9, 9]} for name in data
    ]
    done = import_set(store, "m", Source(path=write_jsonl(tmp_path / "set" / "a.jsonl", mine)), format="jsonl")
    a, b, c, d = store.samples("m")
    assert (a.image, d.image) == (sha256(data["a"]), sha256(data["d"]))
    assert (b.width, b.height) == (60, 90)
    for sample in (b, c):
        assert store.image(sample.image).media_type == "image/png"
        assert open_image(store.objects.read(sample.image)).tobytes() == open_image(data[sample.id]).tobytes()
    assert done.info.n == 4


def test_what_is_kept_of_where_a_set_comes_from(store, tmp_path):
    folder = tmp_path / "set"
    path = write_parquet(folder / "data" / "test.parquet", [{"img": image(0), "q": "What?", "answer": "x"}])
    (folder / "README.md").write_text("---\ntask_categories:\n- qa\nlicense: cc-by-4.0\n---\n# Words\nlicense: no\n")
    done = import_set(
        store, "mine", Source(path=folder, mapping={"image": "img", "question": "q"}), format="parquet", limit=5
    )
    assert done.info.source == {
        "kind": "import", "format": "parquet", "licence": "cc-by-4.0", "split": "test", "rows": 1,
        "refused": {},
        "files": [{"name": "test.parquet", "bytes": path.stat().st_size, "sha256": sha256(path.read_bytes())}],
        "options": {"mapping": {"image": "img", "question": "q"}, "limit": 5},
    }  # fmt: skip


def test_licences_of_data_cards(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    assert licence(data) is None
    (tmp_path / "README.md").write_text("# No front matter\nlicense: mit\n")
    assert licence(tmp_path) is None
    (tmp_path / "dataset_infos.json").write_text(json.dumps({"default": {"license": "apache-2.0"}}))
    assert licence(data) == licence(tmp_path) == "apache-2.0"
    (data / "dataset_info.json").write_text("{")
    assert licence(data) == "apache-2.0"
    (data / "README.md").write_bytes(b"---\r\nlicense: 'mit'\r\n---\r\n")
    assert licence(data) == "mit"


def test_which_arms_take_questions_about_several_pictures(store, tmp_path):
    several = str([base64_of(image(1)), base64_of(image(2))])
    import_set(store, "more", Source(path=write_tsv(tmp_path / "b.tsv", rows(1, image=several))), format="vlmevalkit")
    few = {"max_images": 2}
    for arm in ("direct", "agent", "agent-lowres", "agent-blind"):
        assert dry_run(store, "more", arm, ModelChoice(), RunOptions()).samples == 1
        if arm in ("direct", "agent-blind"):
            assert dry_run(store, "more", arm, ModelChoice(overrides=few), RunOptions()).samples == 1
        else:
            with pytest.raises(UsageError, match=f"arm '{arm}' shows 3 images at once, and model 'micro' takes 2"):
                dry_run(store, "more", arm, ModelChoice(overrides=few), RunOptions())
    for arm in ("tiles", "direct-matched"):
        with pytest.raises(UsageError, match="asks about several pictures"):
            dry_run(store, "more", arm, ModelChoice(), RunOptions())
