"""CountQA (arXiv 2508.06585), parquet: an image with lists of questions and answers, which are one cluster."""

from __future__ import annotations

from collections.abc import Iterator

from zoomgap.benchmarks.readers.drafts import Draft, Refused
from zoomgap.benchmarks.readers.pictures import pictures
from zoomgap.benchmarks.readers.source import Row, as_list, as_text


def drafts(row: Row) -> Iterator[Draft]:
    images = pictures(row, "image", "images")
    questions, answers = as_list(row.need("question", "questions")), as_list(row.need("answer", "answers"))
    if len(questions) != len(answers):
        raise Refused("questions and answers do not pair", f"{len(questions)} and {len(answers)}")
    for number, (question, answer) in enumerate(zip(questions, answers, strict=True), 1):
        yield Draft(
            where=f"{row.where}, question {number}",
            pictures=images,
            question=as_text(question, "question"),
            answer=answer,
            choices=(),
            kind="integer",
            dimensions=("counting",),
            meta=row.rest("objects", "categories", "is_focused"),
        )
