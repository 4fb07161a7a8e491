"""Any tsv of VLMEvalKit: images in base64, one or a list, or the index of the row that has it; options in A, B ..."""

from __future__ import annotations

from collections.abc import Iterator

from zoomgap.benchmarks.readers.drafts import Draft
from zoomgap.benchmarks.readers.pictures import pictures
from zoomgap.benchmarks.readers.source import Row


def drafts(row: Row) -> Iterator[Draft]:
    hint = row.word("hint")
    question = row.text("question")
    yield Draft(
        where=row.where,
        id=row.word("id", "index"),
        pictures=pictures(row, "image", "image_path"),
        question=f"{hint}\n{question}" if hint else question,
        answer=row.need("answer"),
        choices=row.choices("multi-choice options"),
        dimensions=(row.word("dimension", "category"), row.word("l2-category")),
        meta=row.rest("category", "l2-category", "split", "source"),
    )
