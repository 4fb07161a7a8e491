from __future__ import annotations

import pytest

from tests.benchmarks.readers.shapes import image, write_jsonl, write_parquet
from zoomgap.benchmarks.readers.splits import split_named


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("data/train-00000-of-00002.parquet", "train"), ("instances_train2017.json", "train"), ("TRAIN.jsonl", "train"),
        ("train/validation.jsonl", "validation"), ("val-00000-of-00001.parquet", "validation"), ("dev", "validation"),
        ("test_questions.jsonl", "test"), ("testing.csv", "test"), ("training-set.json", "train"),
        ("trains.jsonl", ""), ("contest.parquet", ""), ("latest.tsv", ""), ("constraint.json", ""), ("device.csv", ""),
        ("HR_Bench_4K.tsv", ""), ("", ""),
    ],
)  # fmt: skip
def test_splits_that_names_tell(text, split):
    assert split_named(text) == split


def row(k: int, **more) -> dict:
    return {"id": k, "image": "0.jpg", "question": f"{k}?", "answer": "x"} | more


@pytest.fixture
def folder(tmp_path):
    write_jsonl(tmp_path / "set" / "train.jsonl", [row(0), row(1)])
    (tmp_path / "set" / "0.jpg").write_bytes(image(0))
    return tmp_path / "set"


def split(shelf, name: str, path, format: str = "jsonl", **change) -> str:
    return shelf.take(name, path, format, **change).split


def test_a_set_says_itself_what_it_is_for(shelf, folder):
    assert split(shelf, "by name", folder) == "train"
    words = [row(0, split="validation"), row(1, split="dev")]
    assert split(shelf, "by column", write_jsonl(folder / "a.jsonl", words), files="a.jsonl") == "validation"
    assert split(shelf, "other words", write_jsonl(folder / "b.jsonl", [row(0, split="desktop")])) == ""
    write_jsonl(folder / "test.jsonl", [row(2)])
    assert split(shelf, "two files", folder, files="t*.jsonl") == "test, train"
    write_jsonl(folder / "other.jsonl", [row(3)])
    assert split(shelf, "and one without", folder, files="[to]*.jsonl") == ""


def test_a_set_that_is_there_to_measure_is_none_to_train_on(shelf, tmp_path):
    """The hub calls the only files of a set `train`, as those of MME-RealWorld are."""
    row = {"index": 0, "image": {"bytes": image(0), "path": None}, "question": "Q?", "answer": "A",
           "multi-choice options": ["(A) one", "(B) two"], "category": "OCR"}  # fmt: skip
    path = write_parquet(tmp_path / "train-00000-of-00001.parquet", [row])
    assert split(shelf, "mme", path, "mme-realworld-lite") == "test"
    assert split(shelf, "said", path, "mme-realworld-lite", split="train") == "train"


def test_parquet_by_its_folder_and_coco_by_its_file(shelf, tmp_path):
    path = write_parquet(tmp_path / "p" / "train" / "0.parquet", [{"image": image(0), "question": "q", "answer": "x"}])
    assert split(shelf, "p", path.parent.parent, "parquet") == "train"
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "0.jpg").write_bytes(image(0))
    (tmp_path / "c" / "instances_val2017.json").write_text(
        '{"images": [{"id": 1, "file_name": "0.jpg"}], "categories": [{"id": 1, "name": "cat"}],'
        ' "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}]}'
    )
    assert split(shelf, "c", tmp_path / "c", "coco") == "validation"


def test_who_imports_it_knows_better_and_may_say_so_later(shelf, folder):
    first = shelf.take("a", folder, "jsonl")
    assert (first.split, first.new) == ("train", True)
    said = shelf.take("a", folder, "jsonl", split="test")
    assert (said.split, said.new, said.info.sha256) == ("test", False, first.info.sha256)
    assert shelf.take("a", folder, "jsonl").split == "test", "what was said stays"
    assert {**said.info.source, "split": "train"} == first.info.source
    assert split(shelf, "b", folder, split="validation") == "validation"
