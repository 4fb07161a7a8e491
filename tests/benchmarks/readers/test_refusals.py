"""What no sample can be made of is refused by name and reason; what is no set at all, in one line."""

from __future__ import annotations

import gzip
import json
import os
import struct
import zipfile
import zlib
from contextlib import suppress
from string import ascii_uppercase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.benchmarks.readers.shapes import base64_of, image, write_jsonl, write_parquet, write_tsv
from zoomgap.benchmarks.readers import SETS, Draft, Refusal, Refused, Row, Source, read, settle
from zoomgap.benchmarks.readers.settle import dimension_of
from zoomgap.errors import UsageError
from zoomgap.records import DIMENSIONS, ImageInfo, digest

GOOD = {"id": "good", "image": "0.jpg", "question": "Which?", "choices": ["red", "blue"], "answer": "B"}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "0.jpg").write_bytes(image(0))
    (tmp_path / "secret.jpg").write_bytes(image(9))
    return tmp_path / "set"


def bomb() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")


BAD_ROWS = {
    "options that are a word": ({"choices": "red"}, "options or boxes that are not a list", "'red'"),
    "options that are a number": ({"choices": 4}, "options or boxes that are not a list", "4"),
    "one option": ({"choices": ["red"], "answer": "A"}, "no choice between options", "red"),
    "an empty option": ({"choices": ["red", " "]}, "no choice between options", "red"),
    "an option that is a list": ({"choices": ["red", ["blue"]]}, "the option is not text", "list"),
    "a letter too far": ({"answer": "C"}, "the answer is not among the choices", "'C' of ['red', 'blue']"),
    "a text of no option": ({"answer": "(E) green"}, "the answer is not among the choices", "green"),
    "a letter with another text": ({"answer": "(A) blue"}, "the answer's letter and text differ", "blue"),
    "a number that may be a place": (
        {"choices": ["1", "2"], "answer": 1}, "the answer can be read as several options", "--answers",
    ),
    "two equal options": ({"choices": ["red", "red"], "answer": "red"}, "the answer can be read as several", "red"),
    "no answer": ({"answer": None}, "no answer", ""),
    "an answer that is not a number": ({"answer": float("nan")}, "no answer", ""),
    "an empty box": ({"answer": "\\boxed{}"}, "no answer", ""),
    "no question": ({"question": "  "}, "no question", ""),
    "a question of only a placeholder": ({"question": "<image>"}, "no question", ""),
    "a question in parts": ({"question": [{"role": "user"}]}, "the question is not text", "list"),
    "a count in words": (
        {"choices": [], "answer": "many", "answer_kind": "integer"}, "the answer is no whole number", "many",
    ),
    "an unknown kind": ({"answer_kind": "essay"}, "an answer_kind that is not known", "essay"),
    "options of a number": ({"answer_kind": "integer", "answer": "3"}, "options of a question that is no choice", ""),
    "a choice without options": ({"choices": [], "answer_kind": "choice"}, "no options", "Which?"),
    "no image": ({"image": None}, "no image", ""),
    "a missing image": ({"image": "gone.jpg"}, "an image file is missing", "gone.jpg"),
    "a path upwards": ({"image": "../secret.jpg"}, "an image path leaves the folder", "../secret.jpg"),
    "a path up and down": ({"image": "x/../../secret.jpg"}, "an image path leaves the folder", "secret.jpg"),
    "an absolute path": ({"image": "/etc/x.jpg"}, "an image path leaves the folder", "/etc/x.jpg"),
    "a drive": ({"image": "C:\\x.jpg"}, "an image path leaves the folder", "x.jpg"),
    "a link to outside": ({"image": "link.jpg"}, "an image path leaves the folder", "link.jpg"),
    "a linked folder": ({"image": "up/secret.jpg"}, "an image path leaves the folder", "up/secret.jpg"),
    "a null in a path": ({"image": "a\0.jpg"}, "an image path leaves the folder", ""),
    "a long path": ({"image": "a" * 400 + ".jpg"}, "an image file cannot be read", "name too long"),
    "an index of no row": ({"image": "77"}, "no image", "'77'"),
    "broken base64": ({"image": base64_of(image(1))[:200] + "?" * 9}, "broken base64", "characters"),
    "base64 cut short": ({"image": base64_of(image(1))[:-3]}, "broken base64", "characters"),
    "base64 of no image": ({"image": base64_of(b"words " * 40)}, "an image that cannot be used", "no image that can"),
    "a truncated image": ({"image": base64_of(image(1)[:900])}, "an image that cannot be used", "cut short"),
    "a decompression bomb": ({"image": base64_of(bomb())}, "an image that cannot be used", "200,000,000 pixels"),
    "an image that is a number": ({"image": 7}, "the image is neither bytes, base64 nor a path", "7"),
    "a bad crop": ({"crop": "gone.png"}, "an image file is missing", "gone.png"),
    "a box of three": ({"evidence": [[1, 2, 3]]}, "a box that is not four numbers", "[1, 2, 3]"),
    "a box of words": ({"evidence": [["a", 1, 2, 3]]}, "a box that is not four numbers", "'a'"),
    "a box turned round": ({"evidence": [[30, 10, 20, 20]]}, "a box that is empty or outside the image", "90 x 60"),
    "a box outside": ({"evidence": [[80, 50, 100, 90]]}, "a box that is empty or outside the image", "90 x 60"),
    "a box that is not a number": ({"evidence": [[0, 0, float("nan"), 9]]}, "a box that is empty or outside", ""),
    "a box in parts of the image": ({"evidence": [[0.1, 0.2, 0.6, 0.7]]}, "a box of one pixel or less", "(xyxy)"),
    "a crop of another part": (
        {"crop": "0.jpg", "evidence": [0, 0, 20, 40], "evidence_kind": "region"},
        "a crop of another shape than its box", "90 x 60, and a box of 20 x 40 (xyxy)",
    ),
    "an unknown kind of box": ({"evidence_kind": "loose"}, "an evidence_kind that is not known", "loose"),
    "an id that a terminal would obey": ({"id": "a\x1b[31m"}, "an id that cannot be shown", "x1b"),
    "an endless id": ({"id": "a" * 501}, "an id that cannot be shown", "aaa"),
    "options spelled as a number": ({"choices": "4"}, "options or boxes that are not a list", "4"),
    "meta that is a list": ({"meta": [1]}, "meta that is no object", "[1]"),
    "a detail of no size": ({"detail_px": -1}, "a detail_px that is no size", "-1"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_is_refused_by_name_and_reason(shelf, folder, name):
    change, reason, detail = BAD_ROWS[name]
    os.symlink(folder.parent / "secret.jpg", folder / "link.jpg")
    os.symlink(folder.parent, folder / "up")
    path = write_jsonl(folder / "a.jsonl", [GOOD, GOOD | {"id": "bad"} | change])
    done = shelf.take("mine", path, "jsonl")
    (refusal,) = done.refused
    assert refusal.where == "a.jsonl row 2"
    assert refusal.reason.startswith(reason)
    assert detail in refusal.detail
    assert "\n" not in refusal.detail
    assert [s.id for s in shelf.store.samples("mine")] == ["good"]
    assert done.info.source["refused"] == {refusal.reason: {"rows": 1, "first": [f"{refusal.where}: {refusal.detail}"]}}


def test_lines_that_are_no_rows(shelf, folder):
    path = write_jsonl(folder / "a.jsonl", [GOOD])
    path.write_text(path.read_text() + '{"id": \n\n[1]\n"x"\n')
    done = shelf.take("mine", path, "jsonl")
    assert [(r.where, r.reason) for r in done.refused] == [
        ("a.jsonl row 2", "a line that is no JSON"), ("a.jsonl row 3", "a line that is no JSON object"),
        ("a.jsonl row 4", "a line that is no JSON object"),
    ]  # fmt: skip


def test_two_rows_with_one_id(shelf, folder):
    rows = [GOOD, GOOD | {"question": "Other?"}, {k: v for k, v in GOOD.items() if k != "id"}]
    done = shelf.take("mine", write_jsonl(folder / "a.jsonl", [*rows, rows[-1]]), "jsonl")
    assert [r[:2] for r in done.refused] == [(f"a.jsonl row {k}", "two rows with one id") for k in (2, 4)]
    assert "'good' is that of a.jsonl row 1 already" in done.refused[0].detail


def tsv_row(index, **change) -> dict:
    return {"index": index, "image": base64_of(image(1)), "question": "q", "A": "x", "B": "y", "answer": "A"} | change


def test_bad_cells_of_a_tsv(shelf, folder):
    rows = [
        tsv_row(0), tsv_row(1, image="@@@" + base64_of(image(1))), tsv_row(2, image=""), tsv_row(3, image="nan"),
        tsv_row(4, A="", B="y"), tsv_row(5, answer="D"), tsv_row(6, image="1"), tsv_row(7, question="nan"),
    ]  # fmt: skip
    path = write_tsv(folder / "x.tsv", rows)
    path.write_text(path.read_text() + "8\tonly three\tcells\n\n9\t" + '"never closed\tq\tx\ty\tA\n')
    done = shelf.take("x", path, "vlmevalkit")
    assert [r.reason for r in done.refused] == [
        "broken base64", "no image", "no image", "an option is missing", "the answer is not among the choices",
        "no image", "no question", "a row of another length", "a row of another length",
    ]  # fmt: skip
    assert done.info.n == 1


def test_cells_over_the_usual_limit_of_csv(shelf, folder):
    """131,072 characters, in a row that needs `csv` and in one that does not."""
    big = image(1, 400, 400, "PNG")
    assert len(base64_of(big)) > 131_072
    rows = [tsv_row(0, image=base64_of(big)), tsv_row(1, image=base64_of(big), question='say "a"')]
    samples = shelf.samples("x", write_tsv(folder / "x.tsv", rows), "vlmevalkit")
    assert [s.question for s in samples] == ["q", 'say "a"']


@pytest.mark.parametrize(("encoding", "said"), [("utf-8-sig", None), ("utf-16", None), ("cp1252", "cp1252")])
@pytest.mark.parametrize("mark", ["\t", ",", ";"])
def test_encodings_and_marks_of_tables(shelf, folder, encoding, said, mark):
    rows = [tsv_row(0, question="Wo? Über – dort"), tsv_row(1, question="a, b; c")]
    path = write_tsv(folder / ("x.tsv" if mark == "\t" else "x.csv"), rows, mark, encoding)
    samples = shelf.samples("x", path, "vlmevalkit", **({"encoding": said} if said else {}))
    assert [s.question for s in samples] == ["Wo? Über – dort", "a, b; c"]


def one_line(call) -> str:
    with pytest.raises(UsageError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_files_that_are_no_set(shelf, folder):
    def said(name, path, format=None, **change):
        message = one_line(lambda: shelf.take(name, path, format, **change))
        assert [info.name for info in shelf.store.benchmarks()] == []
        return message

    table = write_parquet(folder / "zoombench" / "test.parquet", [{"image": image(0), "words": "q", "answer": "x"}])
    assert "has no column 'question' (or query, prompt), it has image, words, answer" in said("zoombench", table)
    assert "--map" in said("zoombench", table)
    assert "has no column 'wrods', it has" in said("p", table, "parquet", mapping={"question": "wrods"})
    assert "no field 'qestion': use one of image, question" in said("p", table, "parquet", mapping={"qestion": "words"})
    whole = table.read_bytes()
    for data in (whole[: len(whole) // 2], b"", b"PAR1", b"no parquet at all"):
        table.write_bytes(data)
        assert "test.parquet is no whole parquet file" in said("zoombench", table)
    damaged = bytearray(whole)
    damaged[8:60] = bytes(52)
    table.write_bytes(damaged)
    assert "test.parquet is no whole parquet file" in said("zoombench", table)
    assert "'nowhere' does not exist" in said("zoombench", folder.parent.relative_to(folder.parent) / "nowhere")
    (folder / "empty").mkdir()
    assert "holds no .parquet, .tsv, .csv, .jsonl, .json file" in said("vstar", folder / "empty")
    with zipfile.ZipFile(folder / "empty" / "set.zip", "w") as packed:
        packed.writestr("a.jsonl", "{}")
    assert "set.zip' is an archive: unpack it" in said("vstar", folder / "empty" / "set.zip")
    assert "holds only archives (set.zip): unpack" in said("vstar", folder / "empty")
    (folder / "a.xlsx").write_bytes(b"x")
    assert "a.xlsx' is of no kind that is read" in said("vstar", folder / "a.xlsx")
    assert "no set is called 'vstarr'" in said("vstarr", folder)
    assert "format 'vstarr' is not known" in said("vstar", folder, "vstarr")


def test_tables_that_are_no_set(shelf, folder):
    def said(name, text, format, encoding="utf-8", **change):
        (folder / name).write_bytes(text.encode(encoding))
        return one_line(lambda: shelf.take("x", folder / name, format, **change))

    assert "holds no rows" in said("a.tsv", "", "vlmevalkit")
    assert "holds no rows" in said("a.tsv", "index\timage\tquestion\n", "vlmevalkit")
    assert "holds no rows" in said("a.jsonl", "\n\n", "jsonl")
    assert "has no column 'question'" in said("b.tsv", "index\timage\n1\tx\n", "vlmevalkit")
    assert "a.tsv is not utf-8" in said("a.tsv", "index\timage\tquestion\n1\tÜ\tx\n", "vlmevalkit", "cp1252")
    assert "--encoding" in said("a.tsv", "index\timage\tquestion\n1\tÜ\tx\n", "vlmevalkit", "cp1252")
    assert "a.tsv has two columns 'A'" in said("a.tsv", "index\timage\tA\tA\n1\tx\ty\tz\n", "vlmevalkit")
    assert "encoding 'latin-99' is not known" in one_line(
        lambda: shelf.take("x", folder / "a.tsv", "vlmevalkit", encoding="latin-99")
    )
    (folder / "a.tsv").write_bytes(gzip.compress(b"index\timage\n"))
    assert "a.tsv is packed by gzip: unpack it" in one_line(lambda: shelf.take("x", folder / "a.tsv", "vlmevalkit"))
    assert "a.json is no JSON" in said("a.json", "{", "paper")
    assert "holds no list of rows" in said("a.json", "3", "paper")
    assert "all 1 rows are refused, a.jsonl row 1: a column is missing ('image'" in said("a.jsonl", '{"a": 1}', "jsonl")
    assert "c.json is no COCO file" in said("c.json", '{"images": []}', "coco")
    marks = folder / "c.json"
    path = write_jsonl(folder / "a.jsonl", [GOOD])
    assert "c.json is no COCO file" in one_line(lambda: shelf.take("x", path, "jsonl", boxes=marks))
    assert shelf.store.benchmarks() == []


def test_coco_files_with_loose_ends(shelf, folder):
    marks = {
        "images": [{"id": 1, "file_name": "0.jpg"}, {"id": 2, "file_name": "../secret.jpg"}, {"id": 4}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]},
            {"image_id": 2, "category_id": 1, "bbox": [1, 1, 5, 5]},
            {"image_id": 3, "category_id": 1, "bbox": [1, 1, 5, 5]},
            {"image_id": 1, "category_id": 8, "bbox": [1, 1, 5, 5]},
            {"image_id": 1, "category_id": 2},
            {"image_id": 4, "category_id": 2, "bbox": [1, 1, 5, 5]},
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }  # fmt: skip
    (folder / "marks.json").write_text(json.dumps(marks))
    done = shelf.take("coco", folder / "marks.json")
    assert [r.reason for r in done.refused] == [
        "an image path leaves the folder", "boxes of an image that the file does not list",
        "boxes of a category that the file does not name", "a box that is not four numbers", "a column is missing",
    ]  # fmt: skip


def test_a_snapshot_of_the_hugging_face_cache_links_to_its_blobs(shelf, tmp_path):
    snapshot, blobs = tmp_path / "datasets--x--y" / "snapshots" / "0a1b", tmp_path / "datasets--x--y" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (blobs / "aa").write_bytes(image(0))
    write_jsonl(blobs / "bb", [GOOD])
    (snapshot / "0.jpg").symlink_to("../../blobs/aa")
    (snapshot / "a.jsonl").symlink_to("../../blobs/bb")
    assert len(shelf.samples("mine", snapshot, "jsonl")) == 1
    assert len(shelf.samples("mine", snapshot / "a.jsonl", "jsonl")) == 1


def test_no_set_reads_a_link_to_another_file(shelf, folder):
    (folder / "direct").mkdir()
    os.symlink(folder.parent / "secret.jpg", folder / "direct" / "sa_1.jpg")
    notes = {"target_object": ["x"], "bbox": [[1, 1, 5, 5]], "question": "What?", "options": ["a", "b"]}
    (folder / "direct" / "sa_1.json").write_text(json.dumps(notes))
    assert "an image path leaves the folder" in one_line(lambda: shelf.take("vstar", folder))


junk = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9**20) | st.floats() | st.text(max_size=12) | st.binary(max_size=9)
    | st.sampled_from(["A", "(B)", "0.jpg", "../x.jpg", "[1, 2]", "['a', 'b']", "\ud800", "What?\nA. x\nB. y"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["bytes", "path", "A", "B"]), inner),
    max_leaves=6,
)  # fmt: skip
COLUMNS = (
    "id", "index", "idx", "image", "images", "bytes", "image_1", "question", "query", "text", "answer", "label",
    "response", "choices", "options", "A", "B", "category", "bbox", "evidence", "crop_image", "questions", "answers",
    "meta", "target_object", "hint", "multi-choice options", "answer_kind", "detail_px", "cluster",
)  # fmt: skip


@settings(deadline=None)
@given(st.sampled_from(sorted(SETS)), st.dictionaries(st.sampled_from(COLUMNS), junk, max_size=12))
def test_any_row_ends_in_samples_or_refusals(tmp_path_factory, name, values):
    """Whatever a row holds: nothing else is raised, and what is a sample can be hashed."""
    if SETS[name].drafts is None:
        return
    here = tmp_path_factory.getbasetemp()
    (here / "0.jpg").write_bytes(image(0))
    row = Row(values, here / "a.jsonl", 1, Source(path=here))
    with suppress(Refused):
        for draft in SETS[name].drafts(row):
            infos = [ImageInfo("0" * 64, "image/jpeg", 90, 60, 1) for _ in draft.pictures]
            sample = settle(draft, name, infos, None)
            assert digest(sample.record())
            assert not sample.choices or sample.answer in ascii_uppercase[: len(sample.choices)]


def test_reading_alone_gives_drafts_and_refusals_with_the_share_read(folder):
    path = write_jsonl(folder / "a.jsonl", [GOOD, {}, GOOD])
    found = list(read(SETS["jsonl"], Source(path=path)))
    assert [type(item) for item, _ in found] == [Draft, Refusal, Draft]
    assert [share for _, share in found] == sorted(share for _, share in found)
    assert found[-1][1] == 1


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (("OCR (text & symbol recognition)",), "ocr"), (("Fine-Grained Counting",), "counting"),
        (("Perception/OCR with Complex Context",), "ocr"), (("Color Attributes",), "color"),
        (("Structural Attributes",), "structure"), (("Material Attributes",), "material"),
        (("Object Identification",), "object"), (("color_recognition",), "color"), (("Count",), "counting"),
        (("fine-grained perception", "object counting"), "counting"), (("math", "geometry"), "math"),
        (("Color Illusion",), "Color Illusion"), (("", " x "), "x"), ((), "other"),
    ],
)  # fmt: skip
def test_dimensions_have_our_names_where_they_are_the_same(names, wanted):
    assert dimension_of(*names) == wanted
    assert all(dimension_of(name) == name for name in DIMENSIONS)
