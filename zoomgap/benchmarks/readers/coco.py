"""COCO-style boxes: a set of counting questions of its own, or evidence for the samples of another set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from zoomgap.benchmarks.readers.drafts import Draft, Refusal, Refused
from zoomgap.benchmarks.readers.files import find_files, read_json
from zoomgap.benchmarks.readers.pictures import from_file
from zoomgap.benchmarks.readers.source import Row, Source, short
from zoomgap.errors import UsageError
from zoomgap.records import EvidenceKind

FILES = r"\.json$"


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes (x, y, width, height in pixels) by image file name, and by the id of the sample that they are for."""

    by_image: Mapping[str, tuple[tuple[float, ...], ...]]
    by_sample: Mapping[str, tuple[tuple[float, ...], ...]]
    kind: EvidenceKind

    def attached(self, draft: Draft) -> Draft:
        """The draft with its boxes: those of its id, else those of its image, by name, else by the id as a name."""
        name = PurePath(draft.pictures[0].name).name
        stems = (name, PurePath(name).stem) if name else (draft.id,)
        found = next((self.by_image[stem] for stem in stems if stem in self.by_image), ())
        boxes = self.by_sample.get(draft.id, found)
        return replace(draft, boxes=boxes, box_format="xywh", boxes_kind=self.kind) if boxes else draft


def read_boxes(path: Path, kind: EvidenceKind = "tight") -> Boxes:
    """Boxes of a COCO file. An annotation with a `sample` (or `question_id`) is for that sample alone, any other for
    all samples of its image. Raises UsageError for a file that is not COCO's."""
    images, annotations, _ = _parts(path, Source(path=path))
    by_image: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    by_sample: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for note in annotations:
        name = PurePath(str(images.get(note.get("image_id"), {}).get("file_name", ""))).name
        sample = note.get("sample", note.get("question_id"))
        for key, shelf in [(str(sample), by_sample)] if sample is not None else [(name, by_image)]:
            shelf[key].append(tuple(note.get("bbox") or ()))
    both = {**{PurePath(name).stem: boxes for name, boxes in by_image.items()}, **by_image}
    return Boxes(
        {name: tuple(boxes) for name, boxes in both.items()},
        {name: tuple(boxes) for name, boxes in by_sample.items()},
        kind,
    )


def read(source: Source) -> Iterator[tuple[Draft | Refusal, float]]:
    """How many of a category are in an image: a question for each category that an image has, with all their boxes.

    A category with a crowd in the image (`iscrowd`) is left out: its number is not known.
    """
    for file in find_files(source, FILES):
        images, annotations, categories = _parts(file, source)
        groups: dict[tuple[Any, Any], list[dict[str, Any]]] = defaultdict(list)
        for note in annotations:
            groups[note.get("image_id"), note.get("category_id")].append(note)
        for number, ((image_id, category), notes) in enumerate(groups.items(), 1):
            where = f"{source.name_of(file)} image {image_id} category {category}"
            try:
                row = Row(images.get(image_id, {}), file, number, source)
                yield _draft(row, where, image_id, categories.get(category, {}), notes), number / len(groups)
            except Refused as refused:
                yield Refusal(where, refused.reason, refused.detail), number / len(groups)


def _draft(row: Row, where: str, image_id: Any, category: Mapping[str, Any], notes: list[dict[str, Any]]) -> Draft:
    if not row.values:
        raise Refused("boxes of an image that the file does not list", short(image_id))
    if not category.get("name"):
        raise Refused("boxes of a category that the file does not name", short(notes[0].get("category_id")))
    if any(note.get("iscrowd") for note in notes):
        raise Refused("a crowd, which has no number", str(category["name"]))
    name = row.text("file_name")
    return Draft(
        where=where,
        id=f"{image_id}-{category['id']}",
        pictures=(from_file(name, row),),
        question=f'How many objects of the kind "{category["name"]}" are in the image?',
        answer=str(len(notes)),
        choices=(),
        kind="integer",
        dimensions=("counting",),
        boxes=tuple(tuple(note.get("bbox") or ()) for note in notes),
        box_format="xywh",
        boxes_kind=row.source.boxes_kind,
        meta={"image": name, "category": category["name"]},
        split=row.split,
    )


def _parts(file: Path, source: Source) -> tuple[dict[Any, Any], list[dict[str, Any]], dict[Any, Any]]:
    """Images by id, annotations, categories by id."""
    value = read_json(file, source)
    lists = [value.get(name) if isinstance(value, dict) else None for name in ("images", "annotations")]
    if not all(isinstance(part, list) and all(isinstance(item, dict) for item in part) for part in lists):
        raise UsageError(f"{file} is no COCO file: it needs lists of 'images' and 'annotations'")
    images, annotations = lists
    categories = value.get("categories") or []
    return (
        {image.get("id"): image for image in images or []},
        annotations or [],
        {category["id"]: category for category in categories if isinstance(category, dict) and "id" in category},
    )
