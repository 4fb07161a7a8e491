"""Any table whose columns are a sample's fields by our names, by a common other name, or by the user's `--map`.

This is also our own jsonl, described in docs/benchmarks.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from zoomgap.benchmarks.readers.drafts import Draft, Refused
from zoomgap.benchmarks.readers.pictures import picture, pictures
from zoomgap.benchmarks.readers.source import Row, as_list, short
from zoomgap.records import AnswerKind, EvidenceKind

IMAGE = ("image", "images", "image_path", "img", "picture", "file_name")
QUESTION = ("question", "problem", "query", "prompt", "text", "instruction")
ANSWER = ("answer", "solution", "response", "label", "ground_truth", "gt_answer", "target")
ID = ("id", "index", "question_id", "idx", "qid")
DIMENSION = ("dimension", "category", "task", "sub_task")


def drafts(row: Row) -> Iterator[Draft]:
    more = row.find("more_images")
    meta, detail = row.find("meta"), row.find("detail_px")
    if meta is not None and not isinstance(meta, dict):
        raise Refused("meta that is no object", short(meta))
    if detail is not None and not (isinstance(detail, int | float) and detail > 0):
        raise Refused("a detail_px that is no size", short(detail))
    yield Draft(
        where=row.where,
        id=row.word(*ID),
        pictures=pictures(row, *IMAGE) + (() if more is None else pictures(row, "more_images")),
        question=row.text(*QUESTION),
        answer=row.need(*ANSWER),
        choices=row.choices("options"),
        style=row.source.style,
        kind=_one_of(get_args(AnswerKind), row, "answer_kind"),
        dimensions=(row.word(*DIMENSION),),
        boxes=_boxes(row),
        box_format=row.source.box_format,
        boxes_kind=_one_of(get_args(EvidenceKind), row, "evidence_kind") or row.source.boxes_kind,
        crop=picture(row, "crop", "crop_image"),
        cluster=row.word("cluster"),
        detail_px=detail,
        meta=meta or {},
    )


def _one_of(known: tuple[Any, ...], row: Row, name: str) -> Any:
    value = row.word(name) or None
    if value is not None and value not in known:
        raise Refused(f"an {name} that is not known", f"{short(value)}, not one of {', '.join(known)}")
    return value


def _boxes(row: Row) -> tuple[tuple[float, ...], ...]:
    value = row.find("evidence", "bbox", "bboxes")
    if value is None:
        return ()
    boxes = as_list(value)
    return tuple(tuple(as_list(box)) for box in (boxes if boxes and isinstance(boxes[0], list | tuple) else [boxes]))
