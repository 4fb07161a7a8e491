"""Commands that look at benchmarks, typed as a user types them, in this process."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from zoomgap import imaging
from zoomgap.cli import main
from zoomgap.console_bench import overlap_line
from zoomgap.geometry import Box, Size
from zoomgap.records import Sample
from zoomgap.storage import Store


@pytest.fixture
def typed(monkeypatch, capsys, tmp_path):
    """A function that runs a command on the database z.db; gives its exit code, what it printed and what it said."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["zoomgap", *map(str, words), "--db", str(tmp_path / "z.db")])
        with pytest.raises(SystemExit) as end:
            main()
        shown = capsys.readouterr()
        return end.value.code or 0, shown.out, shown.err

    return run


@pytest.fixture
def store(tmp_path):
    """z.db with a benchmark `mine` of three samples and an `empty` one."""
    with Store.open(tmp_path / "z.db") as found:
        info = found.add_image(imaging.encode(Image.new("RGB", (800, 400), "red")), "image/jpeg", Size(800, 400))
        samples = [
            Sample(
                id=f"s{k}", benchmark="mine", image=info.sha256, width=800, height=400, question="What [b]is[/b] it?",
                answer="B", answer_kind="choice", choices=("a dog", "a cat"), dimension="object",
                evidence=(Box(10, 10, 50, 50),), evidence_kind="region", cluster="c", meta={"source": "here"},
            )
            for k in range(3)
        ]  # fmt: skip
        found.add_benchmark("mine", "0" * 64, {"kind": "test"}, samples)
        found.add_benchmark("empty", "1" * 64, {"kind": "test"}, [])
        yield found


def test_show_tells_a_sample_in_words_and_as_a_record(typed, store):
    code, out, _ = typed("bench", "show", "mine", "s1")
    assert code == 0
    for part in (
        "What [b]is[/b] it?",
        "B) a cat   (gold)",
        "region): [10, 10, 50, 50] px, 40.0 px a side",
        "source here",
    ):
        assert part in out
    record = json.loads(typed("bench", "show", "mine", "s1", "--json")[1])
    assert record["evidence"] == [[10, 10, 50, 50]]
    assert record["id"] == "s1"
    assert Path(record["path"]).is_file()


def test_show_tells_of_a_crop_and_of_more_pictures(typed, store):
    sample = store.samples("mine")[0]
    both = replace(sample, benchmark="both", crop=sample.image, more_images=(sample.image,))
    store.add_benchmark("both", "2" * 64, {"kind": "test"}, [both, replace(both, id="bare", evidence=())])
    placed, bare = (typed("bench", "show", "both", id)[1] for id in ("s0", "bare"))
    assert f"crop of its own: {sample.image[:12]} (that box)" in placed
    assert f"more pictures: {sample.image[:12]}" in placed
    assert "no box says which part it is" in bare


def test_stats_are_tables_or_one_document(typed, store):
    code, out, _ = typed("bench", "stats", "mine")
    assert code == 0
    assert "mine: 3 samples about 1 images in 1 clusters, 0 without evidence" in out
    assert "always the commonest letter: 100.0% right; chance: 50.0%" in out
    assert "of the original" in out
    found = json.loads(typed("bench", "stats", "mine", "--json")[1])
    assert found["bench"] == "mine"
    assert found["evidence_px"]["original"]["median"] == 40


def test_view_writes_a_page(typed, store, tmp_path):
    page = tmp_path / "page.html"
    code, out, _ = typed("bench", "view", "mine", "--out", page, "--limit", 2)
    assert code == 0
    assert "2 of 3 samples" in out
    assert "What [b]is[/b] it?" in page.read_text(encoding="utf-8")
    found = json.loads(typed("bench", "view", "mine", "--out", page, "--json")[1])
    assert found == {"bench": "mine", "samples": 3, "of": 3, "bytes": page.stat().st_size, "page": str(page)}


@pytest.fixture
def twin(store):
    """A second benchmark, about the same image."""
    samples = [replace(sample, benchmark="twin") for sample in store.samples("mine")]
    store.add_benchmark("twin", "2" * 64, {"kind": "test"}, samples)


def test_overlap_names_the_shared_images(typed, store, twin, tmp_path):
    page = tmp_path / "page.html"
    code, out, _ = typed("bench", "overlap", "mine", "twin", "--out", page)
    assert code == 0
    assert "mine (1 images) and twin (1): 1 pairs of one file" in out
    assert "s0 and 2 more" in out
    assert "1 pair of images looks the same" in page.read_text(encoding="utf-8")
    found = json.loads(typed("bench", "overlap", "mine", "all", "--distance", 0, "--json")[1])
    assert list(found) == ["a", "images", "distance", "bits", "benchmarks", "pairs"]
    assert [row["b"] for row in found["benchmarks"]] == ["twin"]
    assert found["pairs"][0]["kind"] == "file"


def test_no_overlap_is_said_in_a_sentence(typed, store):
    info = store.add_image(imaging.encode(Image.linear_gradient("L").convert("RGB")), "image/jpeg", Size(256, 256))
    samples = [replace(store.samples("mine")[0], benchmark="other", image=info.sha256)]
    store.add_benchmark("other", "2" * 64, {"kind": "test"}, samples)
    code, out, _ = typed("bench", "overlap", "mine", "other")
    assert code == 0
    assert "no image is shared, nor do any two look alike (48 of 256 bits)" in out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("overlap", "nope", "mine"), 2, "'nope'"),
        (("overlap", "mine", "nope"), 2, "'nope'"),
        (("overlap", "mine", "mine"), 2, "twice"),
        (("overlap", "mine", "empty"), 2, "'empty' has no samples"),
        (("overlap", "mine", "all"), 2, "no benchmark beside 'mine'"),
        (("overlap", "mine", "all", "--out", "."), 2, "is a folder"),
        (("show", "nope", "s1"), 2, "'nope' is not stored: choose from mine, empty"),
        (("show", "mine", "s7"), 2, "near it are s2, s1, s0"),
        (("show", "empty", "s7"), 2, "it has none"),
        (("stats", "nope"), 2, "'nope'"),
        (("stats", "empty"), 2, "'empty' has no samples"),
        (("view", "nope", "--out", "x.html"), 2, "'nope'"),
        (("view", "empty", "--out", "x.html"), 2, "'empty' has no samples"),
        (("view", "mine", "--out", "."), 2, "is a folder"),
        (("view", "mine", "--out", "z.db/page.html"), 1, "z.db"),
        (("view", "mine", "--out", "/proc/page.html"), 1, "/proc/page.html"),
        (("view", "mine", "--out", "x.html", "--dimension", "ocr"), 2, "choose from object"),
    ],
)
def test_bad_input_is_one_line(typed, store, tmp_path, monkeypatch, words, code, said):
    monkeypatch.chdir(tmp_path)
    assert_one_line(typed("bench", *words), code, said)


def assert_one_line(ended, code, said):
    assert ended[0] == code, ended[2]
    assert said in ended[2]
    assert ended[1] == ""
    assert [line for line in ended[2].splitlines() if line] == [ended[2].strip()]


@pytest.mark.parametrize(
    "command", [("show", "mine", "s0"), ("view", "mine", "--out", "x.html"), ("overlap", "mine", "twin")]
)
def test_a_missing_image_file_is_one_line(typed, store, twin, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store.objects.path(store.samples("mine")[0].image).unlink()
    assert_one_line(typed("bench", *command), 1, "restore that folder")
    assert not Path("x.html").exists()


def test_what_a_build_left_out_is_said_only_where_it_is_something(capsys):
    overlap_line({"images": 0, "trajectories": 0, "questions": 0, "benchmarks": {}})
    assert capsys.readouterr().out == ""
    overlap_line({"images": 3, "trajectories": 5, "questions": 8, "benchmarks": {"vstar": 2, "mine": 1}})
    assert capsys.readouterr().out == (
        "overlap: 3 images look like images of benchmarks (2 of vstar, 1 of mine); 5 trajectories and 8 questions were "
        "left out (--allow-overlap keeps them)\n"
    )
