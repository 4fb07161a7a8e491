"""MME-RealWorld and its Lite form (arXiv 2408.13257): parquet, tsv, or the authors' json with a folder of images."""

from __future__ import annotations

from collections.abc import Iterator

from zoomgap.benchmarks.readers.drafts import Draft
from zoomgap.benchmarks.readers.pictures import pictures
from zoomgap.benchmarks.readers.source import Row


def drafts(row: Row) -> Iterator[Draft]:
    category = row.word("dimension", "category", "Subtask")
    yield Draft(
        where=row.where,
        id=row.word("id", "index", "Question_id", "Question id"),
        pictures=pictures(row, "image", "bytes", "Image"),
        question=row.text("question", "Text"),
        answer=row.need("answer", "Ground truth"),
        choices=row.choices("multi-choice options", "Answer choices"),
        kind="choice",
        dimensions=(category.rpartition("/")[2],),
        meta=row.rest("category", "l2-category", "Subtask", "Category"),
    )
