"""ZoomBench (arXiv 2602.11858), as parquet or as the json of the paper's repository, whose other sets look the same.

Spellings of both releases are read: `query` or `prompt`, `response` or `answer`, `image` or `images`. Choices stand
inside the question; `bbox` is the region that the crop shows, x1, y1, x2, y2 in pixels.
"""

from __future__ import annotations

from collections.abc import Iterator

from zoomgap.benchmarks.readers.drafts import Draft
from zoomgap.benchmarks.readers.pictures import picture, pictures
from zoomgap.benchmarks.readers.source import Row, as_list

FORMS = ("mcq", "oq", "open", "open-ended", "multi-choice", "multiple-choice", "choice", "unknown")
"""What `question_type` says where it does not name a dimension."""


def drafts(row: Row) -> Iterator[Draft]:
    names = [row.word(name) for name in ("dimension", "category", "sub_task", "question_type")]
    box = row.find("evidence", "bbox")
    boxes = as_list(box) if box is not None else []
    if boxes and not isinstance(boxes[0], list):
        boxes = [boxes]
    yield Draft(
        where=row.where,
        id=row.word("id", "index", "question_id"),
        pictures=pictures(row, "image", "images"),
        question=row.text("question", "query", "prompt"),
        answer=row.need("answer", "response"),
        choices=row.choices("options"),
        dimensions=tuple(name for name in names if name.lower().replace("_", "-") not in FORMS),
        boxes=tuple(tuple(as_list(one)) for one in boxes),
        box_format=row.source.box_format,
        boxes_kind="region",
        crop=picture(row, "crop", "crop_image", "crop_images"),
        meta=row.rest("question_type", "category", "source"),
    )
