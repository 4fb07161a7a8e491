"""V*Bench (arXiv 2312.14135): `test_questions.jsonl` with a folder of images, or parquet without boxes.

Beside each image lies a JSON file with the box of each target, x, y, width and height in pixels. Its `options` begin
with the right one, so they are only used, in an order drawn from the id, where the jsonl is missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from zoomgap.benchmarks.readers.drafts import Draft, Refused
from zoomgap.benchmarks.readers.pictures import find_image, from_file, pictures
from zoomgap.benchmarks.readers.source import Row, as_list
from zoomgap.records import digest

IMAGES = (".jpg", ".png", ".jpeg", ".JPG", ".PNG")


def drafts(row: Row) -> Iterator[Draft]:
    if "target_object" in row.values and "options" in row.values:
        yield _from_notes(row)
        return
    images = pictures(row, "image")
    notes = _notes(row, images[0].name)
    yield Draft(
        where=row.where,
        id=row.word("id", "question_id"),
        pictures=images,
        question=row.text("question", "text"),
        answer=row.need("answer", "label"),
        choices=row.choices(),
        kind="choice",
        dimensions=(row.word("dimension", "category"),),
        meta=row.rest("category") | {"image": images[0].name} | _targets(notes),
        **_boxes(notes),
    )


def _notes(row: Row, image: str) -> Mapping[str, Any]:
    """The JSON file beside an image, empty where there is none."""
    if not image or isinstance(row.values.get("image"), dict):
        return {}
    path = find_image(image, row).with_suffix(".json")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Refused("the boxes of an image cannot be read", f"{path.name}: {error}") from error
    return value if isinstance(value, dict) else {}


def _boxes(notes: Mapping[str, Any]) -> dict[str, Any]:
    boxes = as_list(notes.get("bbox") or [])
    return {"boxes": tuple(tuple(as_list(box)) for box in boxes), "box_format": "xywh"}


def _targets(notes: Mapping[str, Any]) -> dict[str, Any]:
    return {"targets": notes["target_object"]} if notes.get("target_object") else {}


def _from_notes(row: Row) -> Draft:
    id = f"{row.file.parent.name}/{row.file.stem}"
    paths = [path for suffix in IMAGES if (path := row.file.with_suffix(suffix)).is_file()]
    if not paths:
        raise Refused("an image file is missing", f"none beside {row.file.name}")
    options = [str(option) for option in as_list(row.need("options"))]
    if not options:
        raise Refused("no choice between options", row.file.name)
    mixed = sorted(options, key=lambda option: digest([id, option]))
    return Draft(
        where=row.where,
        id=id,
        pictures=(from_file(paths[0].name, row),),
        question=row.text("question"),
        answer=options[0],
        style="text",
        choices=tuple(mixed),
        dimensions=(row.file.parent.name,),
        meta={"category": row.file.parent.name} | _targets(row.values),
        **_boxes(row.values),
    )
