"""Every set, from files of exactly the shape in which it is published."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from tests.benchmarks.readers.shapes import base64_of, image, write_jsonl, write_parquet, write_tsv
from zoomgap.benchmarks.readers import FIELDS
from zoomgap.errors import UsageError
from zoomgap.geometry import Box
from zoomgap.imaging import sha256

LETTER = "\nAnswer with the option's letter from the given choices directly."


def crop_image(k: int) -> bytes:
    """Of the box below, enlarged: some of its crops are."""
    return image(k + 50, width=80, height=40)


def zoombench_row(k: int, **change) -> dict:
    row = {
        "id": f"z{k}", "image": {"bytes": image(k), "path": None}, "crop_image": {"bytes": crop_image(k), "path": None},
        "query": "What color is the hat?\nA. red\nB. dark blue\nC. green", "response": "B", "question_type": "mcq",
        "bbox": [10, 20, 50, 40],
    }  # fmt: skip
    return row | change


def test_zoombench(shelf, tmp_path):
    path = write_parquet(
        tmp_path / "ZoomBench" / "data" / "test.parquet",
        [
            zoombench_row(0),
            zoombench_row(1, query="How many birds?", response="7", question_type="Fine-Grained Counting"),
            zoombench_row(2, query="What does the sign say?", response="No. 12", crop_image=None, bbox=None),
        ],
    )
    choice, count, text = shelf.samples("zoombench", tmp_path / "ZoomBench")
    assert (choice.id, choice.question) == ("z0", "What color is the hat?")
    assert choice.choices == ("red", "dark blue", "green")
    assert (choice.answer, choice.answer_kind, choice.image) == ("B", "choice", sha256(image(0)))
    assert (choice.evidence, choice.evidence_kind) == ((Box(10, 20, 50, 40),), "region")
    assert choice.crop == sha256(crop_image(0))
    assert choice.crop_box == Box(10, 20, 50, 40)
    assert shelf.store.objects.read(choice.crop) == crop_image(0)
    assert (count.answer, count.answer_kind, count.dimension, count.choices) == ("7", "integer", "counting", ())
    assert (text.answer, text.answer_kind) == ("No. 12", "text")
    assert (text.crop, text.evidence, text.evidence_kind) == (None, (), None)
    assert shelf.store.benchmark("zoombench").source["files"][0]["sha256"] == sha256(path.read_bytes())


def test_zoombench_in_its_other_spelling(shelf, tmp_path):
    row = {"image": {"bytes": image(0), "path": "x.png"}, "crop_image": {"bytes": image(1), "path": None},
           "prompt": "Which?\n(A) one\n(B) two", "answer": "(A)"}  # fmt: skip
    (sample,) = shelf.samples("zoombench", write_parquet(tmp_path / "test.parquet", [row]))
    assert (sample.question, sample.answer, sample.crop) == ("Which?", "A", sha256(image(1)))
    assert len(sample.id) == 16


@pytest.mark.parametrize("name", ["paper", "zoombench"])
def test_the_papers_json(shelf, tmp_path, name):
    """Its converter writes paths from the folder beside its own, `../ZoomBench/images/...`."""
    folder = tmp_path / "ZoomBench"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "image_0.png").write_bytes(image(3, kind="PNG"))
    (folder / "images" / "crop_image_0.png").write_bytes(image(4, kind="PNG"))
    row = {"images": ["../ZoomBench/images/image_0.png"], "crop_images": ["../ZoomBench/images/crop_image_0.png"],
           "query": "<image>\nWhat is it made of?", "response": "brushed steel", "bbox": [1, 2, 31, 22]}  # fmt: skip
    bare = row | {"crop_images": [], "query": "And this?", "bbox": []}
    (folder / "zoombench.json").write_text(json.dumps([row, bare]))
    first, second = shelf.samples("made", folder, name)
    assert (first.question, first.answer, first.answer_kind) == ("What is it made of?", "brushed steel", "text")
    assert (first.image, first.crop) == (sha256(image(3, kind="PNG")), sha256(image(4, kind="PNG")))
    assert first.evidence == (Box(1, 2, 31, 22),)
    assert (second.crop, second.evidence) == (None, ())
    assert first.cluster == second.cluster == first.image


def vstar_folder(folder, with_questions=True):
    for k, (category, targets, boxes) in enumerate(
        [
            ("direct_attributes", ["glove"], [[5, 6, 20, 10]]),
            ("relative_position", ["dog", "cart"], [[0, 0, 9, 8], [40, 30, 50, 30]]),
        ]
    ):
        (folder / category).mkdir(parents=True)
        (folder / category / f"sa_{k}.jpg").write_bytes(image(k))
        notes = {"target_object": targets, "bbox": boxes, "question": f"What of the {targets[0]}?",
                 "options": [f"right {k}", f"wrong {k}", f"false {k}", f"untrue {k}"]}  # fmt: skip
        (folder / category / f"sa_{k}.json").write_text(json.dumps(notes, indent=4))
    rows = [
        {"image": "direct_attributes/sa_0.jpg", "text": "What is the material of the glove?\n(A) rubber\n(B) cotton\n"
         "(C) kevlar\n(D) leather" + LETTER, "category": "direct_attributes", "label": "C", "question_id": "0"},
        {"image": "relative_position/sa_1.jpg", "text": "Is the dog on the left or right side of the cart?\n(A) The "
         "dog is on the right side of the cart.\n(B) The dog is on the left side of the cart." + LETTER,
         "category": "relative_position", "label": "A", "question_id": "115"},
    ]  # fmt: skip
    if with_questions:
        write_jsonl(folder / "test_questions.jsonl", rows)
    return folder


def test_vstar(shelf, tmp_path):
    glove, dog = shelf.samples("vstar", vstar_folder(tmp_path / "vstar_bench"))
    assert (glove.id, glove.question) == ("0", "What is the material of the glove?")
    assert (glove.choices, glove.answer) == (("rubber", "cotton", "kevlar", "leather"), "C")
    assert (glove.evidence, glove.evidence_kind) == ((Box(5, 6, 25, 16),), "tight")
    assert (glove.dimension, glove.meta["targets"]) == ("direct_attributes", ["glove"])
    assert dog.evidence == (Box(0, 0, 9, 8), Box(40, 30, 90, 60))
    assert (dog.choices[0], dog.answer) == ("The dog is on the right side of the cart.", "A")


def test_vstar_without_its_questions_has_the_right_option_in_no_fixed_place(shelf, tmp_path):
    folder = vstar_folder(tmp_path / "vstar_bench", with_questions=False)
    for k in range(2, 12):
        (folder / "direct_attributes" / f"sa_{k}.jpg").write_bytes(image(k))
        notes = {
            "target_object": ["x"],
            "bbox": [[1, 1, 5, 5]],
            "question": "What?",
            "options": ["right", "b", "c", "d"],
        }
        (folder / "direct_attributes" / f"sa_{k}.json").write_text(json.dumps(notes))
    samples = shelf.samples("vstar", folder)
    assert len(samples) == 12
    assert samples[0].id == "direct_attributes/sa_0"
    assert all(s.choices["ABCD".index(s.answer)].startswith("right") for s in samples)
    assert len({s.answer for s in samples}) > 1
    assert all(s.evidence for s in samples)


def test_vstar_as_parquet_has_no_boxes(shelf, tmp_path):
    row = {"image": {"bytes": image(0), "path": "sa_0.jpg"}, "text": "What?\n(A) a cup\n(B) a hat" + LETTER,
           "category": "direct_attributes", "label": "B", "question_id": "7"}  # fmt: skip
    (sample,) = shelf.samples("vstar", write_parquet(tmp_path / "test-00000-of-00001.parquet", [row]))
    assert (sample.id, sample.answer, sample.evidence, sample.choices) == ("7", "B", (), ("a cup", "a hat"))


def hrbench_rows() -> list[dict]:
    rows = []
    options = ["red", "blue", "green", "white"]
    for question in range(2):
        for turn in range(4):
            turned = options[turn:] + options[:turn]
            rows.append(
                {"index": 4 * question + turn, "question": f"What is the color of thing {question}?",
                 "answer": "ABCD"[turned.index("blue")], **dict(zip("ABCD", turned, strict=True)), "category": "single",
                 "cycle_category": f"cycle_{turn}", "image": base64_of(image(question))}
            )  # fmt: skip
    return rows


@pytest.mark.parametrize("kind", ["tsv", "parquet"])
def test_hrbench_has_four_orders_in_one_cluster(shelf, tmp_path, kind):
    write = {"tsv": write_tsv, "parquet": write_parquet}[kind]
    write(tmp_path / f"hr_bench_4k.{kind}", hrbench_rows())
    write(tmp_path / f"hr_bench_8k.{kind}", hrbench_rows()[:4])
    samples = shelf.samples("hrbench-4k", tmp_path)
    assert [s.id for s in samples] == [str(k) for k in range(8)]
    assert [s.cluster for s in samples] == [sha256(image(0))] * 4 + [sha256(image(1))] * 4
    assert {s.choices["ABCD".index(s.answer)] for s in samples} == {"blue"}
    assert [s.answer for s in samples[:4]] == ["B", "A", "D", "C"]
    assert (samples[0].dimension, samples[3].meta["cycle_category"]) == ("single", "cycle_3")
    assert len(shelf.samples("hrbench-8k", tmp_path)) == 4


def test_a_sets_letter_is_a_letter_where_options_are_letters_too(shelf, tmp_path):
    row = hrbench_rows()[0] | {"question": "Which letter?", "A": "E", "B": "A", "C": "B", "D": "F", "answer": "B"}
    path = write_tsv(tmp_path / "hr_bench_4k.tsv", [row])
    assert shelf.samples("hrbench-4k", path)[0].answer == "B"
    assert shelf.samples("text", path, "parquet", style="text")[0].answer == "C"
    with pytest.raises(UsageError, match="can be read as several options"):
        shelf.take("auto", path, "parquet")


def mme_row(k: int, **change) -> dict:
    options = ["(A) The red one", "(B) 12", "(C) 13", "(D) 14", "(E) The image does not feature the number"]
    row = {"index": k, "bytes": base64_of(image(k)), "question": "What is the number?", "answer": "D",
           "multi-choice options": options, "category": "Perception/OCR with Complex Context",
           "l2-category": "phone & address"}  # fmt: skip
    return row | change


def test_mme_realworld(shelf, tmp_path):
    write_parquet(tmp_path / "data" / "train-00000-of-00001.parquet", [mme_row(0), mme_row(1)])
    first, _ = shelf.samples("mme-realworld", tmp_path)
    assert (first.id, first.answer, first.dimension) == ("0", "D", "ocr")
    assert first.choices == ("The red one", "12", "13", "14", "The image does not feature the number")
    assert first.meta["l2-category"] == "phone & address"
    assert [s.id for s in shelf.samples("mme-realworld-lite", tmp_path)] == ["0", "1"]


def test_mme_realworld_as_tsv_and_lite_beside_it(shelf, tmp_path):
    rows = []
    for k in range(2):
        row = mme_row(k)
        row["image"] = row.pop("bytes")
        row["multi-choice options"] = str(row["multi-choice options"])
        rows.append(row | dict(zip("ABCDE", ["The red one", "12", "13", "14", "none"], strict=True)))
    write_tsv(tmp_path / "MME-RealWorld.tsv", rows)
    write_tsv(tmp_path / "MME-RealWorld-Lite.tsv", rows[:1])
    whole = shelf.samples("mme-realworld", tmp_path)
    assert [s.choices[4] for s in whole] == ["The image does not feature the number"] * 2
    assert len(shelf.samples("mme-realworld-lite", tmp_path)) == 1


def test_mme_realworld_as_the_authors_publish_it(shelf, tmp_path):
    (tmp_path / "imgs").mkdir()
    (tmp_path / "imgs" / "a.jpg").write_bytes(image(0))
    row = {"Question_id": "perception/ocr/0001", "Image": "imgs/a.jpg", "Text": "What?", "Category": "sign",
           "Question Type": "Multiple Choice", "Answer choices": ["(A) x", "(B) y"], "Ground truth": "B",
           "Subtask": "Monitoring"}  # fmt: skip
    (tmp_path / "MME_RealWorld.json").write_text(json.dumps([row]))
    (sample,) = shelf.samples("mme-realworld", tmp_path)
    assert (sample.id, sample.choices, sample.answer, sample.dimension) == (
        "perception/ocr/0001",
        ("x", "y"),
        "B",
        "Monitoring",
    )


def test_cv_bench(shelf, tmp_path):
    rows = [
        {"idx": 0, "type": "2D", "task": "Count", "image": {"bytes": image(0, kind="PNG"), "path": "0.png"},
         "question": "How many organs are in the image?", "choices": ["3", "2", "1", "0"], "answer": "(C)",
         "prompt": "How many organs are in the image? Select from the following choices.\n(A) 3\n(B) 2\n(C) 1\n(D) 0",
         "filename": "img/2D/count/ade20k_10.png", "source": "ADE20K", "source_dataset": "ADE20K Dataset"},
        {"idx": 1, "type": "2D", "task": "Relation", "image": {"bytes": image(1), "path": "1.png"},
         "question": "Where is the cat (annotated by the red box)?", "choices": ["left", "right"], "answer": "(A)",
         "prompt": "Where ...\n(A) left\n(B) right", "filename": "b.png", "source": "COCO", "source_dataset": "COCO"},
    ]  # fmt: skip
    write_parquet(tmp_path / "test_2d.parquet", rows)
    write_jsonl(tmp_path / "test_2d.jsonl", [{"idx": 0}])  # the same without images, as published beside it
    count, relation = shelf.samples("cv-bench", tmp_path)
    assert (count.id, count.answer, count.choices, count.dimension) == ("0", "C", ("3", "2", "1", "0"), "counting")
    assert (relation.answer, relation.dimension, relation.meta["source"]) == ("A", "Relation", "COCO")


def test_countqa_is_exploded_and_clustered_by_image(shelf, tmp_path):
    rows = [
        {"image": {"bytes": image(0), "path": None}, "questions": ["How many cups?", "How many lids?"],
         "answers": ["12", "3"], "objects": ["cups", "lids"], "categories": ["Kitchen"], "is_focused": True},
        {"image": {"bytes": image(1), "path": None}, "questions": ["How many cups?"], "answers": ["1,204"],
         "objects": ["cups"], "categories": ["Kitchen"], "is_focused": False},
    ]  # fmt: skip
    samples = shelf.samples("countqa", write_parquet(tmp_path / "data" / "test-00000-of-00013.parquet", rows))
    assert [(s.question, s.answer) for s in samples] == [
        ("How many cups?", "12"),
        ("How many lids?", "3"),
        ("How many cups?", "1204"),
    ]
    assert [s.cluster for s in samples] == [sha256(image(0))] * 2 + [sha256(image(1))]
    assert {(s.answer_kind, s.dimension, s.choices) for s in samples} == {("integer", "counting", ())}
    assert len({s.id for s in samples}) == 3


def test_colorbench(shelf, tmp_path):
    rows = [
        {"idx": 4, "type": "Perception", "task": "Color Recognition", "filename": "a.jpg",
         "image": {"bytes": image(0), "path": "a.jpg"}, "prompt": "...", "question": "What is the color of the banana?",
         "choices": ["Red", "Green", "Yellow", "None of the above"], "answer": "(C)"},
        {"idx": 5, "type": "Reasoning", "task": "Color Illusion", "filename": "b.jpg",
         "image": {"bytes": image(1), "path": "b.jpg"}, "prompt": "...", "question": "Do they have the same color?",
         "choices": ["No", "Yes"], "answer": "(B)"},
    ]  # fmt: skip
    first, second = shelf.samples("colorbench", write_parquet(tmp_path / "test.parquet", rows))
    assert (first.id, first.dimension, first.answer, first.meta["filename"]) == ("4", "color", "C", "a.jpg")
    assert (second.dimension, second.choices) == ("Color Illusion", ("No", "Yes"))


@pytest.mark.parametrize("cell", ["bytes", "struct"])
def test_mmstar(shelf, tmp_path, cell):
    picture = image(0) if cell == "bytes" else {"bytes": image(0), "path": "0.jpg"}
    row = {"index": 0, "question": "Which option describe the object relationship in the image correctly?\nOptions: "
           "A: The suitcase is on the book., B: The suitcase is beneath the cat., C: The suitcase is beneath the bed., "
           "D: The suitcase is beneath the book.", "image": picture, "answer": "A",
           "category": "fine-grained perception", "l2_category": "object counting",
           "meta_info": {"source": "MMBench", "split": "val"}}  # fmt: skip
    (sample,) = shelf.samples("mmstar", write_parquet(tmp_path / "mmstar.parquet", [row]))
    assert sample.question == "Which option describe the object relationship in the image correctly?"
    assert sample.choices[1] == "The suitcase is beneath the cat."
    assert (sample.answer, sample.dimension, len(sample.choices)) == ("A", "counting", 4)


def test_blink_has_up_to_four_images(shelf, tmp_path):
    def row(k, task, images, answer):
        cells = [{"bytes": data, "path": None} for data in images] + [None] * (4 - len(images))
        return {"idx": f"val_{task}_{k}", "sub_task": task, "question": "Which of these?", "prompt": "(A) a\n(B) b",
                "choices": ["the second image", "the third image"], "answer": answer, "explanation": None,
                **{f"image_{n}": cell for n, cell in enumerate(cells, 1)}}  # fmt: skip

    write_parquet(tmp_path / "Counting" / "val-00000-of-00001.parquet", [row(1, "Counting", [image(0)], "(B)")])
    write_parquet(
        tmp_path / "Visual_Similarity" / "val-00000-of-00001.parquet",
        [row(1, "Visual_Similarity", [image(1), image(2), image(3)], "(A)")],
    )
    one, three = shelf.samples("blink", tmp_path)
    assert (one.id, one.dimension, one.answer, one.more_images) == ("val_Counting_1", "counting", "B", ())
    assert (three.image, three.more_images) == (sha256(image(1)), (sha256(image(2)), sha256(image(3))))
    assert three.dimension == "Visual_Similarity"


def test_blinks_hidden_golds_are_refused(shelf, tmp_path):
    row = {"idx": "test_1", "sub_task": "IQ_Test", "question": "q", "choices": ["x", "y"], "answer": "hidden",
           "image_1": {"bytes": image(0), "path": None}}  # fmt: skip
    good = row | {"idx": "val_1", "answer": "(A)"}
    write_parquet(tmp_path / "test-00000-of-00001.parquet", [row])
    write_parquet(tmp_path / "val-00000-of-00001.parquet", [good])
    done = shelf.take("blink", tmp_path)
    assert [(r.where, r.reason) for r in done.refused] == [("test-00000-of-00001.parquet row 1", "the gold is hidden")]
    assert shelf.store.samples("blink")[0].id == "val_1"
    assert len(shelf.take("val", tmp_path, "blink", files="val-*").refused) == 0


def test_vlmevalkit_images_by_another_rows_index(shelf, tmp_path):
    rows = [
        {"index": 10, "image": "12", "question": "Is there a cat?", "hint": "", "A": "yes", "B": "no", "C": "",
         "answer": "B", "category": "x"},
        {"index": 11, "image": base64_of(image(1)), "question": 'What "is"\tthere,\nexactly?', "hint": "Look left.",
         "A": "1", "B": "2", "C": "nan", "answer": "A", "category": "y"},
        {"index": 12, "image": base64_of(image(2)), "question": "Two?", "hint": "nan", "A": "a", "B": "b", "C": "None",
         "answer": "C", "category": "counting"},
        {"index": 13, "image": "11", "question": "Which word?", "hint": "", "A": "", "B": "", "C": "",
         "answer": "stop", "category": "OCR"},
    ]  # fmt: skip
    cat, left, two, word = shelf.samples("any", write_tsv(tmp_path / "Any.tsv", rows), "vlmevalkit")
    assert (cat.image, cat.choices, cat.answer) == (sha256(image(2)), ("yes", "no"), "B")
    assert (left.question, left.choices) == ('Look left.\nWhat "is"\tthere,\nexactly?', ("1", "2"))
    assert (two.choices, two.answer, two.image) == (("a", "b", "None"), "C", sha256(image(2)))
    assert (word.answer, word.answer_kind, word.dimension, word.image) == ("stop", "text", "ocr", sha256(image(1)))
    assert [s.id for s in (cat, left, two, word)] == ["10", "11", "12", "13"]


def test_vlmevalkit_lists_of_images_and_paths(shelf, tmp_path):
    (tmp_path / "images" / "X").mkdir(parents=True)
    (tmp_path / "images" / "X" / "7.jpg").write_bytes(image(7))
    several = str([base64_of(image(1)), base64_of(image(2))])
    rows = [
        {
            "index": 1,
            "image": several,
            "image_path": str(["1_1.jpg", "1_2.jpg"]),
            "question": "q",
            "A": "a",
            "B": "b",
            "answer": "A",
        }
    ]
    (one,) = shelf.samples("many", write_tsv(tmp_path / "Many.tsv", rows), "vlmevalkit")
    assert (one.image, one.more_images) == (sha256(image(1)), (sha256(image(2)),))
    rows = [{"index": 1, "image_path": "images/X/7.jpg", "question": "q", "A": "a", "B": "b", "answer": "A"}]
    (one,) = shelf.samples("paths", write_tsv(tmp_path / "Paths.tsv", rows), "vlmevalkit")
    assert one.image == sha256(image(7))


def test_our_own_jsonl(shelf, tmp_path):
    folder = tmp_path / "mine"
    (folder / "images").mkdir(parents=True)
    for k in range(3):
        (folder / "images" / f"{k}.png").write_bytes(image(k, kind="PNG"))
    full = {
        "id": "sign-1", "image": "images/0.png", "question": "What does the sign say?", "choices": ["STOP", "GO"],
        "answer": "B", "answer_kind": "choice", "dimension": "ocr", "evidence": [[3, 4, 20.5, 30], [40, 1, 60, 9]],
        "evidence_kind": "tight", "cluster": "street-7", "crop": "images/1.png", "more_images": ["images/2.png"],
        "detail_px": 2.5, "meta": {"camera": "x", "nested": {"a": [1, None]}},
    }  # fmt: skip
    least = {"image": "images/1.png", "question": "How many?", "answer": 4, "dimension": "counting"}
    write_jsonl(folder / "samples.jsonl", [full, least])
    first, second = shelf.samples("mine", folder, "jsonl")
    assert first.record() == full | {
        "benchmark": "mine", "image": sha256(image(0, kind="PNG")), "width": 90, "height": 60,
        "choices": ("STOP", "GO"), "crop": sha256(image(1, kind="PNG")), "more_images": (sha256(image(2, kind="PNG")),),
        "evidence": tuple({"x1": a, "y1": b, "x2": c, "y2": d} for a, b, c, d in full["evidence"]),
    }  # fmt: skip
    assert (second.answer, second.answer_kind, second.cluster) == ("4", "integer", second.image)


def test_the_example_in_the_docs(shelf, tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    row = json.loads(page.split("```json\n")[1].split("```")[0])
    (tmp_path / "images").mkdir()
    for name in (row["image"], row["crop"]):
        (tmp_path / name).write_bytes(image(0, 900, 500))
    (sample,) = shelf.samples("mine", write_jsonl(tmp_path / "a.jsonl", [row]), "jsonl")
    assert set(row) <= set(FIELDS)
    assert {name: row[name] for name in ("id", "question", "answer", "cluster", "meta")} == {
        name: getattr(sample, name) for name in ("id", "question", "answer", "cluster", "meta")
    }


def test_parquet_with_a_column_mapping(shelf, tmp_path):
    rows = [
        {
            "img": base64_of(image(k)),
            "problem": "x = ?",
            "solution": "<answer>\\boxed{42}</answer>" if k else "\\boxed{7}",
            "n": f"q{k}",
        }
        for k in range(2)
    ]
    path = write_parquet(tmp_path / "train-00000-of-00001.parquet", rows)
    mapping = {"image": "img", "question": "problem", "answer": "solution", "id": "n"}
    samples = shelf.samples("reason", path, "parquet", mapping=mapping)
    assert [(s.id, s.question, s.answer, s.answer_kind) for s in samples] == [
        ("q0", "x = ?", "7", "text"),
        ("q1", "x = ?", "42", "text"),
    ]


def test_a_set_of_ai_generated_images_has_one_question_and_class_labels(shelf, tmp_path):
    """As `datasets` writes them: the names of the classes are in the schema."""
    features = {"image": {"_type": "Image"}, "label": {"names": ["fake", "real"], "_type": "ClassLabel"}}
    table = pyarrow.Table.from_pylist(
        [{"image": {"bytes": image(k), "path": f"{k}.jpg"}, "label": k % 2} for k in range(3)]
    )
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(table, tmp_path / "test.parquet")
    fill = {"question": "Is this image real or made by a computer?", "choices": '["real", "fake"]'}
    samples = shelf.samples("ai", tmp_path, "parquet", fill=fill, mapping={"answer": "label"})
    assert [s.answer for s in samples] == ["B", "A", "B"]
    assert {s.question for s in samples} == {fill["question"]}


def test_a_gui_set_with_relative_boxes(shelf, tmp_path):
    row = {"screenshot": {"bytes": image(0, 200, 100), "path": None}, "instruction": "Which button sends?",
           "bbox": [0.1, 0.2, 0.3, 0.4], "options": {"A": "left", "B": "right", "C": None}, "gt": "right"}  # fmt: skip
    path = write_parquet(tmp_path / "gui.parquet", [row])
    mapping = {"image": "screenshot", "answer": "gt"}
    (sample,) = shelf.samples("gui", path, "parquet", mapping=mapping, box_format="relative", boxes_kind="region")
    (box,) = sample.evidence
    assert box.as_list() == pytest.approx([20, 20, 60, 40])
    assert (sample.evidence_kind, sample.choices, sample.answer) == ("region", ("left", "right"), "B")


@pytest.mark.parametrize(
    ("style", "answer", "letter"), [("index", 1, "B"), ("index", "1", "B"), ("text", "1", "A"), ("letter", "b", "B")]
)
def test_golds_are_read_as_they_are_said_to_be_written(shelf, tmp_path, style, answer, letter):
    row = {"image": "0.jpg", "question": "q", "choices": ["1", "2", "3"], "answer": answer}
    (tmp_path / "0.jpg").write_bytes(image(0))
    (sample,) = shelf.samples("mine", write_jsonl(tmp_path / "a.jsonl", [row]), "jsonl", style=style)
    assert sample.answer == letter


def test_options_and_golds_of_other_types(shelf, tmp_path):
    """Options by their letters, as a text of JSON or Python; golds that are true or false."""
    (tmp_path / "0.jpg").write_bytes(image(0))
    options = [
        '{"A": "real", "B": "fake"}',
        "{'A': 'real', 'B': 'fake'}",
        "('real', 'fake')",
        {"A": "real", "B": "fake"},
    ]
    rows = [
        {"image": "0.jpg", "question": f"{k}?", "choices": each, "answer": k % 2 > 0} for k, each in enumerate(options)
    ]
    samples = shelf.samples("mine", write_jsonl(tmp_path / "a.jsonl", rows), "jsonl", style="index")
    assert {sample.choices for sample in samples} == {("real", "fake")}
    assert [sample.answer for sample in samples] == ["A", "B", "A", "B"]


def coco(folder) -> dict:
    for k in range(2):
        (folder / f"{k}.jpg").write_bytes(image(k))
    return {
        "images": [{"id": 5, "file_name": "0.jpg", "width": 90, "height": 60}, {"id": 6, "file_name": "1.jpg"}],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 2, "bbox": [1, 2, 30, 20], "area": 600, "iscrowd": 0},
            {"id": 2, "image_id": 5, "category_id": 2, "bbox": [40, 2.5, 10, 10], "iscrowd": 0},
            {"id": 3, "image_id": 5, "category_id": 3, "bbox": [0, 0, 9, 9]},
            {"id": 4, "image_id": 6, "category_id": 3, "bbox": [0, 0, 9, 9], "iscrowd": 1},
        ],
        "categories": [{"id": 2, "name": "cat"}, {"id": 3, "name": "traffic light", "supercategory": "outdoor"}],
    }  # fmt: skip


def test_coco_boxes_are_a_set_of_counting_questions(shelf, tmp_path):
    (tmp_path / "instances.json").write_text(json.dumps(coco(tmp_path)))
    done = shelf.take("coco", tmp_path)
    cats, light = shelf.store.samples("coco")
    assert (cats.id, cats.answer, cats.answer_kind) == ("5-2", "2", "integer")
    assert '"cat"' in cats.question
    assert cats.evidence == (Box(1, 2, 31, 22), Box(40, 2.5, 50, 12.5))
    assert (light.answer, light.cluster) == ("1", cats.cluster)
    assert [(r.where, r.reason) for r in done.refused] == [
        ("instances.json image 6 category 3", "a crowd, which has no number")
    ]


def test_coco_boxes_are_evidence_for_another_set(shelf, tmp_path):
    marks = coco(tmp_path)
    marks["annotations"][3] |= {"iscrowd": 0, "sample": "third"}
    marks["images"].append({"id": 7, "file_name": "fourth.png"})
    marks["annotations"].append({"id": 9, "image_id": 7, "category_id": 2, "bbox": [2, 2, 4, 4]})
    (tmp_path / "marks.json").write_text(json.dumps(marks))
    rows = [
        {"id": "first", "image": "0.jpg", "question": "q", "answer": "x"},
        {"id": "second", "image": "1.jpg", "question": "q", "answer": "x"},
        {"id": "third", "image": "1.jpg", "question": "r", "answer": "x"},
        {"id": "fourth", "image": base64_of(image(9)), "question": "q", "answer": "x"},
    ]
    path = write_jsonl(tmp_path / "samples.jsonl", rows)
    boxes = {
        s.id: s.evidence for s in shelf.samples("m", path, "jsonl", boxes=tmp_path / "marks.json", boxes_kind="region")
    }
    assert boxes == {
        "first": (Box(1, 2, 31, 22), Box(40, 2.5, 50, 12.5), Box(0, 0, 9, 9)),
        "second": (),
        "third": (Box(0, 0, 9, 9),),
        "fourth": (Box(2, 2, 6, 6),),
    }
    assert shelf.store.samples("m")[0].evidence_kind == "region"
